// The media of one call, whichever way they go: from peer to peer (webrtc.js) or through a room of the media server
// (room.js), and the way from the one to the other without a gap.
//
// Owns: the mesh and the room of the call, and per person one `MediaStream` whose tracks change while it stays the same.
// Never: decides when a call moves: the node says `call:escalating`, `call:escalated` or `call:escalation_aborted`.
// Survives: an escalation that is given up (the mesh was never let go), a room that cannot be reached or is lost (asked
// for anew, with a fresh token), events missed while our own socket was away.
//
// Make before break, per person: the mesh's picture stays until the room's is being decoded here, and the connection to
// them stays until they say the same of ours (a `renegotiate` signal with `{plays: "room"}`, which other clients take as
// a call to mend what is not broken), or until it was kept for long enough.

import { RemotePeer } from "./remote-peer.js";
import { MediaRoom } from "./room.js";
import { PeerMesh } from "./webrtc.js";

// How often is looked whether the room's tracks flow. Rarer makes both ways at once last longer.
const LOOK_MS = 200;
// Pictures of the room that must have been decoded before the mesh's is given up: one may be a lucky key frame.
const FRAMES_TO_TRUST = 3;
// For so long after the escalation a connection waits for the room's tracks, and for the other side's word. Longer
// costs double bandwidth when somebody's client never says so; shorter breaks pictures on a slow device.
const KEEP_MESH_MS = 10_000;
// A third who comes in is usually followed by the escalation at once: a connection to them would be for nothing.
const THIRD_WAITS_MS = 300;
// Louder than this (1 is full scale) is a voice, for so long after it was heard last.
const VOICE_LEVEL = 0.02;
const VOICE_HOLD_MS = 900;
const REJOIN_BASE_MS = 500;
// Longer is a silence in which people hang up.
const REJOIN_MAX_MS = 8_000;
// A token that ends sooner would end on the way.
const TOKEN_MARGIN_MS = 5_000;
// TURN credentials are good for half an hour at least. Rarer, and an ICE restart may come with ones that have run out.
const SERVERS_GOOD_MS = 20 * 60_000;
// No use in asking again.
const FINAL_REFUSALS = new Set(["already_ended", "not_found", "not_participant", "forbidden", "media_unavailable", "unauthenticated"]);

export class CallMedia {
  /** `p2p`, `escalating` (both ways at once) or `sfu`. */
  mode = "p2p";
  /** `RemotePeer` by user id. */
  peers = new Map();
  tracks = { audio: null, camera: null, screen: null };
  muted = false;
  mesh;
  room = null;
  #client;
  #relayOnly;
  #callbacks;
  #offs = [];
  #started = false;
  #closed = false;
  #expected = new Set();
  #gone = new Set();
  #waitingThird = new Map();
  #theyPlay = new Set();
  #attempt = 0;
  #keepUntil = 0;
  #serversUntil = Infinity;
  #timer;
  #looking = false;

  /**
   * `onChange(userId?)`: somebody's media or the mode changed. `onMuted(kind)`: the media server switched a track off.
   * `onRefused(kind)`: it does not take one. `relayOnly`: no address of this device is shown to others.
   */
  constructor({ client, callId, selfId, relayOnly = false, onChange = () => {}, onMuted = () => {}, onRefused = () => {} }) {
    this.#client = client;
    this.callId = callId;
    this.selfId = selfId;
    this.#relayOnly = relayOnly;
    this.#callbacks = { onChange, onMuted, onRefused };
    this.mesh = new PeerMesh({ client, callId, selfId, onChange: (userId) => this.#sync(userId), onPlays: (userId) => this.#theyPlay.add(userId) });
    const ours = (handler) => (data) => { if (data.callId === this.callId) handler(data); };
    this.#offs.push(
      client.on("call:escalating", ours(({ media }) => this.#onEscalating(media))),
      client.on("call:escalated", ours(() => this.#onEscalated())),
      client.on("call:escalation_aborted", ours(() => this.#onAborted())),
    );
    this.#timer = setInterval(() => this.#look(), LOOK_MS);
  }

  // ---- What the call says ------------------------------------------------------------------------------------

  /** Takes `media` of the node's reply: from here on connections are made. */
  start(media = {}) {
    if (this.#closed) return;
    this.#started = true;
    if (media.mode === "sfu") {
      this.#becomeSfu();
      this.#enter(media);
      return;
    }
    this.mesh.start(media.iceServers ?? [], this.#policy(media));
    if (media.iceServers?.some((server) => server.credential)) this.#serversUntil = Date.now() + SERVERS_GOOD_MS;
    if (media.token && this.mode === "p2p") this.#onEscalating(media);
  }

  /** Somebody is in the call: there will be media of them. From peer to peer this side makes the offer. */
  connect(userId) {
    if (userId === this.selfId || this.#closed) return;
    this.#expected.add(userId);
    this.#gone.delete(userId);
    if (this.mode === "p2p" && !this.mesh.peers.has(userId) && !this.#waitingThird.has(userId)) {
      const meet = () => {
        this.#waitingThird.delete(userId);
        if (this.mode === "p2p") this.mesh.connect(userId);
      };
      if (this.mesh.peers.size === 0) meet();
      else this.#waitingThird.set(userId, setTimeout(meet, THIRD_WAITS_MS));
    }
    this.#sync(userId);
  }

  /** Somebody has left. */
  remove(userId) {
    this.#expected.delete(userId);
    this.#theyPlay.delete(userId);
    clearTimeout(this.#waitingThird.get(userId));
    this.#waitingThird.delete(userId);
    this.mesh.remove(userId);
    // The room says so a moment later, or has not heard of a kick yet: they are out all the same.
    this.#gone.add(userId);
    this.#sync(userId);
  }

  /** The call object as it is now: what it says of the mode counts, should events have been missed. */
  follow(call) {
    if (!this.#started || this.mode === "sfu") return;
    if (call.mode === "sfu") this.#onEscalated();
    else if (call.escalating) this.#onEscalating(null);
    else this.#onAborted();
  }

  /** Sends this track (`audio`, `camera`, `screen`), or nothing, by whichever way. */
  async setTrack(kind, track) {
    this.tracks[kind] = track;
    this.room?.setTrack(kind, track);
    await (kind === "audio" ? this.mesh.setTrack("audio", track) : this.mesh.setTrack("video", this.tracks.screen ?? this.tracks.camera));
  }

  setMuted(muted) {
    this.muted = muted;
    this.room?.setMuted(muted);
  }

  /** How large somebody's picture is shown, in CSS pixels. */
  setSize(userId, width, height) { this.room?.setSize(userId, width, height); }

  close() {
    if (this.#closed) return;
    this.#closed = true;
    this.#attempt += 1;
    clearInterval(this.#timer);
    for (const timer of this.#waitingThird.values()) clearTimeout(timer);
    for (const off of this.#offs) off();
    this.mesh.close();
    this.room?.leave();
    this.peers.clear();
  }

  /** One object per person: by which way, the state, frames decoded and sent and packets received so far. */
  async stats() {
    const mesh = new Map((await this.mesh.stats()).map((one) => [one.userId, one]));
    const framesSent = await this.room?.framesSent() ?? 0;
    return Promise.all([...this.peers.values()].map(async (peer) => {
      const about = { userId: peer.userId, via: peer.via, state: peer.state };
      if (peer.via === "p2p") return { ...mesh.get(peer.userId), ...about };
      const person = await this.room?.people.get(peer.userId)?.stats();
      const connectionState = peer.state === "connected" ? "connected" : "connecting";
      return { connectionState, framesDecoded: 0, screenFrames: 0, audioPackets: 0, ...person, framesSent, ...about };
    }));
  }

  // ---- Escalation --------------------------------------------------------------------------------------------

  #onEscalating(media) {
    if (this.#closed || this.mode !== "p2p") return;
    this.mode = "escalating";
    this.#callbacks.onChange();
    this.#enter(media);
  }

  #onEscalated() {
    if (this.#closed || this.mode === "sfu") return;
    const wasEscalating = this.mode === "escalating";
    this.#becomeSfu();
    // Missed that it began: the room is joined now, and the mesh kept for a while all the same.
    if (!wasEscalating) this.#enter(null);
  }

  #becomeSfu() {
    this.mode = "sfu";
    this.#keepUntil = Date.now() + KEEP_MESH_MS;
    this.mesh.retire();
    for (const userId of new Set([...this.peers.keys(), ...this.#expected])) this.#sync(userId);
    this.#callbacks.onChange();
  }

  #onAborted() {
    if (this.#closed || this.mode !== "escalating") return;
    this.mode = "p2p";
    this.#attempt += 1;
    this.#theyPlay.clear();
    const { room } = this;
    this.room = null;
    for (const peer of this.peers.values()) peer.via = "p2p";
    for (const userId of [...this.peers.keys()]) this.#sync(userId);
    room?.leave();
    for (const userId of this.#expected) this.mesh.connect(userId);
    this.#callbacks.onChange();
  }

  // Comes into the room, again and again until it works, the call is over or the mode is another.
  async #enter(given) {
    this.#attempt += 1;
    const attempt = this.#attempt;
    const isMoot = () => attempt !== this.#attempt || this.#closed;
    let media = given;
    for (let tries = 0; !isMoot(); tries += 1) {
      let room;
      try {
        if (!this.#isGood(media)) media = (await this.#client.request("call:token", { callId: this.callId })).media;
        if (isMoot()) return;
        if (!media?.token) throw new Error("no room");
        room = this.#newRoom(attempt);
        this.room = room;
        await room.join({ ...media, iceTransportPolicy: this.#policy(media) });
        if (isMoot()) room.leave();
        return;
      } catch (error) {
        room?.leave();
        if (FINAL_REFUSALS.has(error.code)) return;
        if (!isMoot()) console.warn("carillon: the room could not be joined:", error.reasonName ?? error.code ?? error.name);
        media = null;
      }
      const ceiling = Math.min(REJOIN_MAX_MS, REJOIN_BASE_MS * 2 ** tries);
      await new Promise((resolve) => setTimeout(resolve, ceiling * (0.5 + Math.random() / 2)));
    }
  }

  #isGood(media) {
    if (!media?.token) return false;
    const ends = Date.parse(media.expiresAt ?? "");
    return !(ends - (Date.now() + this.#client.clockOffsetMs) < TOKEN_MARGIN_MS);
  }

  #policy(media) { return this.#relayOnly ? "relay" : media.iceTransportPolicy; }

  #newRoom(attempt) {
    const mine = (handler) => (argument) => { if (attempt === this.#attempt && !this.#closed) handler(argument); };
    const room = new MediaRoom({
      selfId: this.selfId,
      onChange: mine((userId) => this.#onRoom(userId)),
      onLost: mine((reason) => this.#onLost(reason)),
      onMuted: mine((kind) => this.#callbacks.onMuted(kind)),
      onRefused: mine((kind) => this.#callbacks.onRefused(kind)),
    });
    room.muted = this.muted;
    for (const [kind, track] of Object.entries(this.tracks)) room.setTrack(kind, track);
    return room;
  }

  #onRoom(userId) {
    if (userId !== undefined) this.#sync(userId);
    else for (const one of [...this.peers.keys()]) this.#sync(one);
  }

  #onLost(reason) {
    this.room = null;
    this.#attempt += 1;
    for (const userId of [...this.peers.keys()]) this.#sync(userId);
    // Another page of this device is in the room now: two would throw each other out for ever.
    if (reason === "replaced") return;
    // Who was put out, or whose call is over, is told so by the node; its answer to the token says so too.
    const attempt = this.#attempt;
    setTimeout(() => { if (attempt === this.#attempt && !this.#closed) this.#enter(null); }, reason === "network" ? 0 : 1_500);
  }

  // ---- Per person --------------------------------------------------------------------------------------------

  #sync(userId) {
    if (this.#closed) return;
    const inMesh = this.mesh.peers.get(userId);
    const inRoom = this.#gone.has(userId) ? undefined : this.room?.people.get(userId);
    let peer = this.peers.get(userId);
    if (!inMesh && !inRoom && !this.#expected.has(userId)) {
      if (peer) { peer.show([]); this.peers.delete(userId); this.#callbacks.onChange(userId); }
      return;
    }
    if (!peer) {
      peer = new RemotePeer(userId);
      this.peers.set(userId, peer);
    }
    if (peer.via === "sfu" && !inRoom && inMesh) peer.via = "p2p";
    else if (peer.via === "p2p" && !inMesh && this.mode !== "p2p") peer.via = "sfu";
    if (peer.via === "p2p") {
      peer.show(inMesh?.stream.getTracks() ?? []);
      peer.showScreen([]);
      peer.state = inMesh?.state ?? "connecting";
    } else {
      const was = peer.state;
      peer.show(inRoom ? [inRoom.audio, inRoom.camera].filter(Boolean) : []);
      peer.showScreen(inRoom ? [inRoom.screen, inRoom.screenAudio].filter((track) => track && (inRoom.screen !== null)) : []);
      peer.state = inRoom && this.room.state === "joined" ? "connected" : was === "connecting" ? "connecting" : "reconnecting";
      peer.speaking = inRoom?.speaking === true;
    }
    this.#callbacks.onChange(userId);
  }

  async #look() {
    if (this.#looking) return;
    this.#looking = true;
    try {
      this.#hear();
      if (this.room && this.mesh.peers.size > 0) await this.#moveOver();
      if (this.mode === "sfu") this.#release();
      else if (Date.now() > this.#serversUntil) await this.#refreshServers();
    } finally {
      this.#looking = false;
    }
  }

  // Whose tracks come through the room by now, and are being decoded, is shown from there.
  async #moveOver() {
    const { room } = this;
    for (const [userId, inMesh] of [...this.mesh.peers]) {
      const peer = this.peers.get(userId);
      const inRoom = room.people.get(userId);
      if (!peer || !inRoom || peer.via === "sfu" || !(await flows(inRoom, inMesh))) continue;
      if (this.#closed || this.room !== room || this.mode === "p2p" || room.people.get(userId) !== inRoom) return;
      peer.via = "sfu";
      this.#sync(userId);
      this.mesh.send(userId, "renegotiate", { plays: "room" });
    }
  }

  async #refreshServers() {
    this.#serversUntil = Date.now() + SERVERS_GOOD_MS;
    // If it fails, the next one will do, or the connections hold by themselves.
    const { media } = await this.#client.request("call:token", { callId: this.callId }).catch(() => ({}));
    if (media?.iceServers && !this.#closed) this.mesh.refresh(media.iceServers);
  }

  #release() {
    for (const userId of [...this.mesh.peers.keys()]) {
      const isThrough = this.peers.get(userId)?.via === "sfu" && this.#theyPlay.has(userId);
      if (!isThrough && Date.now() < this.#keepUntil) continue;
      this.mesh.remove(userId);
      this.#sync(userId);
    }
    if (this.mesh.peers.size === 0) this.mesh.close();
  }

  // Voices from peer to peer; a room tells of its own.
  #hear() {
    const now = Date.now();
    for (const peer of this.peers.values()) {
      if (peer.via !== "p2p") continue;
      if ((this.mesh.peers.get(peer.userId)?.audioLevel() ?? 0) > VOICE_LEVEL) peer.heardAt = now;
      const speaking = now - peer.heardAt < VOICE_HOLD_MS;
      if (speaking === peer.speaking) continue;
      peer.speaking = speaking;
      this.#callbacks.onChange(peer.userId);
    }
  }
}

/** Whether what the mesh brings of a person comes through the room too. */
async function flows(inRoom, inMesh) {
  const comes = (kind) => inMesh.stream.getTracks().some((track) => track.kind === kind && !track.muted);
  const stats = await inRoom.stats();
  const picture = !comes("video") || stats.framesDecoded + stats.screenFrames >= FRAMES_TO_TRUST;
  const voice = !comes("audio") || (inRoom.audio !== null && (inRoom.muted || stats.audioPackets > 0));
  return picture && voice;
}
