// Words for times, counts and names. Pure: no DOM, no clock, so that tests without a browser can ask.

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** A span in at most two units, rounded down: `340 ms`, `12 s`, `3 min 5 s`, `2 h 10 min`, `4 d 3 h`. */
export function span(ms) {
  const whole = Math.max(0, Math.floor(ms));
  if (whole < SECOND) return `${whole} ms`;
  const two = (large, unit, size, small, smallSize) => {
    const rest = Math.floor((whole % size) / smallSize);
    return rest > 0 ? `${large} ${unit} ${rest} ${small}` : `${large} ${unit}`;
  };
  if (whole < MINUTE) return `${Math.floor(whole / SECOND)} s`;
  if (whole < HOUR) return two(Math.floor(whole / MINUTE), "min", MINUTE, "s", SECOND);
  if (whole < DAY) return two(Math.floor(whole / HOUR), "h", HOUR, "min", MINUTE);
  return two(Math.floor(whole / DAY), "d", DAY, "h", HOUR);
}

/** How long ago, or in how long: `just now`, `12 s ago`, `in 4 s`. Below a second clocks are not told apart. */
export function age(at, now) {
  const ms = now - at;
  if (Math.abs(ms) < SECOND) return "just now";
  return ms > 0 ? `${span(ms)} ago` : `in ${span(-ms)}`;
}

const two = (value) => String(value).padStart(2, "0");

/** `2026-11-21 19:14:21.123 UTC`; no milliseconds where there are none. */
export function utc(ms) {
  if (!Number.isFinite(ms)) return "unknown";
  const text = new Date(ms).toISOString().replace("T", " ").replace("Z", "");
  return `${text.endsWith(".000") ? text.slice(0, -4) : text} UTC`;
}

/** `19:14:21.123`, in UTC. */
export function clockTime(ms) {
  const at = new Date(ms);
  const millis = String(at.getUTCMilliseconds()).padStart(3, "0");
  return `${two(at.getUTCHours())}:${two(at.getUTCMinutes())}:${two(at.getUTCSeconds())}.${millis}`;
}

/** `1,234`; nothing known: a dash. */
export function count(value) {
  return Number.isFinite(value) ? value.toLocaleString("en") : "–";
}

/** `1 call`, `2 calls`. */
export const several = (number, one, many = `${one}s`) => `${count(number)} ${number === 1 ? one : many}`;

/** `alice, bob and 3 more`. */
export function people(ids, total = ids.length, most = 4) {
  const shown = ids.slice(0, most);
  const rest = total - shown.length;
  if (rest > 0) return `${shown.join(", ")} and ${rest} more`;
  return shown.length < 2 ? shown.join("") : `${shown.slice(0, -1).join(", ")} and ${shown.at(-1)}`;
}

/** `no_answer` as `no answer`. */
export const plain = (word) => String(word ?? "").replaceAll("_", " ");

/** A long id whose ends tell it apart: `01936f3a…9c21`. */
export function short(id, most = 24) {
  const chars = [...String(id)];
  if (chars.length <= most) return chars.join("");
  const tail = Math.floor((most - 1) / 3);
  return `${chars.slice(0, most - 1 - tail).join("")}…${chars.slice(-tail).join("")}`;
}
