// One call on this device, from dialling or answering to its end.
// Owns: the call's local media, the way they go (`transport`), its phase and outcome.
// Never: decides who answered or whether the call is over: the node says so, in events.
// Survives: a reload of the page (`resume`), a reconnect of the socket to another node, missing devices.

import { isFinal, isGone, newId } from "../carillon-client.js";
import { CallMedia } from "../call-media.js";
import { LocalMedia } from "./media.js";
import { WORDS } from "./words.js";

// Somebody in the call with no connection to us: whoever was there first should have offered. Longer is silence.
const LOOK_FOR_MISSING_MS = 4_000;
// A notice that asks for nothing goes by itself.
const NOTICE_MS = 6_000;
const IN_CALL = new Set(["connecting", "joined", "reconnecting"]);

export class CallSession {
  /** `outgoing`, `connecting`, `active` or `ended`. */
  phase = "outgoing";
  /** `completed`, `declined`, `busy`, `no_answer`, `unreachable`, `cancelled`, `elsewhere` or `failed`, once ended. */
  outcome = null;
  /** Milliseconds of this clock, once connected. */
  startedAt = null;
  endedAt = null;
  /** Per user id: `calling`, `ringing`, `unreachable`, `declined`, `busy`, `missed`. */
  rings = new Map();
  /** A sentence for the user, when something is not as it should be. */
  notice = null;
  #client;
  #relayOnly;
  #flagsMode = "p2p";
  #onChange;
  #offs = [];
  #missing = new Set();
  #told = new Set();
  #timer;

  constructor({ client, callId, direction, peers, video, relayOnly = false, onChange }) {
    this.#client = client;
    this.#relayOnly = relayOnly;
    this.#onChange = onChange;
    this.callId = callId ?? newId();
    this.direction = direction;
    this.peers = peers;
    this.video = video;
    this.at = Date.now();
    this.selfId = client.userId;
    this.media = new LocalMedia((kind, track) => {
      this.transport.setTrack(kind, track).catch(() => {});
      this.#changed();
    });
    this.transport = this.#newTransport();
    this.#offs.push(client.on("*", (data, event) => this.#onEvent(event, data)));
    this.#timer = setInterval(() => this.#connectMissing(), LOOK_FOR_MISSING_MS);
  }

  get call() { return this.#client.calls.get(this.callId); }
  get isGroup() { return this.call?.isGroup ?? this.peers.length > 1; }

  /** Participants other than this user who are in the call now. */
  get others() {
    const known = this.call?.participants ?? [];
    return known.filter((one) => one.userId !== this.selfId && IN_CALL.has(one.status));
  }

  /**
   * What a participant says it sends: `{audio, video, screen}`; null if it never said, as clients may that do not care.
   */
  flagsOf(userId) {
    const flags = this.call?.participants?.find((one) => one.userId === userId);
    if (flags && (flags.audio || flags.video || flags.screen)) this.#told.add(userId);
    return this.#told.has(userId) && flags ? flags : null;
  }

  /** The state of the media: `connecting`, `connected` or `reconnecting`. */
  get mediaState() {
    const states = [...this.transport.peers.values()].map((peer) => peer.state);
    if (states.includes("connected")) return "connected";
    return states.includes("reconnecting") ? "reconnecting" : "connecting";
  }

  /** What of a media server is to be offered to the user: `{escalate, record, recording}`. */
  get offers() {
    const isOn = this.phase === "active" && this.#client.session?.mediaServer === true;
    const mine = this.call?.participants?.find((one) => one.userId === this.selfId);
    const leads = mine?.role === "host" || mine?.role === "cohost";
    return { escalate: isOn && this.call?.mode !== "sfu", record: isOn && leads, recording: this.isRecorded };
  }

  /** The call is being recorded, or will be in a moment. */
  get isRecorded() { return ["starting", "recording"].includes(this.call?.recording?.status); }

  // ---- Beginning ---------------------------------------------------------------------------------------------

  async dial() {
    for (const userId of this.peers) this.rings.set(userId, "calling");
    await this.media.open({ video: this.video });
    if (this.phase === "ended") return;
    this.#changed();
    try {
      const type = this.video ? "video" : "audio";
      const reply = await this.#client.request("call:start", { callId: this.callId, calleeIds: this.peers, type });
      if (reply.call.callId !== this.callId) this.#become(reply.call.callId);
      if (this.phase === "ended") { await this.#client.request("call:cancel", { callId: this.callId }); return; }
      this.transport.start(reply.media);
      this.#read(reply.call);
    } catch (error) {
      this.#fail(error);
    }
  }

  async accept() {
    this.phase = "connecting";
    this.#changed();
    // The camera may ask for permission for a long while; answering must not wait for it.
    const opened = this.media.open({ video: this.video });
    try {
      const reply = await this.#client.request("call:accept", { callId: this.callId });
      this.transport.start(reply.media);
      this.#read(reply.call);
      await opened;
      this.#changed();
      this.#sendFlags();
    } catch (error) {
      this.#fail(error);
    }
  }

  /** After a reload: this device is in the call, the page just does not know any more. */
  async resume() {
    const { call } = this;
    this.phase = call.status === "ringing" && call.initiatorId === this.selfId ? "outgoing" : "connecting";
    this.#changed();
    const opened = this.media.open({ video: this.video });
    let media = {};
    try {
      ({ media } = await this.#client.request("call:join", { callId: this.callId }));
    } catch { /* Without servers it works in one network. */ }
    if (this.phase === "ended") return;
    this.transport.start(media);
    await opened;
    if (this.phase === "ended") return;
    // The others hold connections to a page that is gone; an offer tells them so.
    for (const { userId } of this.others) this.transport.connect(userId);
    this.#read(call);
    this.#sendFlags();
  }

  // The other side called at the same moment: theirs is the call, already accepted by this device.
  #become(callId) {
    this.transport.close();
    this.callId = callId;
    this.direction = "in";
    this.transport = this.#newTransport();
    for (const kind of ["audio", "camera", "screen"]) this.transport.setTrack(kind, this.media[kind]);
    this.transport.setMuted(this.media.muted);
    this.phase = "connecting";
  }

  #newTransport() {
    return new CallMedia({
      client: this.#client, callId: this.callId, selfId: this.selfId, relayOnly: this.#relayOnly,
      onChange: () => this.#onMedia(),
      onMuted: (kind) => this.#muteAsTold(kind),
      onRefused: (kind) => this.#say(`The call does not take your ${WORDS[kind]}.`),
    });
  }

  // ---- Acting ------------------------------------------------------------------------------------------------

  async setMuted(muted) {
    this.media.setMuted(muted);
    this.transport.setMuted(muted);
    this.#changed();
    await this.#sendFlags();
  }

  async setCamera(on) {
    await this.media.setCamera(on);
    this.#changed();
    await this.#sendFlags();
  }

  async setScreen(on) {
    await this.media.setScreen(on, () => { this.#changed(); this.#sendFlags(); });
    this.#changed();
    await this.#sendFlags();
  }

  /** Moves the call onto the media server, where there is one. */
  async escalate() {
    try {
      await this.#client.request("call:escalate", { callId: this.callId });
    } catch (error) {
      this.#say(error.code === "media_unavailable" ? "There is no media server." : `This did not work: ${error.message}`);
    }
  }

  async setRecording(on) {
    try {
      await this.#client.request(on ? "recording:start" : "recording:stop", { callId: this.callId });
    } catch (error) {
      this.#say(error.code === "media_unavailable" ? "Calls cannot be recorded here." : `The recording did not ${on ? "start" : "stop"}: ${error.message}`);
    }
  }

  async invite(userIds) {
    for (const userId of userIds) this.rings.set(userId, "calling");
    this.#changed();
    try {
      await this.#client.request("call:invite", { callId: this.callId, userIds });
    } catch (error) {
      for (const userId of userIds) this.rings.delete(userId);
      this.notice = `Could not add ${userIds.join(", ")}: ${error.message}`;
      this.#changed();
    }
  }

  hangUp() {
    if (this.phase === "ended") return;
    const outcome = this.phase === "outgoing" ? "cancelled" : "completed";
    this.#hangUpOnWire();
    this.#finish(outcome);
  }

  #hangUpOnWire() {
    const { callId } = this;
    const quietly = (command) => this.#client.request(command, { callId });
    // Somebody may answer while the cancel is on its way: then it is a call, and we leave it.
    if (this.phase === "outgoing") quietly("call:cancel").catch(() => quietly("call:leave")).catch(() => {});
    else quietly(this.isGroup ? "call:leave" : "call:end").catch(() => {});
  }

  #sendFlags() {
    if (this.phase === "ended") return undefined;
    const { audio, muted, cameraOn, sharing } = this.media;
    this.#flagsMode = this.transport.mode;
    // From peer to peer the screen takes the camera's place; in a room both are to be seen.
    const video = cameraOn && (!sharing || this.#flagsMode === "sfu");
    return this.#client.request("call:media", { callId: this.callId, audio: audio !== null && !muted, video, screen: sharing }).catch(() => {});
  }

  #muteAsTold(kind) {
    if (this.phase === "ended") return;
    if (kind === "audio" && !this.media.muted) this.setMuted(true);
    else if (kind === "camera" && this.media.cameraOn) this.setCamera(false);
    else if (kind === "screen" && this.media.sharing) this.setScreen(false);
    else return;
    this.#say(`Your ${WORDS[kind]} was switched off by ${this.isGroup ? "a host" : "the other side"}.`);
  }

  // Says something for a while; what asks for an answer stays.
  #say(text) {
    this.notice = text;
    this.#changed();
    setTimeout(() => {
      if (this.notice !== text || this.phase === "ended") return;
      this.notice = null;
      this.#changed();
    }, NOTICE_MS);
  }

  // ---- Hearing -----------------------------------------------------------------------------------------------

  #onEvent(event, data) {
    if (data?.callId !== this.callId || this.phase === "ended") return;
    const theirs = data.userId !== undefined && data.userId !== this.selfId;
    switch (event) {
      case "call:ringing": this.rings.set(data.userId, "ringing"); break;
      case "call:unreachable": this.rings.set(data.userId, "unreachable"); break;
      case "call:declined": if (theirs) this.rings.set(data.userId, "declined"); break;
      case "call:busy": if (theirs) this.rings.set(data.userId, "busy"); break;
      case "call:missed": if (theirs) this.rings.set(data.userId, "missed"); break;
      case "call:accepted":
      case "call:participant_joined":
        if (theirs) this.#onTheyJoined(data.userId);
        break;
      case "call:participant_left":
        if (theirs) this.transport.remove(data.userId);
        else if (data.reason === "kicked") { this.#finish("completed"); return; }
        break;
      case "call:participant_updated":
        if (data.changes && ("audio" in data.changes || "video" in data.changes)) this.#told.add(data.userId);
        break;
      case "call:accepted_elsewhere": this.#finish("elsewhere"); return;
      case "call:kicked":
        if (theirs) this.transport.remove(data.userId);
        else { this.#finish("completed"); return; }
        break;
      case "call:transferred":
        if (!theirs) { this.#finish("completed"); return; }
        this.transport.remove(data.userId);
        break;
      case "call:mute_requested":
        if (data.userIds?.includes(this.selfId)) this.#muteAsTold(data.track === "video" ? "camera" : data.track);
        break;
      case "call:escalation_aborted":
        this.#say("The media server could not be reached: the call goes on as it was.");
        break;
      case "call:state": this.#read(this.call ?? data); break;
      case "call:ended": this.#finish(outcomeOf(data, this)); return;
      case "call:signal": return;
      default: // Flags and the like: the call object has them by now.
    }
    this.#changed();
  }

  #onTheyJoined(userId) {
    this.rings.delete(userId);
    if (this.phase === "outgoing") {
      this.phase = "connecting";
      this.#sendFlags();
    }
    this.transport.connect(userId);
  }

  #read(call) {
    if (this.phase === "ended" || !call) return;
    if (isFinal(call.status)) { this.#finish(outcomeOf({ reason: call.endReason, status: call.status }, this)); return; }
    for (const one of call.participants ?? []) {
      if (one.userId === this.selfId) continue;
      if (isGone(one.status)) this.transport.remove(one.userId);
      else if (this.transport.mode !== "p2p" && IN_CALL.has(one.status)) this.transport.connect(one.userId);
      else if (one.status === "ringing") this.rings.set(one.userId, "ringing");
    }
    if (call.status === "connecting" && this.phase === "outgoing") this.phase = "connecting";
    if (call.status === "active") this.#activate();
    if (this.call) this.transport.follow(this.call);
    this.#changed();
  }

  #onMedia() {
    if (this.phase === "ended") return;
    if (this.mediaState === "connected") this.#activate();
    if (this.media.sharing && this.#flagsMode !== this.transport.mode) this.#sendFlags();
    this.#changed();
  }

  #activate() {
    if (this.phase === "active") return;
    this.phase = "active";
    const began = Date.parse(this.call?.startedAt ?? "") - this.#client.clockOffsetMs;
    this.startedAt ??= Number.isFinite(began) ? Math.min(began, Date.now()) : Date.now();
    this.#sendFlags();
  }

  #connectMissing() {
    if (this.phase === "ended" || this.phase === "outgoing") return;
    const missing = this.others.map((one) => one.userId).filter((userId) => !this.transport.peers.has(userId));
    for (const userId of missing) if (this.#missing.has(userId)) this.transport.connect(userId);
    this.#missing = new Set(missing);
  }

  // ---- Ending ------------------------------------------------------------------------------------------------

  #fail(error) {
    if (error.code === "accepted_elsewhere") { this.#finish("elsewhere"); return; }
    if (error.code === "already_ended" || error.code === "wrong_state") { this.#finish("cancelled"); return; }
    this.notice = error.message;
    this.#finish(error.code === "busy" ? "busy" : "failed");
  }

  #finish(outcome) {
    if (this.phase === "ended") return;
    this.phase = "ended";
    this.outcome = outcome;
    this.endedAt = Date.now();
    clearInterval(this.#timer);
    for (const off of this.#offs) off();
    this.transport.close();
    this.media.close();
    this.#changed();
  }

  get durationSecs() {
    return this.startedAt === null ? 0 : ((this.endedAt ?? Date.now()) - this.startedAt) / 1000;
  }

  #changed() { this.#onChange(this); }
}

function outcomeOf({ reason, status }, session) {
  if (session.startedAt !== null && reason !== "media_failed" && reason !== "error") return "completed";
  if (["declined", "busy", "unreachable", "no_answer", "cancelled", "completed"].includes(reason)) return reason;
  return status === "missed" ? "no_answer" : "failed";
}
