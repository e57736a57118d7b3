// Types of carillon-client.js, for the protocol `carillon.v1`. Times are RFC 3339 in UTC.

export type CallStatus =
  | "initiating" | "waiting" | "ringing" | "connecting" | "active"
  | "ended" | "missed" | "declined" | "busy" | "cancelled" | "failed";

export type EndReason =
  | "completed" | "declined" | "busy" | "no_answer" | "unreachable" | "cancelled" | "connection_lost" | "max_duration"
  | "kicked" | "media_failed" | "node_lost" | "swept" | "error";

export type ParticipantStatus =
  | "invited" | "ringing" | "connecting" | "joined" | "reconnecting" | "lobby"
  | "left" | "declined" | "busy" | "missed" | "kicked";

export type RecordingStatus = "starting" | "recording" | "processing" | "ready" | "failed" | "expired" | "deleted";

export type ErrorCode =
  | "unauthenticated" | "token_expired" | "forbidden" | "not_found" | "invalid" | "too_large" | "rate_limited" | "conflict"
  | "wrong_state" | "busy" | "accepted_elsewhere" | "already_ended" | "call_full" | "call_locked" | "not_participant"
  | "media_unavailable" | "unavailable" | "internal"
  /** Of the client itself: an operator has ended the session. */
  | "disconnected_by_operator";

export interface Participant {
  userId: string;
  role: "host" | "cohost" | "participant";
  status: ParticipantStatus;
  deviceId?: string;
  audio: boolean;
  video: boolean;
  screen: boolean;
  handRaised: boolean;
  held: boolean;
  invitedAt?: string;
  joinedAt?: string;
  leftAt?: string;
  leaveReason?: string;
  durationSecs?: number;
}

export interface Call {
  callId: string;
  type: "audio" | "video" | "screen_share";
  mode: "p2p" | "sfu";
  status: CallStatus;
  endReason?: EndReason;
  endedBy?: string;
  groupId?: string;
  initiatorId: string;
  isGroup: boolean;
  maxParticipants?: number;
  locked?: boolean;
  lobby?: boolean;
  createdAt?: string;
  ringingAt?: string;
  startedAt?: string;
  endedAt?: string;
  ringDeadline?: string;
  durationSecs?: number;
  peakParticipants?: number;
  /** There while the call moves to the media server. */
  escalating?: { cause?: string; by?: string; deadline?: string };
  recording?: { recordingId: string; status: RecordingStatus };
  metadata?: Record<string, unknown>;
  seq: number;
  participants: Participant[];
}

export interface Media {
  mode: "p2p" | "sfu";
  iceServers: { urls: string | string[]; username?: string; credential?: string }[];
  /** `relay`: no address of the participants is to be shown to the others. */
  iceTransportPolicy?: "relay";
  /** The media server, the call's room there, and the way in; until `expiresAt`. */
  url?: string;
  token?: string;
  room?: string;
  expiresAt?: string;
}

export interface Session {
  sessionId: string;
  userId: string;
  deviceId: string;
  nodeId: string;
  serverTime: string;
  pingIntervalSecs: number;
  /** Whether there is a media server: calls can be escalated and recorded. */
  mediaServer?: boolean;
  activeCalls: Call[];
}

export type ClientState = "idle" | "connecting" | "connected" | "reconnecting" | "closed";

/** A call's state event: `seq` rises within the call, `prev` is the one before it that this user was sent. */
export interface StateEvent { callId: string; seq: number; prev: number; at: string }

export interface Signal {
  callId: string;
  from: string;
  fromDevice: string;
  type: "offer" | "answer" | "ice_candidate" | "renegotiate";
  payload: unknown;
  sig: number;
  epoch: number;
}

export interface ClientEvents {
  /** The connection's state. `closed` is final until `connect` is called again; `error` says why. */
  state: { state: ClientState; retryInMs?: number; code?: number; error?: Error };
  /** An operator has ended the session. The client stays `closed` until `connect` is called again. */
  disconnected: { code: number; reason: "disconnected_by_operator" };
  /** After every hello, the first one and those after a reconnect. */
  hello: Session;
  /** A call object changed, whatever the reason. */
  call: Call;
  /** A command sent without an id failed, or the token could not be refreshed. */
  error: { event: string; error: unknown };
  "session:expiring": { expiresAt: string };
  "call:incoming": StateEvent & { call: Call; from: string; offer?: unknown; ringDeadline: string };
  "call:ringing": StateEvent & { userId: string; devices: string[] };
  "call:unreachable": StateEvent & { userId: string };
  "call:accepted": StateEvent & { userId: string; deviceId: string; answer?: unknown };
  "call:accepted_elsewhere": StateEvent & { deviceId: string };
  "call:declined": StateEvent & { userId: string; reason?: string };
  "call:declined_elsewhere": StateEvent;
  "call:busy": StateEvent & { userId: string };
  "call:cancelled": StateEvent & { by: string };
  "call:missed": StateEvent & { userId?: string };
  /** The last event of a call. `local`: the node does not know the call any more, so this client ended it. */
  "call:ended": Partial<StateEvent> & { callId: string; reason: EndReason; by?: string; durationSecs: number; status: CallStatus; local?: boolean };
  "call:state": StateEvent & { status: CallStatus; call?: Call; snapshot?: boolean; connected?: string[]; recording?: Call["recording"]; locked?: boolean; lobby?: boolean; by?: string };
  "call:created": { callId: string; call?: Call };
  "call:participant_invited": StateEvent & { userId: string; by: string; ringDeadline: string; transfer?: boolean };
  "call:participant_joined": StateEvent & { userId: string; deviceId: string; participant?: Participant };
  "call:participant_left": StateEvent & { userId: string; reason: string };
  "call:participant_reconnecting": StateEvent & { userId: string; deadline: string };
  "call:participant_updated": StateEvent & { userId: string; changes: Partial<Participant> };
  "call:kicked": StateEvent & { userId: string; by: string };
  "call:mute_requested": StateEvent & { userIds: string[]; track: "audio" | "video" | "screen"; by: string };
  "call:lobby_waiting": StateEvent & { userId: string };
  "call:admitted": StateEvent & { userId: string; by: string };
  "call:denied": StateEvent & { userId: string; by: string };
  "call:hand_raised": StateEvent & { userId: string; raised: boolean };
  "call:held": StateEvent & { userId: string };
  "call:resumed": StateEvent & { userId: string };
  /** `toUserId` has taken the place of `userId`. */
  "call:transferred": StateEvent & { userId: string; toUserId: string };
  /** The call moves to the media server: come into the room, and keep the peer connections. */
  "call:escalating": StateEvent & { media?: Media; cause?: string; by?: string; deadline?: string };
  /** Everybody is in the room: let go of the peer connections. */
  "call:escalated": StateEvent;
  /** It was given up: leave the room, the call goes on from peer to peer. */
  "call:escalation_aborted": StateEvent & { reason?: string };
  "recording:started": StateEvent & { recordingId: string; by?: string; status?: RecordingStatus };
  "recording:stopped": StateEvent & { recordingId: string; by?: string; reason?: string; status?: RecordingStatus };
  "recording:ready": StateEvent & { recordingId: string; status?: RecordingStatus };
  "call:signal": Signal;
  /** The owner of the call changed and signals may be lost: restart ICE if the media broke. */
  "call:renegotiate": { callId: string; epoch: number };
}

export type Score = "excellent" | "good" | "fair" | "poor";

/** What was measured of one's media; at least one field besides `at`. */
export interface QualityReport {
  at?: string; jitterMs?: number; packetLossPct?: number; roundTripMs?: number; bandwidthKbps?: number; fps?: number;
  resolution?: string; codec?: string; iceState?: RTCIceConnectionState; usedTurn?: boolean;
}

export interface Commands {
  "call:start": {
    data: {
      callId?: string; calleeIds?: string[]; groupId?: string; type?: Call["type"]; mode?: "auto" | "p2p" | "sfu"; ring?: boolean;
      ringTimeoutSecs?: number; offer?: unknown; metadata?: Record<string, unknown>;
    };
    reply: { call: Call; media?: Media };
  };
  "call:ringing": { data: { callId: string }; reply: {} };
  "call:accept": { data: { callId: string; answer?: unknown }; reply: { call: Call; media?: Media } };
  "call:decline": { data: { callId: string; reason?: string }; reply: {} };
  "call:busy": { data: { callId: string }; reply: {} };
  "call:cancel": { data: { callId: string }; reply: {} };
  "call:join": { data: { callId: string }; reply: { call: Call; media?: Media } | { lobby: true } };
  "call:leave": { data: { callId: string }; reply: {} };
  "call:end": { data: { callId: string; reason?: string }; reply: {} };
  "call:invite": { data: { callId: string; userIds: string[] }; reply: { call: Call } };
  "call:signal": { data: { callId: string; type: Signal["type"]; payload: unknown; to?: string; toDevice?: string }; reply: {} };
  "call:media": { data: { callId: string; audio?: boolean; video?: boolean; screen?: boolean }; reply: {} };
  "call:kick": { data: { callId: string; userId: string }; reply: {} };
  "call:mute": { data: { callId: string; userId?: string; track: "audio" | "video" | "screen" }; reply: {} };
  "call:lock": { data: { callId: string; locked: boolean; lobby?: boolean }; reply: {} };
  "call:admit": { data: { callId: string; userId: string }; reply: {} };
  "call:deny": { data: { callId: string; userId: string }; reply: {} };
  "call:role": { data: { callId: string; userId: string; role: Participant["role"] }; reply: {} };
  "call:raise_hand": { data: { callId: string; raised: boolean }; reply: {} };
  "call:hold": { data: { callId: string }; reply: {} };
  "call:resume": { data: { callId: string }; reply: {} };
  "call:transfer": { data: { callId: string; toUserId: string }; reply: { call: Call } };
  "call:get": { data: { callId: string }; reply: { call: Call } };
  "call:sync": { data: { callId: string; seq: number; sig?: number }; reply: { events: { event: string; data: unknown }[] } };
  /** One report, or several as `reports`. */
  "call:quality": { data: { callId: string; reports: QualityReport[] } | ({ callId: string } & QualityReport);
    reply: { score: Score | null } | { scores: (Score | null)[] } };
  "call:escalate": { data: { callId: string }; reply: { call: Call } };
  "recording:start": {
    data: {
      callId: string; layout?: "grid" | "speaker" | "single"; resolution?: string; audioOnly?: boolean; format?: string; retentionDays?: number;
    };
    reply: { recording: { recordingId: string; status: RecordingStatus } };
  };
  "recording:stop": { data: { callId: string }; reply: { recording: { recordingId: string; status: RecordingStatus } } };
  "call:token": { data: { callId: string }; reply: { media: Media } };
  "presence:get": { data: { userIds: string[] }; reply: { online: string[] } };
}

export interface ClientOptions {
  /** `http(s)://host`, `ws(s)://host/ws`, or a page's address; the page's own origin if missing. Query and fragment are dropped. */
  url?: string;
  /** Several nodes: the next one is tried after each loss. */
  urls?: string[];
  token?: string;
  /** Asked for the first token, for a fresh one after a refusal, and shortly before a token ends. */
  getToken?: (why: { reason: "connect" | "refused" | "expiring" }) => Promise<string>;
  /** If missing: one per tab, kept in the session storage, the same after a reload. */
  deviceId?: string;
  deviceName?: string;
  /** Waits before reconnecting: `random() * min(maxMs, baseMs * 2^n)`. Defaults 500 ms and 20 s. */
  backoff?: { baseMs?: number; maxMs?: number; random?: () => number };
  /** For runtimes without a WebSocket of their own, and for tests. */
  WebSocket?: new (url: string, protocols: string[]) => WebSocket;
}

export class CarillonError extends Error {
  code: ErrorCode;
  /** Trying again later may succeed. The client has done so already, within the command's time. */
  retryable: boolean;
  details?: Record<string, unknown>;
  /** The trace id of the command, where the node answered: by it the node's operators find what it did. */
  traceId?: string;
  constructor(code: ErrorCode, message?: string, more?: { retryable?: boolean; details?: Record<string, unknown>; traceId?: string });
}

export class CarillonClient {
  constructor(options?: ClientOptions);
  /** Calls this device knows, by id, kept up to date. The objects keep their identity; the last 50 ended ones stay. */
  readonly calls: Map<string, Call>;
  readonly state: ClientState;
  readonly session: Session | null;
  readonly clockOffsetMs: number;
  readonly userId: string | undefined;
  readonly deviceId: string | undefined;
  readonly url: string;
  /** Rejects with `unauthenticated` or `token_expired` when the credentials are refused. */
  connect(): Promise<Session>;
  /** No hang-up: leave or end calls first. */
  close(): void;
  /** Drops the connection and makes a new one at once, at `url` if given. */
  reconnect(url?: string): Promise<Session>;
  /** Rejects with a `CarillonError`. `timeoutMs` (20 s) includes waiting for a connection. */
  request<C extends keyof Commands>(command: C, data: Commands[C]["data"], options?: { timeoutMs?: number }): Promise<Commands[C]["reply"]>;
  request(command: string, data?: object, options?: { timeoutMs?: number }): Promise<any>;
  /** Returns the function that ends the listening. `"*"` hears every event. */
  on<E extends keyof ClientEvents>(event: E, listener: (data: ClientEvents[E], event: E) => void): () => void;
  on(event: string, listener: (data: any, event: string) => void): () => void;
  once<E extends keyof ClientEvents>(event: E, listener: (data: ClientEvents[E], event: E) => void): () => void;
  once(event: string, listener: (data: any, event: string) => void): () => void;
  off(event: string, listener: (data: any, event: string) => void): void;
}

/** Changes a call object as an event says. */
export function applyEvent(call: Call, event: string, data: object): void;
/** True when a call with this status is over. */
export function isFinal(status: CallStatus): boolean;
/** True when a participant with this status is neither in the call nor rung. */
export function isGone(status: ParticipantStatus): boolean;
/** A random id: 122 bits where the platform has a random source. */
export function newId(): string;
/** The address of the WebSocket for a node's or a page's address. */
export function socketUrl(address: string): string;
