// Whom to call, by voice or with video.

import { h, icon } from "./dom.js";

/** Ids between commas or blanks: several make a group call. */
export const userIdsIn = (text) => text.split(/[\s,;]+/).filter(Boolean);

export function dialerView({ onCall }) {
  const input = h("input", {
    id: "dial", name: "dial", autocomplete: "off", autocapitalize: "none", spellcheck: "false", enterkeyhint: "go",
    placeholder: "e.g. bob", "data-testid": "dial-input", "aria-describedby": "dial-hint",
  });
  const dial = (video) => {
    const userIds = userIdsIn(input.value);
    if (userIds.length === 0) input.focus();
    else onCall(userIds, video);
  };
  const audio = h("button", { class: "primary", type: "submit", "data-testid": "call-audio" }, icon("phone"), "Call");
  const video = h("button", { class: "secondary", type: "button", "data-testid": "call-video", onclick: () => dial(true) }, icon("video"), "Video");
  const element = h("section", { class: "card dialer", "aria-labelledby": "dial-title" },
    h("h2", { id: "dial-title" }, "New call"),
    h("form", { onsubmit: (event) => { event.preventDefault(); dial(false); } },
      h("label", { for: "dial" }, "User id"),
      input,
      h("p", { class: "hint", id: "dial-hint" }, "Several ids, with commas, make a group call."),
      h("div", { class: "dial-buttons" }, audio, video)));
  return {
    element,
    update(connected) { audio.disabled = video.disabled = !connected; },
    clear() { input.value = ""; },
  };
}
