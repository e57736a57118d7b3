// The dialog before an act, and the notice after it.
// Never: acts by a single press, or repeats an act that was not answered: it says so instead.

import { h, say } from "./parts.js";

// For how long what was done stays in sight.
const NOTICE_MS = 12_000;

const notice = h("div", { class: "notice", "data-testid": "notice", hidden: true });
let noticeTimer;

/** Where notices stand in the page. */
export const noticeElement = notice;

/** Says what came of an act, to everybody. `link`: `{href, text}` for where to go on. */
export function tell(text, { link, bad = false } = {}) {
  notice.replaceChildren(h("span", {}, text), link ? h("a", { href: link.href }, link.text) : "",
    h("button", { class: "quiet-button", type: "button", "aria-label": "Close this message", onclick: () => { notice.hidden = true; } }, "Close"));
  notice.classList.toggle("bad", bad);
  notice.hidden = false;
  say(text);
  clearTimeout(noticeTimer);
  if (!bad) noticeTimer = setTimeout(() => { notice.hidden = true; }, NOTICE_MS);
}

/**
 * Asks, and does it if told to. `will`: sentences of what will happen; `whom`: names and values; `sure`: the sentence to
 * be ticked before something that cuts people off; `reason`: asks for one; `act(reason)`: does it; `done(answer)`: what
 * is told then. Resolves when the dialog is closed: with the answer (`{}` for one without a body), or null: not done.
 */
export function ask({ title, will, whom = [], sure, reason = false, verb, act, done }) {
  return new Promise((closed) => {
    const before = document.activeElement;
    let answer = null;
    const problem = h("p", { class: "problem", role: "alert", "data-testid": "ask-problem" });
    const go = h("button", { class: sure ? "danger" : "primary", type: "submit", disabled: Boolean(sure), "data-testid": "ask-go" }, verb);
    const back = h("button", { class: "secondary", type: "button", "data-testid": "ask-back", onclick: () => dialog.close() }, "Do nothing");
    const tick = sure && h("input", { type: "checkbox", id: "ask-sure", "data-testid": "ask-sure", onchange: () => { go.disabled = !tick.checked; } });
    const why = reason && h("input", { type: "text", id: "ask-reason", maxlength: "200", autocomplete: "off", "data-testid": "ask-reason" });
    const dialog = h("dialog", { class: "ask", "aria-labelledby": "ask-title", "aria-describedby": "ask-will", "data-testid": "ask" },
      h("form", { method: "dialog", onsubmit: async (event) => {
        event.preventDefault();
        if (go.disabled) return;
        // Until it is answered: twice pressed is not twice done.
        go.disabled = true;
        problem.textContent = "";
        try {
          answer = (await act(why ? why.value.trim() : "")) ?? {};
          dialog.close();
          done?.(answer);
        } catch (error) {
          go.disabled = false;
          const unsure = error.status === 0 ? " Whether it was done is not known: look before you try again." : "";
          problem.textContent = `${error.status === 0 ? "Not answered" : "Not done"} (${error.words ?? error}).${unsure}`;
        }
      } },
      h("h2", { id: "ask-title" }, title),
      h("div", { id: "ask-will" }, will.map((sentence) => h("p", {}, sentence))),
      whom.length > 0 && h("dl", { class: "facts" }, whom.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", { class: "id" }, value)))),
      why && h("div", { class: "field" }, h("label", { for: "ask-reason" }, "Reason, for the audit log (optional)"), why),
      tick && h("div", { class: "sure" }, tick, h("label", { for: "ask-sure" }, sure)),
      problem,
      h("p", { class: "quiet" }, "This is put on record in the audit log."),
      h("div", { class: "buttons" }, back, go)));
    dialog.addEventListener("close", () => {
      dialog.remove();
      // What the focus came from may be gone by now.
      if (before?.isConnected) before.focus();
      closed(answer);
    });
    document.body.append(dialog);
    dialog.showModal();
    back.focus();
  });
}
