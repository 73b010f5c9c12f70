import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { Series, Zone, moved, rates, samplesState, spoken, standing, value } from "../chart.js";
import { alertsWords, failuresWords, needsWords } from "../rows.js";

const read = (path) => JSON.parse(readFileSync(new URL(path, import.meta.url)));
const START = Date.parse("2026-11-23T15:00:00Z") / 1000;
const at = (seconds) => new Date((START + seconds) * 1000).toISOString();
const series = (values, more = {}) =>
  new Series({ start: START, step: 60, size: Object.values(values)[0].length, values, version: 5, ...more });

test("a value is said in the words the server uses", () => {
  for (const [number, unit, expected] of read("../../../portal/tests/figures.json")) assert.equal(value(number, unit), expected);
});

test("whether anything is wrong is said in the words the server uses", () => {
  for (const [count, needs, failures, alerts] of read("../../../portal/tests/needs.json")) {
    assert.deepEqual([needsWords(count), failuresWords(count), alertsWords(count)], [needs, failures, alerts]);
  }
});

test("a gap is where none of a chart's lines was sampled; the step that has only begun is none", () => {
  const found = series({ cpu: [1, null, null, 2, null, 3, null], load: [null, null, null, 1, 1, null, null] });
  assert.deepEqual(found.gaps(["cpu", "load"]), [[1, 2]]);
  assert.deepEqual(found.gaps(["cpu"]), [[1, 2], [4, 4]]);
  assert.deepEqual(series({ cpu: [null, null, null] }).gaps(["cpu"]), [[0, 2]]);
});

test("what is sampled less often than there are steps stands until it is due, in the server's words", () => {
  for (const [points, lasts, expected] of read("../../../monitoring/tests/standing.json")) assert.deepEqual(standing(points, lasts), expected);
});

test("what comes as seldom as ever has no gap, moves on, and stops some time after its last sample", () => {
  const found = series({ backup: [4, null, null, 5, null], load: [null, null, null, null, null] }, { lasts: { backup: 3 } });
  assert.deepEqual(found.gaps(["backup"]), []);
  assert.deepEqual(found.shown("backup"), [4, 4, 4, 5, 5]);
  assert.deepEqual(found.values.backup, [4, null, null, 5, null], "what was measured stays what it was");
  assert.equal(spoken(found, [{ name: "backup", word: "Backup", unit: "B" }], 2, "15:02"), "15:02, Backup 4 B");
  found.reach(START + 7 * 60);
  assert.deepEqual(found.gaps(["backup"]), [[3, 4]]);
  found.take({ version: 6, timestamp: at(7 * 60 + 1), metrics: { backup: 9 } });
  assert.deepEqual([found.shown("backup"), found.gaps(["backup"])], [[5, 5, 5, null, 9], [[3, 3]]]);
});

test("a point without neighbours is drawn as a point", () => {
  assert.deepEqual(series({ cpu: [1, null, 2, 3, null, 4] }).lonely("cpu"), [0, 5]);
});

test("what arrives goes into the mean of its step, and nothing into a gap", () => {
  const found = series({ cpu: [1, null, 10] });
  assert.ok(found.take({ version: 6, timestamp: at(125), metrics: { cpu: 20, unknown: 1 } }));
  assert.ok(found.take({ version: 7, timestamp: at(130), metrics: { cpu: 30 } }));
  assert.deepEqual(found.values, { cpu: [1, null, 20] });
  assert.equal(found.newest("cpu"), 20);
});

test("a new step moves the window, and steps without a sample stay open", () => {
  const found = series({ cpu: [1, 2, 3] });
  found.take({ version: 6, timestamp: at(4 * 60 + 1), metrics: { cpu: 9 } });
  assert.deepEqual([found.start, found.values.cpu], [START + 120, [3, null, 9]]);
  assert.deepEqual(found.times, [START + 120, START + 180, START + 240]);
});

test("repeated or late, an update changes nothing", () => {
  const found = series({ cpu: [1, 2, 3] });
  const update = { version: 6, timestamp: at(121), metrics: { cpu: 5 } };
  found.take(update);
  const before = structuredClone(found.values);
  assert.ok(!found.take(update));
  assert.ok(!found.take({ version: 4, timestamp: at(179), metrics: { cpu: 99 } }));
  assert.deepEqual(found.values, before);
});

test("a metric that was not sampled gets no point, and one that comes late gets its own", () => {
  const found = series({ cpu: [1, 2, null], load: [4, 5, null] }, { sampledAt: { cpu: at(70), load: at(65) } });
  const update = { metrics: { cpu: 8, load: 5 }, sampledAt: { cpu: at(130), load: at(65) } };
  assert.ok(found.take({ version: 6, timestamp: at(131), ...update }));
  assert.deepEqual(found.values, { cpu: [1, 2, 8], load: [4, 5, null] });
  assert.ok(found.take({ version: 7, timestamp: at(150), metrics: { cpu: 8, load: 9 }, sampledAt: { cpu: at(130), load: at(119) } }));
  assert.deepEqual(found.values, { cpu: [1, 2, 8], load: [4, 7, null] });
  assert.ok(!found.take({ version: 8, timestamp: at(151), metrics: { cpu: 8, load: 9 }, sampledAt: { cpu: at(130), load: at(119) } }));
});

test("a sample of a sender whose clock is ahead is the newest, and makes the chart no longer", () => {
  const found = series({ cpu: [1, 2, 3] });
  found.take({ version: 6, timestamp: at(179), metrics: { cpu: 5 }, sampledAt: { cpu: at(200) } });
  assert.deepEqual(found.values.cpu, [1, 2, 4]);
});

test("time goes on without samples too", () => {
  const found = series({ cpu: [1, 2, 3] });
  assert.ok(!found.reach(START + 179));
  assert.ok(found.reach(START + 301));
  assert.deepEqual(found.values.cpu, [null, null, null]);
  assert.equal(found.newest("cpu"), null);
});

test("a counter is shown by how fast it rose, in the server's words", () => {
  for (const [rises, step, expected] of read("../../../monitoring/tests/rates.json")) assert.deepEqual(rates(rises, step), expected);
});

test("a counter's samples move its rate once their step is over, and repeated ones nothing", () => {
  const found = series({ requests: [null, 1, null] }, { rises: { requests: [null, 0, 60, 30] }, counted: { requests: 90 } });
  const update = { version: 6, timestamp: at(170), metrics: { requests: 180 } };
  assert.ok(found.take(update));
  assert.deepEqual(found.values.requests, [null, 1, null], "the step goes on");
  assert.ok(!found.take(update));
  found.take({ version: 7, timestamp: at(185), metrics: { requests: 200 } });
  assert.deepEqual([found.start, found.values.requests], [START + 60, [1, 2, null]]);
});

test("a counter that restarts within a step has risen by both parts", () => {
  const found = series({ requests: [null, null] }, { rises: { requests: [0, 0, null] }, counted: { requests: 90 } });
  for (const [seconds, requests] of [[61, 150], [70, 30], [80, 60]]) {
    found.take({ version: 6 + seconds, timestamp: at(seconds), metrics: { requests } });
  }
  found.reach(START + 121);
  assert.deepEqual(found.values.requests, [2, null], "60 before the restart, 60 after");
});

test("a step that was long ago is not put beside the window", () => {
  const found = series({ cpu: [1, 2, 3] });
  assert.ok(!found.take({ version: 6, timestamp: at(-600), metrics: { cpu: 9 } }));
  assert.deepEqual(found.values.cpu, [1, 2, 3]);
});

test("a moment is spoken with every line's value and unit", () => {
  const lines = [{ name: "cpu", word: "CPU", unit: "%" }, { name: "in", word: "Network in", unit: "B/s" }];
  const found = series({ cpu: [12.34, null], in: [1234, 5] });
  assert.equal(spoken(found, lines, 0, "15:00"), "15:00, CPU 12.3 %, Network in 1.23 kB/s");
  assert.equal(spoken(found, lines, 1, "15:01"), "15:01, CPU no samples, Network in 5 B/s");
});

test("arrow keys go from the newest point, stay inside, and Escape lets go", () => {
  assert.equal(moved("ArrowLeft", false, null, 60), 59);
  assert.equal(moved("ArrowLeft", false, 59, 60), 58);
  assert.equal(moved("ArrowLeft", true, 5, 60), 0);
  assert.equal(moved("ArrowRight", false, 59, 60), 59);
  assert.equal(moved("PageUp", false, 30, 60), 20);
  assert.deepEqual([moved("Home", false, 30, 60), moved("End", false, 3, 60)], [0, 59]);
  assert.equal(moved("Escape", false, 30, 60), null);
  assert.equal(moved("Escape", false, null, 60), undefined);
  assert.equal(moved("g", false, 30, 60), undefined);
});

test("times are those of the tenant's zone, in 24 hours; midnight is said by its day", () => {
  const summer = Date.parse("2026-07-01T22:30:00Z") / 1000;
  assert.equal(new Zone("Europe/Lisbon").moment(summer, 60), "23:30");
  assert.equal(new Zone("UTC").moment(summer, 7200), "1 Jul, 22:30");
  assert.equal(new Zone("Europe/Lisbon").tick(summer + 1800), "2 Jul");
  assert.equal(new Zone("UTC").tick(Date.parse("2026-07-02T00:00:00Z") / 1000), "2 Jul");
});

test("samples that stopped, and a link that is not live, are two things", () => {
  const heardAt = Date.parse("2026-11-23T15:04:05Z");
  const facts = { heardAt, silentAfter: 60_000, now: heardAt + 59_000, isLive: true, since: heardAt + 10_000 };
  assert.deepEqual(samplesState(facts), { state: "ok", word: "Samples arrive" });
  assert.deepEqual(samplesState({ ...facts, now: heardAt + 60_000 }), { state: "warn", word: "No samples since 15:04:05 UTC" });
  assert.deepEqual(samplesState({ ...facts, now: heardAt + 90_000, isLive: false }), { state: "unknown", word: "Not known since 15:04:15 UTC" });
  assert.deepEqual(samplesState({ ...facts, heardAt: null }), { state: "idle", word: "No samples yet" });
});
