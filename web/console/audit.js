// The audit log: who did what to whom, newest first.
// Asked for less often than the rest: to read it is on record as well.

import { get } from "./api.js";
import { filters, pager } from "./calls.js";
import { Feed } from "./feed.js";
import { plain } from "./format.js";
import { callLink, condition, copy, fill, h, id, panel, userLink, when } from "./parts.js";
import { table } from "./table.js";

const LIMIT = 100;
const PERIOD_MS = 10_000;

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
  const feed = new Feed((signal) => get("admin/audit", { ...wanted, limit: LIMIT }, signal), draw, { period: PERIOD_MS });

  function draw() {
    fill(asked, condition(feed));
    if (!feed.data) return;
    // Also where the node does not know the filter.
    const fits = feed.data.entries.filter((entry) => !wanted.target || entry.target.id === wanted.target || entry.target.userId === wanted.target);
    const shown = fits.filter((entry) => withReads || entry.outcome !== "read");
    list.update(shown);
    const left = fits.length - shown.length;
    hidden.textContent = left > 0 ? `${left} reads of other people's data on this page are not shown.` : "";
    fill(pages, pager("audit", query, feed.data.nextCursor));
  }

  const fields = [{ name: "action", label: "Action" }, { name: "actor", label: "Actor (id)" }, { name: "target", label: "Target (id)" }, { name: "reads", label: "Reads", none: "hidden", values: [["shown", "shown"]] }];
  const element = panel("Audit log", "audit-panel", filters("audit", query, fields), asked, list.element, hidden, pages);
  draw();
  return { title: "Audit log", element, close: () => feed.close() };
}
