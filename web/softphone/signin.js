// The first page: a token, and nothing else. Where one comes from is said in a line.

import { h, icon } from "./dom.js";

export function signInView({ onToken }) {
  const input = h("input", {
    id: "token", name: "token", type: "password", autocomplete: "off", spellcheck: "false", required: true,
    placeholder: "eyJhbGciOi…", "data-testid": "token-input",
  });
  const problem = h("p", { class: "problem", role: "alert", "data-testid": "signin-problem", hidden: true });
  const form = h("form", {
    class: "card signin", "data-testid": "signin-form",
    onsubmit: (event) => {
      event.preventDefault();
      if (input.value.trim()) onToken(input.value.trim());
      input.value = "";
    },
  },
  h("div", { class: "logo-large" }, icon("bell")),
  h("h1", {}, "Carillon"),
  h("p", { class: "lead" }, "Voice and video calls between two browser tabs."),
  problem,
  h("label", { for: "token" }, "Access token"),
  input,
  h("button", { class: "primary", type: "submit", "data-testid": "signin-button" }, "Sign in"),
  h("p", { class: "hint" }, "A development node prints two ready links when it starts. Any other token: ",
    h("code", {}, "carillon token --user alice")));
  return {
    element: h("main", { class: "center" }, form),
    update(text) {
      problem.hidden = !text;
      problem.textContent = text ?? "";
    },
    focus() { input.focus(); },
  };
}
