// The vendored module is what its record says, and can be made again by anyone.

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { FOLDER, vendored } from "./vendor.mjs";

test("the vendored files are made again byte for byte, and there are no others", async () => {
  const files = await vendored();
  assert.deepEqual(readdirSync(FOLDER).sort(), Object.keys(files).sort());
  for (const [name, contents] of Object.entries(files)) {
    assert.ok(readFileSync(join(FOLDER, name)).equals(contents), `${name} differs; npm run vendor`);
  }
});

test("the vendored module needs nothing from elsewhere and evaluates no text", () => {
  const code = readFileSync(join(FOLDER, "livekit-client.js"), "utf8");
  assert.doesNotMatch(code, /\bimport\s*[({"']|from\s*["'][^"']+["']\s*;|\bnew Function\b|[^.\w]eval\(/);
});
