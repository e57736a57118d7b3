// Steps that several scenarios take.

/** One calls, the other answers with video; returns when both have pictures. */
export async function videoCall(stage, caller, callee) {
  stage.step(`${caller.user} calls ${callee.user} with video`);
  await caller.dial(callee.user, { video: true });
  await callee.sees("incoming");
  await callee.reads("incoming-from", caller.user);
  await caller.reads("call-status", /Ringing/);
  stage.step(`${callee.user} accepts with video`);
  await callee.click("accept-video");
  await callee.seesNot("incoming");
  for (const tab of [caller, callee]) {
    await tab.mediaConnected();
    await tab.sees("pc-state", '[data-state="connected"]');
    await tab.framesRise();
    await tab.sees("remote-tile", '[data-picture="true"]');
    await tab.sees("self-view");
    await tab.sees("call-timer");
  }
  stage.step("both peer connections are connected and frames arrive on both sides");
}

/** Mutes and unmutes; the other side shows it. */
export async function muteIsSeen(stage, tab, other) {
  await tab.click("mute");
  await tab.sees("mute", '[aria-pressed="true"]');
  await other.sees("remote-muted");
  await tab.click("mute");
  await other.seesNot("remote-muted");
  stage.step(`${other.user} sees ${tab.user} mute and unmute`);
}

/** Hangs up; both sides go home and remember the call. */
export async function hangUp(stage, tab, other, caller) {
  await tab.click("hangup");
  await other.reads("call-status", /Call ended/);
  for (const [one, peer] of [[tab, other], [other, tab]]) {
    await one.home();
    await one.recent({ outcome: "completed", direction: one === caller ? "out" : "in", peer: peer.user });
  }
  stage.step(`${tab.user} hangs up; both lists of recent calls show the call`);
}
