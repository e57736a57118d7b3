// The microphone, camera and screen of this device.
// Owns: the local tracks. Never: sends them; who wants them listens to `onTrack`.
// Survives: no device, no permission, a camera that is pulled out: the call goes on with what is left.

const CAMERA = { width: { ideal: 1280 }, height: { ideal: 720 }, facingMode: "user" };

export class LocalMedia {
  /** The tracks, or null. */
  audio = null;
  camera = null;
  screen = null;
  muted = false;
  /** A sentence for the user when something could not be opened. */
  problem = null;
  #onTrack;
  #closed = false;

  /** `onTrack(kind, trackOrNull)` whenever one of `audio`, `camera`, `screen` changed. */
  constructor(onTrack) { this.#onTrack = onTrack; }

  get cameraOn() { return this.camera !== null; }
  get sharing() { return this.screen !== null; }

  async open({ video }) {
    let stream = await this.#ask({ audio: true, video: video ? CAMERA : false });
    if (!stream && video) stream = await this.#ask({ audio: true });
    if (!stream) return;
    if (this.#closed) { for (const track of stream.getTracks()) track.stop(); return; }
    this.audio = stream.getAudioTracks()[0] ?? null;
    if (this.audio) this.audio.enabled = !this.muted;
    this.#onTrack("audio", this.audio);
    if (stream.getVideoTracks()[0]) this.#useCamera(stream.getVideoTracks()[0]);
  }

  async #ask(constraints) {
    if (!navigator.mediaDevices) {
      this.problem = "This page needs https, or localhost, to use your microphone.";
      return null;
    }
    try {
      const stream = await navigator.mediaDevices.getUserMedia(constraints);
      if (constraints.video || this.problem === null) this.problem = null;
      return stream;
    } catch (error) {
      const what = constraints.video ? "camera" : "microphone";
      this.problem = error.name === "NotAllowedError"
        ? `The browser was not allowed to use the ${what}.`
        : `No ${what} could be opened.`;
      return null;
    }
  }

  setMuted(muted) {
    this.muted = muted;
    if (this.audio) this.audio.enabled = !muted;
  }

  async setCamera(on) {
    if (!on) {
      this.camera?.stop();
      this.#use("camera", null);
      return;
    }
    if (this.camera) return;
    const stream = await this.#ask({ video: CAMERA });
    if (!stream) return;
    if (this.#closed || this.camera) { stream.getTracks()[0].stop(); return; }
    this.#useCamera(stream.getVideoTracks()[0]);
  }

  /** Shows the screen. `onEnd` when the user stops it in the browser's own bar. */
  async setScreen(on, onEnd = () => {}) {
    if (!on) { this.#endScreen(); return; }
    try {
      const stream = await navigator.mediaDevices.getDisplayMedia({ video: true, audio: false });
      const track = stream.getVideoTracks()[0];
      if (this.#closed) { track.stop(); return; }
      track.contentHint = "detail";
      track.onended = () => { this.#endScreen(); onEnd(); };
      this.#use("screen", track);
    } catch {
      // The user changed their mind: nothing to say.
    }
  }

  #endScreen() {
    if (!this.screen) return;
    this.screen.stop();
    this.#use("screen", null);
  }

  #useCamera(track) {
    track.onended = () => { if (this.camera === track) this.setCamera(false); };
    this.#use("camera", track);
  }

  #use(kind, track) {
    this[kind] = track;
    this.#onTrack(kind, track);
  }

  close() {
    this.#closed = true;
    for (const track of [this.audio, this.camera, this.screen]) track?.stop();
    this.audio = this.camera = this.screen = null;
  }
}
