// Three people in a mesh, and one person with two tabs: who answers in one stops the other.

import { DESKTOP, PHONE, input, scenario } from "./support.mjs";

await scenario("group", async (stage) => {
  const other = input.urls[1] ?? input.urls[0];
  const alice = await stage.tab("alice");
  const bob = await stage.tab("bob", other);
  const bobsSecond = await stage.tab("bob");
  const carol = await stage.tab("carol", other);

  stage.step("alice calls bob and carol; bob rings in two tabs and answers in one");
  await alice.dial(["bob", "carol"], { video: true });
  await bob.sees("incoming");
  await bobsSecond.sees("incoming");
  await carol.sees("incoming");
  await bob.click("accept-video");
  await bobsSecond.seesNot("incoming");
  await bobsSecond.reads("notice", /another device/);
  await bobsSecond.recent({ outcome: "elsewhere", direction: "in", peer: "alice,carol" });
  await carol.click("accept-video");

  for (const tab of [alice, bob, carol]) {
    await tab.mediaConnected(2);
    await tab.framesRise(5);
  }
  stage.step("each of the three has two connected peers and decodes both");
  await alice.screenshot("group-desktop", DESKTOP);
  await alice.screenshot("group-phone", PHONE);

  stage.step("carol leaves, the others go on");
  await carol.click("hangup");
  await alice.mediaConnected(1);
  await bob.mediaConnected(1);
  await alice.framesRise();
  await bob.click("hangup");
  await alice.reads("call-status", /Call ended|Waiting/);

  stage.step("a device of bob's that comes now hears how the call ends, and does not ring for how it began");
  const late = await stage.tab("bob", other);
  await late.page.evaluate(() => {
    globalThis.rang = 0;
    const { showModal } = HTMLDialogElement.prototype;
    HTMLDialogElement.prototype.showModal = function counted() {
      globalThis.rang += 1;
      showModal.call(this);
    };
    globalThis.ended = new Promise((resolve) => globalThis.carillon.client.on("call:ended", () => setTimeout(resolve, 300)));
  });
  // A group call goes on with one person in it, until that one leaves too.
  await alice.click("hangup");
  await alice.home();
  await late.page.evaluate(() => globalThis.ended);
  if (await late.page.evaluate(() => globalThis.rang) > 0) throw new Error("it rang");
});
