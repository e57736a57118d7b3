// Acts: what each will do, to whom, and what is told then. What cuts somebody off needs a second deliberate step.

import { get, path, post, remove } from "./api.js";
import { ask, tell } from "./ask.js";
import { several } from "./format.js";

// How long a sweep asked for by hand is waited for: it is some node's turn within seconds, and then takes what it takes.
const SWEEP_LIMIT_MS = 120_000;
const SWEEP_PERIOD_MS = 700;

const toAudit = (action) => ({ href: `#/audit?action=${encodeURIComponent(action)}`, text: "Audit log" });

/** Ends a call for everybody in it. */
export function endCall({ callId, people, count, status }) {
  return ask({
    title: "End this call?",
    will: [`The call ends at once for ${several(count, "participant")}. Their clients are told that it is over. It cannot be taken up again.`],
    whom: [["Call", callId], ["Who", people], ["Status", status]],
    sure: "Yes, cut these people off",
    reason: true,
    verb: "End the call",
    act: (reason) => post(path`admin/calls/${callId}/end`, reason ? { reason } : {}),
    done: () => tell(`Call ${callId} was ended.`, { link: toAudit("call.end") }),
  });
}

/** Closes every socket of a user. */
export function disconnectUser({ userId, sessions, calls }) {
  return ask({
    title: "Disconnect this user?",
    will: [
      `${several(sessions, "session")} known now are closed on every node, with code 4010. In ${several(calls, "open call")} the user is then reconnecting, and leaves when the grace is over.`,
      "Their clients may come back with a good token. To keep somebody out, revoke the token where it was issued.",
    ],
    whom: [["User", userId]],
    sure: "Yes, disconnect this user everywhere",
    verb: "Disconnect",
    act: () => post(path`admin/users/${userId}/disconnect`),
    done: ({ disconnected, unreachableNodes = [] }) => tell(
      `${several(disconnected, "session")} of ${userId} closed.${unreachableNodes.length > 0 ? ` Not asked, because they did not answer: ${unreachableNodes.join(", ")}.` : ""}`,
      { link: toAudit("user.disconnect"), bad: unreachableNodes.length > 0 }),
  });
}

/** Makes a node leave. */
export function drainNode(node, { others }) {
  const last = others === 0;
  return ask({
    title: last ? "Drain the last node?" : "Drain this node?",
    will: [
      "The node stops being ready, hands its calls to other nodes, closes its sockets with 1012 so that clients come back elsewhere, and its process ends. Whatever runs it may start it again.",
      last ? "It is the only living node: nobody is left to take its calls and clients. Everybody is cut off until another node starts."
        : `${several(others, "other node")} will take over.`,
    ],
    whom: [["Node", node.nodeId], ["Sessions", String(node.sessions ?? "unknown")], ["Calls", String(node.calls ?? "unknown")]],
    sure: last ? "Yes, stop the service" : "Yes, drain this node",
    verb: "Drain the node",
    act: () => post(path`admin/nodes/${node.nodeId}/drain`, last ? { force: true } : {}),
    done: () => tell(`${node.nodeId} was told to drain.`, { link: toAudit("node.drain") }),
  });
}

/** Runs a sweep, dry or for real, and waits for what it did. */
export async function runSweep({ name, what }, dryRun) {
  const asked = await ask({
    title: dryRun ? `Dry run of ${name}?` : `Run ${name} for real?`,
    will: [what, dryRun ? "It looks, and says what it would do. Nothing is changed." : "It does what it finds to do, as it would on its next turn."],
    whom: [["Sweep", name], ["Mode", dryRun ? "dry run" : "for real"]],
    sure: dryRun ? undefined : "Yes, change what it finds",
    verb: dryRun ? "Run dry" : "Run for real",
    act: () => post(path`admin/sweeps/${name}`, { dryRun }),
    done: () => tell(`${name} was asked for: a node takes it at its next look.`),
  });
  if (asked) await follow(asked, name, dryRun);
}

async function follow({ requestId }, name, dryRun) {
  const deadline = performance.now() + SWEEP_LIMIT_MS;
  const kind = dryRun ? "dry run" : "run";
  while (performance.now() < deadline) {
    await new Promise((resolve) => setTimeout(resolve, SWEEP_PERIOD_MS));
    // One answer that is missing says nothing of the sweep.
    const request = await get(path`admin/sweeps/requests/${requestId}`).catch(() => null);
    if (request?.state === "withdrawn") return tell(`The ${kind} of ${name} was withdrawn.`, { bad: true });
    if (request?.state !== "finished") continue;
    return tell(`The ${kind} of ${name} is finished.`, {
      link: request.runId ? { href: `#/sweeps/${encodeURIComponent(request.runId)}`, text: "What it did" } : toAudit("sweep.request"),
    });
  }
  tell(`The ${kind} of ${name} is not finished after ${SWEEP_LIMIT_MS / 1_000} s. Its run will stand in the list.`, { bad: true });
}

/** Sends a dead letter again. */
export function replay({ deliveryId, url, event }) {
  return ask({
    title: "Send this again?",
    will: ["The delivery is put back in line and tried again, as if it were new. Its receiver may have had it before."],
    whom: [["Delivery", deliveryId], ["To", url], ["Event", event]],
    verb: "Send again",
    act: () => post(path`admin/dead-letters/${deliveryId}/replay`),
    done: () => tell("The delivery is in line again.", { link: toAudit("delivery.replay") }),
  });
}

/** Gives a dead letter up for good. */
export function discard({ deliveryId, url, event }) {
  return ask({
    title: "Delete this dead letter?",
    will: ["The delivery is given up for good: its receiver will never hear of this event."],
    whom: [["Delivery", deliveryId], ["To", url], ["Event", event]],
    sure: "Yes, its receiver need not hear of it",
    verb: "Delete",
    act: () => remove(path`admin/dead-letters/${deliveryId}`),
    done: () => tell("The dead letter was deleted.", { link: toAudit("dead_letter.delete") }),
  });
}
