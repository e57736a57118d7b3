// What the browser scenarios share: the browser, a softphone tab per user, waiting for conditions, steps on the console.
// A scenario is a plain script: exit status 0 means that every step was seen; anything else prints what was on the pages.
//
// Input, from the environment:
//   CARILLON_BROWSER_TEST  JSON: {"urls": ["http://127.0.0.1:4000", …], "tokens": {"alice": "<jwt>", …},
//                          "screenshots": "/a/folder" (optional), "ringTimeoutSecs": 5 (the nodes' setting),
//                          "livekit": {"url": "ws://127.0.0.1:7880", "key": "…", "secret": "…"} (where one is needed)}
//   CHROMIUM               the browser's program, /usr/bin/chromium if not set

import { createHmac } from "node:crypto";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { chromium } from "playwright-core";

// Media on two busy cores needs a while; a step that takes longer is broken.
const STEP_TIMEOUT_MS = 30_000;
const SCENARIO_TIMEOUT_MS = 480_000;

const FLAGS = [
  "--headless=new",
  "--no-sandbox",
  "--use-fake-device-for-media-stream",
  "--use-fake-ui-for-media-stream",
  "--auto-accept-this-tab-capture",
  "--autoplay-policy=no-user-gesture-required",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--disable-gpu",
  // Two tabs on one machine without a network: addresses must not be hidden, and loopback must do.
  "--disable-features=WebRtcHideLocalIpsWithMdns,Translate,OptimizationHints,MediaRouter",
  "--allow-loopback-in-peer-connection",
];

export const input = readInput();

function readInput() {
  const text = process.env.CARILLON_BROWSER_TEST;
  if (!text) {
    console.error("CARILLON_BROWSER_TEST is not set; see support.mjs");
    process.exit(2);
  }
  return { ringTimeoutSecs: 45, ...JSON.parse(text) };
}

/** Runs a scenario with an empty browser profile and ends the process. */
export async function scenario(name, run, options) {
  const began = Date.now();
  const deadline = setTimeout(() => {
    console.error(`✗ ${name}: not done after ${SCENARIO_TIMEOUT_MS / 1000} s`);
    process.exit(1);
  }, SCENARIO_TIMEOUT_MS);
  let status = 0;
  const stage = new Stage(name);
  try {
    await stage.open([], options);
    await run(stage);
    const errors = stage.tabs.flatMap((tab) => tab.errors.map((text) => `${tab.user}: ${text}`));
    if (errors.length > 0) throw new Error(`errors on the pages:\n  ${errors.join("\n  ")}`);
    console.log(`✓ ${name} (${((Date.now() - began) / 1000).toFixed(1)} s)`);
  } catch (error) {
    status = 1;
    console.error(`✗ ${name}: ${error.stack ?? error}`);
    await stage.report();
  } finally {
    await stage.close();
    clearTimeout(deadline);
  }
  process.exit(status);
}

/** A browser with an empty profile, and the tabs in it. */
export class Stage {
  tabs = [];
  #browser;
  #context;
  #bypassCSP = false;

  constructor(name) { this.name = name; }

  /** `bypassCSP`: for a page that connects to a node it does not come from. */
  async open(flags = [], { bypassCSP = false } = {}) {
    this.#browser = await chromium.launch({
      executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
      headless: false, // The flag above says it; the library's own would choose the old headless mode.
      args: [...FLAGS, ...flags],
      ignoreDefaultArgs: ["--mute-audio", "--disable-features"],
    });
    this.#bypassCSP = bypassCSP;
    this.#context = await this.#newContext();
  }

  #newContext() {
    return this.#browser.newContext({ viewport: { width: 1280, height: 800 }, colorScheme: "light", bypassCSP: this.#bypassCSP });
  }

  // Of the tabs in one window the browser draws only the foremost; in a window of its own each is drawn all the time.
  async #newPage({ ownWindow = false, smallCamera = false }) {
    const page = await (ownWindow ? await this.#newContext() : this.#context).newPage();
    if (smallCamera) await page.addInitScript(useSmallCamera);
    return page;
  }

  /** A new tab of the same browser, signed in by a link with the token in its fragment, online. */
  async tab(user, url = input.urls[0], options = {}) {
    const tab = new Tab(this, user, await this.#newPage(options));
    this.tabs.push(tab);
    if (options.viewport) await tab.page.setViewportSize(options.viewport);
    if (options.colorScheme) await tab.page.emulateMedia({ colorScheme: options.colorScheme });
    const token = input.tokens[user];
    if (!token) throw new Error(`no token for ${user} in CARILLON_BROWSER_TEST`);
    await tab.page.goto(`${url}/${options.query ?? ""}#token=${encodeURIComponent(token)}`);
    await tab.online();
    if (tab.page.url().includes("token")) throw new Error("the token stayed in the address bar");
    return tab;
  }

  /** A new tab with the files of a node and nobody signed in, for a scenario that uses the modules alone. */
  async plainTab(user, url = input.urls[0], options = {}) {
    const tab = new Tab(this, user, await this.#newPage(options));
    this.tabs.push(tab);
    await tab.page.goto(`${url}/`);
    return tab;
  }

  /** A new tab with nothing in it. */
  async emptyTab(user) {
    const tab = new Tab(this, user, await this.#newPage({}));
    this.tabs.push(tab);
    return tab;
  }

  /** A drawing as JPEG. */
  async draw(svg) {
    const page = await this.#context.newPage();
    await page.setViewportSize({ width: 1280, height: 720 });
    await page.setContent(`<style>body{margin:0}</style>${svg}`);
    const picture = await page.screenshot({ type: "jpeg", quality: 92 });
    await page.close();
    return picture;
  }

  step(text) { console.log(`  · ${text}`); }

  async report() {
    for (const tab of this.tabs) {
      console.error(`--- ${tab.user} at ${tab.page.url()}`);
      console.error(tab.log.slice(-40).join("\n"));
      const state = await tab.page.evaluate(async () => ({
        text: document.body.innerText.slice(0, 600),
        stats: await globalThis.carillon?.stats?.(),
        client: globalThis.carillon?.client?.state,
      })).catch((error) => String(error));
      console.error(JSON.stringify(state, null, 1));
      await tab.screenshot(`failed-${this.name}-${tab.user}`);
    }
  }

  async close() { await this.#browser?.close().catch(() => {}); }
}

// In the page. Two processors encode three large pictures, twice over while a call moves, slower than they come.
function useSmallCamera() {
  const devices = navigator.mediaDevices;
  const ask = devices?.getUserMedia.bind(devices);
  if (ask) devices.getUserMedia = (wish) => ask({ ...wish, video: wish.video && { width: 320, height: 240, frameRate: 15 } });
}

class Tab {
  log = [];
  /** Uncaught errors and violations of the content security policy: a scenario fails on any. */
  errors = [];

  constructor(stage, user, page) {
    this.stage = stage;
    this.user = user;
    this.page = page;
    page.on("console", (message) => {
      // The browser names the address of a socket that failed, and LiveKit's has its token in it.
      this.log.push(`[${message.type()}] ${message.text().replaceAll(/\?\S*access_token\S*/g, "?…")}`);
      if (/Content Security Policy/i.test(message.text())) this.errors.push(message.text());
    });
    page.on("pageerror", (error) => this.errors.push(String(error.stack ?? error)));
  }

  $(testid, more = "") { return this.page.locator(`[data-testid="${testid}"]${more}`); }

  async click(testid) { await this.$(testid).click({ timeout: STEP_TIMEOUT_MS }); }

  async sees(testid, more = "", timeout = STEP_TIMEOUT_MS) {
    await this.$(testid, more).first().waitFor({ state: "visible", timeout });
  }

  async seesNot(testid, more = "") { await this.$(testid, more).first().waitFor({ state: "hidden", timeout: STEP_TIMEOUT_MS }); }

  /** Waits until the text of an element matches. */
  async reads(testid, pattern, timeout = STEP_TIMEOUT_MS) {
    await this.$(testid).filter({ hasText: pattern }).first().waitFor({ state: "visible", timeout });
  }

  async online() { await this.sees("connection-state", '[data-state="connected"]'); }

  /** Types whom to call and presses the button. */
  async dial(userIds, { video = false } = {}) {
    await this.$("dial-input").fill([userIds].flat().join(", "));
    await this.click(video ? "call-video" : "call-audio");
  }

  stats() { return this.page.evaluate(() => globalThis.carillon.stats()); }

  /** Waits until there is a connected peer connection to so many others, and says their states. */
  async mediaConnected(peers = 1) {
    await this.until(`${this.user} has ${peers} connected peer connection(s)`, async () => {
      const stats = await this.stats();
      return stats.length === peers && stats.every((peer) => peer.connectionState === "connected") ? stats : null;
    });
    return this.stats();
  }

  /** Waits until so many others are connected, all of them `p2p` or `sfu`, and each has sent a picture. */
  async by(via, people) {
    // On a busy machine LiveKit's client may need a second try, each of which takes its while.
    await this.until(`${this.user} has ${people} by ${via}`, async () => {
      const stats = await this.stats();
      return stats.length === people && stats.every((one) => one.via === via && one.connectionState === "connected" && one.framesDecoded > 3);
    }, 3 * STEP_TIMEOUT_MS);
  }

  /** How the call's media go: `p2p`, `escalating` or `sfu`. */
  mode() { return this.page.evaluate(() => globalThis.carillon.session?.transport.mode); }

  /** Waits until no peer connection is left. */
  async hasLetGo() {
    await this.until(`${this.user} has let go of the peer connections`, () => this.page.evaluate(() => globalThis.carillon.session.transport.mesh.peers.size === 0));
  }

  async fetchedNothingOf(part) {
    const found = await this.page.evaluate((wanted) => performance.getEntriesByType("resource").map((one) => one.name).filter((name) => name.includes(wanted)), part);
    if (found.length > 0) throw new Error(`${this.user} has fetched ${found.join()}`);
  }

  /** Sends a command about the call on this page. */
  command(name, data = {}) {
    return this.page.evaluate(([command, more]) => {
      const { client, session } = globalThis.carillon;
      return client.request(command, { callId: session.callId, ...more });
    }, [name, data]);
  }

  /** Begins to listen for an event; `heard` waits for it. */
  hears(event) {
    return this.page.evaluate((name) => {
      globalThis.heardEvents ??= new Set();
      globalThis.carillon.client.on(name, () => globalThis.heardEvents.add(name));
    }, event);
  }

  async heard(event, timeout = STEP_TIMEOUT_MS) {
    await this.until(`${this.user} hears ${event}`, () => this.page.evaluate((name) => globalThis.heardEvents.has(name), event), timeout);
  }

  /** Waits until the pictures of all others move on by some frames. */
  async framesRise(least = 10) {
    const before = new Map((await this.stats()).map((peer) => [peer.userId, peer.framesDecoded]));
    return this.until(`${this.user} decodes more frames`, async () => {
      const now = await this.stats();
      return now.length > 0 && now.every((peer) => peer.framesDecoded >= (before.get(peer.userId) ?? 0) + least) ? now : null;
    });
  }

  async until(what, look, timeout = STEP_TIMEOUT_MS) {
    const deadline = Date.now() + timeout;
    for (;;) {
      const result = await look();
      if (result) return result;
      if (Date.now() > deadline) throw new Error(`waited in vain: ${what}`);
      await new Promise((resolve) => setTimeout(resolve, 150));
    }
  }

  /** The call is off the screen. */
  async home() {
    if (await this.$("dismiss").isVisible()) await this.$("dismiss").click().catch(() => {});
    await this.seesNot("call-view");
  }

  /** The newest of the recent calls is this one. */
  async recent({ outcome, direction, peer }) {
    const first = this.$("recent-item").first();
    await this.until(`${this.user}'s newest recent call is ${direction} ${outcome} with ${peer}`, async () => {
      const [o, d, p] = await Promise.all(["data-outcome", "data-direction", "data-peers"]
        .map((name) => first.getAttribute(name, { timeout: 1_000 }).catch(() => null)));
      return o === outcome && d === direction && p === peer;
    });
  }

  async screenshot(name, viewport) {
    if (!input.screenshots) return;
    mkdirSync(input.screenshots, { recursive: true });
    const before = this.page.viewportSize();
    if (viewport) await this.page.setViewportSize(viewport);
    await this.page.waitForTimeout(400); // Transitions, and a frame of the picture at its new size.
    await this.page.screenshot({ path: join(input.screenshots, `${name}.png`) }).catch((error) => console.error(String(error)));
    if (viewport) await this.page.setViewportSize(before);
  }
}

/** A token for a room of the media server, as the node would make it. */
export function accessToken(livekit, { user, room }) {
  const video = {
    roomJoin: true, room, canPublish: true, canSubscribe: true, canPublishData: false,
    canPublishSources: ["microphone", "camera", "screen_share", "screen_share_audio"],
  };
  return signed(livekit, { sub: `${user}#tab`, attributes: { "carillon.user": user, "carillon.device": "tab" }, video });
}

/** Puts somebody out of a room, as the media server's operator can. */
export async function removeFromRoom(livekit, { room, user }) {
  const answer = await fetch(`${livekit.url.replace(/^ws/, "http")}/twirp/livekit.RoomService/RemoveParticipant`, {
    method: "POST",
    headers: { "content-type": "application/json", authorization: `Bearer ${signed(livekit, { video: { roomAdmin: true, room } })}` },
    body: JSON.stringify({ room, identity: `${user}#tab` }),
  });
  if (!answer.ok) throw new Error(`not removed: ${answer.status} ${await answer.text()}`);
}

function signed({ key, secret }, claims) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const now = Math.floor(Date.now() / 1000);
  const body = `${part({ alg: "HS256", typ: "JWT" })}.${part({ iss: key, nbf: now - 5, exp: now + 600, ...claims })}`;
  return `${body}.${createHmac("sha256", secret).update(body).digest("base64url")}`;
}

export const DESKTOP = { width: 1280, height: 800 };
export const PHONE = { width: 390, height: 844 };
