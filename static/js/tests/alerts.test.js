import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { Alerts, standing, verdict } from "../alerts.js";
import { Firing } from "../rows.js";

const read = (path) => JSON.parse(readFileSync(new URL(path, import.meta.url)));

test("who looks after an alert is said in the words the server uses", () => {
  for (const [alert, expected] of read("../../../portal/tests/alerts.json")) assert.equal(standing(alert), expected);
});

test("who must act is said in the words the server uses", () => {
  assert.deepEqual([0, 1, 2].map(verdict), ["Nobody has to act", "1 alert needs somebody", "2 alerts need somebody"]);
});

test("each alert counts by the newest that was heard of it", () => {
  const tally = new Firing();
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
  const tally = new Firing();
  tally.read('{"known": {"a": [3, "firing"], "b": [1, "firing"]}, "beyond": 4}');
  tally.read('{"known": {"b": [2, "firing"]}, "beyond": 3}');
  tally.hear("a", 2, "firing");
  assert.equal(tally.firing, 4);
});

globalThis.CSS = { escape: (text) => text };

/** A page with forms about an alert, as much as the module touches of it. */
function page(version) {
  const field = { dataset: { field: "version" }, value: String(version) };
  const element = { dataset: { alert: "a", version: String(version), state: "firing" } };
  element.querySelectorAll = (selector) => (selector === "[data-field=version]" ? [field] : []);
  const root = {
    querySelector: () => null,
    querySelectorAll: (selector) => (selector === '[data-alert="a"]' ? [element] : []),
  };
  return { alerts: new Alerts(root), element, field };
}

test("who acts after people were called sends the version that this led to", () => {
  const { alerts, element, field } = page(1);
  alerts.take({ type: "alert_escalated", alertId: "b", version: 2 });
  assert.equal(field.value, "1");
  alerts.take({ type: "alert_escalated", alertId: "a", version: 2 });
  alerts.take({ type: "alert_escalated", alertId: "a", version: 3 });
  alerts.take({ type: "alert_escalated", alertId: "a", version: 2 });
  assert.deepEqual([element.dataset.version, field.value], [3, 3]);
});

test("what was missed before people were called is not taken as seen", () => {
  const { alerts, field } = page(1);
  alerts.take({ type: "alert_escalated", alertId: "a", version: 3 });
  assert.equal(field.value, "1");
});
