// Dead letters: deliveries to the application's backend that were given up. They are sent again, or deleted, by hand.

import { get } from "./api.js";
import { discard, replay } from "./acts.js";
import { filters, pager } from "./calls.js";
import { Feed } from "./feed.js";
import { count } from "./format.js";
import { callLink, condition, fill, h, id, panel, when } from "./parts.js";
import { table } from "./table.js";

const LIMIT = 50;

export function lettersView(_, query) {
  const asked = h("div", {});
  const pages = h("div", {});
  const list = table({
    caption: "Dead letters", testid: "dead-letters", key: (letter) => letter.deliveryId, empty: "No dead letters.",
    columns: [
      { title: "Event", head: true, cell: (letter) => [letter.event, h("p", { class: "note id" }, letter.deliveryId)] },
      { title: "To", cell: (letter) => [id(letter.url), h("p", { class: "note id" }, letter.webhookId)] },
      { title: "Call", cell: (letter) => letter.callId ? callLink(letter.callId) : "–" },
      { title: "Age", number: true, cell: (letter) => when(letter.createdAt) },
      { title: "Attempts", number: true, cell: (letter) => count(letter.attempts) },
      { title: "Last answer", cell: (letter) => [letter.lastStatus ? `HTTP ${letter.lastStatus} ` : "", letter.lastError ?? ""].join("") || "–" },
      { title: "Act", acts: true, cell: (letter, current) => [
        h("button", { class: "act", type: "button", "aria-label": `Send ${letter.deliveryId} again`, "data-testid": "replay", onclick: async () => { if (await replay(current())) feed.now(); } }, "Send again"),
        h("button", { class: "act danger-quiet", type: "button", "aria-label": `Delete ${letter.deliveryId}`, "data-testid": "discard", onclick: async () => { if (await discard(current())) feed.now(); } }, "Delete"),
      ] },
    ],
  });
  const feed = new Feed((signal) => get("admin/dead-letters", { ...Object.fromEntries(query), limit: LIMIT }, signal), draw);

  function draw() {
    fill(asked, condition(feed));
    if (!feed.data) return;
    list.update(feed.data.deadLetters);
    fill(pages, pager("dead-letters", query, feed.data.nextCursor));
  }

  const element = panel("Dead letters", "letters-panel",
    h("p", { class: "quiet" }, "Events that a receiver has not taken after all attempts. Nothing more is done about them until somebody does."),
    filters("dead-letters", query, [{ name: "webhookId", label: "Webhook" }]), asked, list.element, pages);
  draw();
  return { title: "Dead letters", element, close: () => feed.close() };
}
