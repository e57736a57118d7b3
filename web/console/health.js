// What is wrong, in sentences, from what the nodes have said. Pure: tests without a browser ask it.
// Never: takes what is not known for well.

import { age, plain, several, span } from "./format.js";

// A node that went away this lately may be why somebody was called.
const LATELY_MS = 15 * 60_000;
// A sweep may be late by its own interval, as its turn is jittered; by this much more something holds it up.
const LATE_MS = 60_000;
// What a run says when it is well; one that has not said anything is under way, or its node died.
const WELL = "done";

/** Whether a run of a sweep is not well. */
export function hasFailed(run) {
  return Boolean(run) && (run.failed > 0 || (run.outcome ?? WELL) !== WELL);
}

/** What a run came to: `well`, `not well` or `running`. */
export function runWords(run) {
  if (hasFailed(run)) return (run.outcome ?? WELL) !== WELL ? plain(run.outcome) : `${run.failed} failed`;
  return run.finishedAt ? "well" : "running";
}

/**
 * What wants a look, worst first: `{level: "bad"|"busy", text, href}`. Each of `nodes`, `calls`, `sweeps` is the answer
 * of its list, or null while it is not known; `letters` the dead letters.
 */
export function troubles({ nodes, calls, sweeps, letters }, now) {
  const found = [];
  const add = (level, text, href) => found.push({ level, text, href });
  for (const node of nodes?.nodes ?? []) ofNode(node, now, (level, text) => add(level, text, "#/nodes"));
  if (nodes && !nodes.nodes.some((node) => node.state === "live")) add("bad", "No node is live.", "#/nodes");
  const versions = new Set((nodes?.nodes ?? []).filter((node) => node.state === "live").map((node) => node.version));
  if (versions.size > 1) add("busy", `Live nodes are of different versions: ${[...versions].join(", ")}.`, "#/nodes");
  const orphans = (calls?.calls ?? []).filter((call) => call.ownerGone).length;
  if (orphans > 0) add("bad", `${several(orphans, "call")} without a living owner.`, "#/calls");
  for (const sweep of sweeps?.sweeps ?? []) ofSweep(sweep, now, (level, text) => add(level, text, "#/sweeps"));
  const dead = letters?.total ?? letters?.deadLetters.length ?? 0;
  if (dead > 0) add("bad", `${several(dead, "dead letter")}${letters.nextCursor && letters.total === undefined ? " or more" : ""}: events that a receiver has not had.`, "#/dead-letters");
  return found.sort((one, other) => (one.level === "bad" ? 0 : 1) - (other.level === "bad" ? 0 : 1));
}

function ofNode(node, now, add) {
  const left = Date.parse(node.leaseUntil) - now;
  if (node.state === "gone") {
    if (left > -LATELY_MS) add("busy", `Node ${node.nodeId} is gone: its lease ended ${age(now + left, now)}.`);
    return;
  }
  if (node.state === "draining") add("busy", `Node ${node.nodeId} is draining.`);
  if (left < 0) add("bad", `Node ${node.nodeId} has not renewed its lease: it ended ${age(now + left, now)}.`);
  if (node.busUp === false) add("bad", `Node ${node.nodeId} has no bus: it does not hear the others.`);
  for (const one of node.degraded ?? []) add("bad", `Node ${node.nodeId} does without ${one}.`);
}

function ofSweep(sweep, now, add) {
  const { lastRun } = sweep;
  if (hasFailed(lastRun)) add("bad", `Sweep ${sweep.name} is not well: ${runWords(lastRun)}, ${age(Date.parse(lastRun.startedAt), now)}.`);
  const late = now - Date.parse(sweep.nextAt) - (sweep.intervalSecs ?? 0) * 1_000;
  const isRunning = Date.parse(sweep.heldUntil) > now;
  if (late > LATE_MS && !isRunning) add("bad", `Sweep ${sweep.name} is late by ${span(late)}.`);
}
