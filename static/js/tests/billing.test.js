// What a gauge says of a `usage_update`: the words of billing/gauges.py, from the file that its tests read too.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";

import { gauge } from "../billing.js";

const cases = JSON.parse(readFileSync(new URL("../../../billing/tests/gauges.json", import.meta.url)));

for (const { usage, limit, levels, said } of cases) {
  test(`${usage} of ${limit}`, () => {
    const percentage = limit ? Math.round((usage / limit) * 10_000) / 100 : null;
    assert.deepEqual(gauge({ usage, limit, percentage }, levels), said);
  });
}
