// The console: the sign-in, the frame around the views, and which view an address shows.
// Owns: the fragment of the address, in which everything stands that a link must carry. Never: the key in it.

import { get, now, path, session } from "./api.js";
import { noticeElement } from "./ask.js";
import { auditView } from "./audit.js";
import { callView } from "./call.js";
import { callsView } from "./calls.js";
import { feeds, isPaused, pause } from "./feed.js";
import { span, utc } from "./format.js";
import { lettersView } from "./letters.js";
import { nodesView } from "./nodes.js";
import { overview } from "./overview.js";
import { h, hrefs, say, startTips } from "./parts.js";
import { signInView } from "./signin.js";
import { runView, sweepsView } from "./sweeps.js";
import { userView } from "./user.js";

const TICK_MS = 500;
const PAGES = [["", "Overview"], ["nodes", "Nodes"], ["calls", "Calls"], ["sweeps", "Sweeps"], ["dead-letters", "Dead letters"], ["audit", "Audit log"]];
const LISTS = { "": overview, nodes: nodesView, calls: callsView, sweeps: sweepsView, "dead-letters": lettersView, audit: auditView };
const ONE = { calls: callView, users: userView, sweeps: runView };

const root = document.querySelector("#app");
const main = h("main", { id: "main" });
const heading = h("h1", { tabindex: "-1", "data-testid": "heading" });
const place = h("div", {});
const banner = h("p", { class: "banner", role: "alert", "data-testid": "banner", hidden: true });
const fresh = h("p", { class: "fresh", "data-testid": "fresh" });
const hold = h("button", { class: "quiet-button", type: "button", "aria-pressed": "false", "data-testid": "pause", onclick: () => {
  pause(!isPaused());
  hold.setAttribute("aria-pressed", String(isPaused()));
  hold.textContent = isPaused() ? "Go on" : "Pause";
  freshness();
} }, "Pause");
const links = PAGES.map(([name, text]) => h("a", { href: `#/${name}`, "data-page": name }, text));
const field = h("input", { id: "search", name: "id", type: "search", autocomplete: "off", spellcheck: "false", required: true, maxlength: "128", placeholder: "Call id or user id", "data-testid": "search" });
const searchProblem = h("p", { class: "problem", role: "alert", "data-testid": "search-problem", hidden: true });
const frame = h("div", { class: "frame" },
  h("a", { class: "skip", href: "#main", onclick: (event) => { event.preventDefault(); heading.focus(); } }, "To the content"),
  h("header", { class: "bar" },
    h("p", { class: "brand" }, "Carillon ", h("span", {}, "console")),
    h("form", { role: "search", class: "search", onsubmit: (event) => { event.preventDefault(); search(field.value.trim()); } },
      h("label", { for: "search", class: "visually-hidden" }, "Call id or user id"), field, h("button", { class: "primary", type: "submit", "data-testid": "search-go" }, "Find")),
    h("div", { class: "status" }, fresh, hold, h("button", { class: "quiet-button", type: "button", "data-testid": "sign-out", onclick: () => signOut() }, "Sign out"))),
  h("nav", { class: "pages", "aria-label": "Pages of the console" }, links),
  searchProblem, banner, noticeElement, main);
main.append(heading, place);

let shown = null;

// `#/calls/ID?status=active` → the page, the ids, the query.
function read() {
  const [where, query = ""] = location.hash.replace(/^#\/?/, "").split(/\?(.*)/s);
  const [page, ...ids] = where.split("/").filter((part, n) => n === 0 || part !== "");
  try {
    return { page, ids: ids.map(decodeURIComponent), query: new URLSearchParams(query) };
  } catch {
    return { page: null, ids: [], query: new URLSearchParams() };
  }
}

function show() {
  const { page, ids, query } = read();
  shown?.close();
  searchProblem.hidden = true;
  const make = ids.length > 0 ? ONE[page] : LISTS[page];
  shown = make ? make(ids, query) : { title: "No such page", element: h("p", {}, h("a", { href: "#/" }, "To the overview")), close() {} };
  heading.textContent = shown.title;
  document.title = `${shown.title} · Carillon console`;
  for (const link of links) {
    if (link.dataset.page === page) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  place.replaceChildren(shown.element);
  freshness();
}

// A call, or else a user: which of the two an id is cannot be told by looking at it.
async function search(id) {
  if (id === "") return;
  searchProblem.hidden = true;
  try {
    await get(path`calls/${id}/timeline`, { limit: 1 });
    location.hash = hrefs.call(id);
  } catch (error) {
    if (error.status === 404 || error.status === 400) {
      location.hash = hrefs.user(id);
    } else if (error.status !== 401) {
      searchProblem.textContent = `Not looked up (${error.words ?? error}).`;
      searchProblem.hidden = false;
    }
  }
}

// How old what is shown is; a banner when it is not the present.
function freshness() {
  const asked = feeds();
  const answered = asked.filter((feed) => feed.at !== null);
  const oldest = answered.length > 0 ? Math.min(...answered.map((feed) => feed.at)) : null;
  const stale = asked.filter((feed) => feed.isStale);
  const seen = oldest === null ? "not answered yet" : `last seen ${span(Math.max(0, Math.floor((now() - oldest) / 1_000) * 1_000)).replace("0 ms", "0 s")} ago`;
  const isLive = stale.length === 0 && !isPaused();
  fresh.textContent = `${isPaused() ? "Paused" : isLive ? "Live" : "Not live"}, ${seen}`;
  fresh.dataset.state = isLive ? "live" : "old";
  if (oldest !== null) fresh.dataset.tip = utc(oldest);
  const isCutOff = !isPaused() && stale.length > 0 && stale.some((feed) => feed.error?.status === 0 || feed.error?.status >= 500);
  if (isCutOff !== !banner.hidden) {
    banner.hidden = !isCutOff;
    // Said once; how old things are by now stands above and in each part.
    banner.textContent = isCutOff ? `The node cannot be asked: ${stale[0].error.words}. What is shown is old.` : "";
    if (!isCutOff) say("The node answers again.");
  }
}

const signIn = signInView({ enter: async (key) => {
  session.open(key);
  try {
    await get("admin/nodes");
  } catch (error) {
    session.close();
    throw error;
  }
  enter();
} });

function enter() {
  root.replaceChildren(frame);
  show();
  heading.focus();
}

function signOut(problem) {
  session.close();
  shown?.close();
  shown = null;
  for (const dialog of document.querySelectorAll("dialog")) dialog.close();
  place.replaceChildren();
  root.replaceChildren(signIn.element);
  document.title = "Carillon console";
  signIn.update(problem);
  signIn.focus();
}

session.whenRefused((error) => {
  if (root.contains(frame)) signOut(error.code === "token_expired" ? "Your token has expired. Sign in with a new one." : "The node does not take this key or token any more.");
});
window.addEventListener("hashchange", () => {
  if (!root.contains(frame)) return;
  show();
  // Who follows a link begins to read at the top of what it led to.
  if (!document.querySelector("dialog[open]")) heading.focus();
  window.scrollTo(0, 0);
});
setInterval(() => { if (root.contains(frame)) freshness(); }, TICK_MS);
startTips();
if (session.isOpen) enter();
else signOut();
