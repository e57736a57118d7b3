// The caller's tab on one node, the callee's on another: the same call, and the same call the other way round.

import { hangUp, muteIsSeen, videoCall } from "./flows.mjs";
import { input, scenario } from "./support.mjs";

await scenario("two_nodes", async (stage) => {
  if (input.urls.length < 2) throw new Error("two urls are needed");
  const alice = await stage.tab("alice", input.urls[0]);
  const bob = await stage.tab("bob", input.urls[1]);
  stage.step(`tabs are signed in on ${input.urls[0]} and ${input.urls[1]}`);

  await videoCall(stage, alice, bob);
  await muteIsSeen(stage, bob, alice);
  await muteIsSeen(stage, alice, bob);
  await hangUp(stage, bob, alice, alice);

  await videoCall(stage, bob, alice);
  await hangUp(stage, bob, alice, bob);

  stage.step("both call each other at the same moment: one call");
  for (const [tab, other] of [[alice, bob], [bob, alice]]) await tab.$("dial-input").fill(other.user);
  const press = (tab) => tab.page.evaluate(() => document.querySelector('[data-testid="call-audio"]').click());
  await Promise.all([press(alice), press(bob)]);
  await alice.mediaConnected();
  await bob.mediaConnected();
  await alice.seesNot("incoming");
  await bob.seesNot("incoming");
  const callIds = await Promise.all([alice, bob].map((tab) => tab.page.evaluate(() => globalThis.carillon.session.callId)));
  if (callIds[0] !== callIds[1]) throw new Error(`two calls: ${callIds.join(" and ")}`);
  await alice.click("hangup");
  await bob.reads("call-status", /Call ended/);
  await alice.home();
  await bob.home();

  stage.step("declined across nodes");
  await alice.dial("bob");
  await bob.sees("incoming");
  await bob.click("decline");
  await alice.reads("call-status", /Declined/);
  await alice.home();
});
