import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { Freshness, Live, TokenBatch, words, worst } from "../live.js";
import { newLines, parseHash, splitGap } from "../log.js";
import { isOnPage, matches, progress } from "../rows.js";

const T = Date.parse("2026-11-23T15:04:05.000Z");
const state = (freshness, seconds) => freshness.at(T + seconds * 1000).state;

test("a page that has just been rendered is catching up until it listens", () => {
  const freshness = new Freshness(T);
  assert.equal(state(freshness, 0), "catching");
  freshness.up(T + 300);
  assert.equal(state(freshness, 1), "live");
  assert.equal(state(freshness, 3600), "live");
});

test("a lost link is live for a second, catching up until five, then polls, then is stale after sixty", () => {
  const freshness = new Freshness(T);
  freshness.up(T);
  freshness.lost(T);
  assert.deepEqual([0.5, 2, 6, 59, 61].map((at) => state(freshness, at)), ["live", "catching", "polling", "polling", "stale"]);
});

test("what the page last knew counts from when the link was last heard, not from when its loss was noticed", () => {
  const freshness = new Freshness(T);
  freshness.up(T);
  freshness.lost(T + 40_000, T + 5_000);
  assert.equal(state(freshness, 66), "stale");
  assert.equal(words(freshness.at(T + 66_000)), "Stale since 15:04:10");
});

test("each successful poll keeps a page from being stale; a failing one makes it offline", () => {
  const freshness = new Freshness(T);
  freshness.up(T);
  freshness.lost(T);
  freshness.polled(T + 30_000);
  assert.equal(words(freshness.at(T + 50_000)), "Every 30 s · 15:04:35");
  freshness.httpFailed();
  assert.equal(words(freshness.at(T + 61_000)), "Offline since 15:04:35");
  freshness.polled(T + 62_000);
  assert.equal(state(freshness, 63), "polling");
  freshness.up(T + 64_000);
  assert.equal(state(freshness, 64), "live");
});

test("a page rendered while the engine is away polls at once", () => {
  assert.equal(state(new Freshness(T, { isEngineAway: true }), 0), "polling");
});

test("a tab that comes back is not live before it was verified", () => {
  const freshness = new Freshness(T);
  freshness.up(T);
  freshness.doubt();
  assert.equal(state(freshness, 1), "catching");
  freshness.verified();
  assert.equal(state(freshness, 2), "live");
});

test("the top bar shows the worst, and a denial its reason", () => {
  const [live, denied] = [new Freshness(T), new Freshness(T)];
  live.up(T);
  denied.denied("your role can't listen here");
  assert.equal(words(worst([live.at(T), denied.at(T)])), "No access: your role can't listen here");
});

test("everybody who asks for a token at the same time shares one call, and nobody gets a token twice", async () => {
  const calls = [];
  const batch = new TokenBatch((channels) => (calls.push(channels), Promise.resolve({ tokens: {} })), ["a", "b"], { now: () => T });
  await Promise.all([batch.take("a"), batch.take("b")]);
  assert.equal(calls.length, 1);
  await batch.take("a");
  assert.equal(calls.length, 2);
  batch.forget();
  await batch.take("b");
  assert.equal(calls.length, 3);
});

test("the tokens that the page came with are handed out once, without a call, while they are new", async () => {
  let [now, calls] = [T, 0];
  const first = { a: "from the page", b: "from the page too" };
  const batch = new TokenBatch(async () => ({ calls: ++calls }), ["a", "b"], { now: () => now, first });
  assert.equal((await batch.take("a")).tokens.a, "from the page");
  assert.deepEqual(await batch.take("a"), { calls: 1 });
  const late = new TokenBatch(async () => ({ calls: ++calls }), ["a", "b"], { now: () => now, first });
  now += 11_000;
  assert.deepEqual(await late.take("b"), { calls: 2 });
});

test("a batch that failed is asked for again", async () => {
  let calls = 0;
  const batch = new TokenBatch(() => (calls++ ? Promise.resolve("yes") : Promise.reject(new Error("503"))), ["a", "b"]);
  await assert.rejects(batch.take("a"));
  assert.equal(await batch.take("b"), "yes");
});

test("tokens of a batch that is old are not handed out", async () => {
  let [now, calls] = [T, 0];
  const batch = new TokenBatch(async () => ++calls, ["a", "b"], { now: () => now });
  await batch.take("a");
  now += 11_000;
  assert.equal(await batch.take("b"), 2);
});

test("only our own no ends a subscription; what the engine alone refused is tried anew with another token", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const said = [];
  const subscription = { subscribe: () => said.push("subscribe") };
  const live = Object.assign(Object.create(Live.prototype), {
    denials: { "tenant:1:activity": "no longer an admin" },
    freshness: new Map([["tenant:1:dashboard", new Freshness(0)]]),
    tokens: { forget: () => said.push("forget") },
    deny: (name, reason) => said.push(`${name}: ${reason}`),
  });
  await live.unsubscribed(subscription, "tenant:1:activity", 1);
  assert.deepEqual(said, ["tenant:1:activity: no longer an admin"]);
  const again = live.unsubscribed(subscription, "tenant:1:dashboard", 103);
  t.mock.timers.tick(60_000);
  await again;
  assert.deepEqual(said.slice(1), ["forget", "subscribe"]);
});

test("of a block only the lines after the last one are new, and what is missing before them is a gap", () => {
  const block = { line: 8, log: "a\nb\nc", level: "info", timestamp: "t" };
  assert.deepEqual(newLines(8, block).lines.map(({ number, text }) => [number, text]), [[9, "b"], [10, "c"]]);
  assert.equal(newLines(8, block).gap, null);
  assert.deepEqual(newLines(10, block), { lines: [], gap: null });
  assert.deepEqual(newLines(5, block).gap, [6, 7]);
});

test("loading part of a gap leaves what is before and after", () => {
  assert.deepEqual(splitGap([1, 100], 40, 60), [[1, 39], [61, 100]]);
  assert.deepEqual(splitGap([1, 100], 1, 100), [null, null]);
});

test("links name a line or a range, in either order", () => {
  assert.deepEqual(parseHash("#L120"), [120, 120]);
  assert.deepEqual(parseHash("#L135-L120"), [120, 135]);
  assert.equal(parseHash("#main"), null);
});

test("where a deployment stands is said in the words the server uses", () => {
  const samples = JSON.parse(readFileSync(new URL("../../../deployments/tests/words.json", import.meta.url)));
  for (const [status, data, expected] of samples) assert.equal(progress(status, data), expected);
});

test("a list's filters let in what the server's would", () => {
  const data = { title: "Web #104", stack: "web" };
  assert.ok(matches({ statuses: [], stack: "", query: "" }, "running", data));
  assert.ok(matches({ statuses: ["running"], stack: "web", query: "web #10" }, "running", data));
  assert.ok(!matches({ statuses: ["failed"], stack: "", query: "" }, "running", data));
  assert.ok(!matches({ statuses: [], stack: "lines", query: "" }, "running", data));
  assert.ok(!matches({ statuses: [], stack: "", query: "105" }, "running", data));
});

test("a page of the list is an interval, open at the ends of the list", () => {
  assert.ok(isOnPage({ low: null, high: null }, 1));
  assert.ok(!isOnPage({ low: 6, high: null }, 5));
  assert.ok(!isOnPage({ low: null, high: 50 }, 51));
});
