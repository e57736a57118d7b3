// Sounds, made on the spot: bells for an incoming call, the ring-back tone for an outgoing one, a soft end.
// Survives: a browser that allows no sound before the first touch; the call rings on the screen all the same.

const BELLS = [659.25, 523.25, 587.33, 392.0]; // Westminster: e c d g.
const PERIOD_MS = { incoming: 3_600, outgoing: 4_000, waiting: 4_000 };

export class Ringtone {
  #context = null;
  #kind = null;
  #timer;
  #master = null;

  constructor() {
    // Browsers let a page sound only after it was touched.
    const wake = () => this.#context?.resume().catch(() => {});
    for (const event of ["pointerdown", "keydown"]) document.addEventListener(event, wake, { passive: true });
  }

  /** `incoming`, `waiting` (a second call), `outgoing` or null for silence. */
  play(kind) {
    if (kind === this.#kind) return;
    this.#kind = kind;
    clearInterval(this.#timer);
    this.#silence();
    if (kind === null) { navigator.vibrate?.(0); return; }
    this.#context ??= newContext();
    if (!this.#context) return;
    const round = () => {
      if (this.#context.state === "suspended") this.#context.resume().catch(() => {});
      this.#silence();
      this.#master = this.#context.createGain();
      this.#master.connect(this.#context.destination);
      this[`_${kind}`]();
    };
    round();
    this.#timer = setInterval(round, PERIOD_MS[kind]);
  }

  /** Two falling notes: it is over. */
  end() {
    if (!this.#context || this.#context.state !== "running") return;
    this.#master = this.#context.createGain();
    this.#master.connect(this.#context.destination);
    this.#bell(523.25, 0, 0.5, 0.08);
    this.#bell(392.0, 0.16, 0.7, 0.08);
  }

  _incoming() {
    BELLS.forEach((note, i) => this.#bell(note, i * 0.42, 1.6, 0.2));
    if (navigator.userActivation?.hasBeenActive) navigator.vibrate?.([300, 200, 300]);
  }

  _waiting() { this.#bell(659.25, 0, 0.5, 0.07); }

  _outgoing() {
    const now = this.#context.currentTime;
    for (const frequency of [440, 480]) {
      const [tone, gain] = [this.#context.createOscillator(), this.#context.createGain()];
      tone.frequency.value = frequency;
      gain.gain.setValueAtTime(0, now);
      gain.gain.linearRampToValueAtTime(0.035, now + 0.05);
      gain.gain.setValueAtTime(0.035, now + 1.15);
      gain.gain.linearRampToValueAtTime(0, now + 1.2);
      tone.connect(gain).connect(this.#master);
      tone.start(now);
      tone.stop(now + 1.25);
    }
  }

  // A struck bell: partials that are no harmonics, each fading on its own.
  #bell(note, delay, length, volume) {
    const start = this.#context.currentTime + delay;
    for (const [ratio, share] of [[0.5, 0.3], [1, 1], [1.19, 0.35], [2, 0.4], [2.74, 0.15]]) {
      const [tone, gain] = [this.#context.createOscillator(), this.#context.createGain()];
      tone.frequency.value = note * ratio;
      gain.gain.setValueAtTime(volume * share, start);
      gain.gain.exponentialRampToValueAtTime(0.0001, start + length / Math.max(1, ratio * 0.7));
      tone.connect(gain).connect(this.#master);
      tone.start(start);
      tone.stop(start + length);
    }
  }

  #silence() {
    this.#master?.disconnect();
    this.#master = null;
  }
}

function newContext() {
  try { return new AudioContext(); } catch { return null; }
}
