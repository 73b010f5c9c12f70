import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { start } from "../batches.js";

globalThis.FormData = class {
  constructor(form) {
    this.tried_to = form.elements.tried_to.value;
  }
};

let form, parts, live, sent, answers;

/** Presses the button, and waits until nothing is under way. */
async function press() {
  form.listeners.submit({ preventDefault() {} });
  for (let turn = 0; turn < 50; turn += 1) await Promise.resolve();
}

beforeEach(() => {
  const word = { textContent: "Retry the next 20" };
  const button = { querySelector: () => word, isThere: true, remove: () => (button.isThere = false) };
  parts = { button, word, bar: { hidden: true, value: 0, max: 0 }, said: { textContent: "" } };
  const found = { "button[type=submit]": button, progress: parts.bar, "[data-field=said]": parts.said };
  form = {
    action: "/ops/dead-letters/retry/",
    listeners: {},
    elements: { tried_to: { value: "" } },
    querySelector: (selector) => found[selector],
    addEventListener: (name, listener) => (form.listeners[name] = listener),
  };
  live = { reads: 0, reload: async () => void (live.reads += 1) };
  [sent, answers] = [[], []];
  globalThis.fetch = async (url, { body, headers }) => {
    sent.push([url, body.tried_to, headers.Accept]);
    const answer = await answers.shift();
    return { ok: typeof answer === "object", status: answer, json: async () => answer };
  };
});

test("one press tries all that waits, each batch from where the last one ended, and says how far it is", async () => {
  answers = [
    { delivered: 15, failed: 5, left: 5, triedTo: 20 },
    { delivered: 4, failed: 1, left: 0, triedTo: 25 },
  ];
  start(form, live);
  assert.equal(parts.word.textContent, "Retry all");
  await press();
  assert.deepEqual(sent, [[form.action, "", "application/json"], [form.action, 20, "application/json"]]);
  assert.equal(parts.said.textContent, "19 delivered, 6 failed again, 0 to try");
  assert.deepEqual([parts.bar.hidden, parts.bar.value, parts.bar.max], [false, 25, 25]);
  assert.ok(!parts.button.isThere);
  assert.equal(live.reads, 1, "the list is read anew once");
});

test("another press stops it after the batch under way, and a third goes on from there", async () => {
  let arrive;
  answers = [new Promise((resolve) => (arrive = resolve)), { delivered: 5, failed: 0, left: 0, triedTo: 25 }];
  start(form, live);
  await press();
  assert.equal(parts.word.textContent, "Stop");
  await press();
  await press(); // nothing is tried twice at a time
  assert.equal(sent.length, 1);
  arrive({ delivered: 20, failed: 0, left: 5, triedTo: 20 });
  await new Promise(setImmediate);
  assert.deepEqual([sent.length, parts.word.textContent], [1, "Go on"]);
  await press();
  assert.deepEqual(sent[1], [form.action, 20, "application/json"]);
  assert.equal(parts.said.textContent, "25 delivered, 0 failed again, 0 to try");
});

test("a server that does not answer is said, and what was not tried can be tried", async () => {
  answers = [{ delivered: 20, failed: 0, left: 5, triedTo: 20 }, 503, { delivered: 5, failed: 0, left: 0, triedTo: 25 }];
  start(form, live);
  await press();
  assert.equal(parts.said.textContent, "20 delivered, 0 failed again, 5 to try. The server didn't answer: what was not tried waits as before.");
  assert.equal(parts.word.textContent, "Go on");
  assert.ok(parts.button.isThere);
  await press();
  assert.equal(parts.said.textContent, "25 delivered, 0 failed again, 0 to try");
});

test("where nothing waits there is no button and nothing to do", () => {
  start({ querySelector: () => null, addEventListener: () => assert.fail("nothing is listened for") }, live);
});
