// The audit log: who did what to whom, newest first.
// Asked for less often than the rest: to read it is on record as well.

import { get } from "./api.js";
import { filters, pager } from "./calls.js";
import { Feed } from "./feed.js";
import { plain, several } from "./format.js";
import { callLink, condition, copy, fill, h, id, panel, userLink, when } from "./parts.js";
import { table } from "./table.js";

const LIMIT = 100;
const PERIOD_MS = 10_000;
// What was done to one target is looked for in so many pages of the log, which has no order by targets. More pages are more
// for the database to read each time; fewer do not reach back as far.
const MOST_PAGES = 5;
const LARGE_PAGE = 200;
const PERIOD_LARGE_MS = 60_000;

// The newest acts on a target, and until when was looked.
async function actsOn(target, wanted, signal) {
  const entries = [];
  let cursor = wanted.cursor;
  let lookedBackTo = null;
  for (let page = 0; page < MOST_PAGES; page += 1) {
    const answer = await get("admin/audit", { ...wanted, target: undefined, cursor, limit: LARGE_PAGE }, signal);
    entries.push(...answer.entries.filter((entry) => entry.target.id === target || entry.target.userId === target));
    cursor = answer.nextCursor;
    if (cursor === undefined) return { entries, lookedBackTo: null };
    lookedBackTo = answer.entries.at(-1).at;
  }
  return { entries, nextCursor: cursor, lookedBackTo };
}

function target({ kind, id: of, userId }) {
  const link = kind === "call" ? callLink(of) : kind === "user" ? userLink(of) : id(of);
  return [h("span", { class: "note before" }, plain(kind)), link, userId && [" ", userLink(userId)]].flat();
}

export function auditView(_, query) {
  const asked = h("div", {});
  const pages = h("div", {});
  const hidden = h("p", { class: "quiet" });
  const wanted = Object.fromEntries(query);
  const withReads = wanted.reads === "shown" || wanted.action !== undefined;
  delete wanted.reads;
  const list = table({
    caption: "Acts on record", testid: "audit", key: (entry) => entry.id, empty: "Nothing on record that fits.",
    columns: [
      { title: "When", head: true, number: true, cell: (entry) => when(entry.at) },
      { title: "Who", cell: ({ actor }) => [h("span", { class: "note before" }, plain(actor.kind)), id(actor.name ? `${actor.name} (${actor.id})` : actor.id)] },
      { title: "Did", cell: (entry) => h("code", {}, entry.action) },
      { title: "To", cell: (entry) => target(entry.target) },
      { title: "Outcome", cell: (entry) => plain(entry.outcome) },
      { title: "Note", cell: (entry) => entry.note ?? "–" },
      { title: "Node", cell: (entry) => entry.nodeId ? id(entry.nodeId) : "–" },
      { title: "Request", cell: (entry) => entry.requestId ? [id(entry.requestId), " ", copy(entry.requestId, "request id")] : "–" },
    ],
  });
  const ask = (signal) => wanted.target ? actsOn(wanted.target, wanted, signal) : get("admin/audit", { ...wanted, limit: LIMIT }, signal);
  const feed = new Feed(ask, draw, { period: wanted.target ? PERIOD_LARGE_MS : PERIOD_MS });

  function draw() {
    fill(asked, condition(feed));
    if (!feed.data) return;
    const { entries, lookedBackTo } = feed.data;
    const shown = entries.filter((entry) => withReads || entry.outcome !== "read");
    list.update(shown);
    const left = entries.length - shown.length;
    fill(hidden, left > 0 && `${several(left, "read")} of other people's data on this page ${left === 1 ? "is" : "are"} not shown. `,
      lookedBackTo && ["Looked back until ", when(lookedBackTo), "; for what was before, go to the next page."]);
    fill(pages, pager("audit", query, feed.data.nextCursor));
  }

  const fields = [{ name: "action", label: "Action" }, { name: "actor", label: "Actor (id)" }, { name: "target", label: "Target (id)" }, { name: "reads", label: "Reads", none: "hidden", values: [["shown", "shown"]] }];
  const element = panel("Audit log", "audit-panel", filters("audit", query, fields), asked, list.element, hidden, pages);
  draw();
  return { title: "Audit log", element, close: () => feed.close() };
}
