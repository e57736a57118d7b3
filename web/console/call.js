// One call: what is known of it, who has a part in it, and what happened, drawn and as a table.
// Survives a call object that is not to be had (an older node): the timeline alone is shown.

import { get, path } from "./api.js";
import { endCall } from "./acts.js";
import { asWhom } from "./calls.js";
import { Feed, PERIOD_MS } from "./feed.js";
import { plain, several, span, clockTime, utc } from "./format.js";
import { ladderView } from "./ladder_draw.js";
import { words } from "./ladder.js";
import { callState, condition, copy, facts, fill, h, hrefs, id, lasting, panel, section, state, userLink, when } from "./parts.js";
import { table } from "./table.js";

// Events drawn at once; the earlier ones can be asked for. More is slow to draw, and nobody reads them at once.
const WINDOW = 500;
// Events of one answer, the most that a node gives.
const PAGE = 500;
// An end is an end: after it only what was recorded may change.
const PERIOD_ENDED_MS = 15_000;

// On a phone the table is long: it is there for who asks for it.
const NARROW = matchMedia("(max-width: 46rem)");

// All events: those known, and what came after them.
async function timeline(callId, signal, before) {
  let events = before?.events ?? [];
  for (;;) {
    const after = events.at(-1)?.seq ?? 0;
    const answer = await get(path`calls/${callId}/timeline`, { after, limit: PAGE }, signal);
    if (answer.events.length > 0) events = [...events, ...answer.events];
    if (answer.nextAfter === undefined || answer.events.length === 0) return { events };
  }
}

async function details(callId, signal) {
  try {
    return (await get(path`admin/calls/${callId}`, {}, signal)).call;
  } catch (error) {
    if (error.status === 404) return { missing: true };
    throw error;
  }
}

export function callView([callId]) {
  const top = h("div", {});
  const asked = h("div", {});
  const askedCall = h("div", {});
  const buttons = h("div", { class: "buttons" });
  const earlier = h("p", {});
  const drawing = ladderView();
  const people = participants();
  const steps = stepsTable();
  const peoplePanel = section("Participants", "participants-panel", people.element);
  let from = null;
  const events = new Feed((signal, before) => timeline(callId, signal, before), draw);
  const call = new Feed((signal) => details(callId, signal), draw);
  const room = new ResizeObserver(() => draw());
  room.observe(drawing.element);

  function draw() {
    const known = call.data && !call.data.missing ? call.data : null;
    const all = events.data?.events ?? [];
    const end = all.findLast((event) => event.kind === "ended");
    const period = end ? PERIOD_ENDED_MS : PERIOD_MS;
    events.period = call.period = period;
    fill(asked, events.error?.status === 404 && all.length === 0 ? unknownCall(callId) : condition(events));
    fill(askedCall, condition(call));
    fill(top, factsOf(callId, known, all, end));
    fill(buttons, (known ? !known.endedAt : all.length > 0) && !end && h("button", {
      class: "act danger-quiet", type: "button", "data-testid": "end-call", onclick: async () => {
        if (await endCall(whomOf(callId, known, all))) { events.now(); call.now(); }
      },
    }, "End this call"));
    peoplePanel.hidden = !known;
    if (known) people.update(known.participants ?? []);
    drawSteps(all);
  }

  function drawSteps(all) {
    const start = from ?? Math.max(0, all.length - WINDOW);
    const shown = all.slice(start, from === null ? undefined : from + WINDOW);
    drawing.element.hidden = shown.length === 0;
    fill(earlier, all.length > WINDOW && [`Events ${shown[0].seq} to ${shown.at(-1).seq} of ${all.length}. `,
      start > 0 && h("button", { class: "act", type: "button", onclick: () => { from = Math.max(0, start - WINDOW); drawSteps(all); } }, "Earlier"), " ",
      from !== null && h("button", { class: "act", type: "button", onclick: () => { from = start + WINDOW >= all.length - WINDOW ? null : start + WINDOW; drawSteps(all); } }, "Later")]);
    drawing.update(shown, all[start - 1] ?? null, `${several(shown.length, "event")} of call ${callId}, between its participants and its nodes.`);
    steps.update(shown);
  }

  const element = h("div", {},
    panel("Call", "call-panel", h("p", { class: "subject" }, id(callId), " ", copy(callId, "call id")), askedCall, top, buttons),
    section("Who did what, when, on which node", "ladder-panel", asked, earlier, drawing.element,
      h("p", { class: "quiet" }, "An arrow goes from who caused it to the node that decided it, and on to whom it concerns. Dashed with a cross: not heard, or not reached. Hatched: nothing happened for so long.")),
    peoplePanel, section("The same as a table", "timeline-panel", h("details", { open: !NARROW.matches }, h("summary", {}, "Events"), steps.element)));
  return { title: `Call ${callId}`, element, close: () => { events.close(); call.close(); room.disconnect(); } };
}

const unknownCall = (callId) => [h("p", { class: "problem", "data-testid": "unknown-call" }, "There is no such call, or nothing is kept of it any more."),
  h("p", {}, h("a", { href: hrefs.user(callId) }, "Look for a user of this name"))];

// Who is told in the dialog that they are cut off, where only the timeline is known.
function whomOf(callId, known, all) {
  if (known) return { ...asWhom(known), callId };
  const ids = [...new Set(all.flatMap((event) => [event.userId, event.by]).filter(Boolean))];
  return asWhom({ callId, status: "open", participants: ids.map((userId) => ({ userId })) });
}

function factsOf(callId, call, all, end) {
  const last = all.at(-1);
  const nodes = new Set(all.map((event) => event.node));
  return facts([
    ["Status", call ? callState(call.status) : end?.status && callState(end.status)],
    ["Ended because", plain(call?.endReason ?? end?.reason)],
    ["Ended by", (call?.endedBy ?? end?.by) && userLink(call?.endedBy ?? end.by)],
    ["Started", (call?.createdAt ?? all[0]?.at) && when(call?.createdAt ?? all[0].at)],
    ["Lasted", call?.startedAt && lasting(call.startedAt, call.endedAt)],
    ["Kind", call && `${plain(call.type)}, ${call.mode}`],
    ["Group", call?.groupId && id(call.groupId)],
    ["Owner", last && [id(last.node), ` in epoch ${last.epoch}`, nodes.size > 1 && h("span", { class: "note" }, `of ${nodes.size} nodes so far`)]],
    ["Last event", last && [words(last), ", ", when(last.at)]],
    ["Acts on record", h("a", { href: `#/audit?target=${encodeURIComponent(callId)}` }, "Audit log")],
  ]);
}

function participants() {
  return table({
    caption: "Participants", testid: "participants", key: (one) => one.userId, empty: "Nobody.",
    columns: [
      { title: "User", head: true, cell: (one) => userLink(one.userId) },
      { title: "Status", cell: (one) => state(one.status === "joined" ? "good" : one.leftAt ? "over" : "busy", plain(one.status)) },
      { title: "Role", cell: (one) => one.role ?? "–" },
      { title: "Device", cell: (one) => one.deviceId ? id(one.deviceId) : "–" },
      { title: "Invited", number: true, cell: (one) => when(one.invitedAt) },
      { title: "Joined", number: true, cell: (one) => when(one.joinedAt) },
      { title: "Left", number: true, cell: (one) => when(one.leftAt) },
      { title: "Why", cell: (one) => plain(one.leaveReason) || "–" },
    ],
  });
}

function stepsTable() {
  const users = (event) => [...new Set([event.userId, ...(event.userIds ?? [])].filter(Boolean))];
  return table({
    caption: "Events of the call, in order", testid: "timeline", key: (event) => String(event.seq), empty: "No events.",
    columns: [
      { title: "Seq", number: true, head: true, cell: (event) => String(event.seq) },
      { title: "Time (UTC)", number: true, cell: (event) => h("time", { datetime: event.at, "data-tip": utc(Date.parse(event.at)) }, clockTime(Date.parse(event.at))) },
      { title: "After", number: true, cell: (event) => `+${span(event.sincePreviousMs ?? 0)}` },
      { title: "What", cell: (event) => [words(event), " ", h("code", {}, event.kind)] },
      { title: "Who", cell: (event) => users(event).length > 0 ? users(event).map((user, n) => [n > 0 && ", ", userLink(user)]).flat() : "–" },
      { title: "By", cell: (event) => event.by && event.by !== event.userId ? userLink(event.by) : "–" },
      { title: "Device", cell: (event) => event.deviceId ? id(event.deviceId) : "–" },
      { title: "Node", cell: (event) => [id(event.node), h("span", { class: "note" }, `epoch ${event.epoch}`)] },
      { title: "Trace", cell: (event) => event.traceId ? [id(event.traceId), " ", copy(event.traceId, `trace id of event ${event.seq}`)] : "–" },
    ],
  });
}
