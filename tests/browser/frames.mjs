// How long a picture stood still: the frames that an element of a page presented, as the page saw them. What the page
// itself was not drawn at all, for want of a processor, is told apart: no way of sending media can help that.

/** Begins to note every frame of the elements (a CSS selector) in a tab; elements that come later are noted too. */
export async function watchFrames(tab, selector) {
  await tab.page.evaluate((wanted) => {
    if (globalThis.frames_) return;
    const watched = new WeakSet();
    globalThis.frames_ = new Map();
    globalThis.drawn_ = [];
    const tick = (now) => {
      globalThis.drawn_.push(now);
      requestAnimationFrame(tick);
    };
    requestAnimationFrame(tick);
    const watch = (video) => {
      if (watched.has(video)) return;
      watched.add(video);
      const key = video.dataset.user ?? video.closest("[data-user]")?.dataset.user;
      const times = globalThis.frames_.get(key) ?? [];
      globalThis.frames_.set(key, times);
      const note = (now) => {
        times.push(now);
        video.requestVideoFrameCallback(note);
      };
      video.requestVideoFrameCallback(note);
    };
    const look = () => { for (const video of document.querySelectorAll(wanted)) watch(video); };
    look();
    new MutationObserver(look).observe(document.body, { childList: true, subtree: true });
  }, selector);
  await tab.until(`${tab.user} sees a frame`, () => tab.page.evaluate(() => [...globalThis.frames_.values()].some((times) => times.length > 0)));
}

/**
 * The longest gap between frames while something was done, per tab and person who was seen when it began: without the
 * time in which the page was not drawn, and with it.
 */
export async function measure(tabs, run) {
  const begin = () => { globalThis.framesSince = performance.now(); };
  await Promise.all(tabs.map((tab) => tab.page.evaluate(begin)));
  await run();
  const found = await Promise.all(tabs.map((tab) => tab.page.evaluate(() => {
    const end = performance.now();
    return [...globalThis.frames_].filter(([, times]) => times.length > 0 && times[0] < globalThis.framesSince).map(([of, times]) => {
      const since = times.filter((time) => time >= globalThis.framesSince);
      const marks = [globalThis.framesSince, ...since, end];
      let longest = { gap: -1 };
      for (let i = 1; i < marks.length; i += 1) {
        const [from, to] = [marks[i - 1], marks[i]];
        if (to - from <= longest.gap) continue;
        // A page is drawn sixty times a second; three missed in a row are a machine that has no time.
        const drawn = [from, ...globalThis.drawn_.filter((time) => time > from && time < to), to];
        const stalled = drawn.slice(1).map((time, j) => time - drawn[j]).filter((ms) => ms > 60);
        const gap = to - from - stalled.reduce((sum, ms) => sum + ms - 16, 0);
        if (gap > longest.gap) longest = { gap, whole: to - from };
      }
      return { of, longestMs: Math.round(longest.gap), withStallsMs: Math.round(longest.whole), frames: since.length, lastedMs: Math.round(end - globalThis.framesSince) };
    });
  })));
  return found.flatMap((list, i) => list.map((one) => ({ user: tabs[i].user, ...one })));
}

// What the product promises: nobody's picture is away for longer.
const LONGEST_GAP_MS = 1_000;

/** Fails when a picture was away for longer than is promised, and much longer than at rest on this machine. */
export function expectNoBreak(what, found, control) {
  const atRest = Math.max(...control.map((one) => one.longestMs));
  for (const { user, of, longestMs } of found) {
    if (longestMs > LONGEST_GAP_MS && longestMs > 5 * atRest) {
      throw new Error(`${what}: ${user} did not see ${of} for ${longestMs} ms; at rest ${atRest} ms`);
    }
  }
  if (found.length === 0) throw new Error(`${what}: nobody saw anybody`);
}

/** For the console. */
export function shown(found) {
  const gap = ({ longestMs, withStallsMs }) => (withStallsMs > longestMs + 60 ? `${longestMs} ms (${withStallsMs} with the machine's)` : `${longestMs} ms`);
  return found.map((one) => `${one.user} saw ${one.of} with gaps of at most ${gap(one)}, ${one.frames} frames in ${one.lastedMs} ms`).join("; ");
}
