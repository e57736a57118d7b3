// The client against a socket that misbehaves on purpose: `node --test client.test.mjs`. No network, no browser.

import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import { applyEvent, CarillonClient, CarillonError, socketUrl } from "../../web/carillon-client.js";

/** A socket whose other end is the test. */
class FakeSocket {
  static all = [];
  static get last() { return FakeSocket.all.at(-1); }
  sent = [];
  closed = null;

  constructor(url, protocols) {
    this.url = url;
    this.protocols = protocols;
    FakeSocket.all.push(this);
    queueMicrotask(() => this.onopen?.({}));
  }

  send(text) { this.sent.push(JSON.parse(text)); }
  close(code) { this.closed = code; }

  // What the node does:
  say(event, data) { this.onmessage({ data: JSON.stringify({ event, data }) }); }
  reply(id, data) { this.onmessage({ data: JSON.stringify({ reply: id, ok: true, data }) }); }
  refuse(id, error) { this.onmessage({ data: JSON.stringify({ reply: id, ok: false, error }) }); }
  end(code, reason = "") { this.onclose({ code, reason }); }
  commands(name) { return this.sent.filter((frame) => frame.event === name); }
}

const clients = [];
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

afterEach(() => {
  for (const client of clients.splice(0)) client.close();
  FakeSocket.all = [];
});

async function until(look, what = "a condition") {
  const deadline = Date.now() + 2_000;
  for (;;) {
    const result = look();
    if (result) return result;
    if (Date.now() > deadline) assert.fail(`waited in vain for ${what}`);
    await sleep(2);
  }
}

function makeClient(options = {}) {
  const client = new CarillonClient({
    url: "http://node-a.test:4000", token: "t1", deviceId: "d1", WebSocket: FakeSocket,
    backoff: { baseMs: 10, random: () => 0.5 }, ...options,
  });
  clients.push(client);
  return client;
}

async function welcome(nth, more = {}) {
  const socket = await until(() => FakeSocket.all[nth]?.sent[0] && FakeSocket.all[nth], `socket ${nth} to say hello`);
  socket.reply("hello", {
    sessionId: "s", userId: "alice", deviceId: "d1", nodeId: "n", serverTime: new Date().toISOString(), pingIntervalSecs: 20, activeCalls: [], ...more,
  });
  return socket;
}

async function connected(options, more) {
  const client = makeClient(options);
  const done = client.connect();
  const socket = await welcome(0, more);
  await done;
  return { client, socket };
}

const participant = (userId, status) => ({ userId, role: "participant", status, audio: true, video: false, screen: false });
const call = (more = {}) => ({
  callId: "c1", type: "audio", mode: "p2p", status: "ringing", initiatorId: "alice", isGroup: false, seq: 1,
  participants: [participant("alice", "joined"), participant("bob", "ringing")], ...more,
});

function heard(client) {
  const list = [];
  client.on("*", (data, event) => { if (data?.seq !== undefined && event.startsWith("call:")) list.push(data.seq); });
  return list;
}

test("the token is in the first frame and never in the address", async () => {
  const { socket } = await connected({ url: "http://node-a.test:4000/?x=1#token=secret", deviceName: "Tab" });
  assert.equal(socket.url, "ws://node-a.test:4000/ws");
  assert.deepEqual(socket.protocols, ["carillon.v1"]);
  assert.deepEqual(socket.sent[0], { id: "hello", event: "session:hello", data: { token: "t1", deviceId: "d1", deviceName: "Tab", resume: [] } });
  assert.equal(socketUrl("https://x.test"), "wss://x.test/ws");
  assert.equal(socketUrl("wss://x.test/calls/ws?token=1"), "wss://x.test/calls/ws");
});

test("a command resolves with its reply and a refusal rejects with its code", async () => {
  const { client, socket } = await connected();
  const good = client.request("presence:get", { userIds: ["bob"] });
  socket.reply(socket.sent.at(-1).id, { online: ["bob"] });
  assert.deepEqual(await good, { online: ["bob"] });
  const bad = client.request("call:leave", { callId: "c9" });
  socket.refuse(socket.sent.at(-1).id, { code: "not_found", message: "no such call", retryable: false, details: { callId: "c9" } });
  await assert.rejects(bad, (error) => error instanceof CarillonError && error.code === "not_found" && !error.retryable && error.details.callId === "c9");
});

test("a retryable refusal is asked again, and then given up with its code", async () => {
  const { client, socket } = await connected();
  const asked = client.request("call:leave", { callId: "c1" });
  socket.refuse(socket.sent.at(-1).id, { code: "unavailable", message: "owner away", retryable: true, details: { retryAfterMs: 5 } });
  await until(() => socket.commands("call:leave").length === 2, "the second try");
  assert.equal(socket.sent.at(-1).id, socket.commands("call:leave")[0].id);
  socket.reply(socket.sent.at(-1).id, {});
  await asked;

  const hopeless = client.request("call:leave", { callId: "c2" });
  const answered = setInterval(() => socket.refuse(socket.sent.at(-1).id, { code: "unavailable", retryable: true, details: { retryAfterMs: 1 } }), 3);
  await assert.rejects(hopeless, { code: "unavailable", retryable: true });
  clearInterval(answered);
});

test("commands without an answer are sent again after a reconnect, in order and with the same ids", async () => {
  const { client, socket } = await connected();
  const first = client.request("call:media", { callId: "c1", audio: false });
  socket.end(1006);
  const second = client.request("call:leave", { callId: "c1" });
  assert.equal(client.state, "reconnecting");
  const next = await welcome(1);
  const [again, later] = [next.sent[1], next.sent[2]];
  assert.equal(again.event, "call:media");
  assert.equal(again.id, socket.sent[1].id);
  assert.equal(later.event, "call:leave");
  next.reply(again.id, {});
  next.reply(later.id, {});
  await Promise.all([first, second]);
});

test("a start has an id of its own, so that its repetition is the same call", async () => {
  const { client, socket } = await connected();
  const started = client.request("call:start", { calleeIds: ["bob"] });
  socket.end(1006);
  const next = await welcome(1);
  const { callId } = socket.commands("call:start")[0].data;
  assert.ok(callId.length >= 16);
  assert.equal(next.commands("call:start")[0].data.callId, callId);
  next.reply(next.commands("call:start")[0].id, { call: call({ callId }) });
  await started;
  assert.equal(client.calls.get(callId).status, "ringing");
});

test("what waits is bounded, what waits too long is unavailable, and a closed client refuses at once", async () => {
  const { client, socket } = await connected();
  socket.end(1006);
  const waiting = Array.from({ length: 256 }, () => client.request("call:media", { callId: "c1" }, { timeoutMs: 5_000 }));
  for (const promise of waiting) promise.catch(() => {});
  await assert.rejects(client.request("call:media", { callId: "c1" }), { code: "unavailable", retryable: true });
  client.close();
  await assert.rejects(waiting[0], { code: "unavailable" });
  await assert.rejects(client.request("call:media", {}), { code: "unavailable" });

  const { client: other } = await (async () => { FakeSocket.all = []; return connected(); })();
  await assert.rejects(other.request("call:media", { callId: "c1" }, { timeoutMs: 20 }), { code: "unavailable", retryable: true });
});

test("a command that is too long is refused here, and one the node finds too long is not repeated", async () => {
  const { client, socket } = await connected();
  await assert.rejects(client.request("call:signal", { payload: "x".repeat(130 * 1024) }), { code: "too_large" });
  const sent = client.request("call:signal", { payload: "y" });
  socket.end(4009);
  await assert.rejects(sent, { code: "too_large" });
  const next = await welcome(1);
  assert.equal(next.sent.length, 1);
});

test("reconnecting backs off with jitter up to a ceiling, and starts over after a success", async () => {
  const { client, socket } = await connected({ backoff: { baseMs: 10, maxMs: 30, random: () => 0.5 } });
  const waits = [];
  client.on("state", ({ retryInMs }) => { if (retryInMs !== undefined) waits.push(retryInMs); });
  socket.end(1006);
  for (let nth = 1; nth <= 4; nth += 1) {
    await until(() => FakeSocket.all[nth], `try ${nth}`);
    FakeSocket.all[nth].end(1006);
  }
  await welcome(5);
  FakeSocket.last.end(1006);
  assert.deepEqual(waits, [5, 10, 15, 15, 15, 5]);
});

test("the node's retryAfterMs is waited for, and the jitter comes on top", async () => {
  const { client, socket } = await connected();
  let wait;
  client.on("state", ({ retryInMs }) => { wait ??= retryInMs; });
  const began = Date.now();
  socket.end(1012, JSON.stringify({ code: "restarting", retryAfterMs: 60 }));
  assert.equal(wait, 65);
  await until(() => FakeSocket.all.length === 2);
  assert.ok(Date.now() - began >= 60);
});

test("with several addresses the next try goes to the next one", async () => {
  const { socket } = await connected({ url: undefined, urls: ["http://a.test", "http://b.test"] });
  assert.equal(socket.url, "ws://a.test/ws");
  socket.end(1001);
  assert.equal((await welcome(1)).url, "ws://b.test/ws");
});

test("reconnect(url) moves the session to another node with what was seen of each call", async () => {
  const { client, socket } = await connected({}, { activeCalls: [call({ seq: 4, status: "active" })] });
  socket.say("call:signal", { callId: "c1", sig: 7, epoch: 2, from: "bob", type: "offer", payload: {} });
  const moved = client.reconnect("ws://node-b.test:4001/ws");
  const next = await welcome(1, { nodeId: "other" });
  assert.equal((await moved).nodeId, "other");
  assert.equal(socket.closed, 1000);
  assert.equal(next.url, "ws://node-b.test:4001/ws");
  assert.deepEqual(next.sent[0].data.resume, [{ callId: "c1", seq: 4, sig: 7, epoch: 2 }]);
});

test("a replaced session is not taken back", async () => {
  const { client, socket } = await connected({ getToken: async () => "t2" });
  socket.end(4003, "{}");
  await sleep(40);
  assert.equal(client.state, "closed");
  assert.equal(FakeSocket.all.length, 1);
});

test("who was sent away by an operator is told, and comes back only when asked to", async () => {
  const { client, socket } = await connected({ getToken: async () => "t2" });
  const told = [];
  client.on("disconnected", (why) => told.push(why));
  client.on("state", ({ state, code, error }) => { if (state === "closed") told.push([code, error.code]); });
  const waiting = client.request("call:get", { callId: "c" });
  socket.end(4010, '{"code":"disconnected_by_operator"}');
  await assert.rejects(waiting, { code: "disconnected_by_operator" });
  await sleep(40);
  assert.deepEqual(told, [[4010, "disconnected_by_operator"], { code: 4010, reason: "disconnected_by_operator" }]);
  assert.equal(FakeSocket.all.length, 1);
  client.connect().catch(() => {});
  await until(() => FakeSocket.all.length === 2, "another socket");
});

test("a refused token ends the client, unless a fresh one is given", async () => {
  const lone = makeClient();
  const refused = lone.connect();
  await until(() => FakeSocket.all[0]?.sent[0]);
  FakeSocket.all[0].refuse("hello", { code: "unauthenticated", message: "bad signature" });
  await assert.rejects(refused, { code: "unauthenticated" });
  await sleep(30);
  assert.equal(FakeSocket.all.length, 1);

  FakeSocket.all = [];
  const reasons = [];
  const fresh = makeClient({ token: undefined, getToken: async ({ reason }) => { reasons.push(reason); return `t${reasons.length}`; } });
  const done = fresh.connect();
  await until(() => FakeSocket.all[0]?.sent[0]);
  FakeSocket.all[0].end(4002, "{}");
  const socket = await welcome(1);
  await done;
  assert.equal(socket.sent[0].data.token, "t2");
  assert.deepEqual(reasons, ["connect", "refused"]);

  FakeSocket.all = [];
  const stubborn = makeClient({ token: undefined, getToken: async () => "same" });
  const never = stubborn.connect();
  await until(() => FakeSocket.all[0]?.sent[0]);
  FakeSocket.all[0].end(4001, "{}");
  await assert.rejects(never, { code: "unauthenticated" });
  assert.equal(FakeSocket.all.length, 1);
});

test("a session that is about to expire is extended, and the new token used from then on", async () => {
  const { client, socket } = await connected({ getToken: async ({ reason }) => `for-${reason}` });
  socket.say("session:expiring", { expiresAt: "2030-01-01T00:00:00.000Z" });
  const refresh = await until(() => socket.commands("session:refresh")[0]);
  assert.equal(refresh.data.token, "for-expiring");
  socket.reply(refresh.id, {});
  await sleep(5);
  socket.end(1006);
  assert.equal((await welcome(1)).sent[0].data.token, "for-expiring");
  assert.equal(client.state, "connected");
});

test("an event that comes twice is heard once", async () => {
  const { client, socket } = await connected();
  const seqs = heard(client);
  socket.say("call:incoming", { callId: "c1", seq: 1, prev: 0, call: call() });
  socket.say("call:ringing", { callId: "c1", seq: 2, prev: 1, userId: "bob" });
  socket.say("call:ringing", { callId: "c1", seq: 2, prev: 1, userId: "bob" });
  socket.say("call:incoming", { callId: "c1", seq: 1, prev: 0, call: call() });
  assert.deepEqual(seqs, [1, 2]);
});

test("a hole is asked for, and everything is heard in order", async () => {
  const { client, socket } = await connected();
  const seqs = heard(client);
  socket.say("call:incoming", { callId: "c1", seq: 1, prev: 0, call: call() });
  socket.say("call:state", { callId: "c1", seq: 5, prev: 4, status: "active" });
  socket.say("call:participant_updated", { callId: "c1", seq: 6, prev: 5, userId: "bob", changes: { audio: false } });
  assert.deepEqual(seqs, [1]);
  assert.equal(socket.commands("call:sync").length, 1);
  const { id, data } = socket.commands("call:sync")[0];
  assert.equal(data.callId, "c1");
  assert.equal(data.seq, 1);
  socket.reply(id, { events: [
    { event: "call:accepted", data: { callId: "c1", seq: 3, prev: 1, userId: "bob", deviceId: "b1" } },
    { event: "call:participant_updated", data: { callId: "c1", seq: 4, prev: 3, userId: "bob", changes: { audio: true, video: true } } },
    { event: "call:state", data: { callId: "c1", seq: 5, prev: 4, status: "active" } },
  ] });
  await until(() => seqs.length === 5);
  assert.deepEqual(seqs, [1, 3, 4, 5, 6]);
  const known = client.calls.get("c1");
  assert.equal(known.status, "active");
  assert.deepEqual(known.participants[1], { ...participant("bob", "joined"), deviceId: "b1", audio: false, video: true });
});

test("an event built on what a reply already contained is no hole", async () => {
  const { client, socket } = await connected();
  const seqs = heard(client);
  const started = client.request("call:start", { callId: "c1", calleeIds: ["bob"] });
  socket.reply(socket.sent.at(-1).id, { call: call({ seq: 2 }) });
  await started;
  socket.say("call:ringing", { callId: "c1", seq: 3, prev: 2, userId: "bob" });
  assert.deepEqual(seqs, [3]);
  assert.equal(socket.commands("call:sync").length, 0);
});

test("a snapshot stands for what is gone, and the call object keeps its identity", async () => {
  const { client, socket } = await connected();
  const seqs = heard(client);
  socket.say("call:incoming", { callId: "c1", seq: 1, prev: 0, call: call() });
  const known = client.calls.get("c1");
  socket.say("call:state", { callId: "c1", seq: 9, prev: 0, snapshot: true, status: "active", call: call({ seq: 9, status: "active" }) });
  socket.say("call:state", { callId: "c1", seq: 8, prev: 7, status: "connecting" });
  socket.say("call:ended", { callId: "c1", seq: 10, prev: 9, reason: "completed", status: "ended", durationSecs: 4 });
  assert.deepEqual(seqs, [1, 9, 10]);
  assert.equal(client.calls.get("c1"), known);
  assert.equal(known.status, "ended");
  assert.equal(known.endReason, "completed");
});

test("missed events after a resume are heard once each, also when a live one comes between", async () => {
  const { client, socket } = await connected();
  const seqs = heard(client);
  socket.say("call:incoming", { callId: "c1", seq: 1, prev: 0, call: call() });
  socket.end(1006);
  const next = await welcome(1, { activeCalls: [call({ seq: 4, status: "active" })] });
  assert.deepEqual(next.sent[0].data.resume, [{ callId: "c1", seq: 1, sig: 0 }]);
  next.say("call:accepted", { callId: "c1", seq: 2, prev: 1, userId: "bob", deviceId: "b1" });
  next.say("call:media", { callId: "c1", seq: 5, prev: 4 });
  next.say("call:participant_joined", { callId: "c1", seq: 3, prev: 2, userId: "bob" });
  next.say("call:state", { callId: "c1", seq: 4, prev: 3, status: "active" });
  const { id } = next.commands("call:sync")[0];
  next.reply(id, { events: [{ event: "call:media", data: { callId: "c1", seq: 5, prev: 4 } }] });
  await until(() => seqs.length === 5);
  assert.deepEqual(seqs, [1, 2, 3, 4, 5]);
});

test("signals are heard once and in order, a new owner counts from one, an old one is not heard", async () => {
  const { client, socket } = await connected();
  const sigs = [];
  client.on("call:signal", ({ sig, epoch }) => sigs.push(`${epoch}/${sig}`));
  const signal = (sig, epoch) => ({ callId: "c1", sig, epoch, from: "bob", type: "ice_candidate", payload: {} });
  const say = (sig, epoch) => socket.say("call:signal", signal(sig, epoch));
  say(1, 1); say(2, 1); say(2, 1); say(4, 1);
  const { id, data } = socket.commands("call:sync")[0];
  assert.equal(data.sig, 2);
  socket.reply(id, { events: [{ event: "call:signal", data: signal(3, 1) }, { event: "call:signal", data: signal(4, 1) }] });
  await until(() => sigs.length === 4);
  say(1, 2); say(9, 1); say(2, 2);
  assert.deepEqual(sigs, ["1/1", "1/2", "1/3", "1/4", "2/1", "2/2"]);
  assert.equal(socket.commands("call:sync").length, 1);
});

test("a page that was reloaded takes the next signal as it comes, and rings for a call listed in the hello", async () => {
  const { client, socket } = await connected({}, { activeCalls: [call({ seq: 3, initiatorId: "bob", participants: [participant("bob", "joined"), participant("alice", "ringing")] })] });
  const events = [];
  client.on("*", (_, event) => events.push(event));
  socket.say("call:signal", { callId: "c1", sig: 12, epoch: 1, from: "bob", type: "offer", payload: {} });
  const ring = { callId: "c1", seq: 2, prev: 0, call: call({ seq: 2 }), from: "bob" };
  socket.say("call:incoming", ring);
  socket.say("call:incoming", ring);
  assert.equal(events.filter((event) => event === "call:incoming").length, 1);
  assert.equal(events.filter((event) => event === "call:signal").length, 1);
  assert.equal(client.calls.get("c1").seq, 3);
  socket.say("call:cancelled", { callId: "c1", seq: 4, prev: 2, by: "bob" });
  assert.ok(events.includes("call:cancelled"));
});

test("the call object follows lobby, kick, lock and transfer", () => {
  const call = { status: "active", locked: false, lobby: false, participants: [{ userId: "bob", status: "connecting" }] };
  const status = (userId) => call.participants.find((one) => one.userId === userId)?.status;
  applyEvent(call, "call:state", { status: "active", locked: true, lobby: true, by: "alice" });
  assert.deepEqual([call.locked, call.lobby, status("bob")], [true, true, "connecting"]);
  applyEvent(call, "call:lobby_waiting", { userId: "carol" });
  assert.equal(status("carol"), "lobby");
  applyEvent(call, "call:denied", { userId: "carol", by: "alice" });
  assert.equal(status("carol"), "left");
  applyEvent(call, "call:kicked", { userId: "bob", by: "alice" });
  assert.equal(status("bob"), "kicked");
  applyEvent(call, "call:transferred", { userId: "alice", toUserId: "dave" });
  assert.equal(status("alice"), "left");
});

test("the call object follows the way to the media server and the recording", () => {
  const call = { mode: "p2p", participants: [] };
  applyEvent(call, "call:escalating", { cause: "requested", by: "bob", media: { token: "t" } });
  assert.deepEqual([call.mode, call.escalating.by, JSON.stringify(call).includes("token")], ["p2p", "bob", false]);
  applyEvent(call, "call:escalation_aborted", { reason: "not_connected" });
  assert.deepEqual([call.mode, call.escalating], ["p2p", undefined]);
  applyEvent(call, "call:escalating", { cause: "requested", by: "bob" });
  applyEvent(call, "call:escalated", {});
  assert.deepEqual([call.mode, call.escalating], ["sfu", undefined]);
  for (const [event, status] of [["recording:started", "starting"], ["recording:stopped", "processing"], ["recording:ready", "ready"]]) {
    applyEvent(call, event, { recordingId: "r1" });
    assert.deepEqual(call.recording, { recordingId: "r1", status });
  }
  applyEvent(call, "call:state", { status: "active", recording: { recordingId: "r1", status: "recording" } });
  assert.deepEqual([call.status, call.recording.status], ["active", "recording"]);
  applyEvent(call, "recording:stopped", { recordingId: "r1", status: "failed", reason: "egress_failed" });
  assert.equal(call.recording.status, "failed");
});

test("a call the node no longer knows ends here", async () => {
  const { client, socket } = await connected({}, { activeCalls: [call()] });
  const ended = [];
  client.on("call:ended", (data) => ended.push(data));
  socket.end(1006);
  const next = await welcome(1);
  const sync = await (async () => { await sleep(2_050); return next.commands("call:sync")[0]; })();
  next.refuse(sync.id, { code: "not_found", message: "no such call", retryable: false });
  await until(() => ended.length === 1);
  assert.equal(ended[0].status, "failed");
  assert.equal(client.calls.get("c1").status, "failed");
});

test("a connection that has gone silent is noticed and replaced", async () => {
  const { client, socket } = await connected({}, { pingIntervalSecs: 0.02 });
  await until(() => socket.commands("presence:get").length === 1, "a probe");
  socket.reply("probe", { online: [] });
  await until(() => socket.commands("presence:get").length === 2, "a second probe");
  assert.equal(client.state, "connected");
  await sleep(5_050);
  assert.notEqual(FakeSocket.all.length, 1);
});

test("a listener that throws does not stop the others", async () => {
  const { client, socket } = await connected();
  const original = console.error;
  console.error = () => {};
  const seqs = [];
  client.on("call:ringing", () => { throw new Error("mine"); });
  client.on("call:ringing", ({ seq }) => seqs.push(seq));
  socket.say("call:ringing", { callId: "c1", seq: 2, prev: 0, userId: "bob" });
  console.error = original;
  assert.deepEqual(seqs, [2]);
});

test("a hello resumes no more calls than the node takes", async () => {
  const { client, socket } = await connected();
  for (let i = 0; i < 70; i += 1) socket.say("call:incoming", { callId: `c${i}`, seq: 1, prev: 0, call: call({ callId: `c${i}` }) });
  assert.equal(client.calls.size, 70);
  socket.end(1006);
  assert.equal((await welcome(1)).sent[0].data.resume.length, 64);
});
