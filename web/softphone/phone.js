// The telephone of one signed-in user: which call is on, which ones ring, what is remembered.
// Owns: at most one call session, the calls that ring here, the list of recent ones.
// Never: touches the page; the views read it and call its methods.

import { isGone } from "../carillon-client.js";
import { Recents } from "./recents.js";
import { CallSession } from "./session.js";

// What this device missed comes in one burst, the beginning of a ring and its end: only what is not over by then rings.
const SETTLE_MS = 80;

export class Phone {
  /** The call on this device, also for a moment after its end; or null. */
  session = null;
  connection = { state: "connecting" };
  recents = null;
  #client;
  #relayOnly;
  #onChange;
  #onNotice;
  #recorded = new Set();
  #rings = [];

  /** `onChange()` after every change; `onNotice(text)` for what has no place of its own. */
  constructor({ client, relayOnly = false, onChange, onNotice }) {
    this.#client = client;
    this.#relayOnly = relayOnly;
    this.#onChange = onChange;
    this.#onNotice = onNotice;
    client.on("state", (state) => { this.connection = state; onChange(); });
    client.on("hello", (session) => this.#onHello(session));
    client.on("*", (data, event) => this.#onEvent(event, data));
  }

  /** Calls that ring here, oldest first: `{callId, from, others, video, isGroup}`. */
  get incoming() { return this.#rings.filter((ring) => ring.isAudible); }
  get userId() { return this.#client.userId; }

  // ---- What the user does ------------------------------------------------------------------------------------

  call(userIds, { video }) {
    const peers = [...new Set(userIds)].filter((userId) => userId !== this.userId);
    if (peers.length === 0) { this.#onNotice("That is you. Call somebody else."); return; }
    if (this.session && this.session.phase !== "ended") { this.#onNotice("There is a call already. Hang up first."); return; }
    this.#begin({ direction: "out", peers, video }).dial();
  }

  accept(callId, { video }) {
    const ring = this.#rings.find((one) => one.callId === callId);
    if (!ring) return;
    this.#stopRinging(callId);
    this.session?.hangUp();
    this.#begin({ callId, direction: "in", peers: [ring.from, ...ring.others], video }).accept();
  }

  decline(callId) {
    const ring = this.#stopRinging(callId);
    if (!ring) return;
    this.#client.request("call:decline", { callId }).catch(() => {});
    this.#remember(ring, "declined");
    this.#onChange();
  }

  /** Takes the ended call off the screen. */
  dismiss() {
    if (this.session?.phase === "ended") this.session = null;
    this.#onChange();
  }

  close() {
    this.session?.hangUp();
    this.#rings = [];
    this.#client.close(); // What was sent before still goes out.
  }

  #begin(options) {
    const session = new CallSession({ client: this.#client, relayOnly: this.#relayOnly, ...options, onChange: (one) => this.#onSession(one) });
    this.session = session;
    this.#onChange();
    return session;
  }

  #onSession(session) {
    // The other side's call became ours (glare): it no longer rings here.
    this.#stopRinging(session.callId);
    if (session.phase === "ended" && !this.#recorded.has(session)) {
      this.#recorded.add(session);
      const { callId, peers, direction, video, at, durationSecs } = session;
      // A caller who gave up before we were through: for us a missed call.
      const outcome = direction === "in" && session.outcome === "cancelled" ? "missed" : session.outcome;
      this.recents.add({ callId, peers, direction, video, at, outcome, durationSecs });
    }
    this.#onChange();
  }

  // ---- What the node says ------------------------------------------------------------------------------------

  #onHello(session) {
    if (!this.recents) this.recents = new Recents(session.userId);
    const active = new Map((session.activeCalls ?? []).map((call) => [call.callId, call]));
    for (const call of active.values()) {
      const mine = call.participants?.find((one) => one.userId === session.userId);
      if (!mine || isGone(mine.status)) continue;
      if (mine.status === "invited" || mine.status === "ringing") this.#ring(call, call.initiatorId);
      else if (mine.deviceId === session.deviceId && !this.session) this.#resume(call);
    }
    this.#onChange();
  }

  #resume(call) {
    const peers = call.participants.map((one) => one.userId).filter((userId) => userId !== this.userId);
    const direction = call.initiatorId === this.userId ? "out" : "in";
    this.#begin({ callId: call.callId, direction, peers, video: call.type === "video" }).resume();
  }

  #onEvent(event, data) {
    const callId = data?.callId ?? data?.call?.callId;
    const mine = data?.userId === undefined || data.userId === this.userId;
    switch (event) {
      case "call:incoming":
        this.#ring(data.call ?? this.#client.calls.get(callId), data.from?.userId ?? data.from);
        return;
      case "call:accepted_elsewhere":
        if (this.#settle(callId, "elsewhere")) this.#onNotice("Answered on another device.");
        return;
      case "call:declined_elsewhere":
        if (this.#settle(callId, "declined")) this.#onNotice("Declined on another device.");
        return;
      case "call:cancelled": this.#settle(callId, "missed"); return;
      case "call:missed": if (mine) this.#settle(callId, "missed"); return;
      case "call:declined": if (mine) this.#settle(callId, "declined"); return;
      case "call:ended": this.#settle(callId, "missed"); return;
      case "call:state":
        if (data.snapshot) this.#checkRing(callId);
        return;
      default:
    }
  }

  #ring(call, from) {
    if (!call || this.session?.callId === call.callId || this.#rings.some((one) => one.callId === call.callId)) return;
    const caller = from ?? call.initiatorId;
    const others = (call.participants ?? []).map((one) => one.userId).filter((id) => id !== caller && id !== this.userId);
    const ring = {
      callId: call.callId, from: caller, others, video: call.type === "video", isGroup: Boolean(call.isGroup), at: Date.now(), isAudible: false,
    };
    this.#rings.push(ring);
    setTimeout(() => {
      if (!this.#rings.includes(ring)) return;
      ring.isAudible = true;
      this.#client.request("call:ringing", { callId: ring.callId }).catch(() => {});
      this.#onChange();
    }, SETTLE_MS);
  }

  // A snapshot stands for events that are gone: perhaps it rings no more.
  #checkRing(callId) {
    const mine = this.#client.calls.get(callId)?.participants.find((one) => one.userId === this.userId);
    if (mine && mine.status !== "invited" && mine.status !== "ringing") {
      this.#settle(callId, mine.status === "declined" ? "declined" : isGone(mine.status) ? "missed" : "elsewhere");
    }
  }

  #settle(callId, outcome) {
    const ring = this.#stopRinging(callId);
    if (!ring) return false;
    // Settled on another device before this one was there: not a call of this one.
    if (!ring.isAudible && outcome !== "missed") return false;
    this.#remember(ring, outcome);
    this.#onChange();
    return true;
  }

  #stopRinging(callId) {
    const ring = this.#rings.find((one) => one.callId === callId);
    this.#rings = this.#rings.filter((one) => one !== ring);
    return ring;
  }

  #remember(ring, outcome) {
    this.recents?.add({
      callId: ring.callId, peers: [ring.from, ...ring.others], direction: "in", video: ring.video, outcome, at: ring.at, durationSecs: 0,
    });
  }
}
