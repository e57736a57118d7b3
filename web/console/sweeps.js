// The sweeps: what each is for, when it ran and what came of it; their runs; one run with its actions.

import { get, path } from "./api.js";
import { runSweep } from "./acts.js";
import { filters, pager } from "./calls.js";
import { Feed } from "./feed.js";
import { count, plain, span } from "./format.js";
import { hasFailed, runWords } from "./health.js";
import { callLink, condition, copy, facts, fill, h, hrefs, id, lasting, panel, section, state, userLink, when } from "./parts.js";
import { table } from "./table.js";

const RUNS = 50;

const outcomeOf = (run) => state(hasFailed(run) ? "bad" : run.finishedAt ? "good" : "busy", runWords(run), "outcome");
const howOf = (run) => `${run.by === "hand" ? "by hand" : "on schedule"}${run.dryRun ? ", dry run" : ""}`;

export function sweepsView(_, query) {
  const asked = h("div", {});
  const askedRuns = h("div", {});
  const pages = h("div", {});
  const press = async (sweep, dryRun) => { await runSweep(sweep, dryRun); sweeps.now(); runs.now(); };
  const list = table({
    caption: "Sweeps", testid: "sweeps", key: (sweep) => sweep.name, empty: "No sweeps.",
    columns: [
      { title: "Sweep", head: true, cell: (sweep) => [h("a", { href: `#/sweeps?sweep=${encodeURIComponent(sweep.name)}` }, sweep.name), h("p", { class: "note" }, sweep.what)] },
      { title: "Every", number: true, cell: (sweep) => span(sweep.intervalSecs * 1_000) },
      { title: "Next", number: true, cell: (sweep) => when(sweep.nextAt) },
      { title: "Held by", cell: (sweep) => sweep.heldBy ? [id(sweep.heldBy), sweep.heldUntil && h("span", { class: "note" }, "until ", when(sweep.heldUntil))] : "nobody" },
      { title: "Last run", number: true, cell: ({ lastRun }) => lastRun ? when(lastRun.startedAt) : "none yet" },
      { title: "Found", number: true, cell: ({ lastRun }) => lastRun ? count(lastRun.found) : "–" },
      { title: "Acted", number: true, cell: ({ lastRun }) => lastRun ? count(lastRun.acted) : "–" },
      { title: "Outcome", cell: ({ lastRun }) => !lastRun ? "–" : lastRun.runId ? h("a", { href: hrefs.run(lastRun.runId) }, outcomeOf(lastRun)) : outcomeOf(lastRun) },
      { title: "Act", acts: true, cell: (sweep, current) => [
        h("button", { class: "act", type: "button", "aria-label": `Dry run of ${sweep.name}`, "data-testid": "dry-run", onclick: () => press(current(), true) }, "Dry run"),
        h("button", { class: "act danger-quiet", type: "button", "aria-label": `Run ${sweep.name} for real`, "data-testid": "real-run", onclick: () => press(current(), false) }, "Run"),
      ] },
    ],
  });
  const ran = table({
    caption: "Runs of sweeps", testid: "runs", key: (run) => run.runId, empty: "No runs on record.",
    columns: [
      { title: "Run", head: true, cell: (run) => h("a", { href: hrefs.run(run.runId) }, when(run.startedAt).firstChild.data, h("span", { class: "visually-hidden" }, ` of ${run.sweep}`)) },
      { title: "Sweep", cell: (run) => run.sweep },
      { title: "How", cell: (run) => howOf(run) },
      { title: "Node", cell: (run) => id(run.nodeId) },
      { title: "Took", number: true, cell: (run) => lasting(run.startedAt, run.finishedAt) },
      { title: "Runs", number: true, cell: (run) => count(run.runs) },
      { title: "Found", number: true, cell: (run) => count(run.found) },
      { title: "Acted", number: true, cell: (run) => count(run.acted) },
      { title: "Failed", number: true, cell: (run) => count(run.failed) },
      { title: "Outcome", cell: outcomeOf },
      { title: "Note", cell: (run) => run.note ?? "–" },
    ],
  });
  const sweeps = new Feed((signal) => get("admin/sweeps", {}, signal), draw);
  const runs = new Feed((signal) => get("admin/sweeps/runs", { ...Object.fromEntries(query), limit: RUNS }, signal), draw);
  const form = h("div", {});
  let named = "";

  function draw() {
    fill(asked, condition(sweeps));
    if (sweeps.data) {
      list.update(sweeps.data.sweeps);
      const names = sweeps.data.sweeps.map((sweep) => sweep.name);
      // Once: a form that is made anew loses what is being chosen.
      if (named !== names.join()) {
        named = names.join();
        form.replaceChildren(filters("sweeps", query, [{ name: "sweep", label: "Sweep", values: names.map((name) => [name, name]) }, { name: "failed", label: "Outcome", values: [["true", "not well"]] }]));
      }
    }
    fill(askedRuns, condition(runs));
    if (!runs.data) return;
    ran.update(runs.data.runs);
    fill(pages, pager("sweeps", query, runs.data.nextCursor));
  }

  const element = h("div", {}, panel("Sweeps", "sweeps-panel", asked, list.element), section("Runs", "runs-panel", form, askedRuns, ran.element, pages));
  draw();
  return { title: "Sweeps", element, close: () => { sweeps.close(); runs.close(); } };
}

// The run with all its actions: they are asked for from the beginning each time while it runs.
async function wholeRun(runId, signal) {
  let run;
  const actions = [];
  for (;;) {
    const answer = await get(path`admin/sweeps/runs/${runId}`, { after: actions.at(-1)?.n }, signal);
    const page = answer.actions;
    run = answer;
    actions.push(...page);
    if (answer.nextAfter === undefined || page.length === 0) return { run, actions };
  }
}

export function runView([runId]) {
  const asked = h("div", {});
  const top = h("div", {});
  const list = table({
    caption: "Actions of the run", testid: "actions", key: (action) => String(action.n), empty: "It found nothing to do.",
    columns: [
      { title: "N", number: true, head: true, cell: (action) => String(action.n) },
      { title: "What", cell: (action) => plain(action.what) },
      { title: "Call", cell: (action) => action.callId ? callLink(action.callId) : "–" },
      { title: "User", cell: (action) => action.userId ? userLink(action.userId) : "–" },
      { title: "Recording", cell: (action) => action.recordingId ? id(action.recordingId) : "–" },
      { title: "Why", cell: (action) => plain(action.why) || "–" },
      { title: "Age then", number: true, cell: (action) => Number.isFinite(action.ageSecs) ? (action.ageSecs === 0 ? "0 s" : span(action.ageSecs * 1_000)) : "–" },
      { title: "Outcome", cell: (action) => plain(action.outcome) || "–" },
    ],
  });
  const feed = new Feed((signal) => wholeRun(runId, signal), draw);

  function draw() {
    fill(asked, condition(feed));
    if (!feed.data) return;
    const { run, actions } = feed.data;
    // A run that is over does not change.
    if (run.finishedAt) feed.period = 30_000;
    fill(top, facts([
      ["Sweep", h("a", { href: `#/sweeps?sweep=${encodeURIComponent(run.sweep)}` }, run.sweep)],
      ["Outcome", outcomeOf(run)],
      ["How", howOf(run)],
      ["Node", id(run.nodeId)],
      ["Started", when(run.startedAt)],
      ["Took", lasting(run.startedAt, run.finishedAt)],
      ["Runs like this, one after the other", run.runs > 1 && count(run.runs)],
      ["Found", count(run.found)],
      ["Acted", count(run.acted)],
      ["Failed", count(run.failed)],
      ["Note", run.note],
    ]));
    list.update(actions);
  }

  const element = h("div", {},
    panel("Run of a sweep", "run-panel", h("p", { class: "subject" }, id(runId), " ", copy(runId, "run id")), asked, top),
    section("What it did", "actions-panel", list.element));
  draw();
  return { title: "Run of a sweep", element, close: () => feed.close() };
}
