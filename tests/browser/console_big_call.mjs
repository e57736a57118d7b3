// The ladder of a call of ten people and 500 events, which the page is given in place of a node's answer: heads and times
// stay in sight, names of any kind are text, and nothing of the page itself scrolls sideways.

import { writeFile } from "node:fs/promises";
import { HOSTILE } from "./console_support.mjs";

const PEOPLE = ["alice", HOSTILE, "carol", "dave", "erin", "frank", "grace", "heidi", "ivan", "judy-with-a-name-as-long-as-it-gets@office.example.com"];
const KINDS = ["media_changed", "hand_raised", "held", "resumed"];

function timeline() {
  const events = [];
  const add = (kind, afterMs, more) => {
    const at = (Date.parse(events.at(-1)?.at ?? "2026-11-21T03:00:00.000Z")) + afterMs;
    const late = events.length >= 300;
    events.push({ seq: events.length + 1, at: new Date(at).toISOString(), kind, node: late ? "node-two" : "node-one", epoch: late ? 2 : 1, sincePreviousMs: afterMs,
      traceId: "4bf92f3577b34da6a3ce929d0e0e4736", ...more });
  };
  add("created", 0, { userId: "alice", deviceId: "desk" });
  for (const userId of PEOPLE.slice(1)) add("ringing", 40, { userId, deviceId: "phone" });
  add("ringing", 40, { userId: HOSTILE, deviceId: "tablet" });
  for (const userId of PEOPLE.slice(1)) add("accepted", 1_500, { userId, deviceId: "phone" });
  add("connected", 200, { userIds: PEOPLE });
  add("kicked", 700, { userId: "ivan", by: "heidi", reason: "</text><script>globalThis.pwned=1</script>" });
  while (events.length < 500) add(KINDS[events.length % 4], events.length % 7 === 0 ? 12_000 : 300, { userId: PEOPLE[events.length % 10] });
  return { callId: "big", events };
}

export async function bigCall(stage, operator) {
  stage.step("ten people and 500 events are drawn, and stay legible");
  const { page } = operator;
  await page.route("**/api/v1/calls/big/timeline**", (route) => {
    const after = Number(new URL(route.request().url()).searchParams.get("after"));
    const { callId, events } = timeline();
    return route.fulfill({ json: { callId, events: events.filter((event) => event.seq > after) } });
  });
  await operator.go("#/calls/big");
  await operator.until("500 events", async () => await page.locator(".ladder-body .event").count() === 500);
  await operator.until("500 rows", async () => (await operator.keys("timeline")).length === 500);
  const heads = await page.locator(".ladder .head").count();
  if (heads !== PEOPLE.length + 1 + 2) throw new Error(`${heads} heads: a person with two devices has two lines, and there are two nodes`);
  await operator.check("big");
  // At the other end of it, times and heads are where they were.
  const where = () => page.evaluate(() => {
    const [head, times, all] = [".ladder-heads", ".ladder-gutter", ".ladder"].map((one) => document.querySelector(one).getBoundingClientRect());
    return { top: Math.round(head.top - all.top), left: Math.round(times.left - all.left) };
  });
  await page.locator(".ladder").scrollIntoViewIfNeeded();
  const before = await where();
  await page.evaluate(() => document.querySelector(".ladder").scrollTo(1e6, 1e6));
  await page.waitForTimeout(300);
  const after = await where();
  if (after.top !== before.top || after.left !== before.left) throw new Error(`heads or times went away: ${JSON.stringify([before, after])}`);
  await operator.tab.screenshot("console-big-scrolled-light");
  // Updates go on, and do not move what is being read.
  await page.waitForTimeout(2_500);
  if (await page.evaluate(() => document.querySelector(".ladder").scrollTop) === 0) throw new Error("an update scrolled the diagram back");
  // What is not a letter of the id is not lost on the way to the clipboard, nor where the id leads.
  const links = await operator.$("timeline").locator("a").evaluateAll((all) => all.map((one) => [one.textContent, one.getAttribute("href")]));
  const [, href] = links.find(([text]) => text === HOSTILE);
  if (decodeURIComponent(href.slice("#/users/".length)) !== HOSTILE) throw new Error(`the link goes to ${href}`);
}

/** The picture of docs/console.md, into a file: `CONSOLE_PICTURE=docs/console.png`. A call as there are many, and a node that dies. */
export async function picture(operator, file) {
  const [one, two] = [{ node: "node-7d1f40", epoch: 1 }, { node: "node-c9b05a", epoch: 2 }];
  const steps = [
    [0, "created", one, { userId: "alice", deviceId: "desk" }], [180, "ringing", one, { userId: "bob", deviceId: "tablet" }],
    [40, "ringing", one, { userId: "bob", deviceId: "phone" }], [4_100, "accepted", one, { userId: "bob", deviceId: "phone" }],
    [620, "connected", one, { userIds: ["alice", "bob"] }], [192_000, "reconnecting", two, { userId: "alice" }],
    [740, "reconnected", two, { userId: "alice", deviceId: "desk" }], [21_300, "invited", two, { userId: "carol", by: "alice" }],
    [210, "ringing", two, { userId: "carol", deviceId: "laptop" }], [3_400, "accepted", two, { userId: "carol", deviceId: "laptop" }],
  ];
  let at = Date.now() - 260_000;
  const events = steps.map(([afterMs, kind, owner, more], n) => {
    at += afterMs;
    return { seq: n + 1, at: new Date(at).toISOString(), kind, sincePreviousMs: afterMs, ...owner, ...more };
  });
  const call = { callId: "weekly-review", type: "video", mode: "p2p", status: "active", createdAt: events[0].at, startedAt: events[3].at, participants: [] };
  await operator.page.route("**/api/v1/calls/weekly-review/timeline**", (route) => {
    const after = Number(new URL(route.request().url()).searchParams.get("after"));
    return route.fulfill({ json: { callId: call.callId, events: events.filter((event) => event.seq > after) } });
  });
  await operator.page.route("**/api/v1/admin/calls/weekly-review", (route) => route.fulfill({ json: { call } }));
  await operator.go("#/calls/weekly-review");
  await operator.until("the call is drawn", async () => await operator.page.locator(".ladder-body .event").count() === steps.length);
  await operator.page.setViewportSize({ width: 1280, height: 1010 });
  await operator.page.mouse.move(2, 2);
  await operator.page.waitForTimeout(500);
  await writeFile(file, await operator.page.screenshot());
}
