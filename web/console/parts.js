// The building blocks of the views: times, states, ids, lists of facts, what is said when nothing is there.
// Never: puts anything that came from a node into the page but as text: ids and reasons are what strangers chose.

import { h } from "../softphone/dom.js";
import { now } from "./api.js";
import { age, span, utc } from "./format.js";

export { h };

const TICK_MS = 1_000;

/** A point in time: how long ago, and the exact UTC time when pointed at, focused or read aloud. */
export function when(time, { until = false } = {}) {
  const at = typeof time === "number" ? time : Date.parse(time);
  if (!Number.isFinite(at)) return h("span", { class: "none" }, "–");
  const element = h("time", { class: "when", datetime: new Date(at).toISOString(), tabindex: "0", "data-tip": utc(at), "data-until": until });
  tick(element, now());
  return element;
}

/** A span that grows until `end`, or goes on. */
export function lasting(from, end) {
  const [start, stop] = [Date.parse(from), Date.parse(end)];
  if (!Number.isFinite(start)) return h("span", { class: "none" }, "–");
  if (Number.isFinite(stop)) return span(stop - start);
  const element = h("time", { class: "when", datetime: new Date(start).toISOString(), tabindex: "0", "data-tip": `since ${utc(start)}`, "data-lasting": true });
  tick(element, now());
  return element;
}

function tick(element, at) {
  const ms = Date.parse(element.dateTime);
  const text = element.dataset.lasting !== undefined ? span(at - ms) : age(ms, at);
  const tip = element.dataset.tip;
  if (element.firstChild?.data === text) return;
  // The exact time is read aloud too, and copied with the text; what shows it to others is the tip.
  element.replaceChildren(text, h("span", { class: "visually-hidden" }, `, ${tip}`));
}

setInterval(() => {
  const at = now();
  for (const element of document.querySelectorAll("time.when")) tick(element, at);
}, TICK_MS);

/** A state in words with a sign in front, so that it is told apart without colour. `kind`: good, busy, bad, over. */
export function state(kind, text, testid) {
  return h("span", { class: `state ${kind}`, "data-testid": testid }, h("span", { class: "sign", "aria-hidden": "true" }, SIGNS[kind]), text);
}

const SIGNS = { good: "●", busy: "◐", bad: "▲", over: "○" };

const OPEN = { active: "good", waiting: "busy", ringing: "busy", connecting: "busy" };
const FAILED = new Set(["failed"]);

/** The status of a call. */
export const callState = (status) => state(OPEN[status] ?? (FAILED.has(status) ? "bad" : "over"), status, "call-status");

/** Links into the page. */
export const hrefs = {
  call: (id) => `#/calls/${encodeURIComponent(id)}`,
  user: (id) => `#/users/${encodeURIComponent(id)}`,
  run: (id) => `#/sweeps/${encodeURIComponent(id)}`,
  calls: (query) => `#/calls?${new URLSearchParams(query)}`,
};

// Shorter ids stay on one line.
const ONE_LINE = 18;
const idClass = (text) => String(text).length > ONE_LINE ? "id long" : "id";

/** Ids are shown whole, and long ones may be broken anywhere: a part of one finds nothing. */
export const id = (text) => h("span", { class: idClass(text) }, text);

export const callLink = (callId) => h("a", { class: idClass(callId), href: hrefs.call(callId) }, callId);
export const userLink = (userId) => h("a", { class: idClass(userId), href: hrefs.user(userId) }, userId);

/** A button that puts a text onto the clipboard. */
export function copy(text, what) {
  return h("button", { class: "copy", type: "button", "aria-label": `Copy ${what}`, onclick: async (event) => {
    const button = event.currentTarget;
    const done = await toClipboard(text);
    button.textContent = done ? "Copied" : "Not copied";
    say(done ? `${what} copied` : `${what} could not be copied`);
    setTimeout(() => { button.textContent = "Copy"; }, 2_000);
  } }, "Copy");
}

async function toClipboard(text) {
  // Over plain HTTP browsers have no clipboard for pages, but the old way.
  if (navigator.clipboard) return navigator.clipboard.writeText(text).then(() => true, () => false);
  const field = h("textarea", { class: "visually-hidden", "aria-hidden": "true" });
  field.value = text;
  document.body.append(field);
  field.select();
  const done = document.execCommand("copy");
  field.remove();
  return done;
}

/** Says something to who does not see the page. */
export function say(text) {
  document.querySelector("#live").textContent = text;
}

/** Names and values. A value that is missing leaves its line out. */
export function facts(entries) {
  const shown = entries.filter(([, value]) => value !== undefined && value !== null && value !== false && value !== "");
  return h("dl", { class: "facts" }, shown.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
}

const FOCUSABLE = "a[href], button, input, select, textarea, [tabindex]";

/** Replaces what is in an element, unless it would look the same: the focus and what is selected stay. */
export function fill(element, ...children) {
  const next = element.cloneNode(false);
  next.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  const at = now();
  for (const time of element.querySelectorAll("time.when")) tick(time, at);
  if (element.isEqualNode(next)) return element;
  const focused = [...element.querySelectorAll(FOCUSABLE)].indexOf(document.activeElement);
  element.replaceChildren(...next.childNodes);
  if (focused >= 0) element.querySelectorAll(FOCUSABLE)[focused]?.focus();
  return element;
}

/** A part of a view with a heading. `more`: beside the heading. */
export function section(title, testid, ...children) {
  const key = `h-${testid}`;
  return h("section", { class: "panel", "aria-labelledby": key, "data-testid": testid }, h("h2", { id: key }, title), children);
}

/** The same where the heading of the page says what it is. */
export const panel = (title, testid, ...children) => h("section", { class: "panel", "aria-label": title, "data-testid": testid }, children);

/** What a feed has not told: that it is being asked, or why it says nothing, or that what is shown is old. */
export function condition(feed) {
  if (feed.data === null && feed.error === null) return h("p", { class: "quiet", "data-testid": "loading" }, "Asking…");
  if (feed.data === null) return h("p", { class: "problem", "data-testid": "problem" }, `Not known (${feed.error.words ?? feed.error}).`);
  if (!feed.isStale) return null;
  return h("p", { class: "problem", "data-testid": "stale" }, "Not the present: last answer ", when(feed.at), feed.error ? ` (${feed.error.words ?? feed.error}).` : ".");
}

/** The tip of the element that is pointed at or focused; Escape takes it away. */
export function startTips() {
  const tip = document.querySelector("#tip");
  let owner = null;
  const hide = () => { owner = null; tip.hidden = true; };
  const show = (event) => {
    const element = event.target.closest?.("[data-tip]");
    if (!element) return;
    owner = element;
    tip.textContent = element.dataset.tip;
    tip.hidden = false;
    const at = element.getBoundingClientRect();
    const left = Math.min(at.left, document.documentElement.clientWidth - tip.offsetWidth - 8);
    const above = at.top - tip.offsetHeight - 6;
    tip.style.left = `${Math.max(8, left)}px`;
    tip.style.top = `${above > 0 ? above : at.bottom + 6}px`;
  };
  document.addEventListener("pointerover", show);
  document.addEventListener("focusin", show);
  document.addEventListener("pointerout", (event) => { if (event.target.closest?.("[data-tip]") === owner) hide(); });
  document.addEventListener("focusout", hide);
  document.addEventListener("scroll", hide, true);
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });
  // What it belongs to may have gone under the pointer.
  setInterval(() => { if (owner && !owner.isConnected) hide(); }, TICK_MS);
}
