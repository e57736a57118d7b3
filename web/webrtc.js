// The media of one call: a peer connection to every other participant, each with every other (a mesh).
//
// Owns: the RTCPeerConnections of one call and their negotiation (the W3C's "perfect negotiation").
// Never: decides who is in the call, opens a camera, or shows anything; it is given tracks and gives tracks.
// Survives: offers that cross, signals that come twice or are lost with their relay, a network change (ICE restart), a
// remote page that was reloaded (its connection has a new id: ours is built anew), our own socket being away.
//
// Payloads: offer and answer `{type, sdp, pc, for?}`, candidate `{candidate, sdpMid, sdpMLineIndex, usernameFragment, pc}`.
// `pc` names the sender's connection, `for` the one an answer is meant for; a client that sends neither is understood too.

import { newId } from "./carillon-client.js";

// A Wi-Fi roam heals itself in less; waiting longer is silence that people notice.
const DISCONNECTED_GRACE_MS = 3_000;
// Without a connection for this long the negotiation is begun anew. Less would cut off slow TURN allocations.
const STUCK_MS = 10_000;
// The polite side waits this much longer, so that usually only one of the two begins anew.
const POLITE_EXTRA_MS = 5_000;
const LOOK_EVERY_MS = 2_000;
// Candidates that came before their description. A peer that sends more is broken.
const MAX_EARLY_CANDIDATES = 200;

export class PeerMesh {
  /** Peers by user id. */
  peers = new Map();
  tracks = { audio: null, video: null };
  #client;
  #offs;
  #iceServers = [];
  #iceTransportPolicy;
  #started = false;
  #retired = false;
  #waiting = [];
  #wanted = new Set();
  #watch;
  #onChange;
  #onPlays;

  /**
   * `onChange(userId)` is called when a peer's state or tracks changed, `onPlays(userId)` when they say that they have
   * our media by another way and need this one no more.
   */
  constructor({ client, callId, selfId, onChange = () => {}, onPlays = () => {}, RTCPeerConnection = globalThis.RTCPeerConnection }) {
    this.#client = client;
    this.callId = callId;
    this.selfId = selfId;
    this.RTCPeerConnection = RTCPeerConnection;
    this.#onChange = onChange;
    this.#onPlays = onPlays;
    const ours = (handler) => (data) => { if (data.callId === this.callId) handler(data); };
    this.#offs = [
      client.on("call:signal", ours((data) => this.#onSignal(data))),
      client.on("call:renegotiate", ours(() => this.renegotiate())),
    ];
  }

  /**
   * From here on connections are made. Signals that came before are taken up now, in order. `iceTransportPolicy`:
   * `relay` for those whose addresses nobody is to see.
   */
  start(iceServers = [], iceTransportPolicy = undefined) {
    this.#iceServers = iceServers;
    this.#iceTransportPolicy = iceTransportPolicy;
    this.#started = true;
    clearInterval(this.#watch);
    this.#watch = setInterval(() => { for (const peer of this.peers.values()) peer.look(); }, LOOK_EVERY_MS);
    for (const data of this.#waiting.splice(0)) this.#onSignal(data);
    for (const userId of this.#wanted) this.connect(userId);
    this.#wanted.clear();
  }

  /** Fresh servers, for credentials run out: taken at the next ICE restart and by new connections. */
  refresh(iceServers) {
    this.#iceServers = iceServers;
    for (const peer of this.peers.values()) peer.reconfigure();
  }

  get configuration() {
    const policy = this.#iceTransportPolicy && { iceTransportPolicy: this.#iceTransportPolicy };
    return { iceServers: this.#iceServers, bundlePolicy: "max-bundle", ...policy };
  }

  /** Whether there is anybody to signal to: no use in starting anew while our own socket is away. */
  get canSignal() { return this.#client.state === "connected"; }

  /** Makes a connection to a participant, with an offer from this side. Nothing happens if there is one. */
  connect(userId) {
    if (userId === this.selfId || this.peers.has(userId) || this.#retired) return;
    if (!this.#started) { this.#wanted.add(userId); return; }
    this.#peer(userId).begin();
  }

  remove(userId) {
    this.#wanted.delete(userId);
    this.peers.get(userId)?.close();
    this.peers.delete(userId);
  }

  /** No new connections from here on; those there are stay until they are removed. */
  retire() {
    this.#retired = true;
    this.#wanted.clear();
  }

  /** The owner of the call changed and signals may be lost: mend what is not connected. */
  renegotiate() { for (const peer of this.peers.values()) peer.mend(); }

  /** Sends this track, or nothing, to everybody, now and later. No negotiation where a sender of the kind exists. */
  async setTrack(kind, track) {
    this.tracks[kind] = track;
    await Promise.all([...this.peers.values()].map((peer) => peer.setTrack(kind, track)));
  }

  send(userId, type, payload) {
    return this.#client.request("call:signal", { callId: this.callId, to: userId, type, payload }).catch((error) => {
      // The watch begins anew if it mattered. The code only: payloads are nobody's business.
      console.warn(`carillon: signal ${type} was not sent: ${error.code}`);
    });
  }

  changed(userId) { this.#onChange(userId); }

  close() {
    for (const off of this.#offs) off();
    clearInterval(this.#watch);
    for (const peer of this.peers.values()) peer.close();
    this.peers.clear();
  }

  /** One object per peer: states, frames decoded and packets received so far. */
  async stats() { return Promise.all([...this.peers.values()].map((peer) => peer.stats())); }

  #peer(userId) {
    let peer = this.peers.get(userId);
    if (!peer) {
      peer = new Peer(this, userId);
      this.peers.set(userId, peer);
    }
    return peer;
  }

  #onSignal(data) {
    if (!this.#started) { this.#waiting.push(data); return; }
    if (data.from === this.selfId) return;
    if (data.type === "renegotiate" && data.payload?.plays) { this.#onPlays(data.from); return; }
    if (this.#retired && !this.peers.has(data.from)) return;
    this.#peer(data.from).receive(data.type, data.payload ?? {});
  }
}

class Peer {
  stream = new MediaStream();
  connected = false;
  #mesh;
  #pc = null;
  #pcId = null;
  #remotePcId = undefined;
  #polite;
  #chain = Promise.resolve();
  #early = [];
  #lastProgress = Date.now();
  #patience = STUCK_MS;
  #disconnectedAt = null;
  #restarts = 0;
  #closed = false;

  constructor(mesh, userId) {
    this.#mesh = mesh;
    this.userId = userId;
    // Any order that both sides compute alike would do.
    this.#polite = mesh.selfId < userId;
  }

  /** `connecting`, `connected` or `reconnecting` (it was connected before). */
  get state() {
    if (this.#pc?.connectionState === "connected") return "connected";
    return this.connected ? "reconnecting" : "connecting";
  }

  begin() {
    this.#run(() => {
      this.#build();
      // Both kinds from the start, in both directions: camera and screen then come and go without negotiation.
      for (const kind of ["audio", "video"]) {
        const transceiver = this.#pc.addTransceiver(kind, { direction: "sendrecv" });
        this.#attach(transceiver, this.#mesh.tracks[kind]);
      }
    });
  }

  receive(type, payload) {
    this.#run(async () => {
      if (type === "offer") await this.#onOffer(payload);
      else if (type === "answer") await this.#onAnswer(payload);
      else if (type === "ice_candidate") await this.#onCandidate(payload);
      else if (type === "renegotiate") this.mend();
    });
  }

  // Everything that touches the negotiation runs one after the other; so only offers of the two sides can cross.
  #run(step) {
    this.#chain = this.#chain.then(() => (this.#closed ? undefined : step())).catch((error) => {
      if (!this.#closed) console.warn("carillon: negotiation step failed:", error.name);
    });
    return this.#chain;
  }

  #build() {
    this.#pc?.close();
    const pc = new this.#mesh.RTCPeerConnection(this.#mesh.configuration);
    this.#pc = pc;
    this.#pcId = newId().slice(0, 8);
    this.#remotePcId = undefined;
    this.#disconnectedAt = null;
    this.#restarts = 0;
    this.#lastProgress = Date.now();
    this.stream = new MediaStream();
    const id = this.#pcId;
    pc.onnegotiationneeded = () => this.#run(() => this.#offer(pc));
    pc.onicecandidate = ({ candidate }) => {
      if (pc !== this.#pc || !candidate?.candidate) return;
      const { candidate: text, sdpMid, sdpMLineIndex, usernameFragment } = candidate;
      this.#mesh.send(this.userId, "ice_candidate", { candidate: text, sdpMid, sdpMLineIndex, usernameFragment, pc: id });
    };
    pc.ontrack = ({ track }) => {
      if (pc !== this.#pc) return;
      this.stream.addTrack(track);
      track.onmute = track.onunmute = () => this.#mesh.changed(this.userId);
      this.#mesh.changed(this.userId);
    };
    pc.onconnectionstatechange = () => { if (pc === this.#pc) this.#onState(); };
    this.#mesh.changed(this.userId);
  }

  async #offer(pc) {
    if (pc !== this.#pc || pc.signalingState !== "stable") return; // Asked for again once stable.
    await pc.setLocalDescription();
    this.#sendDescription();
  }

  #sendDescription(extra = {}) {
    const { type, sdp } = this.#pc.localDescription;
    this.#mesh.send(this.userId, type, { type, sdp, pc: this.#pcId, ...extra });
  }

  async #onOffer({ sdp, pc: remoteId }) {
    const isNewPage = this.#remotePcId !== undefined && remoteId !== this.#remotePcId;
    const crossed = this.#pc?.signalingState === "have-local-offer";
    const isFirst = this.#pc !== null && this.#remotePcId === undefined;
    if (crossed && !isNewPage && !this.#polite) return; // Ours stands; the other side gives way.
    // What addTransceiver prepared for an offer of our own does not fit theirs: a fresh connection is simpler than
    // a rollback with a second pair of transceivers.
    if (this.#pc === null || isNewPage || (crossed && isFirst)) this.#build();
    const pc = this.#pc;
    await pc.setRemoteDescription({ type: "offer", sdp }); // Rolls back an offer of our own.
    this.#remotePcId = remoteId ?? "";
    for (const kind of ["audio", "video"]) {
      const transceiver = this.#transceiver(kind);
      if (transceiver) this.#attach(transceiver, this.#mesh.tracks[kind]);
    }
    await pc.setLocalDescription();
    this.#sendDescription({ for: remoteId });
    await this.#takeEarlyCandidates();
  }

  async #onAnswer({ sdp, pc: remoteId, for: forId }) {
    if (forId !== undefined && forId !== this.#pcId) return; // For a connection that is no more.
    if (this.#remotePcId !== undefined && (remoteId ?? "") !== this.#remotePcId) {
      // A reloaded page answered an offer of the old connection: the two do not fit.
      this.#startAnew();
      return;
    }
    if (this.#pc?.signalingState !== "have-local-offer") return; // Seen already.
    await this.#pc.setRemoteDescription({ type: "answer", sdp });
    this.#remotePcId = remoteId ?? "";
    await this.#takeEarlyCandidates();
  }

  async #onCandidate(candidate) {
    const ready = this.#pc?.remoteDescription && (candidate.pc ?? "") === this.#remotePcId;
    if (ready) await this.#addCandidate(candidate);
    else if (this.#early.length < MAX_EARLY_CANDIDATES) this.#early.push(candidate);
  }

  async #takeEarlyCandidates() {
    const early = this.#early.splice(0);
    for (const candidate of early) {
      if ((candidate.pc ?? "") === this.#remotePcId) await this.#addCandidate(candidate);
    }
  }

  async #addCandidate({ candidate, sdpMid, sdpMLineIndex, usernameFragment }) {
    try {
      await this.#pc.addIceCandidate({ candidate, sdpMid, sdpMLineIndex, usernameFragment });
    } catch {
      // Of a description we did not take (offers crossed), or of an ICE generation that is over.
    }
  }

  #transceiver(kind) {
    return this.#pc?.getTransceivers().find((one) => one.receiver.track.kind === kind && one.currentDirection !== "stopped");
  }

  #attach(transceiver, track) {
    if (transceiver.direction !== "stopped") transceiver.direction = "sendrecv";
    if (transceiver.sender.track !== track) transceiver.sender.replaceTrack(track).catch(() => {});
  }

  async setTrack(kind, track) {
    if (!this.#pc) return;
    const transceiver = this.#transceiver(kind);
    if (transceiver) await transceiver.sender.replaceTrack(track);
    else if (track) this.#pc.addTransceiver(track, { direction: "sendrecv" }); // The other side offered none of the kind.
  }

  #onState() {
    const { connectionState } = this.#pc;
    if (connectionState === "connected") {
      this.connected = true;
      this.#restarts = 0;
      this.#patience = STUCK_MS;
      this.#disconnectedAt = null;
    } else if (connectionState === "disconnected" || connectionState === "failed") {
      this.#disconnectedAt ??= Date.now();
    }
    this.#lastProgress = Date.now();
    this.#mesh.changed(this.userId);
  }

  /** Called every two seconds: restarts ICE when the connection broke, begins anew when nothing helps. */
  look() {
    if (this.#closed || !this.#pc || this.#pc.connectionState === "connected" || !this.#mesh.canSignal) return;
    const now = Date.now();
    const extra = this.#polite ? POLITE_EXTRA_MS : 0;
    if (this.#disconnectedAt !== null && this.#restarts === 0) {
      const grace = this.#pc.connectionState === "failed" ? 0 : DISCONNECTED_GRACE_MS;
      if (now - this.#disconnectedAt >= grace + extra / 2) {
        this.#restarts += 1;
        this.#lastProgress = now;
        this.mend();
      }
      return;
    }
    if (now - this.#lastProgress >= this.#patience + extra) {
      this.#patience = Math.min(this.#patience * 1.5, 60_000);
      this.#startAnew();
    }
  }

  #startAnew() {
    this.#pc?.close();
    this.#pc = null;
    this.begin();
  }

  /** If the media broke: an ICE restart; if an offer of ours has no answer: the same offer again. */
  mend() {
    this.#run(() => {
      if (!this.#pc || this.#pc.connectionState === "connected") return;
      if (this.#pc.signalingState === "have-local-offer") this.#sendDescription();
      else this.#pc.restartIce();
    });
  }

  reconfigure() { this.#pc?.setConfiguration(this.#mesh.configuration); }

  /** How loud they are at this moment: 0 to 1. */
  audioLevel() {
    const receiver = this.#transceiver("audio")?.receiver;
    return receiver?.getSynchronizationSources?.()[0]?.audioLevel ?? 0;
  }

  close() {
    this.#closed = true;
    this.#pc?.close();
  }

  async stats() {
    const result = {
      userId: this.userId,
      pcId: this.#pcId,
      state: this.state,
      connectionState: this.#pc?.connectionState ?? "new",
      iceConnectionState: this.#pc?.iceConnectionState ?? "new",
      signalingState: this.#pc?.signalingState ?? "stable",
      framesDecoded: 0,
      framesSent: 0,
      audioPackets: 0,
    };
    for (const report of (await this.#pc?.getStats())?.values() ?? []) {
      if (report.type === "inbound-rtp" && report.kind === "video") result.framesDecoded += report.framesDecoded ?? 0;
      if (report.type === "outbound-rtp" && report.kind === "video") result.framesSent += report.framesSent ?? 0;
      if (report.type === "inbound-rtp" && report.kind === "audio") result.audioPackets += report.packetsReceived ?? 0;
    }
    return result;
  }
}
