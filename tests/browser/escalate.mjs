// A call of two becomes a call of three through the real media server, in the softphone: what the first two see of each
// other is never broken off. Then what a call in a room is for: screens beside cameras, mutes, kicks, a reload.

import { expectNoBreak, measure, shown, watchFrames } from "./frames.mjs";
import { videoCall } from "./flows.mjs";
import { DESKTOP, PHONE, input, scenario } from "./support.mjs";

await scenario("escalate", async (stage) => {
  const other = input.urls[1] ?? input.urls[0];
  // Small, for three pictures are encoded and drawn three times over without a graphics card.
  const ownWindow = { ownWindow: true, viewport: { width: 560, height: 480 } };
  const alice = await stage.tab("alice", input.urls[0], ownWindow);
  const bob = await stage.tab("bob", other, ownWindow);
  const carol = await stage.tab("carol", input.urls[0], ownWindow);
  const first = [alice, bob];
  const all = [alice, bob, carol];

  await videoCall(stage, alice, bob);
  for (const tab of all) await tab.fetchedNothingOf("/vendor/");
  for (const tab of first) await watchFrames(tab, '[data-testid="remote-video"]');
  const control = await measure(first, () => alice.page.waitForTimeout(4_000));
  stage.step(`from peer to peer: ${shown(control)}`);

  stage.step("alice asks carol in; carol accepts with video, and the call moves to the media server");
  const escalated = await measure(first, async () => {
    await alice.click("invite");
    await alice.$("invite-input").fill("carol");
    await alice.$("invite-input").press("Enter");
    await carol.sees("incoming");
    await carol.click("accept-video");
    for (const tab of all) await tab.by("sfu", 2);
    for (const tab of first) await tab.hasLetGo();
    await alice.page.waitForTimeout(1_500);
  });
  stage.step(`while the call moved: ${shown(escalated)}`);
  expectNoBreak("escalating", escalated, control);
  for (const tab of all) {
    await tab.framesRise(5);
    for (const one of all) if (one !== tab) await tab.sees("remote-tile", `[data-user="${one.user}"][data-picture="true"]`);
    if (await tab.mode() !== "sfu") throw new Error(`${tab.user}'s call is not in sfu mode`);
  }
  stage.step("each of the three decodes the video of both others, by the media server");
  await alice.screenshot("room-desktop", DESKTOP);
  await alice.screenshot("room-phone", PHONE);

  stage.step("bob shows his screen beside the camera");
  await bob.click("screen");
  for (const tab of [alice, carol]) {
    await tab.sees("screen-tile");
    await tab.until(`${tab.user} decodes bob's screen and camera`, async () => {
      const of = (await tab.stats()).find((one) => one.userId === "bob");
      return of?.screenFrames > 0 && of.framesDecoded > 0;
    });
  }
  await alice.sees("remote-tile", '[data-user="bob"][data-picture="true"]');
  await alice.screenshot("room-screen-desktop", DESKTOP);
  await alice.screenshot("room-screen-phone", PHONE);
  await bob.click("screen");
  for (const tab of [alice, carol]) await tab.seesNot("screen-tile");

  stage.step("alice, the host, mutes bob; bob unmutes");
  await alice.command("call:mute", { userId: "bob", track: "audio" });
  await bob.sees("mute", '[aria-pressed="true"]');
  await bob.sees("call-notice");
  await alice.sees("remote-tile", '[data-user="bob"] [data-testid="remote-muted"]');
  await bob.click("mute");
  await alice.until("bob's microphone is on again", async () => !(await alice.$("remote-tile", '[data-user="bob"] [data-testid="remote-muted"]').isVisible()));

  stage.step("carol's page is reloaded and is back in the room");
  await carol.page.reload();
  await carol.online();
  for (const tab of all) await tab.by("sfu", 2);
  for (const tab of all) await tab.framesRise(5);

  stage.step("carol is put out and stays out; the others go on");
  await alice.command("call:kick", { userId: "carol" });
  await carol.reads("call-status", /Call ended/);
  for (const tab of first) await tab.by("sfu", 1);
  for (const tab of first) await tab.framesRise();

  await bob.click("hangup");
  await bob.home();
  await alice.click("hangup");
  await alice.home();
});
