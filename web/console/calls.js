// The open calls, newest first, a page at a time.

import { get } from "./api.js";
import { endCall } from "./acts.js";
import { Feed } from "./feed.js";
import { people, plain } from "./format.js";
import { callLink, callState, condition, fill, h, id, lasting, panel, state, userLink } from "./parts.js";
import { table } from "./table.js";

const LIMIT = 50;
const STATUSES = ["waiting", "ringing", "connecting", "active"].map((status) => [status, status]);
// Names in a row; the rest are counted.
const MOST_NAMES = 4;

/** A table of open calls; `done` is called when one was ended. */
export function callsTable(done, testid = "calls") {
  return table({
    caption: "Open calls", testid, key: (call) => call.callId, empty: "No open calls.",
    columns: [
      { title: "Call", head: true, cell: (call) => callLink(call.callId) },
      { title: "Status", cell: (call) => callState(call.status) },
      { title: "People", cell: peopleOf },
      { title: "Age", number: true, cell: (call) => lasting(call.createdAt) },
      { title: "Kind", cell: (call) => `${plain(call.type)}, ${call.mode}${call.groupId ? `, group ${call.groupId}` : ""}` },
      { title: "Owner", cell: (call) => call.ownerGone ? [id(call.ownerNode), " ", state("bad", "gone")] : id(call.ownerNode) },
      { title: "Epoch", number: true, cell: (call) => String(call.epoch ?? "–") },
      { title: "Act", acts: true, cell: (call, current) => h("button", {
        class: "act danger-quiet", type: "button", "aria-label": `End call ${call.callId}`, "data-testid": "end-call",
        onclick: async () => { if (await endCall(asWhom(current()))) done(); },
      }, "End") },
    ],
  });
}

/** What the dialog says of a call that is to be ended. */
export function asWhom(call) {
  const ids = (call.participants ?? []).filter((one) => !GONE.has(one.status)).map((one) => one.userId);
  const count = Math.max(ids.length, call.participantCount ?? 0);
  return { callId: call.callId, status: call.status, count, people: people(ids, count, 8) };
}

const GONE = new Set(["left", "declined", "busy", "missed", "kicked"]);

function peopleOf(call) {
  const all = call.participants ?? [];
  const rest = Math.max(all.length, call.participantCount ?? 0) - Math.min(all.length, MOST_NAMES);
  return h("ul", { class: "people" }, all.slice(0, MOST_NAMES).map((one) =>
    h("li", {}, userLink(one.userId), h("span", { class: "note" }, plain(one.status)))), rest > 0 && h("li", { class: "note" }, `and ${rest} more`));
}

function select({ name, label, values, none = "all" }, chosen) {
  const options = [["", none], ...values].map(([value, text]) => h("option", { value, selected: value === (chosen ?? "") }, text));
  return h("div", { class: "field" }, h("label", { for: `f-${name}` }, label), h("select", { id: `f-${name}`, name, "data-testid": `filter-${name}` }, options));
}

function text(name, label, value) {
  return h("div", { class: "field" }, h("label", { for: `f-${name}` }, label),
    h("input", { id: `f-${name}`, name, value: value ?? "", autocomplete: "off", spellcheck: "false", "data-testid": `filter-${name}` }));
}

/**
 * A form of filters that stand in the address, so that a link shows the same. Each is `{name, label}` for a text, or has
 * `values: [[value, text]…]` to choose from, and `none`, what stands there when none is chosen.
 */
export function filters(where, query, fields) {
  return h("form", {
    class: "filters", "aria-label": "Filters", "data-testid": "filters",
    onchange: (event) => event.currentTarget.requestSubmit(),
    onsubmit: (event) => {
      event.preventDefault();
      const wanted = [...new FormData(event.currentTarget)].filter(([, value]) => value !== "");
      const next = new URLSearchParams(wanted).toString();
      location.hash = next ? `#/${where}?${next}` : `#/${where}`;
    },
  }, fields.map((field) => field.values ? select(field, query.get(field.name)) : text(field.name, field.label, query.get(field.name))),
  h("button", { class: "secondary", type: "submit" }, "Show"));
}

/** Where the next page and the first one are. Pages stand in the address too. */
export function pager(where, query, nextCursor) {
  const to = (cursor) => {
    const next = new URLSearchParams(query);
    next.delete("cursor");
    if (cursor) next.set("cursor", cursor);
    return `#/${where}${next.size > 0 ? `?${next}` : ""}`;
  };
  return h("nav", { class: "pager", "aria-label": "Pages" },
    query.get("cursor") && h("a", { href: to(null) }, "First page"), nextCursor && h("a", { href: to(nextCursor), "data-testid": "next-page" }, "Next page"));
}

export function callsView(_, query) {
  const asked = h("div", {});
  const pages = h("div", {});
  const list = callsTable(() => feed.now());
  const wanted = { ...Object.fromEntries(query), limit: LIMIT };
  const feed = new Feed((signal) => get("admin/calls", wanted, signal), draw);

  function draw() {
    fill(asked, condition(feed));
    if (!feed.data) return;
    list.update(feed.data.calls);
    fill(pages, pager("calls", query, feed.data.nextCursor));
  }

  const fields = [{ name: "status", label: "Status", values: STATUSES }, { name: "user", label: "User" }, { name: "node", label: "Node" }, { name: "groupId", label: "Group" }];
  const element = panel("Open calls", "calls-panel", filters("calls", query, fields), asked, list.element, pages);
  draw();
  return { title: "Open calls", element, close: () => feed.close() };
}
