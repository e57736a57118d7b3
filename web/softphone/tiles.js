// The pictures of a call: a tile for each person, one for each screen that is shown, and oneself.
// Owns: the video elements. They are kept for as long as the person is there, so that a redraw never interrupts one.

import { avatar, h, icon } from "./dom.js";

export class Tiles {
  element = h("div", { class: "grid", "data-testid": "grid" });
  #onNotice;
  #people = new Map();
  #screens = new Map();
  #session = null;
  #selfVideo = h("video", { autoplay: true, playsinline: true, "aria-label": "Your own picture" });
  #selfName = h("div", { class: "tile-foot" }, "You");
  #self = h("div", { class: "self", "data-testid": "self-view" }, this.#selfVideo, this.#selfName);
  // A picture that is shown small need not be sent large.
  #sizes = new ResizeObserver((entries) => {
    for (const { target, contentRect } of entries) this.#people.get(target.dataset.user)?.resize(contentRect, this.#session);
  });

  constructor({ onNotice }) {
    this.#onNotice = onNotice;
    this.#selfVideo.muted = true;
    this.element.append(this.#self);
  }

  clear() {
    for (const tiles of [this.#people, this.#screens]) {
      for (const tile of tiles.values()) this.#drop(tile);
      tiles.clear();
    }
    this.#selfVideo.srcObject = null;
  }

  update(session) {
    this.#session = session;
    const { peers } = session.transport;
    for (const peer of peers.values()) {
      this.#drawPerson(peer, session);
      if (peer.screen) this.#drawScreen(peer);
    }
    for (const [userId, tile] of this.#people) if (!peers.has(userId)) { this.#drop(tile); this.#people.delete(userId); }
    for (const [userId, tile] of this.#screens) if (!peers.get(userId)?.screen) { this.#drop(tile); this.#screens.delete(userId); }
    const isGroup = this.#people.size > 1;
    this.#drawSelf(session, isGroup);
    const shown = this.#people.size + (isGroup && !this.#self.hidden ? 1 : 0);
    this.element.dataset.count = String(Math.min(shown, 10));
    // A screen is for reading: it gets most of the room, the people a column beside it.
    this.element.dataset.screens = String(Math.min(this.#screens.size, 2));
  }

  #drop(tile) {
    this.#sizes.unobserve(tile.element);
    tile.video.srcObject = null;
    tile.element.remove();
  }

  #drawPerson(peer, session) {
    const { userId, stream } = peer;
    let tile = this.#people.get(userId);
    if (!tile) {
      tile = new Tile(userId);
      this.#people.set(userId, tile);
      this.element.append(tile.element);
      this.#sizes.observe(tile.element);
    }
    this.#attach(tile.video, stream);
    const flags = session.flagsOf(userId);
    const track = stream.getVideoTracks()[0];
    const sendsPicture = flags === null || flags.video || (flags.screen && peer.via === "p2p");
    // The flag hides a frozen last frame at once; without flags the track itself tells, a little later.
    const hasPicture = Boolean(track && !track.muted) && sendsPicture;
    const away = peer.state === "reconnecting" || session.call?.participants?.some((one) => one.userId === userId && one.status === "reconnecting");
    tile.draw({
      state: peer.state, hasPicture, via: peer.via,
      isScreen: flags?.screen === true && peer.via === "p2p",
      isMuted: flags?.audio === false,
      isSpeaking: peer.speaking && flags?.audio !== false,
      words: away ? "reconnecting…" : peer.state === "connecting" ? "connecting…" : "",
    });
    tile.tellSize(session);
  }

  #drawScreen({ userId, screen }) {
    let tile = this.#screens.get(userId);
    if (!tile) {
      const video = h("video", { autoplay: true, playsinline: true, "data-testid": "screen-video", "aria-label": `Screen of ${userId}` });
      tile = { video, element: h("div", { class: "tile screen", "data-testid": "screen-tile", "data-picture": "true", "data-screen": "true" },
        video, h("div", { class: "tile-foot" }, `${userId}’s screen`)) };
      this.#screens.set(userId, tile);
      this.element.append(tile.element); // The style sheet puts it first: a video that is moved stops.
    }
    this.#attach(tile.video, screen);
  }

  // Small in a corner in a call of two, one of the tiles in a larger one.
  #drawSelf({ media, selfId }, isGroup) {
    const track = media.screen ?? media.camera;
    this.#self.hidden = track === null;
    this.#self.dataset.inGrid = String(isGroup);
    this.#selfName.hidden = !isGroup;
    this.#self.dataset.mirror = String(!media.sharing);
    this.#self.dataset.user = selfId;
    if (this.#selfVideo.srcObject?.getVideoTracks()[0] !== (track ?? undefined)) {
      this.#selfVideo.srcObject = track ? new MediaStream([track]) : null;
    }
  }

  #attach(video, stream) {
    if (video.srcObject === stream) {
      if (video.paused) video.play().catch(() => {}); // A stream whose last track went stands still.
      return;
    }
    video.srcObject = stream;
    video.play().catch((error) => {
      if (error.name !== "NotAllowedError") return;
      this.#onNotice("Tap anywhere to hear the others.");
      document.addEventListener("pointerdown", () => video.play().catch(() => {}), { once: true });
    });
  }
}

/** One person. */
class Tile {
  #muted = h("span", { class: "badge", "data-testid": "remote-muted", hidden: true, title: "Microphone off" },
    icon("mic", true), h("span", { class: "visually-hidden" }, "microphone off"));
  #speaking = h("span", { class: "visually-hidden", hidden: true }, "speaking");
  #state = h("span", { class: "tile-state" });
  #size = null;
  #told = "";

  constructor(userId) {
    this.userId = userId;
    this.video = h("video", { autoplay: true, playsinline: true, "data-testid": "remote-video", "aria-label": `Picture of ${userId}` });
    this.element = h("div", { class: "tile", "data-testid": "remote-tile", "data-user": userId },
      this.video, avatar(userId, "large"), h("div", { class: "tile-foot" }, this.#muted, h("span", {}, userId), this.#speaking, this.#state));
  }

  draw({ state, hasPicture, via, isScreen, isMuted, isSpeaking, words }) {
    const { dataset } = this.element;
    dataset.state = state;
    dataset.via = via;
    dataset.picture = String(hasPicture);
    dataset.screen = String(isScreen);
    dataset.speaking = String(isSpeaking);
    this.#muted.hidden = !isMuted;
    this.#speaking.hidden = !isSpeaking;
    if (this.#state.textContent !== words) this.#state.textContent = words;
  }

  resize({ width, height }, session) {
    this.#size = { width: Math.round(width), height: Math.round(height) };
    this.tellSize(session);
  }

  // Once per size and picture: the room forgets it with the track.
  tellSize(session) {
    if (!this.#size || this.element.dataset.via !== "sfu") return;
    const { width, height } = this.#size;
    const told = `${width} ${height} ${this.video.srcObject?.getVideoTracks()[0]?.id}`;
    if (told === this.#told) return;
    this.#told = told;
    session.transport.setSize(this.userId, width, height);
  }
}
