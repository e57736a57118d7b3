// Makes web/vendor: LiveKit's client as one ES module, with the licences of what is in it and a record of where it
// comes from. `npm run vendor` writes the files; vendor.test.mjs makes them again and compares byte for byte.
//
// The bundler and the package are pinned in package.json, and package-lock.json holds their integrity, which `npm ci`
// checks; the same input gives the same bytes on every machine.

import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build, version as bundler } from "esbuild";

const HERE = dirname(fileURLToPath(import.meta.url));
export const FOLDER = join(HERE, "../../web/vendor");

// What web/room.js uses, and no more: the rest is left out of the bundle.
const NAMES = ["DisconnectReason", "ParticipantKind", "Room", "RoomEvent", "Track", "setLogLevel", "version"];
// Browsers of 2021: older ones have no WebRTC that LiveKit works with.
const TARGET = "es2021";

const read = (...path) => readFileSync(join(HERE, "node_modules", ...path), "utf8");
const manifest = (name) => JSON.parse(read(name, "package.json"));

/** The packages whose code is in the bundle: the client and what it depends on, all the way down. */
function packages() {
  const found = new Set();
  const add = (name) => {
    if (found.has(name)) return;
    found.add(name);
    Object.keys(manifest(name).dependencies ?? {}).forEach(add);
  };
  add("livekit-client");
  return [...found].sort();
}

function licences() {
  const texts = packages().map((name) => {
    const { version, license } = manifest(name);
    const file = readdirSync(join(HERE, "node_modules", name)).find((one) => /^licen[cs]e/i.test(one));
    let text = file ? read(name, file) : "";
    if (name === "@bufbuild/protobuf") {
      // The package has no licence file: the Apache License, below, and for one of its files this.
      text = read(name, "dist/esm/google/varint.js").match(/^(\/\/.*\n)+/)[0].replaceAll(/^\/\/ ?/gm, "");
    }
    if (!text) throw new Error(`${name} has no licence`);
    return `==== ${name} ${version}, ${license}\n\n${text.replaceAll("\r\n", "\n").trim()}\n`;
  });
  return `What is in livekit-client.js, and under which licences.\n\n${texts.join("\n\n")}`;
}

/** The files, by name. */
export async function vendored() {
  const { version } = manifest("livekit-client");
  const lock = JSON.parse(readFileSync(join(HERE, "package-lock.json"), "utf8"));
  const { outputFiles: [{ contents }] } = await build({
    stdin: { contents: `export { ${NAMES.join(", ")} } from "livekit-client";`, resolveDir: HERE },
    bundle: true, write: false, format: "esm", target: TARGET, minify: true, legalComments: "none", charset: "utf8",
    banner: { js: `/* livekit-client ${version}; licences in livekit-client.LICENSE.txt. Made by tests/browser/vendor.mjs. */` },
  });
  const code = Buffer.from(contents);
  const record = {
    package: "livekit-client", version,
    packageIntegrity: lock.packages["node_modules/livekit-client"].integrity,
    license: manifest("livekit-client").license,
    exports: NAMES,
    bundler: `esbuild ${bundler}`,
    bundleIntegrity: `sha384-${createHash("sha384").update(code).digest("base64")}`,
  };
  return {
    "livekit-client.js": code,
    "livekit-client.json": Buffer.from(`${JSON.stringify(record, null, 2)}\n`),
    "livekit-client.LICENSE.txt": Buffer.from(licences()),
  };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  mkdirSync(FOLDER, { recursive: true });
  for (const [name, contents] of Object.entries(await vendored())) {
    writeFileSync(join(FOLDER, name), contents);
    console.log(`${name}: ${contents.length} bytes`);
  }
}
