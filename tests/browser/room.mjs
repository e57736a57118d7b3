// The way onto the media server and back, in three pages with a relay that the test controls, and a real LiveKit:
// what the page shows is not broken off while a call of two becomes a call of three in a room, nor when that is given
// up. Needs a node for the files only.

import { expectNoBreak, measure, shown, watchFrames } from "./frames.mjs";
import { accessToken, input, removeFromRoom, scenario } from "./support.mjs";

if (!input.livekit) throw new Error("CARILLON_BROWSER_TEST has no livekit");

await scenario("room", async (stage) => {
  const room = `room-${Date.now()}`;
  const pages = new Map();
  const asked = new Map();

  const makeCall = (tab) => tab.page.evaluate(joinPage, tab.user);
  for (const user of ["ann", "ben", "cid"]) {
    const tab = await stage.plainTab(user, input.urls[0], { ownWindow: true });
    pages.set(user, tab);
    await tab.page.exposeFunction("toRelay", async (command, data) => {
      if (command === "call:token") {
        asked.set(user, (asked.get(user) ?? 0) + 1);
        return { media: media(user) };
      }
      const signal = { callId: "c1", from: user, type: data.type, payload: data.payload };
      pages.get(data.to).page.evaluate((heard) => globalThis.hear("call:signal", heard), signal).catch(() => {});
      return {};
    });
    await makeCall(tab);
  }
  const [ann, ben, cid] = pages.values();
  const media = (user) => ({ mode: "sfu", iceServers: [], url: input.livekit.url, token: accessToken(input.livekit, { user, room }), room });
  const tell = (tabs, event, data = () => ({})) => Promise.all(tabs.map((tab) => tab.page.evaluate(([name, more]) => globalThis.hear(name, { callId: "c1", ...more }), [event, data(tab.user)])));
  const start = (tab, given = { mode: "p2p", iceServers: [] }) => tab.page.evaluate((value) => globalThis.call.start(value), given);
  const stats = (tab) => tab.page.evaluate(() => globalThis.call.stats());
  const goes = (tab, via, people, most) => tab.until(`${tab.user} has ${people} by ${via}`, async () => {
    const now = await stats(tab);
    return now.length === people && now.every((one) => one.via === via && one.connectionState === "connected" && one.framesDecoded > most);
  });
  const fetched = (tab) => tab.page.evaluate(() => performance.getEntriesByType("resource").filter((one) => one.name.includes("/vendor/")).length);

  stage.step("ann and ben talk from peer to peer");
  for (const tab of [ann, ben]) await start(tab);
  await ann.page.evaluate(() => globalThis.call.connect("ben"));
  for (const tab of [ann, ben]) await goes(tab, "p2p", 1, 5);
  for (const tab of [ann, ben]) if (await fetched(tab) !== 0) throw new Error("LiveKit's client was fetched for a call from peer to peer");
  for (const tab of [ann, ben]) await watchFrames(tab, "video");
  const control = await measure([ann, ben], () => new Promise((resolve) => setTimeout(resolve, 4_000)));
  stage.step(`as it is: ${shown(control)}`);

  stage.step("the way to the room is given up: ann and ben came, cid did not");
  await start(cid);
  const aborted = await measure([ann, ben], async () => {
    await tell([ann, ben], "call:escalating", (user) => ({ media: media(user) }));
    for (const tab of [ann, ben]) await goes(tab, "sfu", 1, 5);
    await new Promise((resolve) => setTimeout(resolve, 500));
    await tell([ann, ben], "call:escalation_aborted");
    for (const tab of [ann, ben]) await goes(tab, "p2p", 1, 5);
    await new Promise((resolve) => setTimeout(resolve, 1_000));
  });
  stage.step(`back from peer to peer: ${shown(aborted)}`);
  for (const tab of [ann, ben]) if (await tab.page.evaluate(() => globalThis.call.room !== null)) throw new Error("still in the room");

  stage.step("a third comes and all three go to the room; ben is soon there, but sends there two seconds later");
  await ben.page.evaluate(async (delay) => {
    const { MediaRoom } = await import("/room.js");
    const { join } = MediaRoom.prototype;
    MediaRoom.prototype.join = async function late(media) {
      const tracks = Object.entries(this.tracks);
      this.tracks = { audio: null, camera: null, screen: null };
      await join.call(this, media);
      setTimeout(() => { for (const [kind, track] of tracks) this.setTrack(kind, track); }, delay);
      MediaRoom.prototype.join = join;
    };
  }, 2_000);
  const escalated = await measure([ann, ben], async () => {
    await tell([ann, ben, cid], "call:escalating", (user) => ({ media: media(user) }));
    for (const tab of [ann, ben, cid]) {
      await tab.until(`${tab.user} is in the room`, () => tab.page.evaluate(() => globalThis.call.room?.state === "joined"));
    }
    await tell([ann, ben, cid], "call:escalated");
    for (const tab of [ann, ben, cid]) await goes(tab, "sfu", 2, 20);
    for (const tab of [ann, ben]) {
      await tab.until(`${tab.user} has let go of the peer connection`, () => tab.page.evaluate(() => globalThis.call.mesh.peers.size === 0));
    }
    await new Promise((resolve) => setTimeout(resolve, 1_000));
  });
  stage.step(`in the room: ${shown(escalated)}`);

  expectNoBreak("giving up", aborted, control);
  expectNoBreak("escalating", escalated, control);

  stage.step("cid's page is loaded anew and goes to the room at once");
  await cid.page.evaluate(() => globalThis.call.close());
  for (const tab of [ann, ben]) {
    await tab.page.evaluate(() => globalThis.call.remove("cid"));
    await goes(tab, "sfu", 1, 5);
  }
  await cid.page.reload();
  await makeCall(cid);
  // The token of the reply has run out on the way: a fresh one is asked for.
  await start(cid, { ...media("cid"), token: "stale", expiresAt: new Date(Date.now() - 1_000).toISOString() });
  await cid.until("cid has asked for a token", () => asked.get("cid") === 1);
  for (const tab of [ann, ben]) await tab.page.evaluate(() => globalThis.call.connect("cid"));
  for (const tab of [ann, ben, cid]) await goes(tab, "sfu", 2, 5);

  stage.step("camera, microphone and screen come and go");
  const seen = (what, look, ...more) => ben.until(what, () => ben.page.evaluate(look, ...more));
  await ann.page.evaluate(() => globalThis.call.setTrack("camera", null));
  await seen("ann's camera is off", () => globalThis.call.peers.get("ann").stream.getVideoTracks().length === 0);
  await ann.page.evaluate(() => globalThis.call.setMuted(true));
  await seen("ann's microphone is off", () => globalThis.call.room.people.get("ann").muted);
  await ann.page.evaluate(() => globalThis.call.setMuted(false));
  await seen("ann's microphone is on", () => !globalThis.call.room.people.get("ann").muted);
  await ann.page.evaluate(async () => {
    globalThis.call.setTrack("camera", globalThis.local.getVideoTracks()[0]);
    globalThis.call.setTrack("screen", (await navigator.mediaDevices.getDisplayMedia({ video: true })).getVideoTracks()[0]);
  });
  await seen("ann's camera and screen are there", async () => {
    const { screen } = globalThis.call.peers.get("ann");
    const of = (await globalThis.call.stats()).find((one) => one.userId === "ann");
    return screen !== null && of.framesDecoded > 3 && of.screenFrames > 0;
  });

  stage.step("the room is lost and joined anew with a fresh token");
  const tokens = () => asked.get("ben") ?? 0;
  const before = tokens();
  await removeFromRoom(input.livekit, { room, user: "ben" });
  await ben.until("ben has asked for a token", () => tokens() > before);
  await goes(ben, "sfu", 2, 5);
});

// In the page: a call with a picture of everybody in it, and a client that has the test for a node.
async function joinPage(selfId) {
  const { CallMedia } = await import("/call-media.js");
  const listeners = new Map();
  globalThis.hear = (event, data) => { for (const listener of listeners.get(event) ?? []) listener(data); };
  const client = {
    state: "connected", clockOffsetMs: 0,
    on(event, listener) {
      if (!listeners.has(event)) listeners.set(event, new Set());
      listeners.get(event).add(listener);
      return () => listeners.get(event).delete(listener);
    },
    request: (command, data) => globalThis.toRelay(command, data),
  };
  const media = await navigator.mediaDevices.getUserMedia({ audio: true, video: { width: 640, height: 360 } });
  const videos = new Map();
  document.body.replaceChildren();
  const call = new CallMedia({
    client, callId: "c1", selfId,
    onChange: () => {
      for (const { userId, stream } of call.peers.values()) {
        if (videos.has(userId)) continue;
        const video = document.createElement("video");
        Object.assign(video, { autoplay: true, playsInline: true, srcObject: stream, width: 320 });
        video.dataset.user = userId;
        document.body.append(video);
        videos.set(userId, video);
      }
      for (const [userId, video] of videos) if (!call.peers.has(userId)) { video.remove(); videos.delete(userId); }
    },
  });
  call.setTrack("audio", media.getAudioTracks()[0]);
  call.setTrack("camera", media.getVideoTracks()[0]);
  globalThis.call = call;
  globalThis.local = media;
}
