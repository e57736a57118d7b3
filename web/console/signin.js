// Who comes in: a service key, or a token with the role admin. What is wrong with one that is not taken is said.

import { h } from "./parts.js";

function wordsFor(error) {
  if (error.code === "token_expired") return "This token has expired.";
  if (error.status === 401) return "The node does not take this: it is no service key, and no token that is good here.";
  if (error.status === 403) return "The token is good, but its user has not the role admin.";
  if (error.status === 404) return "This node has no console: it is of an earlier version.";
  if (error.status === 429) return "Too many tries. Wait a moment, then try again.";
  return `Not signed in (${error.words ?? error}).`;
}

/** `enter(key)` tries a key; what it throws is shown. */
export function signInView({ enter }) {
  const input = h("input", { id: "key", name: "key", type: "password", autocomplete: "off", spellcheck: "false", required: true, "aria-describedby": "key-hint", "data-testid": "key" });
  const problem = h("p", { class: "problem", role: "alert", "data-testid": "signin-problem" });
  const button = h("button", { class: "primary", type: "submit", "data-testid": "signin" }, "Sign in");
  const form = h("form", {
    class: "panel signin",
    onsubmit: async (event) => {
      event.preventDefault();
      const key = input.value.trim();
      if (key === "" || button.disabled) return;
      button.disabled = true;
      problem.textContent = "";
      try {
        await enter(key);
        input.value = "";
      } catch (error) {
        problem.textContent = wordsFor(error);
        input.select();
      } finally {
        button.disabled = false;
      }
    },
  },
  h("h1", {}, "Carillon console"),
  h("p", { class: "quiet" }, "Nodes, calls and sweeps, for whoever is on call. What you do here is on record."),
  h("label", { for: "key" }, "Service key, or token with the role admin"),
  input, problem, button,
  h("p", { class: "quiet", id: "key-hint" }, "It stays in this tab, until the tab is closed or you sign out."));
  return {
    element: h("main", { class: "center" }, form),
    update(text) { problem.textContent = text ?? ""; },
    focus() { input.focus(); },
  };
}
