// The list of recent calls of one user on this device, and its view.
// Owns: one key of the local storage. Survives: storage that is full or forbidden (the list then lives with the page).

import { avatar, duration, h, icon, names, when } from "./dom.js";

const MAX_ENTRIES = 50;

const WORDS = {
  completed: "", missed: "Missed", declined: "Declined", busy: "Busy", no_answer: "No answer", unreachable: "Unreachable",
  cancelled: "Cancelled", elsewhere: "On another device", failed: "Failed",
};

export class Recents {
  #key;
  #memory = [];

  constructor(userId) { this.#key = `carillon.recents.${userId}`; }

  list() {
    try {
      const stored = JSON.parse(localStorage.getItem(this.#key) ?? "null");
      return Array.isArray(stored) ? stored : this.#memory;
    } catch {
      return this.#memory;
    }
  }

  /** `{callId, peers, direction, video, outcome, at, durationSecs}`; the same call twice is one entry. */
  add(entry) {
    this.#store([entry, ...this.list().filter((other) => other.callId !== entry.callId)].slice(0, MAX_ENTRIES));
  }

  clear() { this.#store([]); }

  #store(list) {
    this.#memory = list;
    try { localStorage.setItem(this.#key, JSON.stringify(list)); } catch { /* Kept in memory. */ }
  }
}

export function recentsView({ onCall, onClear }) {
  const list = h("ul", { class: "recents", "data-testid": "recents" });
  const clear = h("button", { class: "quiet", type: "button", "data-testid": "recents-clear", onclick: onClear }, "Clear");
  const element = h("section", { class: "card", "aria-labelledby": "recents-title" },
    h("header", { class: "card-head" }, h("h2", { id: "recents-title" }, "Recent calls"), clear), list);
  return {
    element,
    update(entries) {
      clear.hidden = entries.length === 0;
      list.replaceChildren(...(entries.length > 0 ? entries.map((entry) => item(entry, onCall)) : [
        h("li", { class: "empty" }, icon("bell"), h("p", {}, "Calls you make and receive appear here.")),
      ]));
    },
  };
}

function item(entry, onCall) {
  const bad = ["missed", "failed"].includes(entry.outcome);
  const word = WORDS[entry.outcome] || (entry.durationSecs > 0 ? duration(entry.durationSecs) : "Ended");
  const people = names(entry.peers);
  return h("li", {
    class: `recent${bad ? " bad" : ""}`, "data-testid": "recent-item", "data-outcome": entry.outcome, "data-direction": entry.direction,
    "data-peers": entry.peers.join(","),
  },
  h("button", {
    class: "recent-main", type: "button", onclick: () => onCall(entry.peers, entry.video),
    "aria-label": `Call ${people} again. ${entry.direction === "in" ? "Incoming" : "Outgoing"} call, ${word}, ${when(entry.at)}`,
  },
  avatar(entry.peers[0] ?? "?"),
  h("span", { class: "recent-text" },
    h("span", { class: "recent-name" }, people),
    h("span", { class: "recent-sub" }, icon(entry.direction === "in" ? "incoming" : "outgoing"), `${entry.video ? "Video" : "Audio"} · ${word}`)),
  h("time", { datetime: new Date(entry.at).toISOString() }, when(entry.at)),
  h("span", { class: "recent-call" }, icon(entry.video ? "video" : "phone"))));
}
