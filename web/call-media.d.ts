// Types of call-media.js: the media of one call, from peer to peer or through the media server.

import type { Call, CarillonClient, Media } from "./carillon-client.js";

export type TrackKind = "audio" | "camera" | "screen";

/** Somebody's media. The object and its `stream` stay the same for as long as they are in the call. */
export interface RemotePeer {
  readonly userId: string;
  /** Their voice and picture; the tracks in it change. Give it to one `<video autoplay playsinline>`. */
  readonly stream: MediaStream;
  /** Their screen beside the camera, in a room; from peer to peer it takes the camera's place in `stream`. */
  readonly screen: MediaStream | null;
  readonly via: "p2p" | "sfu";
  readonly state: "connecting" | "connected" | "reconnecting";
  readonly speaking: boolean;
}

export interface PeerStats {
  userId: string;
  via: "p2p" | "sfu";
  state: RemotePeer["state"];
  connectionState: string;
  framesDecoded: number;
  framesSent: number;
  audioPackets: number;
  /** In a room: frames of their screen. */
  screenFrames?: number;
}

export class CallMedia {
  /**
   * Listens to the client's signals and escalation of this call by itself. `onMuted`: the media server switched a track
   * of ours off. `onRefused`: it does not take one. `relayOnly`: show no address of this device to the others.
   */
  constructor(options: {
    client: CarillonClient; callId: string; selfId: string; relayOnly?: boolean;
    onChange?: (userId?: string) => void; onMuted?: (kind: TrackKind) => void; onRefused?: (kind: TrackKind) => void;
  });
  /** `escalating`: both ways at once. */
  readonly mode: "p2p" | "escalating" | "sfu";
  readonly peers: ReadonlyMap<string, RemotePeer>;
  /** Takes `media` of the reply to `call:start`, `call:accept` or `call:join`. */
  start(media?: Media): void;
  /** Somebody came into the call. From peer to peer this side makes the offer: call it on one side only. */
  connect(userId: string): void;
  /** Somebody left. */
  remove(userId: string): void;
  /** A whole call object came: its mode counts. */
  follow(call: Call): void;
  /** Sends this track, or nothing. Tracks are never stopped here. */
  setTrack(kind: TrackKind, track: MediaStreamTrack | null): Promise<void>;
  setMuted(muted: boolean): void;
  /** How large somebody's picture is shown, in CSS pixels: a room sends none that is larger. */
  setSize(userId: string, width: number, height: number): void;
  stats(): Promise<PeerStats[]>;
  /** Leaves the room and closes the peer connections. */
  close(): void;
}
