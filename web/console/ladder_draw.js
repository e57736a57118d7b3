// Draws a ladder: heads that stay in sight, times at the left that do too, and an SVG of lifelines and arrows.
// For the eye alone: the table below it says the same, and more. Sizes are set by script, as the policy has no inline
// styles; colours are the style sheet's.

import { clockTime, short, span } from "./format.js";
import { ladder, ownerText } from "./ladder.js";
import { h } from "./parts.js";

const NS = "http://www.w3.org/2000/svg";
// Heights of rows, in pixels: an event has its words above its arrow.
const HEIGHT = { event: 40, gap: 24, owner: 30 };
// Between two lifelines. Less, and the words of neighbours meet; more, and ten people need a wall.
const LEAST_STEP = 124;
const NARROW_STEP = 104;
const MOST_STEP = 260;
const HEAD = 46;
const GUTTER = 132;
const NARROW_GUTTER = 92;
// A character of a label, about: to keep labels within the drawing.
const CHAR = 6.6;
// The same of a head, which is bold.
const HEAD_CHAR = 8.8;
const ARROW = 7;

function s(tag, attributes, ...children) {
  const element = document.createElementNS(NS, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children.flat());
  return element;
}

function size(element, width, height) {
  if (width !== null) element.style.width = `${width}px`;
  if (height !== null) element.style.height = `${height}px`;
  return element;
}

/** A view of a ladder: `element`, and `update(events, before, title)`. What was scrolled to stays; who is at the end follows. */
export function ladderView() {
  const inner = h("div", { class: "ladder-in", role: "img" });
  const element = h("div", { class: "ladder", tabindex: "0", role: "region", "aria-label": "Ladder diagram", "data-testid": "ladder" }, inner);
  let drawn = null;

  function update(events, before, title) {
    // As wide as there is room, but not for every pixel.
    const room = Math.floor(element.clientWidth / 20) * 20;
    const now = JSON.stringify([room, before?.seq, events.length, events[0]?.seq, events.at(-1)?.seq]);
    if (now === drawn || room === 0) return;
    const atEnd = drawn !== null && element.scrollTop + element.clientHeight > element.scrollHeight - HEIGHT.event;
    drawn = now;
    inner.setAttribute("aria-label", `${title} The table below says the same.`);
    draw(inner, ladder(events, before), room);
    if (atEnd) element.scrollTop = element.scrollHeight;
  }

  return { element, update };
}

function draw(inner, { lines, rows }, room) {
  const isNarrow = room < 560;
  const gutterWidth = isNarrow ? NARROW_GUTTER : GUTTER;
  const step = Math.max(isNarrow ? NARROW_STEP : LEAST_STEP, Math.min(MOST_STEP, (room - gutterWidth - 24) / Math.max(1, lines.length)));
  const width = Math.round(step * lines.length);
  const x = new Map(lines.map((line, n) => [line.key, Math.round(step * (n + 0.5))]));
  const height = rows.reduce((sum, row) => sum + HEIGHT[row.type], 0) + 12;

  const heads = size(h("div", { class: "ladder-heads" }), width, HEAD);
  for (const line of lines) heads.append(headOf(line, x.get(line.key), step));
  const gutter = size(h("div", { class: "ladder-gutter" }), gutterWidth, height);
  const body = s("svg", { class: "ladder-body", width, height, viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" });
  for (const line of lines) {
    body.append(s("line", { class: `life ${line.kind}`, x1: x.get(line.key), x2: x.get(line.key), y1: 0, y2: height }));
  }
  const owned = s("g", {});
  body.append(owned);
  let y = 0;
  let owner = null;
  for (const row of rows) {
    gutter.append(size(h("div", { class: `times ${row.type}` }, timesOf(row)), null, HEIGHT[row.type]));
    if (row.type === "owner") {
      owner = closeOwned(owned, owner, y);
      owner = { x: x.get(JSON.stringify(["node", row.node])), y: y + HEIGHT.owner - 2 };
      body.append(band(row, y, width));
    } else if (row.type === "gap") {
      body.append(s("rect", { class: "gap", x: 0, y, width, height: HEIGHT.gap }));
    } else {
      body.append(eventOf(row, x, y, width));
    }
    y += HEIGHT[row.type];
  }
  closeOwned(owned, owner, y);
  size(inner, gutterWidth + width, null);
  inner.replaceChildren(size(h("div", { class: "ladder-corner" }, "UTC"), gutterWidth, HEAD), heads, gutter, body);
  inner.style.gridTemplateColumns = `${gutterWidth}px ${width}px`;
}

function headOf(line, x, step) {
  const name = line.kind === "node" ? line.node : line.user;
  const under = line.kind === "node" ? "node" : line.device ? short(line.device, Math.floor((step - 8) / CHAR)) : "person";
  const head = h("div", { class: `head ${line.kind}`, "data-tip": line.device ? `${name} · ${line.device}` : name },
    h("strong", {}, short(name, Math.floor((step - 8) / HEAD_CHAR))), h("span", {}, under));
  head.style.left = `${x - step / 2 + 4}px`;
  return size(head, step - 8, null);
}

function timesOf(row) {
  if (row.type === "gap") return [h("i", {}, `+${span(row.ms)}`)];
  if (row.type === "owner") return [h("b", {}, `epoch ${row.epoch}`)];
  const { seq, at, sincePreviousMs } = row.event;
  return [h("b", {}, clockTime(Date.parse(at))), h("span", {}, `#${seq} +${span(sincePreviousMs ?? 0)}`)];
}

// The thick part of a node's lifeline: while it owns the call.
function closeOwned(owned, owner, y) {
  if (owner) owned.append(s("rect", { class: "owned", x: owner.x - 4, y: owner.y, width: 8, height: Math.max(0, y - owner.y), rx: 4 }));
  return null;
}

function band(row, y, width) {
  const changed = row.before !== undefined;
  return s("g", { class: changed ? "band changed" : "band" },
    s("rect", { x: 0, y: y + 3, width, height: HEIGHT.owner - 6 }),
    s("text", { x: 10, y: y + 19 }, `${changed ? "⇄ " : ""}${ownerText({ ...row, node: short(row.node, 40), before: row.before && short(row.before, 40) })}`));
}

function label(text, from, to, y, width) {
  const half = (text.length * CHAR) / 2;
  const middle = Math.max(half + 4, Math.min(width - half - 4, (from + to) / 2));
  return s("text", { class: "label", x: middle, y, "text-anchor": "middle" }, text);
}

// `end`: "arrow", "cross" (it does not get there) or "none".
function arrow(from, to, y, end, name) {
  const way = Math.sign(to - from);
  const tip = to - way * 5;
  const shape = s("g", { class: `arrow ${name}` }, s("line", { x1: from, x2: tip, y1: y, y2: y }));
  if (end === "arrow") shape.append(s("path", { d: `M${tip} ${y}l${-way * ARROW} ${-ARROW / 2}v${ARROW}z` }));
  if (end === "cross") shape.append(s("path", { class: "cross", d: `M${tip - 4} ${y - 4}l8 8m0 -8l-8 8` }));
  return shape;
}

function eventOf(row, x, y, width) {
  const node = x.get(row.node);
  const line = y + 25;
  const group = s("g", { class: `event ${row.way}`, "data-seq": row.event.seq, "data-kind": row.event.kind },
    s("rect", { class: "row", x: 0, y, width, height: HEIGHT.event }));
  const from = row.from === null ? node : x.get(row.from);
  const to = row.to.map((key) => x.get(key));
  if (row.way === "end") {
    group.append(s("line", { class: "over", x1: 6, x2: width - 6, y1: line + 8, y2: line + 8 }));
    if (row.from !== null) group.append(arrow(from, node, line, "arrow", "in"));
    else group.append(dot(node, line));
    group.append(label(row.text, from, node, y + 16, width));
    return group;
  }
  if (row.from !== null) group.append(arrow(from, node, line, "arrow", "in"));
  // Back on the side it came from: below, or the two would be one line.
  const isBack = row.from !== null && to.some((place) => Math.sign(place - node) === Math.sign(from - node));
  const end = row.way === "lost" ? "cross" : row.way === "note" ? "none" : "arrow";
  for (const place of to) group.append(arrow(node, place, isBack ? line + 8 : line, end, row.way));
  if (row.from === null || row.to.length > 0) group.append(dot(node, line));
  const ends = [from, node, ...to];
  group.append(label(row.text, Math.min(...ends), Math.max(...ends), y + 16, width));
  return group;
}

const dot = (x, y) => s("circle", { class: "dot", cx: x, cy: y, r: 4 });
