// A call that rings: who it is, and what to do about it. A modal dialog; Escape does nothing, so that nobody declines
// by accident.

import { avatar, h, icon, names } from "./dom.js";

export function incomingView({ onAccept, onDecline }) {
  const dialog = h("dialog", {
    class: "incoming", "data-testid": "incoming", role: "alertdialog", "aria-labelledby": "incoming-from", "aria-describedby": "incoming-kind",
    oncancel: (event) => event.preventDefault(),
  });
  let shown = null;

  const build = (ring, inCall) => {
    const action = (kind, label, name, testid, run) => h("div", { class: "round-with-label" },
      h("button", { class: `round ${kind}`, type: "button", "data-testid": testid, "aria-label": `${label} call from ${ring.from}`, onclick: run }, icon(name)),
      h("span", { "aria-hidden": "true" }, label));
    const kind = `${ring.isGroup || ring.others.length > 0 ? "Group " : ""}${ring.video ? "video" : "audio"} call`;
    const decline = action("red", "Decline", "hangup", "decline", () => onDecline(ring.callId));
    const accept = action("green", inCall ? "End & accept" : "Accept", "phone", "accept", () => onAccept(ring.callId, false));
    const video = action("green", "With video", "video", "accept-video", () => onAccept(ring.callId, true));
    dialog.replaceChildren(
      h("p", { class: "incoming-label" }, "Incoming call"),
      h("div", { class: "pulse" }, avatar(ring.from, "large")),
      h("h2", { id: "incoming-from", "data-testid": "incoming-from" }, ring.from),
      h("p", { id: "incoming-kind", class: "hint" },
        ring.others.length > 0 ? `${kind} with ${names(ring.others)}` : kind),
      h("div", { class: "incoming-actions" }, decline, accept, video));
    (ring.video ? video : accept).querySelector("button").focus();
  };

  return {
    element: dialog,
    update(ring, inCall) {
      if ((ring?.callId ?? null) === shown) return;
      shown = ring?.callId ?? null;
      if (!ring) { dialog.close(); dialog.replaceChildren(); return; }
      if (!dialog.open) dialog.showModal();
      build(ring, inCall);
    },
  };
}
