// What the console works out without a browser: words for times, what is wrong, the ladder of a call.
// `node --test console.test.mjs`.

import assert from "node:assert/strict";
import { test } from "node:test";
import { age, clockTime, people, short, span, utc } from "../../web/console/format.js";
import { hasFailed, runWords, troubles } from "../../web/console/health.js";
import { ladder, ownerText, words } from "../../web/console/ladder.js";

const NOW = Date.parse("2026-11-21T03:00:00.000Z");
const at = (secs) => new Date(NOW + secs * 1_000).toISOString();

// Events as a timeline has them: `[kind, more]`, a second apart but where `more` says it.
function events(...steps) {
  let seq = 0;
  return steps.map(([kind, more]) => ({ seq: ++seq, at: at(seq), kind, node: "n1", epoch: 1, sincePreviousMs: seq === 1 ? 0 : 100, ...more }));
}

const arrows = (found) => found.rows.filter((row) => row.type === "event").map((row) => {
  const name = (key) => key === null ? "-" : JSON.parse(key).slice(1).filter(Boolean).join("/");
  return `${row.way}: ${name(row.from)} > ${name(row.node)} > ${row.to.map(name).join("+") || "-"}`;
});

test("spans and ages are said in at most two units", () => {
  assert.deepEqual([340, 12_000, 185_000, 7_800_000, 4 * 86_400_000].map(span), ["340 ms", "12 s", "3 min 5 s", "2 h 10 min", "4 d"]);
  assert.deepEqual([age(NOW - 12_400, NOW), age(NOW + 4_000, NOW), age(NOW - 300, NOW)], ["12 s ago", "in 4 s", "just now"]);
  assert.equal(utc(NOW + 21), "2026-11-21 03:00:00.021 UTC");
  assert.equal(utc(Number.NaN), "unknown");
  assert.equal(clockTime(NOW), "03:00:00.000");
});

test("people are named, and the rest of them counted", () => {
  assert.equal(people(["a", "b"]), "a and b");
  assert.equal(people(["a", "b", "c", "d", "e"], 9), "a, b, c, d and 5 more");
  assert.equal(short("01936f3a-7b2c-7d4e-9f10-2c9d1e0f5a6b", 13), "01936f3a…5a6b");
  assert.equal(short("alice"), "alice");
});

test("a cluster in order has no troubles", () => {
  const nodes = { nodes: [{ nodeId: "n1", state: "live", busUp: true, leaseUntil: at(4), version: "1" }] };
  const sweeps = { sweeps: [{ name: "takeover", intervalSecs: 5, nextAt: at(-3), lastRun: { startedAt: at(-9), finishedAt: at(-8), failed: 0, outcome: "done" } }, { name: "new", intervalSecs: 5 }] };
  assert.deepEqual(troubles({ nodes, calls: { calls: [{ ownerGone: false }] }, sweeps, letters: { deadLetters: [] } }, NOW), []);
});

test("what is wrong is said, the worst first", () => {
  const node = { nodeId: "n1", state: "live", busUp: true, leaseUntil: at(4), version: "1" };
  const nodes = { nodes: [
    { ...node, nodeId: "n4", state: "gone", leaseUntil: at(-60) }, { ...node, nodeId: "n5", state: "gone", leaseUntil: at(-7_200) },
    { ...node, degraded: ["redis"] }, { ...node, nodeId: "n2", version: "2", busUp: false }, { ...node, nodeId: "n3", state: "draining", leaseUntil: at(-2) },
  ] };
  const sweeps = { sweeps: [
    { name: "rooms", intervalSecs: 5, nextAt: at(3), lastRun: { startedAt: at(-9), failed: 0, outcome: "could_not_ask" } },
    { name: "late", intervalSecs: 15, nextAt: at(-600) }, { name: "runs", intervalSecs: 15, nextAt: at(-600), heldUntil: at(8) },
  ] };
  const found = troubles({ nodes, calls: { calls: [{ ownerGone: true }] }, sweeps, letters: { deadLetters: [{}, {}], nextCursor: "c" } }, NOW);
  const text = found.map((one) => `${one.level} ${one.text}`).join("\n");
  for (const said of ["bad Node n1 does without redis", "bad Node n2 has no bus", "busy Node n3 is draining", "bad Node n3 has not renewed its lease: it ended 2 s ago",
    "busy Node n4 is gone: its lease ended 1 min ago", "different versions: 1, 2", "1 call without a living owner", "rooms is not well: could not ask",
    "late is late by 9 min 45 s", "2 dead letters or more"]) assert.ok(text.includes(said), `${said}\n${text}`);
  assert.ok(!text.includes("n5") && !text.includes("runs is late"), text);
  assert.deepEqual(found.map((one) => one.level), found.map((one) => one.level).sort());
  assert.equal(troubles({ nodes: { nodes: [] } }, NOW)[0].text, "No node is live.");
});

test("a run that failed in part is not well, whatever it calls itself", () => {
  assert.ok(hasFailed({ failed: 1, outcome: "done" }) && hasFailed({ failed: 0, outcome: "failed" }));
  assert.ok(!hasFailed({ failed: 0, outcome: "done" }) && !hasFailed({ failed: 0 }) && !hasFailed(undefined));
  assert.deepEqual([{ failed: 2 }, { failed: 0 }, { failed: 0, finishedAt: at(0), outcome: "done" }].map(runWords), ["2 failed", "running", "well"]);
});

test("the caller stands at the left, then the nodes, then the others as they come", () => {
  const { lines } = ladder(events(["created", { userId: "alice", deviceId: "a1" }], ["ringing", { userId: "bob", deviceId: "b1" }], ["accepted", { userId: "bob", deviceId: "b1" }],
    ["connected", { userIds: ["alice", "bob"] }], ["left", { userId: "alice", node: "n2", epoch: 2 }]));
  assert.deepEqual(lines.map((line) => line.node ?? line.user), ["alice", "n1", "n2", "bob"]);
});

test("arrows go from who caused it, by the node, to whom it concerns", () => {
  assert.deepEqual(arrows(ladder(events(["created", { userId: "alice" }], ["invited", { userId: "bob", by: "alice" }], ["unreachable", { userId: "bob" }], ["accepted", { userId: "bob" }],
    ["connected", { userIds: ["alice", "bob"] }], ["left", { userId: "bob", reason: "connection_lost" }], ["left", { userId: "bob", reason: "completed" }],
    ["lock_changed", { userId: "alice", by: "alice" }], ["room_opened"], ["ended", { by: "alice", status: "ended", reason: "completed" }], ["ended", { status: "missed" }]))), [
    "in: alice > n1 > -", "through: alice > n1 > bob", "lost: - > n1 > bob", "in: bob > n1 > -",
    "out: - > n1 > alice+bob", "out: - > n1 > bob", "in: bob > n1 > -",
    "in: alice > n1 > -", "mark: - > n1 > -", "end: alice > n1 > -", "end: - > n1 > -",
  ]);
});

test("a user with two devices has a line for each, and goes on at the one they accepted with", () => {
  const found = ladder(events(["created", { userId: "alice" }], ["ringing", { userId: "bob", deviceId: "tablet" }], ["ringing", { userId: "bob", deviceId: "phone" }],
    ["accepted", { userId: "bob", deviceId: "phone" }], ["media_changed", { userId: "bob" }]));
  assert.deepEqual(found.lines.map((line) => [line.node ?? line.user, line.device].filter(Boolean).join("/")), ["alice", "n1", "bob/tablet", "bob/phone"]);
  assert.deepEqual(arrows(found).slice(1), ["in: bob/tablet > n1 > -", "in: bob/phone > n1 > -", "in: bob/phone > n1 > -", "in: bob/phone > n1 > -"]);
});

test("gaps and new owners have rows of their own", () => {
  const all = events(["created", { userId: "alice" }], ["ringing", { userId: "bob", sincePreviousMs: 12_000 }], ["reconnecting", { userId: "alice", node: "n2", epoch: 2 }]);
  const kinds = (found) => found.rows.map((row) => row.type);
  assert.deepEqual(kinds(ladder(all)), ["owner", "event", "gap", "event", "owner", "event"]);
  assert.equal(ladder(all).rows[2].ms, 12_000);
  assert.equal(ownerText(ladder(all).rows[4]), "n2 takes over from n1 (epoch 1 → 2)");
  // The rest of a call, as it is drawn when there is more than fits: nobody has taken over there.
  assert.deepEqual(kinds(ladder(all.slice(1), all[0])), ["event", "owner", "event"]);
  assert.equal(ownerText({ node: "n1", epoch: 3, before: "n1", beforeEpoch: 2 }), "n1 takes the call up again (epoch 2 → 3)");
});

test("events of a later version are shown as what is known of them", () => {
  const found = ladder(events(["created", { userId: "alice" }], ["sealed_tomorrow", { userId: "alice", reason: "so_it_is" }], ["shaken"]));
  assert.deepEqual(arrows(found).slice(1), ["note: - > n1 > alice", "mark: - > n1 > -"]);
  assert.equal(words({ kind: "sealed_tomorrow", reason: "so_it_is" }), "sealed tomorrow (so it is)");
  assert.equal(words({ kind: "ended", status: "missed", reason: "no_answer" }), "call ends (missed, no answer)");
  assert.deepEqual(ladder([]), { lines: [], rows: [] });
});
