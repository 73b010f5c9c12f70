import assert from "node:assert/strict";
import { test } from "node:test";
import { Running, lagWords, spark, verdict } from "../ops.js";

test("all is well only when every part is", () => {
  assert.deepEqual(verdict({ relay: "ok", engine: "ok" }), { words: "All well", state: "ok" });
  assert.deepEqual(verdict({ relay: "degraded", engine: "ok" }), { words: "1 part needs help", state: "degraded" });
  assert.deepEqual(verdict({ relay: "degraded", engine: "failed" }), { words: "2 parts need help", state: "failed" });
});

test("a cursor that is behind says by how much", () => {
  assert.equal(lagWords(0), "Up to date");
  assert.equal(lagWords(312), "312 behind");
});

test("the small chart's values hold until the next, the highest at the top", () => {
  const now = Date.parse("2026-11-23T15:04:00Z");
  const lately = [["2026-11-23T15:00:00Z", 5], ["2026-11-23T15:03:00Z", 10], ["2026-11-23T15:03:30Z", 0]];
  assert.equal(spark(lately, now), "60.0,14.0 60.0,1.0 90.0,1.0 90.0,27.0 120.0,27.0");
  assert.equal(spark([], now), "120.0,28.0");
});

const update = (id, version, status) => ({ deploymentId: id, version, status });

test("running deployments are counted once, however often and in whatever order events come", () => {
  const events = [update("a", 2, "running"), update("b", 1, "queued"), update("a", 3, "completed"), update("b", 2, "starting")];
  for (const order of [events, [...events, ...events], [...events].reverse()]) {
    const running = new Running();
    running.reset("c:4 ");
    for (const event of order) running.take(event);
    assert.equal(running.count, 2);
  }
});

test("what the server read anew ends what it does not list, but not what was heard since it was asked", () => {
  const running = new Running();
  running.reset("a:2");
  running.take(update("b", 1, "running"), 2_000);
  running.reset("", 1_000);
  assert.equal(running.count, 1);
  running.reset("", 3_000);
  assert.equal(running.count, 0);
});
