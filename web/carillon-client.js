// The Carillon client: one session with a cluster, kept for as long as the page lives.
//
// Owns: the socket, the token it presents, the commands that have no answer yet, and for each call how far this
// device has read (`seq` for state events, `sig` for signals).
// Never: decides anything about a call, touches media, or puts a token into a URL.
// Survives: a lost or silent connection, a node that restarts, a call that moved to another owner, an event that came
// twice or not at all. The wire is docs/PROTOCOL, subprotocol `carillon.v1`.

const SUBPROTOCOL = "carillon.v1";
// The node closes the session on a longer frame, so such a command is refused here, where the caller can see it.
const MAX_FRAME_BYTES = 128 * 1024;
// Commands without an answer. Fewer would lose the ICE candidates of a call made while reconnecting; more would be a
// burst that the node's rate limit cuts off.
const MAX_PENDING = 256;
// How long a command may take, waiting for the connection included. Longer than the node's reconnect grace (15 s), so
// that what was asked just before a reconnect still arrives.
const COMMAND_TIMEOUT_MS = 20_000;
// The node gives up on a session without hello after 5 s; a connection that takes longer than twice that is dead.
const HELLO_TIMEOUT_MS = 10_000;
// Shorter would drop slow mobile links, longer would eat the reconnect grace.
const PROBE_TIMEOUT_MS = 5_000;
const BACKOFF_BASE_MS = 500;
// Longer than this and people reload the page by hand.
const BACKOFF_MAX_MS = 20_000;
// Events held back behind a hole; more than this and the hold is given up, the answer to `call:sync` has them anyway.
const MAX_HELD = 256;
// The node refuses a hello that resumes more calls.
const MAX_RESUMED = 64;
// Ended calls remembered, so that a late event about one is recognised as old.
const MAX_ENDED_CALLS = 50;
// A refused token may be renewed this often in a row: a token service with a wrong key would otherwise be asked for ever.
const MAX_REFUSALS = 3;
// Tries of one command that the node answered with a retryable error.
const MAX_TRIES = 5;

const CLOSE_UNAUTHENTICATED = 4001;
const CLOSE_TOKEN_EXPIRED = 4002;
const CLOSE_REPLACED = 4003;
const CLOSE_TOO_BIG = 4009;
const CLOSE_BY_OPERATOR = 4010;

const FINAL = new Set(["ended", "missed", "declined", "busy", "cancelled", "failed"]);
const GONE = new Set(["left", "declined", "busy", "missed", "kicked"]);

/** True when a call with this status is over. */
export const isFinal = (status) => FINAL.has(status);
/** True when a participant with this status is no longer in the call, nor rung. */
export const isGone = (status) => GONE.has(status);

/** A refusal or a fault, with the code of the protocol's table. */
export class CarillonError extends Error {
  constructor(code, message, { retryable = false, details, traceId } = {}) {
    super(message || code);
    this.name = "CarillonError";
    this.code = code;
    this.retryable = retryable;
    this.details = details;
    this.traceId = traceId;
  }
}

/** A random id: 122 bits where the platform has a random source (every browser). */
export function newId() {
  const crypto = globalThis.crypto;
  if (crypto?.randomUUID) return crypto.randomUUID();
  const bytes = new Uint8Array(16);
  if (crypto?.getRandomValues) crypto.getRandomValues(bytes);
  else for (let i = 0; i < 16; i += 1) bytes[i] = Math.random() * 256;
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

export class CarillonClient {
  /** Calls this device knows, by id; the objects keep their identity while events change them. */
  calls = new Map();
  /** `idle`, `connecting`, `connected`, `reconnecting` or `closed`. */
  state = "idle";
  /** The answer to the last hello, or null. */
  session = null;
  /** The node's clock minus this one's, in milliseconds; good to a network round trip. */
  clockOffsetMs = 0;

  #urls;
  #token;
  #getToken;
  #refusedToken;
  #refusals = 0;
  #deviceId;
  #ownsDeviceId;
  #deviceName;
  #WebSocket;
  #backoff;
  #socket = null;
  #attempt = 0;
  #failures = 0;
  #timers = {};
  #pending = new Map();
  #nextId = 1;
  #tracks = new Map();
  #listeners = new Map();
  #connecting = null;
  #lastHeard = 0;
  #hints = null;

  constructor(options = {}) {
    const { url, urls, token, getToken, deviceId, deviceName, backoff } = options;
    this.#urls = (urls ?? [url ?? globalThis.location?.href]).map(socketUrl);
    this.#token = token;
    this.#getToken = getToken;
    this.#ownsDeviceId = deviceId === undefined;
    this.#deviceId = deviceId;
    this.#deviceName = deviceName;
    this.#WebSocket = options.WebSocket ?? globalThis.WebSocket;
    this.#backoff = { baseMs: BACKOFF_BASE_MS, maxMs: BACKOFF_MAX_MS, random: Math.random, ...backoff };
  }

  get userId() { return this.session?.userId; }
  get deviceId() { return this.#deviceId; }
  /** The address in use, as a WebSocket URL. */
  get url() { return this.#urls[0]; }

  // ---- Listening ---------------------------------------------------------------------------------------------

  /** Calls `listener(data, event)` for every such event; `*` hears all. Returns the function that ends it. */
  on(event, listener) {
    if (!this.#listeners.has(event)) this.#listeners.set(event, new Set());
    this.#listeners.get(event).add(listener);
    return () => this.off(event, listener);
  }

  once(event, listener) {
    const off = this.on(event, (data, name) => { off(); listener(data, name); });
    return off;
  }

  off(event, listener) { this.#listeners.get(event)?.delete(listener); }

  #emit(event, data) {
    for (const name of [event, "*"]) {
      for (const listener of [...(this.#listeners.get(name) ?? [])]) {
        // A listener that throws must not stop the others, nor the reading of the socket.
        try { listener(data, event); } catch (error) { console.error("carillon: a listener failed", error); }
      }
    }
  }

  #setState(state, more = {}) {
    this.state = state;
    this.#emit("state", { state, ...more });
  }

  // ---- Connecting --------------------------------------------------------------------------------------------

  /** Resolves with the answer to hello; rejects when the credentials are refused or `close` was called. */
  connect() {
    if (this.state === "connected") return Promise.resolve(this.session);
    if (this.state === "idle" || this.state === "closed") {
      this.#failures = 0;
      this.#refusals = 0;
      this.#setState("connecting");
      this.#listenForHints();
      this.#open();
    }
    return this.#welcome();
  }

  /** Ends the session. It is no hang-up: leave or end calls first. Commands without an answer are rejected. */
  close() { this.#stop(new CarillonError("unavailable", "the client was closed")); }

  /** Drops the connection and makes a new one at once, at `url` if given; what was missed is caught up with. */
  reconnect(url) {
    if (url !== undefined) {
      const next = socketUrl(url);
      this.#urls = [next, ...this.#urls.filter((other) => other !== next)];
    }
    if (this.state === "idle" || this.state === "closed") return this.connect();
    this.#dropSocket();
    this.#failures = 0;
    this.session = null;
    this.#setState("reconnecting", { retryInMs: 0 });
    this.#open();
    return this.#welcome();
  }

  #welcome() {
    this.#connecting ??= deferred();
    return this.#connecting.promise;
  }

  async #open() {
    this.#attempt += 1;
    const attempt = this.#attempt;
    clearTimeout(this.#timers.retry);
    this.#timers.retry = undefined;
    let token;
    try {
      if (this.#ownsDeviceId && !this.#deviceId) this.#deviceId = await claimDeviceId();
      token = await this.#currentToken();
    } catch (error) {
      // The token service does not answer: that says nothing about the credentials, so try again later.
      if (attempt === this.#attempt) this.#retryLater({}, error);
      return;
    }
    if (attempt !== this.#attempt) return;
    if (token === undefined || token === this.#refusedToken) {
      this.#stop(new CarillonError("unauthenticated", "no token that the node accepts"), CLOSE_UNAUTHENTICATED);
      return;
    }
    this.#token = token;
    let socket;
    try {
      socket = new this.#WebSocket(this.#urls[0], [SUBPROTOCOL]);
    } catch (error) {
      this.#retryLater({}, error);
      return;
    }
    this.#socket = socket;
    const mine = (handler) => (event) => { if (socket === this.#socket) handler(event); };
    this.#timers.hello = setTimeout(mine(() => this.#onClosed(1006, "")), HELLO_TIMEOUT_MS);
    socket.onopen = mine(() => this.#sendHello(socket, token));
    socket.onmessage = mine((event) => this.#onFrame(event.data));
    socket.onclose = mine((event) => this.#onClosed(event.code, event.reason));
    socket.onerror = () => {}; // A close event always follows, with the code.
  }

  async #currentToken() {
    if (this.#token !== undefined) return this.#token;
    return this.#getToken?.({ reason: this.#refusedToken === undefined ? "connect" : "refused" });
  }

  #sendHello(socket, token) {
    const open = [...this.calls.values()].filter((call) => !isFinal(call.status));
    const resume = open.slice(-MAX_RESUMED).map((call) => this.#position(call.callId));
    const data = { token, deviceId: this.#deviceId, deviceName: this.#deviceName, resume };
    this.#pending.delete("hello");
    socket.send(JSON.stringify({ id: "hello", event: "session:hello", data }));
  }

  #onHello(session) {
    clearTimeout(this.#timers.hello);
    this.#failures = 0;
    this.#refusals = 0;
    this.#refusedToken = undefined;
    this.session = session;
    this.clockOffsetMs = (Date.parse(session.serverTime ?? "") || Date.now()) - Date.now();
    this.#deviceId = session.deviceId ?? this.#deviceId;
    const listed = new Set();
    for (const call of session.activeCalls ?? []) {
      listed.add(call.callId);
      // A call this device already follows is brought up to date by the events that come now, one by one.
      if (!this.calls.has(call.callId)) this.#adoptFromHello(call);
    }
    this.#watchSilence((session.pingIntervalSecs || 25) * 1000);
    this.#setState("connected");
    this.#emit("hello", session);
    this.#connecting?.resolve(session);
    this.#connecting = null;
    this.#flush();
    const unlisted = [...this.calls.values()].filter((call) => !isFinal(call.status) && !listed.has(call.callId));
    if (unlisted.length > 0) this.#checkLater(unlisted);
  }

  // A call that ended while this device was away is told of by a missed event. Should the node know nothing of it any
  // more, nobody would ever end it here: so ask once the missed events must be through.
  #checkLater(calls) {
    clearTimeout(this.#timers.check);
    this.#timers.check = setTimeout(() => {
      for (const call of calls) if (!isFinal(call.status)) this.#sync(this.#track(call.callId), call.callId);
    }, 2_000);
  }

  #onClosed(code, reason) {
    const { retryAfterMs } = parseReason(reason);
    const wasSent = [...this.#pending.values()].filter((command) => command.sent);
    this.#dropSocket();
    this.session = null;
    if (code === CLOSE_REPLACED) {
      this.#stop(new CarillonError("unauthenticated", "another session of this device took over"), code);
      return;
    }
    if (code === CLOSE_BY_OPERATOR) {
      // Somebody has sent this user away: to come back at once would undo that. `connect` comes back.
      this.#stop(new CarillonError("disconnected_by_operator", "an operator has ended the session"), code);
      this.#emit("disconnected", { code, reason: "disconnected_by_operator" });
      return;
    }
    if (code === CLOSE_UNAUTHENTICATED || code === CLOSE_TOKEN_EXPIRED) {
      this.#refusals += 1;
      this.#refusedToken = this.#token;
      this.#token = undefined;
      if (!this.#getToken || this.#refusals > MAX_REFUSALS) {
        const expired = code === CLOSE_TOKEN_EXPIRED;
        this.#stop(new CarillonError(expired ? "token_expired" : "unauthenticated", "the node refused the token"), code);
        return;
      }
    }
    if (code === CLOSE_TOO_BIG) {
      // Sent again, it would close the next session as well.
      for (const command of wasSent) this.#settle(command, new CarillonError("too_large", "the node found a frame too big"));
    }
    // The next address of the list, if there is one: this node is going away, or cannot be reached.
    this.#urls.push(this.#urls.shift());
    this.#retryLater({ retryAfterMs, code });
  }

  #retryLater({ retryAfterMs, code }, error) {
    const ceiling = Math.min(this.#backoff.maxMs, this.#backoff.baseMs * 2 ** this.#failures);
    // Full jitter: clients that lost the same node at the same moment must not come back at the same moment.
    const delay = (retryAfterMs ?? 0) + this.#backoff.random() * ceiling;
    this.#failures = Math.min(this.#failures + 1, 16);
    this.#timers.retry = setTimeout(() => this.#open(), delay);
    this.#setState(this.state === "connecting" ? "connecting" : "reconnecting", { retryInMs: delay, code, error });
  }

  #dropSocket() {
    const socket = this.#socket;
    this.#socket = null;
    this.#attempt += 1;
    for (const timer of ["hello", "retry", "silence", "probe", "check"]) {
      clearTimeout(this.#timers[timer]);
      this.#timers[timer] = undefined;
    }
    // Every command may be repeated, so what has no answer is sent again in the same order.
    for (const command of this.#pending.values()) command.sent = false;
    try { socket?.close(1000); } catch { /* It was not open yet. */ }
  }

  #stop(error, code = 1000) {
    if (this.state === "closed") return;
    this.#dropSocket();
    this.#hints?.abort();
    this.session = null;
    for (const command of [...this.#pending.values()]) this.#settle(command, error);
    const connecting = this.#connecting;
    this.#connecting = null;
    this.#setState("closed", { code, error });
    // Who did not ask for the promise must not be told of an unhandled rejection.
    connecting?.promise.catch(() => {});
    connecting?.reject(error);
  }

  // ---- Noticing a dead connection ----------------------------------------------------------------------------

  // A page cannot see the node's pings. When nothing was heard for two of them, it asks something small.
  #watchSilence(intervalMs) {
    this.#lastHeard = Date.now();
    const look = () => {
      if (Date.now() - this.#lastHeard >= 2 * intervalMs) this.#probe();
      this.#timers.silence = setTimeout(look, intervalMs);
    };
    this.#timers.silence = setTimeout(look, intervalMs);
  }

  #probe() {
    if (this.state !== "connected" || this.#timers.probe !== undefined) return;
    const heard = this.#lastHeard;
    this.#write({ id: "probe", event: "presence:get", data: { userIds: [this.userId] } });
    this.#timers.probe = setTimeout(() => {
      this.#timers.probe = undefined;
      if (this.#lastHeard === heard) this.#onClosed(1006, "");
    }, PROBE_TIMEOUT_MS);
  }

  // The browser's word on the network is a hint and no more: it makes us look now, it never keeps us from trying.
  #listenForHints() {
    const page = globalThis.window;
    if (!page?.addEventListener || this.#hints?.signal.aborted === false) return;
    this.#hints = new AbortController();
    const { signal } = this.#hints;
    const look = () => {
      if (this.state === "connected") this.#probe();
      else if (this.#timers.retry !== undefined) { this.#failures = 0; this.#open(); }
    };
    page.addEventListener("online", look, { signal });
    page.addEventListener("offline", () => this.#probe(), { signal });
    page.addEventListener("pageshow", look, { signal });
    page.document?.addEventListener("visibilitychange", () => {
      if (page.document.visibilityState === "visible") look();
    }, { signal });
  }

  // ---- Commands ----------------------------------------------------------------------------------------------

  /**
   * Sends a command; resolves with the reply's data, rejects with a `CarillonError`. While there is no connection the
   * command waits, for at most `timeoutMs`; after a reconnect, and after a retryable error, it is sent again.
   */
  request(command, data = {}, { timeoutMs = COMMAND_TIMEOUT_MS } = {}) {
    if (this.state === "idle" || this.state === "closed") {
      return Promise.reject(new CarillonError("unavailable", "not connected", { retryable: true }));
    }
    if (this.#pending.size >= MAX_PENDING) {
      return Promise.reject(new CarillonError("unavailable", "too many commands wait", { retryable: true }));
    }
    // With an id of its own a repeated start is the same call.
    const body = command === "call:start" && !data.callId ? { ...data, callId: newId() } : data;
    const id = String(this.#nextId);
    this.#nextId += 1;
    const frame = JSON.stringify({ id, event: command, data: body });
    if (new TextEncoder().encode(frame).length > MAX_FRAME_BYTES) {
      return Promise.reject(new CarillonError("too_large", "the command is longer than 128 KiB"));
    }
    const { promise, resolve, reject } = deferred();
    const entry = { id, frame, resolve, reject, sent: false, tries: 0, deadline: Date.now() + timeoutMs };
    entry.timer = setTimeout(() => {
      this.#settle(entry, new CarillonError("unavailable", `${command} was not answered in time`, { retryable: true }));
    }, timeoutMs);
    this.#pending.set(id, entry);
    this.#flush();
    return promise;
  }

  #flush() {
    if (this.state !== "connected") return;
    for (const command of this.#pending.values()) {
      if (command.sent) continue;
      command.sent = true;
      clearTimeout(command.retryTimer);
      this.#socket.send(command.frame);
    }
  }

  #write(frame) { this.#socket?.send(JSON.stringify(frame)); }

  #settle(command, error, data) {
    this.#pending.delete(command.id);
    clearTimeout(command.timer);
    clearTimeout(command.retryTimer);
    if (error) command.reject(error);
    else command.resolve(data);
  }

  #onReply({ reply, ok, data, error }) {
    if (reply === "hello") {
      if (ok) this.#onHello(data);
      else this.#onClosed(closeCodeFor(error?.code), JSON.stringify(error?.details ?? {}));
      return;
    }
    const command = this.#pending.get(reply);
    if (!command) return;
    if (ok) {
      if (data?.call) this.#adopt(data.call);
      this.#settle(command, null, data ?? {});
      return;
    }
    const refusal = new CarillonError(error?.code ?? "internal", error?.message, error ?? {});
    command.tries += 1;
    const wait = error?.details?.retryAfterMs ?? 200 * 2 ** command.tries * (0.5 + this.#backoff.random() / 2);
    if (refusal.retryable && command.tries < MAX_TRIES && Date.now() + wait < command.deadline) {
      command.retryTimer = setTimeout(() => { command.sent = false; this.#flush(); }, wait);
    } else {
      this.#settle(command, refusal);
    }
  }

  // ---- Events ------------------------------------------------------------------------------------------------

  #onFrame(text) {
    this.#lastHeard = Date.now();
    clearTimeout(this.#timers.probe);
    this.#timers.probe = undefined;
    let frame;
    try { frame = JSON.parse(text); } catch { return; }
    if (frame?.reply !== undefined) this.#onReply(frame);
    else if (typeof frame?.event === "string") this.#onEvent(frame.event, frame.data ?? {}, false);
  }

  // `settled`: the node has been asked about holes, so what comes now is all there is.
  #onEvent(event, data, settled) {
    if (event === "session:expiring") this.#refresh();
    const callId = data.callId ?? data.call?.callId;
    if (callId === undefined) return this.#emit(event, data);
    if (event === "call:signal") return this.#onSignal(callId, data, settled);
    if (typeof data.seq !== "number") return this.#emit(event, data);

    const track = this.#track(callId);
    const late = event === "call:incoming" && track.mayRing;
    if (data.seq <= track.seq && !late) return undefined; // Seen already.
    if (data.call) track.known = Math.max(track.known, data.call.seq ?? 0);
    const hole = !data.snapshot && data.prev > Math.max(track.seq, track.known);
    if (hole && !settled) return this.#hold(track, callId, event, data);
    track.mayRing = false;
    track.seq = Math.max(track.seq, data.seq);
    this.#apply(callId, event, data);
    this.#emit(event, data);
    const call = this.calls.get(callId);
    if (data.snapshot && data.call && isFinal(data.call.status)) {
      // A whole call that is over, in place of the events: who listens for the end is told of it all the same.
      const { endReason: reason, endedBy: by, durationSecs = 0, status } = data.call;
      this.#emit("call:ended", { callId, seq: data.seq, prev: 0, reason, by, durationSecs, status, snapshot: true });
    }
    if (call) this.#emit("call", call);
    return undefined;
  }

  #onSignal(callId, data, settled) {
    const track = this.#track(callId);
    if (typeof data.sig === "number") {
      const epoch = data.epoch ?? 0;
      if (track.epoch !== undefined && epoch < track.epoch) return; // From an owner that is no longer the owner.
      if (track.epoch !== undefined && epoch > track.epoch) track.sig = 0;
      track.epoch = epoch;
      if (track.sig !== undefined && data.sig <= track.sig) return;
      if (track.sig !== undefined && data.sig > track.sig + 1 && !settled) {
        this.#hold(track, callId, "call:signal", data);
        return;
      }
      track.sig = data.sig;
    }
    this.#emit("call:signal", data);
  }

  #hold(track, callId, event, data) {
    if (track.held.length < MAX_HELD) track.held.push({ event, data });
    this.#sync(track, callId);
  }

  async #sync(track, callId) {
    if (track.syncing) return;
    track.syncing = true;
    try {
      // Signals from before this page was loaded belong to connections that are gone with the former page.
      const wantsSignals = track.sig !== undefined;
      const { events = [] } = await this.request("call:sync", this.#position(callId));
      for (const { event, data } of events) {
        if (event !== "call:signal" || wantsSignals) this.#onEvent(event, data, true);
      }
    } catch (error) {
      const call = this.calls.get(callId);
      if ((error.code === "not_found" || error.code === "not_participant") && call && !isFinal(call.status)) {
        // The node knows no such call of ours: for this device it is over, and somebody has to say so.
        const data = { callId, reason: "error", status: "failed", durationSecs: call.durationSecs ?? 0, local: true };
        this.#apply(callId, "call:ended", data);
        this.#emit("call:ended", data);
        this.#emit("call", call);
      }
    } finally {
      track.syncing = false;
      const held = track.held;
      track.held = [];
      for (const { event, data } of held) this.#onEvent(event, data, true);
    }
  }

  // What this device has seen of a call. `seq`: the last event given to the listeners. `known`: what a reply's call
  // object already contains, so that an event built on it is no hole. `sig` undefined: where the count stands is
  // unknown (the page was reloaded), so the next signal tells.
  #track(callId) {
    let track = this.#tracks.get(callId);
    if (!track) {
      track = { seq: 0, known: 0, epoch: undefined, sig: 0, held: [], syncing: false, mayRing: false };
      this.#tracks.set(callId, track);
    }
    return track;
  }

  #position(callId) {
    const { seq, sig, epoch } = this.#track(callId);
    return { callId, seq, sig, epoch };
  }

  // ---- Call objects ------------------------------------------------------------------------------------------

  #adoptFromHello(call) {
    const track = this.#track(call.callId);
    track.seq = Math.max(track.seq, call.seq ?? 0);
    track.sig = undefined;
    // A user who is being rung is told of it by `call:incoming` too, of a `seq` that the object already contains.
    const me = call.participants?.find((participant) => participant.userId === this.userId);
    track.mayRing = me?.status === "invited" || me?.status === "ringing";
    this.#adopt(call);
  }

  #adopt(call) {
    const track = this.#track(call.callId);
    track.known = Math.max(track.known, call.seq ?? 0);
    const mine = this.calls.get(call.callId);
    if (!mine) {
      this.calls.set(call.callId, { participants: [], ...call });
      this.#forgetOldCalls();
    } else if ((call.seq ?? 0) >= (mine.seq ?? 0)) {
      replace(mine, call);
    }
    this.#emit("call", this.calls.get(call.callId));
  }

  #apply(callId, event, data) {
    const call = this.calls.get(callId);
    if (data.call && (!call || (data.call.seq ?? 0) >= (call.seq ?? 0))) {
      if (call) replace(call, data.call);
      else this.calls.set(callId, { participants: [], ...data.call });
      this.#forgetOldCalls();
    }
    const changed = this.calls.get(callId);
    if (!changed || (data.seq !== undefined && data.seq <= (changed.seq ?? 0))) return;
    applyEvent(changed, event, data);
    if (data.seq !== undefined) changed.seq = data.seq;
  }

  #forgetOldCalls() {
    const ended = [...this.calls.values()].filter((call) => isFinal(call.status));
    for (const call of ended.slice(0, Math.max(0, ended.length - MAX_ENDED_CALLS))) {
      this.calls.delete(call.callId);
      this.#tracks.delete(call.callId);
    }
  }

  async #refresh() {
    if (!this.#getToken) return;
    try {
      const token = await this.#getToken({ reason: "expiring" });
      await this.request("session:refresh", { token });
      this.#token = token;
    } catch (error) {
      // Not fatal: when the session ends the token is asked for again.
      this.#emit("error", { event: "session:refresh", error });
    }
  }
}

/** Changes a call object as the event says. Events that change nothing visible in the object are left alone. */
export function applyEvent(call, event, data) {
  const who = (userId, changes) => {
    let participant = call.participants.find((other) => other.userId === userId);
    if (!participant && userId !== undefined) {
      participant = { userId, role: "participant", status: "invited", audio: false, video: false, screen: false, handRaised: false, held: false };
      call.participants.push(participant);
    }
    if (participant) Object.assign(participant, changes);
  };
  // Who comes in says anew what they send.
  const enter = (changes) => {
    who(data.userId, { deviceId: data.deviceId, audio: false, video: false, screen: false, ...changes });
    call.startedAt ??= data.at;
    if (["initiating", "waiting", "ringing"].includes(call.status)) call.status = "connecting";
  };
  switch (event) {
    case "call:ringing": who(data.userId, { status: "ringing" }); break;
    case "call:accepted":
      enter({ status: "connecting" });
      break;
    case "call:accepted_elsewhere":
      if (data.userId) who(data.userId, { status: "connecting", deviceId: data.deviceId });
      break;
    case "call:declined": who(data.userId, { status: "declined" }); break;
    case "call:busy": who(data.userId, { status: "busy" }); break;
    case "call:missed": who(data.userId, { status: "missed" }); break;
    case "call:kicked": who(data.userId, { status: "kicked" }); break;
    case "call:participant_invited":
      for (const userId of data.userIds ?? [data.userId]) who(userId, { status: "invited" });
      break;
    case "call:participant_joined":
      enter({ status: "connecting", ...data.participant });
      break;
    case "call:participant_reconnecting": who(data.userId, { status: "reconnecting" }); break;
    case "call:participant_left": who(data.userId, { status: "left", leaveReason: data.reason }); break;
    case "call:participant_updated": who(data.userId, data.changes ?? {}); break;
    case "call:lobby_waiting": who(data.userId, { status: "lobby" }); break;
    case "call:denied": who(data.userId, { status: "left", leaveReason: "declined" }); break;
    case "call:transferred": who(data.userId, { status: "left", leaveReason: "completed" }); break;
    case "call:hand_raised": who(data.userId, { handRaised: data.raised !== false }); break;
    case "call:held": who(data.userId, { held: true }); break;
    case "call:resumed": who(data.userId, { held: false }); break;
    case "call:escalating": call.escalating = { cause: data.cause, by: data.by, deadline: data.deadline }; break;
    case "call:escalated":
      call.mode = "sfu";
      delete call.escalating;
      break;
    case "call:escalation_aborted": delete call.escalating; break;
    case "recording:started":
    case "recording:stopped":
    case "recording:ready":
      call.recording = { ...call.recording, recordingId: data.recordingId, ...recordingStatus(event, data) };
      break;
    case "call:state":
      if (data.status) call.status = data.status;
      if (data.recording) call.recording = { ...call.recording, ...data.recording };
      if (data.locked !== undefined) Object.assign(call, { locked: data.locked, lobby: data.lobby });
      else if (data.status === "active") {
        for (const other of call.participants) {
          const isConnected = data.connected === undefined || data.connected.includes(other.userId);
          if (isConnected && other.status === "connecting") other.status = "joined";
        }
      }
      break;
    case "call:ended":
      call.status = data.status ?? "ended";
      call.endReason = data.reason;
      call.endedBy = data.by;
      call.endedAt = data.at;
      call.durationSecs = data.durationSecs;
      break;
    default:
  }
}

// A whole call in place of what was known; the object stays the same.
function replace(call, news) {
  for (const field of ["escalating", "recording"]) if (!(field in news)) delete call[field];
  Object.assign(call, news);
}

function recordingStatus(event, data) {
  return { status: data.status ?? { "recording:started": "starting", "recording:stopped": "processing", "recording:ready": "ready" }[event] };
}

// ---- Helpers -------------------------------------------------------------------------------------------------

function deferred() {
  const result = {};
  result.promise = new Promise((resolve, reject) => Object.assign(result, { resolve, reject }));
  return result;
}

/** `http://host`, `ws://host/ws` or a page's address, as the address of the WebSocket. Query and fragment go. */
export function socketUrl(address) {
  const url = new URL(address, globalThis.location?.href);
  const secure = url.protocol === "https:" || url.protocol === "wss:";
  const path = url.protocol.startsWith("ws") && url.pathname !== "/" ? url.pathname : "/ws";
  return `${secure ? "wss:" : "ws:"}//${url.host}${path}`;
}

function parseReason(reason) {
  try {
    const { retryAfterMs } = JSON.parse(reason);
    return Number.isFinite(retryAfterMs) && retryAfterMs >= 0 ? { retryAfterMs } : {};
  } catch {
    return {};
  }
}

function closeCodeFor(code) {
  if (code === "token_expired") return CLOSE_TOKEN_EXPIRED;
  return code === "unauthenticated" || code === "forbidden" ? CLOSE_UNAUTHENTICATED : 1006;
}

// One device per tab, the same after a reload. A duplicated tab starts with a copy of the storage: the lock tells the
// copy that the id is in use. A reloaded page may have to wait a moment until its former self has let go.
async function claimDeviceId() {
  let storage;
  try { storage = globalThis.sessionStorage; } catch { /* Storage may be forbidden. */ }
  const known = storage?.getItem("carillon.deviceId");
  const id = known && (await lockFor(`carillon.device.${known}`)) ? known : newId();
  if (id !== known) {
    await lockFor(`carillon.device.${id}`);
    try { storage?.setItem("carillon.deviceId", id); } catch { /* Full or forbidden: a new device on each load. */ }
  }
  return id;
}

function lockFor(name) {
  const locks = globalThis.navigator?.locks;
  if (!locks || !globalThis.AbortSignal?.timeout) return Promise.resolve(true);
  return new Promise((resolve) => {
    // Held until the page goes.
    locks.request(name, { signal: AbortSignal.timeout(500) }, () => {
      resolve(true);
      return new Promise(() => {});
    }).catch(() => resolve(false));
  });
}
