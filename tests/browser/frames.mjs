// How long a picture stood still: the frames that an element of a page presented, as the page saw them.

/** Begins to note every frame of the elements (a CSS selector) in a tab; elements that come later are noted too. */
export async function watchFrames(tab, selector) {
  await tab.page.evaluate((wanted) => {
    if (globalThis.frames_) return;
    const watched = new WeakSet();
    globalThis.frames_ = new Map();
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

/** The longest gap between frames while something was done, per tab and person who was seen when it began. */
export async function measure(tabs, run) {
  const begin = () => { globalThis.framesSince = performance.now(); };
  await Promise.all(tabs.map((tab) => tab.page.evaluate(begin)));
  await run();
  const found = await Promise.all(tabs.map((tab) => tab.page.evaluate(() => {
    const end = performance.now();
    return [...globalThis.frames_].filter(([, times]) => times.length > 0 && times[0] < globalThis.framesSince).map(([of, times]) => {
      const since = times.filter((time) => time >= globalThis.framesSince);
      const marks = [globalThis.framesSince, ...since, end];
      const longest = Math.max(...marks.slice(1).map((time, i) => time - marks[i]));
      return { of, longestMs: Math.round(longest), frames: since.length, lastedMs: Math.round(end - globalThis.framesSince) };
    });
  })));
  return found.flatMap((list, i) => list.map((one) => ({ user: tabs[i].user, ...one })));
}

/** For the console. */
export function shown(found) {
  return found.map(({ user, of, longestMs, frames, lastedMs }) => `${user} saw ${of} with gaps of at most ${longestMs} ms (${frames} frames in ${lastedMs} ms)`).join("; ");
}
