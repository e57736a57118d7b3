// The call on the screen: the others in a grid, oneself small, and the buttons.
// Owns: the frame around the pictures (those are in tiles.js) and what the buttons say.

import { avatar, duration, h, icon, names } from "./dom.js";
import { userIdsIn } from "./dialer.js";
import { Tiles } from "./tiles.js";
import { OUTCOMES, statusText } from "./words.js";

export function inCallView({ onDismiss, onCallAgain, onNotice }) {
  let session = null;

  const title = h("h2", { "data-testid": "call-peer" });
  const status = h("p", { class: "call-status", "data-testid": "call-status" });
  const timer = h("span", { class: "call-timer", role: "timer", "data-testid": "call-timer" });
  const pcState = h("span", { class: "pc-state", "data-testid": "pc-state" });
  const notice = h("p", { class: "call-notice", role: "alert", "data-testid": "call-notice", hidden: true });
  const recording = h("span", { class: "recording", role: "status", "data-testid": "recording" });
  const hero = h("div", { class: "hero" });
  const tiles = new Tiles({ onNotice });

  const control = (name, testid, run) => h("button", { class: "round", type: "button", "data-testid": testid, onclick: run }, icon(name));
  const mute = control("mic", "mute", () => session.setMuted(!session.media.muted));
  const camera = control("video", "camera", () => session.setCamera(!session.media.cameraOn));
  const screen = control("screen", "screen", () => session.setScreen(!session.media.sharing));
  const record = control("record", "record", () => session.setRecording(!session.isRecorded));
  const escalate = control("room", "escalate", () => session.escalate());
  escalate.setAttribute("aria-label", "Move the call to the media server");
  escalate.title = "Move the call to the media server";
  const add = control("add", "invite", () => { inviteForm.hidden = !inviteForm.hidden; inviteInput.focus(); });
  const hangup = control("hangup", "hangup", () => session.hangUp());
  hangup.classList.add("red");
  hangup.setAttribute("aria-label", "Hang up");
  add.setAttribute("aria-label", "Add somebody to the call");
  const controls = h("div", { class: "controls", role: "group", "aria-label": "Call" }, mute, camera, screen, record, escalate, add, hangup);
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
    h("header", { class: "call-head" }, h("div", {}, title, status), h("div", { class: "call-meta" }, recording, pcState, timer)),
    h("div", { class: "stage" }, tiles.element, hero), notice, after, inviteForm, controls);

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
    const alone = session.transport.peers.size === 0;
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
        tiles.clear();
        inviteForm.hidden = true;
        hero.dataset.key = "";
        session = next;
      }
      element.hidden = session === null;
      if (!session) return;
      const { media, phase } = session;
      element.dataset.phase = phase;
      element.dataset.outcome = session.outcome ?? "";
      const { others } = session;
      title.textContent = names(others.length > 1 && phase !== "ended" ? others.map((one) => one.userId) : session.peers);
      element.dataset.alone = String(session.transport.peers.size === 0);
      status.textContent = headline();
      const state = phase === "connecting" || phase === "active" ? session.mediaState : "";
      pcState.dataset.state = state;
      pcState.textContent = state;
      pcState.hidden = state === "";
      drawTimer();

      tiles.update(session);
      drawHero();

      const { muted, cameraOn, sharing } = media;
      toggle(mute, { pressed: muted, lit: muted, labelOn: "Unmute", labelOff: "Mute", name: "mic", crossed: muted });
      toggle(camera, { pressed: cameraOn, lit: false, labelOn: "Turn the camera off", labelOff: "Turn the camera on", name: "video", crossed: !cameraOn });
      toggle(screen, { pressed: sharing, lit: sharing, labelOn: "Stop sharing the screen", labelOff: "Share the screen", name: "screen" });
      screen.hidden = !navigator.mediaDevices?.getDisplayMedia;
      const { offers } = session;
      toggle(record, { pressed: offers.recording, lit: offers.recording, labelOn: "Stop recording", labelOff: "Record the call", name: "record" });
      record.hidden = !offers.record;
      escalate.hidden = !offers.escalate;
      escalate.disabled = session.transport.mode !== "p2p";
      // A text that comes is read out; one that is only uncovered may not be.
      const mark = session.isRecorded && phase !== "ended" ? "Recording" : "";
      if (recording.textContent !== mark) recording.textContent = mark;
      add.hidden = phase !== "active";
      controls.hidden = phase === "ended";
      after.hidden = phase !== "ended";
      const text = session.notice ?? (phase === "ended" ? null : media.problem);
      notice.hidden = !text;
      notice.textContent = text ?? "";
    },
  };
}
