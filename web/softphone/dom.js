// Building blocks of the page: elements, icons, avatars, words for times.
// Never: knows what a call is. No inline styles or scripts, so that a strict content security policy holds.

/** `h("button", {class: "x", onclick: f, "data-testid": "y"}, "text", child)` */
export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name in element && typeof value === "boolean") element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

const PATHS = {
  bell: "M12 3a1.5 1.5 0 0 1 1.5 1.5v.6A6 6 0 0 1 18 11v4l1.6 2.2c.4.5 0 1.3-.7 1.3H5.1c-.7 0-1.1-.8-.7-1.3L6 15v-4a6 6 0 0 1 4.5-5.9v-.6A1.5 1.5 0 0 1 12 3Zm-2.4 17h4.8a2.4 2.4 0 0 1-4.8 0Z",
  phone: "M6.6 3.2 9 3c.5 0 .9.3 1 .7l1 3.4c.1.4 0 .8-.3 1.1L9 9.800a12 12 0 0 0 5.200 5.200l1.600-1.700c.3-.3.7-.4 1.100-.3l3.400 1c.4.1.7.5.7 1l-.2 2.400c-.1 1.800-1.600 3.200-3.400 3.100C9.900 20.200 3.800 14.100 3.500 6.600 3.400 4.800 4.800 3.300 6.600 3.200Z",
  hangup: "M12 9c3.900 0 7.400 1.400 9.300 3.500.7.8.8 1.900.3 2.800l-.8 1.300c-.3.5-.9.7-1.400.5l-3-1.100a1.200 1.200 0 0 1-.8-1.100l-.1-1.900a12.700 12.700 0 0 0-7 0l-.1 1.900c0 .5-.3.9-.8 1.100l-3 1.100c-.5.2-1.100 0-1.400-.5l-.8-1.300c-.5-.9-.4-2 .3-2.800C4.600 10.400 8.100 9 12 9Z",
  video: "M4.500 6h9A2.500 2.500 0 0 1 16 8.500v1.700l3.700-2.500c.6-.4 1.300 0 1.300.7v7.200c0 .7-.7 1.100-1.300.7L16 13.800v1.700a2.500 2.500 0 0 1-2.500 2.500h-9A2.500 2.500 0 0 1 2 15.500v-7A2.500 2.500 0 0 1 4.500 6Z",
  mic: "M12 2.500a3.500 3.500 0 0 1 3.500 3.500v5a3.500 3.500 0 1 1-7 0V6A3.500 3.500 0 0 1 12 2.500ZM6 10.500a1 1 0 0 1 1 1 5 5 0 0 0 10 0 1 1 0 1 1 2 0 7 7 0 0 1-6 6.900V21a1 1 0 1 1-2 0v-2.600a7 7 0 0 1-6-6.900 1 1 0 0 1 1-1Z",
  screen: "M4.500 4h15A2.500 2.500 0 0 1 22 6.500v8a2.500 2.500 0 0 1-2.500 2.500H14v1.500h2.500a1 1 0 1 1 0 2h-9a1 1 0 1 1 0-2H10V17H4.500A2.500 2.500 0 0 1 2 14.500v-8A2.500 2.500 0 0 1 4.500 4Zm7.500 2.800-3.600 3.600 1.300 1.300 1.400-1.300v4h1.800v-4l1.400 1.300 1.300-1.300L12 6.800Z",
  add: "M12 4.500a1.200 1.200 0 0 1 1.200 1.200v5.100h5.100a1.200 1.200 0 1 1 0 2.400h-5.100v5.100a1.200 1.200 0 1 1-2.400 0v-5.100H5.700a1.200 1.200 0 1 1 0-2.400h5.100V5.700A1.200 1.200 0 0 1 12 4.500Z",
  incoming: "M18.300 4.300a1.200 1.200 0 0 1 1.700 1.700L9.700 16.300h4.800a1.200 1.200 0 1 1 0 2.400H6.800a1.200 1.200 0 0 1-1.200-1.200V9.800a1.200 1.200 0 1 1 2.400 0v4.800L18.300 4.300Z",
  outgoing: "M9.500 5.300h7.700a1.200 1.200 0 0 1 1.200 1.200v7.700a1.200 1.200 0 1 1-2.400 0V9.400L5.700 19.700A1.200 1.200 0 0 1 4 18L14.300 7.700H9.500a1.200 1.200 0 1 1 0-2.400Z",
  record: "M12 3.500a8.500 8.500 0 1 1 0 17 8.500 8.500 0 0 1 0-17Zm0 2a6.500 6.500 0 1 0 0 13 6.500 6.500 0 0 0 0-13Zm0 2.700a3.800 3.800 0 1 1 0 7.600 3.800 3.800 0 0 1 0-7.600Z",
  room: "M7.500 18.500A4.500 4.500 0 0 1 6.900 9.600a5.600 5.600 0 0 1 10.700 1.300 3.850 3.850 0 0 1-.6 7.600H7.500Zm4.500-8.900-3.400 3.400 1.300 1.300 1.200-1.200v3.600h1.800v-3.600l1.200 1.200 1.300-1.300L12 9.600Z",
  close: "M6.400 5 12 10.600 17.600 5 19 6.400 13.400 12l5.600 5.600-1.400 1.400-5.600-5.600L6.400 19 5 17.600l5.600-5.600L5 6.400 6.400 5Z",
};
const SLASH = "M4.200 3 21 19.800 19.800 21 3 4.200Z";

/** An icon for a button that has its label elsewhere. `crossed`: struck through, for what is off. */
export function icon(name, crossed = false) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  svg.setAttribute("class", "icon");
  for (const d of crossed ? [PATHS[name], SLASH] : [PATHS[name]]) {
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    path.setAttribute("d", d);
    if (d === SLASH) path.setAttribute("class", "slash");
    svg.append(path);
  }
  return svg;
}

/** A round sign for a person: initials on a colour that is always the same for the same id. */
export function avatar(userId, size = "") {
  let hash = 7;
  for (const char of userId) hash = (hash * 31 + char.codePointAt(0)) >>> 0;
  const words = userId.split(/[\s._@:-]+/).filter(Boolean);
  const letters = words.slice(0, 2).map((word) => [...word][0]).join("") || "?";
  const element = h("span", { class: `avatar ${size}`, "aria-hidden": "true" }, letters.toUpperCase());
  element.style.setProperty("--hue", String(hash % 360));
  return element;
}

/** `0:07`, `12:30`, `1:02:03` */
export function duration(secs) {
  const whole = Math.max(0, Math.floor(secs));
  const two = (value) => String(value).padStart(2, "0");
  const [hours, minutes, seconds] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  return hours > 0 ? `${hours}:${two(minutes)}:${two(seconds)}` : `${minutes}:${two(seconds)}`;
}

/** The time of today, otherwise the day. */
export function when(ms) {
  const date = new Date(ms);
  const isToday = date.toDateString() === new Date().toDateString();
  return isToday
    ? date.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" })
    : date.toLocaleDateString([], { day: "numeric", month: "short" });
}

/** People in a sentence. */
export function names(userIds) {
  if (userIds.length <= 2) return userIds.join(" and ");
  return `${userIds.slice(0, -1).join(", ")} and ${userIds.at(-1)}`;
}
