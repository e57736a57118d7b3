// During a call the callee's tab moves to the other node: the media do not notice, and events still arrive. Then the
// callee's page is reloaded: a new connection takes the place of the old one.

import { hangUp, muteIsSeen, videoCall } from "./flows.mjs";
import { input, scenario } from "./support.mjs";

await scenario("reconnect", async (stage) => {
  const [first, second] = [input.urls[0], input.urls[1] ?? input.urls[0]];
  const alice = await stage.tab("alice", first);
  const bob = await stage.tab("bob", first);
  await videoCall(stage, alice, bob);
  const before = { alice: await alice.stats(), bob: await bob.stats() };
  const deviceBefore = await bob.page.evaluate(() => globalThis.carillon.client.deviceId);

  stage.step(`bob's tab reconnects to ${second}`);
  const session = await bob.page.evaluate((url) => globalThis.carillon.client.reconnect(url), second);
  if (session.deviceId !== deviceBefore) throw new Error("the device changed");
  if (!session.activeCalls.some((call) => call.participants.some((one) => one.userId === "alice"))) {
    throw new Error("the call is not among the active ones after the reconnect");
  }
  await bob.online();
  await alice.framesRise();
  await bob.framesRise();
  for (const tab of [alice, bob]) {
    const [now] = await tab.stats();
    if (now.pcId !== before[tab.user][0].pcId || now.connectionState !== "connected") {
      throw new Error(`${tab.user}'s peer connection did not survive: ${JSON.stringify(now)}`);
    }
    await tab.sees("pc-state", '[data-state="connected"]');
  }
  stage.step("the same peer connections, and frames flow on both sides");
  await muteIsSeen(stage, alice, bob);
  await muteIsSeen(stage, bob, alice);

  stage.step("alice mutes while bob's tab is between two nodes: bob is told afterwards");
  const gone = bob.page.evaluate((url) => globalThis.carillon.client.reconnect(url), first);
  await alice.click("mute");
  await gone;
  await bob.sees("remote-muted");
  await alice.click("mute");
  await bob.seesNot("remote-muted");

  stage.step("bob's page is reloaded and is back in the call");
  await bob.page.reload();
  await bob.online();
  await bob.mediaConnected();
  await alice.mediaConnected();
  await bob.framesRise();
  await alice.framesRise();
  const deviceAfter = await bob.page.evaluate(() => globalThis.carillon.client.deviceId);
  if (deviceAfter !== deviceBefore) throw new Error("the reloaded page is another device");
  await muteIsSeen(stage, bob, alice);
  await hangUp(stage, alice, bob, alice);
}, { bypassCSP: true });
