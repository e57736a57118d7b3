// Two tabs on one node: a video call and how it looks, then every way in which a call does not come about.

import { hangUp, muteIsSeen, videoCall } from "./flows.mjs";
import { DESKTOP, PHONE, input, scenario } from "./support.mjs";

await scenario("one_node", async (stage) => {
  const alice = await stage.tab("alice");
  const bob = await stage.tab("bob");
  await alice.reads("me", "alice");
  stage.step("two tabs are signed in");

  await videoCall(stage, alice, bob);
  await muteIsSeen(stage, bob, alice);
  await alice.screenshot("call-desktop", DESKTOP);
  await alice.screenshot("call-phone", PHONE);

  stage.step("bob turns the camera off and on");
  await bob.click("camera");
  await alice.sees("remote-tile", '[data-picture="false"]');
  await bob.click("camera");
  await alice.sees("remote-tile", '[data-picture="true"]');
  await alice.framesRise();

  stage.step("bob shares the screen in place of the camera, then stops");
  await bob.click("screen");
  await alice.sees("remote-tile", '[data-screen="true"]');
  await bob.click("screen");
  await alice.sees("remote-tile", '[data-screen="false"]');
  await alice.framesRise();

  await hangUp(stage, bob, alice, alice);

  stage.step("an audio call, called back from the list of recent calls, declined");
  await bob.$("recent-item").first().locator("button").click();
  await alice.sees("incoming");
  await alice.screenshot("incoming-desktop", DESKTOP);
  await alice.screenshot("incoming-phone", PHONE);
  await bob.screenshot("outgoing-phone", PHONE);
  await alice.click("decline");
  await bob.reads("call-status", /Declined/);
  await bob.screenshot("declined-desktop", DESKTOP);
  await bob.home();
  await bob.recent({ outcome: "declined", direction: "out", peer: "alice" });
  await alice.recent({ outcome: "declined", direction: "in", peer: "bob" });

  stage.step("a call that the caller gives up is a missed call for the other");
  await alice.dial("bob");
  await bob.sees("incoming");
  await alice.click("hangup");
  await bob.seesNot("incoming");
  await bob.recent({ outcome: "missed", direction: "in", peer: "alice" });
  await alice.home();
  await alice.recent({ outcome: "cancelled", direction: "out", peer: "bob" });

  stage.step("an audio call, accepted; a third is told busy");
  await alice.dial("bob");
  await bob.sees("incoming");
  await bob.click("accept");
  await alice.mediaConnected();
  await bob.mediaConnected();
  const carol = await stage.tab("carol");
  await carol.dial("bob");
  await carol.reads("call-status", /Busy/);
  await carol.home();
  await carol.recent({ outcome: "busy", direction: "out", peer: "bob" });
  await hangUp(stage, alice, bob, alice);

  stage.step("a call that nobody answers is missed on one side, no answer on the other");
  await carol.dial("bob");
  await bob.sees("incoming");
  await carol.reads("call-status", /No answer/, (input.ringTimeoutSecs + 20) * 1000);
  await bob.seesNot("incoming");
  await carol.home();
  await carol.recent({ outcome: "no_answer", direction: "out", peer: "bob" });
  await bob.recent({ outcome: "missed", direction: "in", peer: "carol" });

  stage.step("a user without any device is unreachable");
  await carol.dial("nobody-at-home");
  await carol.reads("call-status", /No device reachable yet/);
  await carol.reads("call-status", /Unreachable/, (input.ringTimeoutSecs + 20) * 1000);
  await carol.home();
  await carol.recent({ outcome: "unreachable", direction: "out", peer: "nobody-at-home" });

  stage.step("the lists of recent calls survive a reload");
  await bob.page.reload();
  await bob.online();
  await bob.recent({ outcome: "missed", direction: "in", peer: "carol" });
  await bob.screenshot("home-desktop", DESKTOP);
  await bob.screenshot("home-phone", PHONE);
  await bob.page.emulateMedia({ colorScheme: "dark" });
  await bob.screenshot("home-desktop-dark", DESKTOP);
});
