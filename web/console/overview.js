// The first screen: whether it is well, and if not, what is wrong and where to look.
// Never: says "well" while something it would have to know has not been answered, or was answered too long ago.

import { get, now } from "./api.js";
import { Feed } from "./feed.js";
import { count, several } from "./format.js";
import { troubles } from "./health.js";
import { condition, fill, h, hrefs, say, state, when } from "./parts.js";

// Calls counted where the nodes do not count them; the largest page there is.
const MOST_CALLS = 200;
const ORDER = ["active", "connecting", "ringing", "waiting"];

export function overview() {
  const verdict = h("div", { class: "verdict", "data-testid": "verdict" });
  const tiles = h("div", { class: "tiles" });
  let said = "";

  const feeds = {
    nodes: new Feed((signal) => get("admin/nodes", {}, signal), draw),
    calls: new Feed((signal) => get("admin/calls", { limit: MOST_CALLS }, signal), draw),
    sweeps: new Feed((signal) => get("admin/sweeps", {}, signal), draw),
    letters: new Feed((signal) => letters(signal), draw),
  };

  function draw() {
    const known = Object.fromEntries(Object.entries(feeds).map(([name, feed]) => [name, feed.data]));
    const found = troubles(known, now());
    const unknown = Object.entries(feeds).filter(([, feed]) => feed.data === null || feed.isStale).map(([name]) => NAMES[name]);
    const waits = Object.values(feeds).some((feed) => feed.data === null && feed.error === null);
    fill(verdict, ...verdictOf(found, unknown, waits));
    verdict.dataset.state = waits ? "asking" : found.some((one) => one.level === "bad") || unknown.length > 0 ? "bad" : found.length > 0 ? "busy" : "good";
    fill(tiles, tileOf("Nodes", "#/nodes", feeds.nodes, nodesTile), tileOf("Open calls", "#/calls", feeds.calls, (data) => callsTile(data, known.nodes)),
      tileOf("Sweeps", "#/sweeps", feeds.sweeps, sweepsTile), tileOf("Dead letters", "#/dead-letters", feeds.letters, lettersTile));
    // Only what is new in it: who listens is not told the same every 2 s.
    const text = waits ? "" : [...found.map((one) => one.text.replaceAll(/\d+ (s|min|h|d|ms)\b/g, "")), ...unknown].join(" ") || "All is well.";
    if (text !== said && text !== "") {
      said = text;
      say(verdict.textContent);
    }
  }

  const element = h("div", {}, verdict, tiles);
  draw();
  return { title: "Overview", element, close: () => Object.values(feeds).forEach((feed) => feed.close()) };
}

// A node that knows nothing of webhooks has no dead letters.
async function letters(signal) {
  try {
    return await get("admin/dead-letters", { limit: 50 }, signal);
  } catch (error) {
    if (error.status === 404) return { deadLetters: [], isUnknown: true };
    throw error;
  }
}

const NAMES = { nodes: "nodes", calls: "calls", sweeps: "sweeps", letters: "dead letters" };

function verdictOf(found, unknown, waits) {
  if (waits) return [h("p", { class: "verdict-line" }, "Asking…")];
  const head = found.length + unknown.length === 0
    ? state("good", "All is well.")
    : state(found.some((one) => one.level === "bad") || unknown.length > 0 ? "bad" : "busy", `${several(found.length + (unknown.length > 0 ? 1 : 0), "thing")} to look at`);
  const lines = [];
  if (unknown.length > 0) lines.push(h("li", {}, state("bad", `Not known at present: ${unknown.join(", ")}.`)));
  for (const { level, text, href } of found) lines.push(h("li", {}, h("a", { href }, state(level, text))));
  return [h("p", { class: "verdict-line" }, head), lines.length > 0 && h("ul", {}, lines)];
}

function tileOf(title, href, feed, content) {
  const key = `tile-${title.toLowerCase().replace(" ", "-")}`;
  return h("section", { class: "tile panel", "aria-labelledby": key, "data-testid": key },
    h("h2", { id: key }, h("a", { href }, title)), condition(feed), feed.data && content(feed.data));
}

const big = (text, unit) => h("p", { class: "big" }, h("b", {}, text), ` ${unit}`);
const lines = (entries) => h("ul", { class: "counts" }, entries.map(([name, value]) => h("li", {}, h("span", {}, name), h("b", {}, value))));

function nodesTile({ nodes }) {
  const by = (wanted) => nodes.filter((node) => node.state === wanted);
  const sum = (field) => {
    const told = nodes.filter((node) => node.state !== "gone" && Number.isFinite(node[field]));
    return told.length > 0 ? count(told.reduce((total, node) => total + node[field], 0)) : "not told";
  };
  const wanting = [...new Set(nodes.filter((node) => node.state !== "gone").flatMap((node) => node.degraded ?? []))];
  return [
    big(count(by("live").length), "live"),
    lines([
      ["draining", count(by("draining").length)],
      ["gone in 24 h", count(by("gone").length)],
      ["sessions", sum("sessions")],
      ["sockets", sum("sockets")],
      ["without", wanting.length > 0 ? wanting.join(", ") : "nothing missing"],
    ]),
  ];
}

// Of more calls than a page holds the nodes' loads say how many, and the page what they are like.
function callsTile({ calls, counts, nextCursor }, nodes) {
  const of = counts ?? calls.reduce((sum, call) => ({ ...sum, [call.status]: (sum[call.status] ?? 0) + 1 }), {});
  const statuses = [...new Set([...ORDER, ...Object.keys(of)])];
  const isPart = !counts && nextCursor !== undefined;
  const owned = (nodes?.nodes ?? []).reduce((sum, node) => sum + (node.state === "gone" ? 0 : node.calls ?? 0), 0);
  const total = isPart ? Math.max(owned, calls.length) : Object.values(of).reduce((sum, number) => sum + number, 0);
  return [big(count(total), isPart ? "open, about" : "open"), isPart && h("p", { class: "quiet" }, `Of the newest ${count(calls.length)}:`),
    h("ul", { class: "counts" }, statuses.map((status) => h("li", {}, h("a", { href: hrefs.calls({ status }) }, status), h("b", {}, count(of[status] ?? 0)))))];
}

function sweepsTile({ sweeps }) {
  const wrong = sweeps.filter((sweep) => troubles({ sweeps: { sweeps: [sweep] } }, now()).length > 0).length;
  const last = sweeps.map((sweep) => sweep.lastRun).filter(Boolean).sort((one, other) => Date.parse(other.startedAt) - Date.parse(one.startedAt))[0];
  return [big(count(wrong), wrong === 1 ? "is not well" : "are not well"), lines([
    ["sweeps", count(sweeps.length)],
    ["last run", last ? [last.sweep ?? "", " ", when(last.startedAt)] : "none yet"],
  ])];
}

function lettersTile({ deadLetters, nextCursor, total, isUnknown }) {
  if (isUnknown) return h("p", { class: "quiet" }, "This node sends no webhooks.");
  const more = nextCursor && total === undefined;
  const newest = deadLetters[0];
  return [big(count(total ?? deadLetters.length), more ? "or more" : "waiting"), newest && lines([["newest", when(newest.createdAt)], ["event", newest.event]])];
}
