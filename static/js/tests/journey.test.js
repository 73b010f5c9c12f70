import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { start } from "../journey.js";

let section, live, time;

/** Fails as the network does while `isAway`; `becomes` is what the page says once it was read so often. */
class Live {
  constructor() {
    Object.assign(this, { reads: 0, isOver: false, isAway: false, completeAfter: Infinity });
  }

  onEvent(handler) {
    this.hear = handler;
  }

  async reload() {
    this.reads += 1;
    if (this.isAway) throw new Error("page: HTTP 503");
    if (this.reads >= this.completeAfter) section.dataset.complete = "yes";
  }
}

beforeEach((context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  section = { id: "journey", dataset: { complete: "", about: "d1" } };
  live = new Live();
  time = async (milliseconds) => {
    context.mock.timers.tick(milliseconds);
    for (let turn = 0; turn < 5; turn += 1) await Promise.resolve(); // what the look itself waits for
  };
  globalThis.document = { hidden: false, getElementById: () => section };
});

afterEach(() => delete globalThis.document);

test("it looks until the event has arrived everywhere, ever less often, and then no more", async () => {
  live.completeAfter = 3;
  start(section, live);
  for (const wait of [500, 750, 1125]) {
    await time(wait - 1);
    const before = live.reads;
    await time(1);
    assert.equal(live.reads, before + 1);
  }
  await time(60_000);
  assert.equal(live.reads, 3);
});

test("what is complete is not asked for", async () => {
  section.dataset.complete = "yes";
  start(section, live);
  await time(60_000);
  assert.equal(live.reads, 0);
});

test("nothing is asked while nobody looks, and it goes on when somebody does", async () => {
  start(section, live);
  document.hidden = true;
  await time(500);
  await time(500);
  assert.equal(live.reads, 0);
  document.hidden = false;
  await time(500);
  assert.equal(live.reads, 1);
});

test("a page that can't be read is tried again", async () => {
  live.isAway = true;
  start(section, live);
  await time(500);
  live.isAway = false;
  await time(750);
  assert.equal(live.reads, 2);
});

test("whose access has ended asks no more", async () => {
  start(section, live);
  live.isOver = true;
  await time(500);
  const { reads } = live;
  await time(60_000);
  assert.equal(live.reads, reads);
});

test("a newer event about the deployment begins a new journey; another's does not", async () => {
  section.dataset.complete = "yes";
  start(section, live);
  live.hear({ type: "deployment_update", deploymentId: "d2" });
  live.hear({ type: "deployment_log", deploymentId: "d1" });
  await time(60_000);
  assert.equal(live.reads, 0);
  live.hear({ type: "deployment_update", deploymentId: "d1" });
  live.hear({ type: "deployment_update", deploymentId: "d1" });
  await time(500);
  assert.equal(live.reads, 1, "once, though two came");
});

test("an event's own page follows no deployment", async () => {
  section.dataset = { complete: "yes", about: "" };
  start(section, live);
  live.hear({ type: "deployment_update", deploymentId: "" });
  await time(60_000);
  assert.equal(live.reads, 0);
});
