// Asking again and again: what a view shows is asked for every 2 s while somebody can see it.
// Owns: one request at a time per feed, and what is known of how old the last answer is. Never: takes "not answered" for
// "nothing there". Survives a node that is away: what was known stays, and says how old it is.

import { now } from "./api.js";

/** Between an answer and the next question. Shorter is load for nothing; longer, and a call comes and goes unseen. */
export const PERIOD_MS = 2_000;
// A failed question is asked again less and less often, up to this.
const MOST_MS = 10_000;
// An answer that is older than this and a period is not the present any more. Shorter, and a slow answer is an alarm;
// longer, and somebody acts on what was.
const STALE_MS = 4_000;

const all = new Set();
let paused = false;

/** One question, asked until it is closed. */
export class Feed {
  data = null;
  /** When `data` came, by the nodes' clock. */
  at = null;
  /** Why the last question failed; null: it did not. */
  error = null;
  /** Between an answer and the next question, in milliseconds; may be changed. */
  period;
  #ask;
  #changed;
  #failures = 0;
  #timer;
  #aborter = null;
  #open = true;

  /** `ask(signal, before)` answers with the data; `changed(feed)` hears of each answer and each failure. */
  constructor(ask, changed, { period = PERIOD_MS } = {}) {
    this.#ask = ask;
    this.#changed = changed;
    this.period = period;
    all.add(this);
    this.now();
  }

  /** Asks at once, also while updates are paused. A question under way is given up: it may be from before an act. */
  now() {
    clearTimeout(this.#timer);
    this.#aborter?.abort();
    return this.#run();
  }

  get isStale() { return this.at === null ? this.error !== null : now() - this.at > STALE_MS + this.period; }

  close() {
    this.#open = false;
    clearTimeout(this.#timer);
    this.#aborter?.abort();
    all.delete(this);
  }

  /** The page is seen again, or updates go on. */
  wake() {
    if (this.#aborter === null) this.now();
  }

  async #run() {
    const aborter = this.#aborter = new AbortController();
    try {
      const data = await this.#ask(aborter.signal, this.data);
      if (this.#aborter !== aborter || !this.#open) return;
      Object.assign(this, { data, at: now(), error: null });
      this.#failures = 0;
    } catch (error) {
      if (this.#aborter !== aborter || !this.#open) return;
      this.error = error;
      this.#failures += 1;
    }
    this.#aborter = null;
    this.#plan();
    this.#changed(this);
  }

  #plan() {
    const slower = Math.min(MOST_MS, this.period * 2 ** Math.min(this.#failures, 4));
    const wait = this.#failures === 0 ? this.period : Math.max(slower, this.error.retryAfterMs ?? 0);
    this.#timer = setTimeout(() => { if (isAwake()) this.now(); }, wait);
  }
}

const isAwake = () => !paused && document.visibilityState === "visible";

/** Whether updates are held by the reader. */
export const isPaused = () => paused;

export function pause(wanted) {
  paused = wanted;
  if (isAwake()) for (const feed of all) feed.wake();
}

/** All questions that are being asked, for the line that says how old the page is. */
export const feeds = () => [...all];

document.addEventListener("visibilitychange", () => { if (isAwake()) for (const feed of all) feed.wake(); });
