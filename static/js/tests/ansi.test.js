import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { segments } from "../ansi.js";

const samples = JSON.parse(readFileSync(new URL("../../../portal/tests/ansi.json", import.meta.url)));

test("terminal colours become the classes the server gives them", () => {
  for (const [line, expected] of samples) assert.deepEqual(segments(line), expected);
});
