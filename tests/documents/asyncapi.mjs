// Checks an AsyncAPI document with the parser of AsyncAPI itself, which holds its JSON schemas: `node asyncapi.mjs FILE`.

import { readFileSync } from "node:fs";
import { Parser } from "@asyncapi/parser";

// There is always a newer version of the standard one day.
const ruleset = { core: true, recommended: true };
const { document, diagnostics } = await new Parser({ ruleset }).parse(readFileSync(process.argv[2], "utf8"));
const complaints = diagnostics.filter(({ code }) => code !== "asyncapi-latest-version");
for (const { code, message, path } of complaints) console.error(`${code} at ${path.join("/")}: ${message}`);
if (!document || complaints.length > 0) process.exit(1);
console.log(`${document.operations().length} operations, ${document.messages().length} messages`);
