import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { Tally, standing, verdict } from "../alerts.js";

const read = (path) => JSON.parse(readFileSync(new URL(path, import.meta.url)));

test("who looks after an alert is said in the words the server uses", () => {
  for (const [alert, expected] of read("../../../portal/tests/alerts.json")) assert.equal(standing(alert), expected);
});

test("who must act is said in the words the server uses", () => {
  assert.deepEqual([0, 1, 2].map(verdict), ["Nobody has to act", "1 alert needs somebody", "2 alerts need somebody"]);
});

test("each alert counts by the newest that was heard of it", () => {
  const tally = new Tally();
  tally.read('{"known": {"a": [3, "firing"], "b": [1, "silenced"]}, "beyond": 0}');
  tally.hear("a", 2, "resolved");
  tally.hear("c", 1, "firing");
  tally.hear("c", 1, "firing");
  assert.equal(tally.firing, 2);
  tally.hear("a", 4, "resolved");
  tally.hear("a", 3, "firing");
  assert.equal(tally.firing, 1);
});

test("read anew, what is open no longer counts no longer, and nothing late brings it back", () => {
  const tally = new Tally();
  tally.read('{"known": {"a": [3, "firing"], "b": [1, "firing"]}, "beyond": 4}');
  tally.read('{"known": {"b": [2, "firing"]}, "beyond": 3}');
  tally.hear("a", 2, "firing");
  assert.equal(tally.firing, 4);
});
