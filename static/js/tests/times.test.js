import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { ago, dayOf, dayWords, exact, ordinal, took } from "../times.js";

const samples = JSON.parse(readFileSync(new URL("../../../portal/tests/times.json", import.meta.url)));

test("a time is relative for seven days", () => {
  for (const [moment, words] of samples.ago) assert.equal(ago(moment, samples.now), words);
});
test("an exact time names its zone", () => {
  for (const [moment, words] of samples.exact) assert.equal(exact(moment), words);
});
test("in a tenant's zone it names that one, and how far from UTC it was", () => {
  for (const [moment, zone, words] of samples.exactIn) assert.equal(exact(moment, zone), words);
});
test("a day is the one that clocks in the zone showed", () => {
  for (const [moment, zone, day, words] of samples.days) {
    assert.equal(dayOf(moment, zone), day);
    assert.equal(dayWords(day), words);
  }
});
test("a duration shows two units", () => {
  for (const [seconds, words] of samples.took) assert.equal(took(seconds * 1000), words);
});
test("a place in a queue is an ordinal", () => {
  for (const [number, words] of samples.ordinal) assert.equal(ordinal(number), words);
});
