// The mesh alone, in one page, with a relay that the test controls: offers that cross, lost signals, a page that comes
// back new, a changed owner. Needs a node for the files only.

import { input, scenario } from "./support.mjs";

await scenario("mesh", async (stage) => {
  const tab = await stage.tab("alice", input.urls[0]);
  await tab.page.evaluate(async () => {
    const { PeerMesh } = await import("/webrtc.js");
    const stream = await navigator.mediaDevices.getUserMedia({ audio: true, video: true });

    /** Two users and the relay between them. `lose(type)` says whether a signal is dropped. */
    globalThis.makePair = (lose = () => false) => {
      const sides = {};
      const pair = { sides, counts: {}, lose, meshes: {} };
      const relay = (from, data) => {
        pair.counts[data.type] = (pair.counts[data.type] ?? 0) + 1;
        if (pair.lose(data.type, from, data.payload)) return;
        setTimeout(() => {
          for (const listener of sides[data.to].signal) listener({ callId: "c1", from, type: data.type, payload: JSON.parse(JSON.stringify(data.payload)) });
        }, 20);
      };
      for (const user of ["ann", "ben"]) sides[user] = { signal: new Set(), renegotiate: new Set() };
      pair.join = async (user, policy) => {
        const client = {
          state: "connected",
          on(event, listener) {
            const set = sides[user][event.split(":")[1]];
            set.add(listener);
            return () => set.delete(listener);
          },
          async request(_, data) { relay(user, data); },
        };
        const mesh = new PeerMesh({ client, callId: "c1", selfId: user });
        mesh.setTrack("audio", stream.getAudioTracks()[0]);
        mesh.setTrack("video", stream.getVideoTracks()[0]);
        mesh.start([], policy);
        pair.meshes[user] = mesh;
        return mesh;
      };
      pair.flows = async (within) => {
        const read = async () => (await Promise.all(["ann", "ben"].map((user) => pair.meshes[user].stats()))).flat();
        const deadline = Date.now() + within;
        let first = null;
        while (Date.now() < deadline) {
          const now = await read();
          if (now.length === 2 && now.every((peer) => peer.connectionState === "connected")) {
            if (first && first.every((peer, i) => peer.pcId === now[i].pcId && now[i].framesDecoded > peer.framesDecoded + 5)) return now;
            if (!first || first.some((peer, i) => peer.pcId !== now[i].pcId)) first = now;
          }
          await new Promise((resolve) => setTimeout(resolve, 200));
        }
        throw new Error(`no media: ${JSON.stringify(await read())}`);
      };
      pair.close = () => { for (const mesh of Object.values(pair.meshes)) mesh.close(); };
      return pair;
    };
  });

  const check = async (text, run) => {
    await tab.page.evaluate(run);
    stage.step(text);
  };

  await check("offers that cross become one connection", async () => {
    const pair = globalThis.makePair();
    await pair.join("ann");
    await pair.join("ben");
    pair.meshes.ann.connect("ben");
    pair.meshes.ben.connect("ann");
    await pair.flows(20_000);
    if (pair.counts.offer !== 2 || pair.counts.answer !== 1) throw new Error(JSON.stringify(pair.counts));
    pair.close();
  });

  for (const type of ["offer", "answer"]) {
    await check(`the first ${type} is lost, and a changed owner has it sent again`, new Function(`return (async () => {
      const pair = globalThis.makePair();
      let lost = 0;
      pair.lose = (kind) => kind === "${type}" && lost++ === 0;
      await pair.join("ann");
      await pair.join("ben");
      pair.meshes.ann.connect("ben");
      await new Promise((resolve) => setTimeout(resolve, 1000));
      for (const user of ["ann", "ben"]) for (const listener of pair.sides[user].renegotiate) listener({ callId: "c1", epoch: 2 });
      await pair.flows(8000);
      pair.close();
    })()`));
  }

  await check("everything is lost for a while and nobody says so: the mesh begins anew by itself", async () => {
    const pair = globalThis.makePair(() => true);
    await pair.join("ann");
    await pair.join("ben");
    pair.meshes.ann.connect("ben");
    await new Promise((resolve) => setTimeout(resolve, 1000));
    pair.lose = () => false;
    await pair.flows(30_000);
    pair.close();
  });

  for (const [gone, stays] of [["ann", "ben"], ["ben", "ann"]]) {
    await check(`the page of ${gone} is reloaded: ${stays} connects to the new one`, new Function(`return (async () => {
      const pair = globalThis.makePair();
      await pair.join("ann");
      await pair.join("ben");
      pair.meshes.ann.connect("ben");
      await pair.flows(20000);
      pair.meshes.${gone}.close();
      await pair.join("${gone}");
      pair.meshes.${gone}.connect("${stays}");
      await pair.flows(20000);
      pair.close();
    })()`));
  }

  await check("relays only: no address is shown to the other side", async () => {
    const pair = globalThis.makePair();
    const seen = [];
    pair.lose = (type, from, payload) => { if (from === "ann") seen.push(payload?.sdp ?? payload?.candidate ?? ""); return false; };
    await pair.join("ann", "relay");
    await pair.join("ben");
    pair.meshes.ann.connect("ben");
    await new Promise((resolve) => setTimeout(resolve, 3_000));
    if (seen.length === 0 || seen.some((text) => /candidate:|c=IN IP4 (?!0\.0\.0\.0)/.test(text))) throw new Error("an address was shown");
    pair.close();
  });

  await check("media flow on while the owner or the servers change: nothing is negotiated", async () => {
    const pair = globalThis.makePair();
    await pair.join("ann");
    await pair.join("ben");
    pair.meshes.ann.connect("ben");
    const before = await pair.flows(20_000);
    const { offer } = pair.counts;
    pair.meshes.ann.renegotiate();
    pair.meshes.ben.renegotiate();
    pair.meshes.ann.refresh([{ urls: "stun:127.0.0.1:9" }]); // Fresh servers change nothing that works.
    const after = await pair.flows(20_000);
    if (pair.counts.offer !== offer || after[0].pcId !== before[0].pcId) throw new Error("it negotiated");
    pair.close();
  });
});
