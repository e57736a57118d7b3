// A call's room on the media server: this device's tracks go in, everybody's come out.
//
// Owns: one connection to a LiveKit room, and the tracks published in it. LiveKit's client is loaded when the first
// room is joined, so that a call from peer to peer never fetches it.
// Never: opens or stops a camera, decides who is in the call, asks the node for anything (who made it does).
// Survives: short losses of the network (LiveKit's client mends them); a longer one is told by `onLost`, once.

// Longer is a room nobody waits for: the node gives an escalation up after 15 s.
const JOIN_TIMEOUT_MS = 10_000;
// Whose identity is none of ours (a recorder, a bot of somebody else's) is no person of the call.
const ATTRIBUTE_USER = "carillon.user";

const SOURCES = { audio: "microphone", camera: "camera", screen: "screen_share" };
const KINDS = { microphone: "audio", camera: "camera", screen_share: "screen", screen_share_audio: "screenAudio" };

let library;

/** LiveKit's client. A failed load is tried again next time. */
function load() {
  library ??= import("./vendor/livekit-client.js").then((livekit) => {
    livekit.setLogLevel("error"); // What it says below that has addresses and names in it.
    return livekit;
  }).catch((error) => {
    library = undefined;
    throw error;
  });
  return library;
}

export class MediaRoom {
  /** Who is in the room, by user id; oneself is not. */
  people = new Map();
  /** `joining`, `joined`, `reconnecting` or `left`. */
  state = "joining";
  tracks = { audio: null, camera: null, screen: null };
  muted = false;
  #selfId;
  #room = null;
  #livekit = null;
  #published = new Map();
  #chain = Promise.resolve();
  #callbacks;

  /**
   * `onChange(userId)`: somebody's tracks, state or voice changed; without user: the room's state.
   * `onLost(reason)`: the room is gone and was not left; `kicked`, `replaced`, `closed` or `network`.
   * `onMuted(kind)`: the media server switched a track of ours off. `onRefused(kind)`: it does not take one.
   */
  constructor({ selfId, onChange = () => {}, onLost = () => {}, onMuted = () => {}, onRefused = () => {} }) {
    this.#selfId = selfId;
    this.#callbacks = { onChange, onLost, onMuted, onRefused };
  }

  /** Comes in and publishes what there is. Rejects when the room cannot be reached, refuses, or was left meanwhile. */
  async join({ url, token, iceServers = [], iceTransportPolicy }) {
    const livekit = await load();
    if (this.state === "left") throw new Error("the room was left");
    this.#livekit = livekit;
    // Tracks are ours to stop. Layers that nobody looks at are not encoded (dynacast).
    const room = new livekit.Room({ dynacast: true, adaptiveStream: false, stopLocalTrackOnUnpublish: false });
    this.#room = room;
    this.#listen(room, livekit.RoomEvent);
    // The media server brings relays of its own; ours are for who may use nothing else.
    const rtcConfig = iceTransportPolicy === "relay" ? { iceTransportPolicy, ...(iceServers.length > 0 && { iceServers }) } : undefined;
    await room.connect(url, token, {
      autoSubscribe: true, rtcConfig, maxRetries: 1, websocketTimeout: JOIN_TIMEOUT_MS, peerConnectionTimeout: JOIN_TIMEOUT_MS,
    });
    if (this.state === "left") { room.disconnect(false); throw new Error("the room was left"); }
    this.state = "joined";
    for (const participant of room.remoteParticipants.values()) this.#read(participant);
    for (const kind of Object.keys(SOURCES)) this.#publish(kind);
    this.#callbacks.onChange();
  }

  /** Sends this track (`audio`, `camera`, `screen`), or nothing, in place of the one before. */
  setTrack(kind, track) {
    this.tracks[kind] = track;
    if (this.state !== "joining") this.#publish(kind);
    return this.#chain;
  }

  /** Tells the room that the microphone is off or on; it then need not be sent. */
  setMuted(muted) {
    this.muted = muted;
    this.#run(() => this.#sayMuted());
  }

  /** How large somebody's picture is shown, in CSS pixels: no larger one is sent. */
  setSize(userId, width, height) {
    const scale = globalThis.devicePixelRatio || 1;
    for (const participant of this.#room?.remoteParticipants.values() ?? []) {
      if (userOf(participant) !== userId) continue;
      const publication = participant.getTrackPublication("camera");
      if (width > 0 && height > 0) publication?.setVideoDimensions({ width: Math.round(width * scale), height: Math.round(height * scale) });
    }
  }

  /** Leaves; our tracks are not stopped. */
  leave() {
    if (this.state === "left") return;
    this.state = "left";
    this.people.clear();
    this.#room?.removeAllListeners();
    this.#room?.disconnect(false).catch(() => {});
  }

  /** Frames sent so far, of the camera and the screen together. */
  async framesSent() {
    let frames = 0;
    for (const { publication } of this.#published.values()) {
      const reports = await publication?.track?.sender?.getStats().catch(() => null);
      for (const report of reports?.values() ?? []) {
        if (report.type === "outbound-rtp" && report.kind === "video") frames += report.framesSent ?? 0;
      }
    }
    return frames;
  }

  // ---- Sending -----------------------------------------------------------------------------------------------

  // One after the other: a track that is changed twice quickly must end as what was said last.
  #run(step) {
    this.#chain = this.#chain.then(() => (this.state === "left" ? undefined : step())).catch((error) => {
      if (this.state !== "left") console.warn("carillon: the room did not take a change:", error.name);
    });
  }

  #publish(kind) {
    this.#run(async () => {
      const track = this.tracks[kind];
      const before = this.#published.get(kind);
      if (before?.track === (track ?? undefined)) return;
      const participant = this.#room.localParticipant;
      if (before) {
        this.#published.delete(kind);
        await participant.unpublishTrack(before.track, false);
      }
      if (!track || track.readyState === "ended") return;
      const entry = { track, publication: null };
      this.#published.set(kind, entry);
      try {
        entry.publication = await participant.publishTrack(track, { source: SOURCES[kind], simulcast: kind === "camera" });
      } catch (error) {
        this.#published.delete(kind);
        if (this.state === "joined") this.#callbacks.onRefused(kind);
        throw error;
      }
      if (kind === "audio") await this.#sayMuted();
    });
  }

  async #sayMuted() {
    const publication = this.#published.get("audio")?.publication;
    if (publication && publication.isMuted !== this.muted) await (this.muted ? publication.mute() : publication.unmute());
  }

  // ---- Receiving ---------------------------------------------------------------------------------------------

  #listen(room, RoomEvent) {
    const read = (participant) => { if (participant) this.#read(participant); };
    room.on(RoomEvent.ParticipantConnected, read)
      .on(RoomEvent.ParticipantDisconnected, (participant) => this.#forget(participant))
      .on(RoomEvent.TrackSubscribed, (_track, _publication, participant) => read(participant))
      // Told while the track is still listed.
      .on(RoomEvent.TrackUnsubscribed, (_track, _publication, participant) => queueMicrotask(() => read(participant)))
      .on(RoomEvent.TrackUnmuted, (_publication, participant) => read(participant))
      .on(RoomEvent.TrackMuted, (publication, participant) => {
        if (participant === room.localParticipant) this.#onMuted(publication);
        else read(participant);
      })
      .on(RoomEvent.ActiveSpeakersChanged, (speakers) => this.#onSpeakers(speakers))
      .on(RoomEvent.Reconnecting, () => this.#setState("reconnecting"))
      .on(RoomEvent.SignalReconnecting, () => this.#callbacks.onChange())
      .on(RoomEvent.Reconnected, () => this.#setState("joined"))
      .on(RoomEvent.Disconnected, (reason) => this.#onDisconnected(reason));
  }

  #setState(state) {
    if (this.state === "left") return;
    this.state = state;
    this.#callbacks.onChange();
  }

  #read(participant) {
    const userId = userOf(participant);
    if (userId === null || userId === this.#selfId || this.state === "left") return;
    let person = this.people.get(userId);
    // A reloaded page comes in as the same identity, another device as another: what came last counts.
    if (!person || (person.participant !== participant && isLater(participant, person.participant))) {
      person = new Person(userId, participant, () => this.#callbacks.onChange(userId));
      this.people.set(userId, person);
    }
    if (person.participant !== participant) return;
    person.read();
    this.#callbacks.onChange(userId);
  }

  #forget(participant) {
    const userId = userOf(participant);
    if (this.people.get(userId)?.participant !== participant) return;
    this.people.delete(userId);
    // Perhaps they are here with another device.
    const other = [...this.#room.remoteParticipants.values()].find((one) => one !== participant && userOf(one) === userId);
    if (other) this.#read(other);
    else this.#callbacks.onChange(userId);
  }

  #onSpeakers(speakers) {
    const speaking = new Set(speakers.map(userOf));
    for (const person of this.people.values()) {
      if (person.speaking === speaking.has(person.userId)) continue;
      person.speaking = !person.speaking;
      this.#callbacks.onChange(person.userId);
    }
  }

  #onMuted(publication) {
    const kind = KINDS[publication.source];
    if (kind === "audio" && this.muted) return; // We said so ourselves.
    if (kind === "audio") this.muted = true;
    this.#callbacks.onMuted(kind);
  }

  #onDisconnected(reason) {
    if (this.state === "left") return;
    const wasIn = this.state !== "joining";
    this.state = "left";
    this.people.clear();
    if (!wasIn) return; // `join` rejects.
    const { DisconnectReason: R } = this.#livekit;
    const word = { [R.PARTICIPANT_REMOVED]: "kicked", [R.DUPLICATE_IDENTITY]: "replaced", [R.ROOM_DELETED]: "closed", [R.ROOM_CLOSED]: "closed" }[reason];
    this.#callbacks.onLost(word ?? "network");
  }
}

/** Somebody in the room: their tracks, as far as they are here. */
class Person {
  speaking = false;
  audio = null;
  camera = null;
  screen = null;
  screenAudio = null;
  /** They say that their microphone is off. */
  muted = false;
  #receivers = new Map();
  #onFlow;

  /** `onFlow()`: a track began to bring something, or stopped. */
  constructor(userId, participant, onFlow) {
    this.userId = userId;
    this.participant = participant;
    this.#onFlow = onFlow;
  }

  read() {
    const here = {};
    this.#receivers.clear();
    this.muted = false;
    for (const publication of this.participant.trackPublications.values()) {
      const kind = KINDS[publication.source];
      if (!kind) continue;
      if (kind === "audio") this.muted = publication.isMuted;
      // A camera that is muted shows its last picture for ever: better none.
      if (!publication.track || (publication.isMuted && kind !== "audio")) continue;
      here[kind] = publication.track.mediaStreamTrack;
      for (const event of ["mute", "unmute"]) here[kind].addEventListener(event, this.#onFlow);
      this.#receivers.set(kind, publication.track.receiver);
    }
    for (const kind of ["audio", "camera", "screen", "screenAudio"]) this[kind] = here[kind] ?? null;
  }

  /** Frames decoded of camera and screen, and packets of the microphone, so far. */
  async stats() {
    const result = { framesDecoded: 0, screenFrames: 0, audioPackets: 0 };
    for (const [kind, receiver] of this.#receivers) {
      const reports = await receiver?.getStats().catch(() => null);
      for (const report of reports?.values() ?? []) {
        if (report.type !== "inbound-rtp") continue;
        if (kind === "camera") result.framesDecoded += report.framesDecoded ?? 0;
        else if (kind === "screen") result.screenFrames += report.framesDecoded ?? 0;
        else if (kind === "audio") result.audioPackets += report.packetsReceived ?? 0;
      }
    }
    return result;
  }
}

/** The user a participant of the room is; null for recorders and others that are none. */
function userOf(participant) {
  return participant.attributes?.[ATTRIBUTE_USER] ?? null;
}

function isLater(one, other) {
  return (one.joinedAt?.getTime() ?? 0) >= (other.joinedAt?.getTime() ?? 0);
}
