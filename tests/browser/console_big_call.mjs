// The ladder of a call of ten people and 500 events, which the page is given in place of a node's answer: heads and times
// stay in sight, names of any kind are text, and nothing of the page itself scrolls sideways.

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
  await operator.until("500 events", async () => await page.locator(".ladder .event").count() === 500);
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
