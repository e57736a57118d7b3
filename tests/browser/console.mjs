// The operator console against three nodes: who may come in, what is seen of nodes and calls, a call whose owner is killed,
// and each act, which asks first and is on record. The first node serves the page, the second dies, the third is drained.

import { HOSTILE, Operator, People } from "./console_support.mjs";
import { bigCall, picture } from "./console_big_call.mjs";
import { input, scenario } from "./support.mjs";

const { adminToken, serviceKey, pids } = input.console;
const [first, second, third] = input.urls;

await scenario("console", async (stage) => {
  const people = await People.open(stage);
  const operator = await Operator.open(stage, first);
  await comesIn(stage, operator);
  const nodes = await sees(stage, operator);
  const callId = await takeover(stage, operator, people, nodes);
  await bigCall(stage, operator);
  if (process.env.CONSOLE_PICTURE) await picture(operator, process.env.CONSOLE_PICTURE);
  await endsACall(stage, operator, people, callId);
  await disconnects(stage, operator, people);
  await sweeps(stage, operator);
  await drains(stage, operator, nodes);
  await isOnRecord(stage, operator, callId, nodes[third]);
  await deadLetters(stage, operator);
  await isCutOff(stage, operator);
});

async function comesIn(stage, operator) {
  stage.step("a wrong key and a user's token are refused, and told why");
  if (operator.page.url() !== `${first}/console/`) throw new Error(`the page is at ${operator.page.url()}`);
  const policy = (await fetch(`${first}/console/`)).headers.get("content-security-policy");
  if (!policy.includes("script-src 'self';") || !policy.includes("style-src 'self';") || policy.includes("unsafe")) throw new Error(`the policy is ${policy}`);
  await operator.tab.screenshot("console-signin-light");
  await operator.signIn("no-such-key");
  await operator.tab.reads("signin-problem", /does not take this/);
  await operator.signIn("kéy");
  await operator.tab.reads("signin-problem", /does not take this/);
  await operator.signIn(input.tokens.alice);
  await operator.tab.reads("signin-problem", /has not the role admin/);
  stage.step("a token with the role admin comes in, and out again; a service key comes in, and stays over a reload");
  await operator.signIn(adminToken);
  await operator.tab.reads("heading", /Overview/);
  await operator.$("sign-out").click();
  await operator.tab.sees("key");
  await operator.signIn(serviceKey);
  await operator.tab.reads("heading", /Overview/);
  await operator.page.reload();
  await operator.tab.reads("heading", /Overview/);
  const kept = await operator.page.evaluate(() => [location.href, JSON.stringify(localStorage), document.cookie].join());
  if (kept.includes(serviceKey)) throw new Error("the key is kept where it must not be");
}

async function sees(stage, operator) {
  stage.step("the overview says that all is well, and the nodes are there with their loads");
  await operator.tab.reads("verdict", /All is well/);
  await operator.tab.reads("tile-nodes", /3 live/);
  await operator.check("overview-well");
  await operator.go("#/nodes");
  await operator.until("three live nodes", async () => {
    const keys = await operator.keys("nodes");
    return keys.length === 3 && (await Promise.all(keys.map((key) => operator.cell("nodes", key, "State")))).every((text) => text.includes("live"));
  });
  const keys = await operator.keys("nodes");
  for (const key of keys) {
    await operator.until(`${key} tells its load`, async () => /^\d+$/.test(await operator.cell("nodes", key, "Sessions")));
    const lease = await operator.cell("nodes", key, "Lease");
    if (!/in \d|just now|ms|ago/.test(lease)) throw new Error(`the lease of ${key} is ${lease}`);
  }
  await operator.check("nodes");
  const byUrl = {};
  for (const url of input.urls) {
    const { nodeId } = await (await fetch(`${url}/readyz`)).json();
    if (!keys.includes(nodeId)) throw new Error(`${nodeId} is not shown: ${keys}`);
    byUrl[url] = nodeId;
  }
  if (!(await operator.cell("nodes", byUrl[first], "Node")).includes("answers this page")) throw new Error("which node answers is not said");
  return byUrl;
}

async function takeover(stage, operator, people, nodes) {
  stage.step("a call appears while one looks, with who is in it");
  await operator.go("#/calls");
  await operator.tab.sees("calls-empty");
  await people.connect("alice", "alice-phone", [second, third]);
  await people.connect(HOSTILE, "tablet", [first]);
  const { call: { callId } } = await people.do("alice", "call:start", { calleeIds: [HOSTILE], type: "audio" });
  await people.hears(HOSTILE, "call:incoming", { callId });
  await people.do(HOSTILE, "call:ringing", { callId });
  await operator.until("the call rings", async () => /ringing/.test(await operator.cell("calls", callId, "Status")));
  await people.do(HOSTILE, "call:accept", { callId });
  await operator.until("the call is answered", async () => /connecting|active/.test(await operator.cell("calls", callId, "Status")));
  const names = await operator.cell("calls", callId, "People");
  if (!names.includes(HOSTILE) || !names.includes("alice")) throw new Error(`who is in the call: ${names}`);
  await people.do("alice", "call:media", { callId, audio: true });
  // A call that nobody is connected for: the takeover sweep alone finds it when its owner is gone.
  await people.connect("carol", "carol-phone", [second]);
  const { call: { callId: lonely } } = await people.do("carol", "call:start", { calleeIds: ["dave"], type: "audio" });
  await operator.check("calls");
  // By the name of the user, by the address, and by the box at the top, which finds calls and users.
  await operator.$("search").fill(callId);
  await operator.$("search-go").click();
  await operator.tab.reads("heading", new RegExp(callId));
  await operator.until("the ladder shows the answer", () => drawn(operator, "accepted"));

  stage.step("the owner is killed: another node takes the call over, and the ladder says so");
  const owner = nodes[second];
  process.kill(pids[1], "SIGKILL");
  await operator.until("the call goes on for alice", () => people.do("alice", "call:raise_hand", { callId, raised: true }).then(() => true, () => false), 60_000);
  await operator.until("the ladder shows the takeover", async () => (await operator.page.locator(".ladder .band.changed").allTextContents())
    .some((text) => text.includes("takes over from") && text.includes(owner)), 60_000);
  await operator.until("the ladder goes on", () => drawn(operator, "hand_raised"));
  const kinds = await operator.$("timeline").locator("code").allTextContents();
  for (const kind of ["created", "ringing", "accepted", "media_changed", "hand_raised"]) if (!kinds.includes(kind)) throw new Error(`no ${kind} in the table: ${kinds}`);
  await operator.check("ladder");
  await operator.go("#/");
  await operator.tab.reads("verdict", /is gone: its lease ended/);
  await operator.check("overview-gone");
  await operator.go("#/nodes");
  await operator.until("the node is gone", async () => /gone/.test(await operator.cell("nodes", owner, "State")));

  stage.step("the sweep that took over the call nobody was connected for says so");
  await operator.go("#/sweeps?sweep=takeover");
  const run = await operator.until("a run with an action", async () => {
    for (const key of await operator.keys("runs")) if (Number(await operator.cell("runs", key, "Acted").catch(() => 0)) > 0) return key;
    return null;
  }, 60_000);
  await operator.go(`#/sweeps/${run}`);
  await operator.until("its actions", async () => (await operator.$("actions").locator("a").allTextContents()).includes(lonely));
  await operator.check("run");
  return callId;
}

function drawn(operator, kind) {
  return operator.page.locator(`.ladder [data-kind="${kind}"]`).first().isVisible();
}

async function endsACall(stage, operator, people, callId) {
  stage.step("ending a call asks first; Escape does nothing; agreed, the clients hear of it");
  await operator.go(`#/calls/${encodeURIComponent(callId)}`);
  await operator.$("end-call").click();
  await operator.asked({ sure: true, said: [callId, "alice", HOSTILE, "audit log"] });
  await operator.tab.screenshot("console-ask-light");
  await operator.page.keyboard.press("Escape");
  await operator.$("ask").waitFor({ state: "detached" });
  const focused = await operator.page.evaluate(() => document.activeElement?.dataset.testid);
  if (focused !== "end-call") throw new Error(`after Escape the focus is at ${focused}`);
  await operator.page.keyboard.press("Enter");
  await operator.agree({ sure: true, said: [callId], reason: "complaint <b>7</b>" });
  for (const user of ["alice", HOSTILE]) await people.hears(user, "call:ended", { callId });
  await operator.tab.reads("notice", /was ended/);
  await operator.until("the ladder shows the end", () => drawn(operator, "ended"));
  await operator.$("end-call").waitFor({ state: "hidden" });
  await operator.check("ended");
  await operator.go("#/calls");
  await operator.until("the call is off the list", async () => !(await operator.keys("calls")).includes(callId));
}

async function disconnects(stage, operator, people) {
  stage.step("a user of any name is found, and disconnected");
  await operator.$("search").fill(HOSTILE);
  await operator.$("search-go").click();
  await operator.until("the user's page", async () => (await operator.$("heading").innerText()) === `User ${HOSTILE}`);
  await operator.until("their session", async () => (await operator.$("sessions").innerText()).includes("tablet"));
  await operator.check("user");
  await operator.$("disconnect").click();
  await operator.agree({ sure: true, said: [HOSTILE, "1 session"] });
  await operator.tab.reads("notice", /1 session of .* closed/);
  await people.hears(HOSTILE, "disconnected", { code: 4010 });
  await operator.tab.sees("sessions-empty");
}

async function sweeps(stage, operator) {
  for (const [button, kind, sure] of [["dry-run", "dry run", false], ["real-run", "for real", true]]) {
    stage.step(`a sweep is run, ${kind}, and leads to what it did`);
    await operator.go("#/sweeps");
    await (await operator.row("sweeps", "takeover")).getByTestId(button).click();
    await operator.agree({ sure, said: ["takeover", kind] });
    await operator.tab.reads("notice", /is finished/, 90_000);
    await operator.$("notice").getByRole("link").click();
    await operator.tab.reads("run-panel", /by hand/);
    if ((await operator.$("run-panel").innerText()).includes("dry run") === sure) throw new Error(`it was not ${kind}`);
  }
  await operator.go("#/sweeps");
  await operator.row("sweeps", "takeover");
  await operator.check("sweeps");
}

async function drains(stage, operator, nodes) {
  stage.step("a node is drained and leaves; the last one is not drained without a word of warning");
  await operator.go("#/nodes");
  const name = nodes[third];
  await (await operator.row("nodes", name)).getByTestId("drain").click();
  await operator.agree({ sure: true, said: [name, "1 other node"] });
  await operator.tab.reads("notice", /told to drain/);
  await operator.until("the node has left", async () => {
    const keys = await operator.keys("nodes");
    return !keys.includes(name) || !/live/.test(await operator.cell("nodes", name, "State"));
  }, 60_000);
  await (await operator.row("nodes", nodes[first])).getByTestId("drain").click();
  await operator.asked({ sure: true, said: ["the last node", "only living node"] });
  await operator.$("ask-back").click();
  await operator.$("ask").waitFor({ state: "detached" });
}

async function isOnRecord(stage, operator, callId, drained) {
  stage.step("each act is in the audit log, and what was asked of it");
  for (const [action, wanted] of [["call.end", callId], ["user.disconnect", HOSTILE], ["sweep.request", "takeover"], ["node.drain", drained]]) {
    await operator.go(`#/audit?action=${action}`);
    await operator.until(`${action} on record`, async () => {
      const text = await operator.$("audit-panel").innerText();
      return text.includes(action) && text.includes(wanted);
    });
    if (action === "call.end") {
      const text = await operator.$("audit").innerText();
      if (!text.includes("complaint <b>7</b>")) throw new Error(`the reason is not there: ${text}`);
    }
  }
  await operator.go("#/audit");
  await operator.until("the whole log", async () => (await operator.keys("audit")).length >= 5);
  await operator.check("audit");
}

// Real ones take hours to die: the page is given two in place of the node's.
async function deadLetters(stage, operator) {
  stage.step("a dead letter is sent again, and one is deleted; what it says is text");
  const asked = [];
  let letters = ["d-1", "d-2"].map((deliveryId) => ({
    deliveryId, webhookId: "w-1", url: "javascript:globalThis.pwned=1", event: "call.ended", callId: "c-1", createdAt: "2026-11-21T03:00:00.000Z", attempts: 12,
    lastError: "<script>globalThis.pwned=1</script>", lastStatus: 502,
  }));
  const { page } = operator;
  await page.route("**/api/v1/admin/dead-letters**", (route) => {
    const [method, url] = [route.request().method(), new URL(route.request().url())];
    if (method === "GET") return route.fulfill({ json: { deadLetters: letters } });
    asked.push(`${method} ${url.pathname.split("/admin/")[1]}`);
    letters = letters.slice(1);
    return route.fulfill(method === "DELETE" ? { status: 204 } : { status: 202, json: {} });
  });
  await operator.go("#/dead-letters");
  await operator.row("dead-letters", "d-2");
  await operator.check("dead-letters");
  await (await operator.row("dead-letters", "d-1")).getByTestId("replay").click();
  await operator.agree({ sure: false, said: ["d-1", "call.ended"] });
  await operator.until("it is off the list", async () => (await operator.keys("dead-letters")).join() === "d-2");
  await (await operator.row("dead-letters", "d-2")).getByTestId("discard").click();
  await operator.agree({ sure: true, said: ["d-2", "never"] });
  await operator.tab.sees("dead-letters-empty");
  if (asked.join() !== "POST dead-letters/d-1/replay,DELETE dead-letters/d-2") throw new Error(`the node was asked: ${asked}`);
  await operator.go("#/");
  await operator.tab.reads("tile-dead-letters", /0 waiting/);
  await page.unroute("**/api/v1/admin/dead-letters**");
}

async function isCutOff(stage, operator) {
  stage.step("a node that cannot be asked is said to be that, and what is shown to be old; then it answers again");
  await operator.go("#/nodes");
  await operator.until("nodes", async () => (await operator.keys("nodes")).length > 0);
  await operator.page.route("**/api/v1/**", (route) => route.abort());
  await operator.tab.reads("banner", /cannot be asked/);
  await operator.tab.reads("fresh", /Not live, last seen \d+ s ago/);
  await operator.tab.reads("stale", /last answer/);
  await operator.tab.screenshot("console-stale-light");
  if ((await operator.keys("nodes")).length === 0) throw new Error("what was known is gone");
  await operator.page.unroute("**/api/v1/**");
  await operator.$("banner").waitFor({ state: "hidden" });
  await operator.tab.reads("fresh", /^Live/);
  stage.step("a key that is good no more leads back to the sign-in");
  await operator.page.route("**/api/v1/**", (route) => route.fulfill({ status: 401, contentType: "application/problem+json", body: JSON.stringify({ code: "unauthenticated", detail: "no" }) }));
  await operator.tab.reads("signin-problem", /any more/);
  if (await operator.page.evaluate(() => sessionStorage.length) !== 0) throw new Error("the key is still there");
}
