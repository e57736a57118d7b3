// The call on the screen: the others large, oneself small, and the buttons.
// Owns: the video elements. They are kept while a call lasts, so that a redraw never interrupts the picture.

import { avatar, duration, h, icon, names } from "./dom.js";
import { userIdsIn } from "./dialer.js";
import { OUTCOMES, statusText } from "./session.js";

export function inCallView({ onDismiss, onCallAgain, onNotice }) {
  let session = null;
  const tiles = new Map();

  const title = h("h2", { "data-testid": "call-peer" });
  const status = h("p", { class: "call-status", "data-testid": "call-status" });
  const timer = h("span", { class: "call-timer", role: "timer", "data-testid": "call-timer" });
  const pcState = h("span", { class: "pc-state", "data-testid": "pc-state" });
  const notice = h("p", { class: "call-notice", role: "alert", "data-testid": "call-notice", hidden: true });
  const hero = h("div", { class: "hero" });
  const grid = h("div", { class: "grid", "data-testid": "grid" });
  const selfVideo = h("video", { autoplay: true, playsinline: true, "aria-label": "Your own picture" });
  selfVideo.muted = true;
  const self = h("div", { class: "self", "data-testid": "self-view" }, selfVideo);

  const control = (name, testid, run) => h("button", { class: "round", type: "button", "data-testid": testid, onclick: run }, icon(name));
  const mute = control("mic", "mute", () => session.setMuted(!session.media.muted));
  const camera = control("video", "camera", () => session.setCamera(!session.media.cameraOn));
  const screen = control("screen", "screen", () => session.setScreen(!session.media.sharing));
  const add = control("add", "invite", () => { inviteForm.hidden = !inviteForm.hidden; inviteInput.focus(); });
  const hangup = control("hangup", "hangup", () => session.hangUp());
  hangup.classList.add("red");
  hangup.setAttribute("aria-label", "Hang up");
  add.setAttribute("aria-label", "Add somebody to the call");
  const controls = h("div", { class: "controls", role: "group", "aria-label": "Call" }, mute, camera, screen, add, hangup);
  const inviteInput = h("input", { placeholder: "user id", "aria-label": "User id to add", autocapitalize: "none", "data-testid": "invite-input" });
  const inviteForm = h("form", {
    class: "invite", hidden: true,
    onsubmit: (event) => {
      event.preventDefault();
      const userIds = userIdsIn(inviteInput.value);
      if (userIds.length > 0) session.invite(userIds);
      inviteInput.value = "";
      inviteForm.hidden = true;
    },
  }, inviteInput, h("button", { class: "primary", type: "submit" }, "Add"));
  const after = h("div", { class: "after" },
    h("button", { class: "primary", type: "button", "data-testid": "call-again", onclick: () => onCallAgain(session) }, icon("phone"), "Call again"),
    h("button", { class: "secondary", type: "button", "data-testid": "dismiss", onclick: () => onDismiss() }, "Close"));

  const element = h("section", { class: "call", "data-testid": "call-view", "aria-label": "Call", hidden: true },
    h("header", { class: "call-head" }, h("div", {}, title, status), h("div", { class: "call-meta" }, pcState, timer)),
    h("div", { class: "stage" }, grid, hero, self), notice, after, inviteForm, controls);

  setInterval(() => { if (session) drawTimer(); }, 500);

  function headline() {
    if (session.phase === "ended" && session.startedAt !== null) return `${OUTCOMES[session.outcome]} · ${duration(session.durationSecs)}`;
    // The mark beside it says "connected" already.
    if (session.phase === "active" && session.mediaState === "connected") return `${session.video ? "Video" : "Audio"} call`;
    return statusText(session);
  }

  function drawTimer() {
    timer.hidden = session.startedAt === null;
    timer.textContent = duration(session.durationSecs);
  }

  function drawTile(peer) {
    let tile = tiles.get(peer.userId);
    if (!tile) {
      const video = h("video", { autoplay: true, playsinline: true, "data-testid": "remote-video", "aria-label": `Picture of ${peer.userId}` });
      const muted = h("span", { class: "badge", "data-testid": "remote-muted", hidden: true, title: "Microphone off" }, icon("mic", true), h("span", { class: "visually-hidden" }, "microphone off"));
      const state = h("span", { class: "tile-state" });
      tile = { video, muted, state, element: h("div", { class: "tile", "data-testid": "remote-tile", "data-user": peer.userId },
        video, avatar(peer.userId, "large"), h("div", { class: "tile-foot" }, muted, h("span", {}, peer.userId), state)) };
      tiles.set(peer.userId, tile);
      grid.append(tile.element);
    }
    const flags = session.flagsOf(peer.userId);
    if (tile.video.srcObject !== peer.stream) {
      tile.video.srcObject = peer.stream;
      play(tile.video);
    }
    const track = peer.stream.getVideoTracks()[0];
    // The flag hides a frozen last frame at once; without flags the track itself tells, a little later.
    const hasPicture = Boolean(track && !track.muted) && (flags === null || flags.video || flags.screen);
    tile.element.dataset.state = peer.state;
    tile.element.dataset.picture = String(hasPicture);
    tile.element.dataset.screen = String(flags?.screen === true);
    tile.muted.hidden = flags?.audio !== false;
    const away = session.call?.participants?.some((one) => one.userId === peer.userId && one.status === "reconnecting") || peer.state === "reconnecting";
    tile.state.textContent = away ? "reconnecting…" : peer.state === "connecting" ? "connecting…" : "";
  }

  function play(video) {
    video.play().catch((error) => {
      if (error.name !== "NotAllowedError") return;
      onNotice("Tap anywhere to hear the others.");
      document.addEventListener("pointerdown", () => video.play().catch(() => {}), { once: true });
    });
  }

  // `lit`: something is as it usually is not, and should not be forgotten.
  function toggle(button, { pressed, lit, labelOn, labelOff, name, crossed = false }) {
    const key = `${pressed}${crossed}`;
    if (button.dataset.key === key) return;
    button.dataset.key = key;
    button.dataset.lit = String(lit);
    button.setAttribute("aria-pressed", String(pressed));
    button.setAttribute("aria-label", pressed ? labelOn : labelOff);
    button.title = pressed ? labelOn : labelOff;
    button.replaceChildren(icon(name, crossed));
  }

  function drawHero() {
    const people = session.others.length > 0 && session.phase !== "ended" ? session.others.map((one) => one.userId) : session.peers;
    const alone = session.mesh.peers.size === 0;
    hero.hidden = !alone;
    const key = `${people.join()}|${session.phase}`;
    if (!alone || hero.dataset.key === key) return;
    hero.dataset.key = key;
    hero.replaceChildren(h("div", { class: session.phase === "ended" ? "faces" : "faces pulse" }, people.slice(0, 4).map((userId) => avatar(userId, "huge"))));
  }

  return {
    element,
    update(next) {
      if (next !== session) {
        for (const tile of tiles.values()) { tile.video.srcObject = null; tile.element.remove(); }
        tiles.clear();
        selfVideo.srcObject = null;
        inviteForm.hidden = true;
        hero.dataset.key = "";
        session = next;
      }
      element.hidden = session === null;
      if (!session) return;
      const { media, phase } = session;
      element.dataset.phase = phase;
      element.dataset.outcome = session.outcome ?? "";
      title.textContent = names(session.peers);
      element.dataset.alone = String(session.mesh.peers.size === 0);
      status.textContent = headline();
      const state = phase === "connecting" || phase === "active" ? session.mediaState : "";
      pcState.dataset.state = state;
      pcState.textContent = state;
      pcState.hidden = state === "";
      drawTimer();

      for (const peer of session.mesh.peers.values()) drawTile(peer);
      for (const [userId, tile] of tiles) {
        if (session.mesh.peers.has(userId)) continue;
        tile.video.srcObject = null;
        tile.element.remove();
        tiles.delete(userId);
      }
      grid.dataset.count = String(Math.min(tiles.size, 5));
      drawHero();

      self.hidden = media.video === null;
      if (selfVideo.srcObject?.getVideoTracks()[0] !== media.video) {
        selfVideo.srcObject = media.video ? new MediaStream([media.video]) : null;
      }
      self.dataset.mirror = String(!media.sharing);

      const { muted, cameraOn, sharing } = media;
      toggle(mute, { pressed: muted, lit: muted, labelOn: "Unmute", labelOff: "Mute", name: "mic", crossed: muted });
      toggle(camera, { pressed: cameraOn, lit: false, labelOn: "Turn the camera off", labelOff: "Turn the camera on", name: "video", crossed: !cameraOn });
      toggle(screen, { pressed: sharing, lit: sharing, labelOn: "Stop sharing the screen", labelOff: "Share the screen", name: "screen" });
      screen.hidden = !navigator.mediaDevices?.getDisplayMedia;
      add.hidden = phase !== "active";
      controls.hidden = phase === "ended";
      after.hidden = phase !== "ended";
      const text = session.notice ?? (phase === "ended" ? null : media.problem);
      notice.hidden = !text;
      notice.textContent = text ?? "";
    },
  };
}
