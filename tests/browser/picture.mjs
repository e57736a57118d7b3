// Takes the README's picture: a video call of three as the caller sees it, on a node with a media server. Not a test.
// Input as for the scenarios; the picture goes to the file named on the command line. The cameras show drawn people, for a fake camera is a green screen.

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { videoCall } from "./flows.mjs";
import { Stage } from "./support.mjs";

const file = process.argv[2];
if (!file) {
  console.error("usage: node picture.mjs FILE.png");
  process.exit(2);
}

const PEOPLE = {
  alice: { wall: ["#f3d9b8", "#d9a67c"], skin: "#e8b48f", hair: "#5a2f22", shirt: "#2f6f8f", long: true },
  carol: { wall: ["#cfd3e6", "#8a93bd"], skin: "#8d5a3b", hair: "#1d1512", shirt: "#b5485d", long: true },
  bob: { wall: ["#b9d3cf", "#6d9c98"], skin: "#b97b56", hair: "#221a18", shirt: "#c9803a", long: false },
};

const drawing = ({ wall, skin, hair, shirt, long }, sway) => `
<svg xmlns="http://www.w3.org/2000/svg" width="1280" height="720" viewBox="0 0 1280 720">
  <defs><linearGradient id="w" x1="0" y1="0" x2="1" y2="1"><stop stop-color="${wall[0]}"/><stop offset="1" stop-color="${wall[1]}"/></linearGradient></defs>
  <rect width="1280" height="720" fill="url(#w)"/>
  <rect x="90" y="70" width="250" height="300" rx="10" fill="#fff" opacity=".55"/><path d="M90 370 190 220l70 80 40-40 40 110z" fill="${shirt}" opacity=".35"/>
  <rect x="960" y="330" width="260" height="16" rx="6" fill="#6b4a35" opacity=".7"/>
  <g opacity=".8"><rect x="985" y="230" width="34" height="100" fill="#9c4a3c"/><rect x="1022" y="215" width="28" height="115" fill="#3f6d5c"/><rect x="1053" y="240" width="40" height="90" fill="#d6b25e"/><circle cx="1165" cy="292" r="38" fill="#4f8a5d"/></g>
  <g transform="translate(${sway} 0)">
    ${long ? `<path d="M500 320c-10-150 50-220 140-220s150 70 140 220c0 110 30 190 50 240H450c20-50 50-130 50-240z" fill="${hair}"/>` : ""}
    <path d="M330 720c10-150 110-215 310-215s300 65 310 215z" fill="${shirt}"/>
    <path d="M585 430h110v90c-20 30-90 30-110 0z" fill="${skin}" style="filter:brightness(.9)"/>
    <ellipse cx="640" cy="320" rx="108" ry="138" fill="${skin}"/>
    ${long
    ? `<path d="M528 320c0-120 50-165 112-165s112 45 112 165c-30-40-50-90-60-105-40 45-110 55-164 105z" fill="${hair}"/>`
    : `<path d="M526 300c-10-110 50-160 114-160s124 50 114 160c-12-30-20-60-34-70-40 14-120 14-160 0-14 10-22 40-34 70z" fill="${hair}"/>`}
    <circle cx="600" cy="325" r="9" fill="#2a201c"/><circle cx="680" cy="325" r="9" fill="#2a201c"/>
    <path d="M580 298q20-12 40-2M660 296q20-10 40 2" stroke="${hair}" stroke-width="7" fill="none" stroke-linecap="round"/>
    <path d="M598 388q42 36 84 0" stroke="#7a2f2a" stroke-width="8" fill="none" stroke-linecap="round"/>
  </g>
</svg>`;

const folder = mkdtempSync(join(tmpdir(), "carillon-picture-"));
const stages = [];
let status = 0;
try {
  const studio = new Stage("studio");
  stages.push(studio);
  await studio.open();
  const cameras = {};
  for (const [name, person] of Object.entries(PEOPLE)) {
    const frames = [];
    // Motion JPEG is one picture after the other.
    for (let i = 0; i < 8; i += 1) frames.push(await studio.draw(drawing(person, Math.sin((i / 8) * 2 * Math.PI) * 5)));
    cameras[name] = join(folder, `${name}.mjpeg`);
    writeFileSync(cameras[name], Buffer.concat(frames));
  }
  const tabs = {};
  for (const name of ["alice", "bob", "carol"]) {
    const stage = new Stage(name);
    stages.push(stage);
    await stage.open([`--use-file-for-fake-video-capture=${cameras[name]}`]);
    tabs[name] = await stage.tab(name);
  }
  await videoCall(stages[1], tabs.alice, tabs.bob);
  await tabs.alice.click("invite");
  await tabs.alice.$("invite-input").fill("carol");
  await tabs.alice.$("invite-input").press("Enter");
  await tabs.carol.sees("incoming");
  await tabs.carol.click("accept-video");
  await tabs.alice.by("sfu", 2);
  for (const name of ["bob", "carol"]) await tabs.alice.sees("remote-tile", `[data-user="${name}"][data-picture="true"]`);
  await tabs.alice.page.mouse.move(640, 300);
  await tabs.alice.page.waitForTimeout(9_000); // The encoder needs a while to reach the full picture.
  await tabs.alice.page.evaluate(() => document.activeElement?.blur());
  await tabs.alice.page.screenshot({ path: file });
  await tabs.alice.click("hangup");
  console.log(file);
} catch (error) {
  status = 1;
  console.error(error);
} finally {
  for (const stage of stages) await stage.close();
  rmSync(folder, { recursive: true, force: true });
}
process.exit(status);
