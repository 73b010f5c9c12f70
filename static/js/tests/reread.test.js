// How often a panel is read anew: soon after an event, never twice at once, and no more often than it asks to be.

import assert from "node:assert/strict";
import { mock, test } from "node:test";

import { start } from "../reread.js";

const SOON_MS = 500;

/** A panel of these data attributes on a page; `say` is an event of its type, `reads` how often the page was read. */
function panel(dataset) {
  mock.timers.reset();
  mock.timers.enable({ apis: ["setTimeout", "Date"], now: 1_000_000 });
  const listeners = new Map();
  globalThis.document = { hidden: false, addEventListener: (name, heard) => listeners.set(name, heard) };
  const page = { reads: 0, tell: null, listeners };
  const live = {
    isOver: false,
    reloading: null,
    onEvent: (heard) => (page.say = () => heard({ type: "usage_update" })),
    onCatchUp: () => {},
    reload: async () => void (page.reads += 1),
  };
  start({ dataset: { types: "usage_update", ...dataset }, querySelector: () => null }, live);
  return Object.assign(page, { live });
}

test("a burst of events is one reading", () => {
  const page = panel({});
  for (let i = 0; i < 20; i += 1) page.say();
  mock.timers.tick(SOON_MS);
  assert.equal(page.reads, 1);
});

test("where seconds are asked for, the next reading waits for them", () => {
  const page = panel({ seconds: "10" });
  page.say();
  mock.timers.tick(SOON_MS);
  page.say();
  mock.timers.tick(9_000);
  assert.equal(page.reads, 1);
  mock.timers.tick(2_000);
  assert.equal(page.reads, 2);
});

test("a tab that nobody looks at is read when somebody does", () => {
  const page = panel({ seconds: "10" });
  document.hidden = true;
  page.say();
  mock.timers.tick(60_000);
  assert.equal(page.reads, 0);
  document.hidden = false;
  page.listeners.get("visibilitychange")();
  mock.timers.tick(SOON_MS);
  assert.equal(page.reads, 1);
});

test("what came while the page was being read is read once more", async () => {
  const page = panel({});
  let end;
  page.live.reloading = new Promise((resolve) => (end = resolve));
  page.say();
  mock.timers.tick(SOON_MS);
  assert.equal(page.reads, 0);
  page.live.reloading = null;
  end();
  await new Promise(setImmediate);
  mock.timers.tick(SOON_MS);
  assert.equal(page.reads, 1);
});
