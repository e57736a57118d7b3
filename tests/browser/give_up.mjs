// The media server cannot be reached by browsers: the call of two stays as it was, and the third comes in from peer to
// peer. Input: nodes whose LIVEKIT_PUBLIC_URL leads nowhere.

import { expectNoBreak, measure, shown, watchFrames } from "./frames.mjs";
import { videoCall } from "./flows.mjs";
import { input, scenario } from "./support.mjs";

await scenario("give_up", async (stage) => {
  // Small, for three pictures are encoded and drawn three times over without a graphics card.
  const ownWindow = { ownWindow: true, viewport: { width: 560, height: 480 } };
  const alice = await stage.tab("alice", input.urls[0], ownWindow);
  const bob = await stage.tab("bob", input.urls[0], ownWindow);
  const carol = await stage.tab("carol", input.urls[0], ownWindow);
  const first = [alice, bob];
  await videoCall(stage, alice, bob);
  for (const tab of first) await watchFrames(tab, '[data-testid="remote-video"]');
  const control = await measure(first, () => alice.page.waitForTimeout(4_000));
  stage.step(`from peer to peer: ${shown(control)}`);
  for (const event of ["call:escalating", "call:escalation_aborted"]) for (const tab of [...first, carol]) await tab.hears(event);

  stage.step("alice asks carol in; nobody reaches the media server, and it is given up");
  const aborted = await measure(first, async () => {
    await alice.click("invite");
    await alice.$("invite-input").fill("carol");
    await alice.$("invite-input").press("Enter");
    await carol.sees("incoming");
    await carol.click("accept-video");
    for (const tab of first) {
      await tab.heard("call:escalating");
      await tab.heard("call:escalation_aborted", 60_000);
    }
    await alice.page.waitForTimeout(1_000);
  });
  stage.step(`while it was tried: ${shown(aborted)}`);
  expectNoBreak("giving up", aborted, control);

  for (const tab of [...first, carol]) {
    await tab.by("p2p", 2);
    await tab.framesRise(5);
  }
  stage.step("all three have each other from peer to peer");
  await alice.reads("call-status", /call/i);

  stage.step("asking for it changes nothing: it has failed just now");
  await alice.click("escalate");
  await alice.sees("call-notice");
  await alice.by("p2p", 2);
});
