// Two tabs that hear a thousand operations in their own orders both say what the database says. The events are those of a
// real database, and so is what it holds at the end: notifications/tests/test_inbox.py gives both, in the file named here.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { Badge } from "../bell.js";
import { Facts } from "../inbox.js";
import { scattered } from "./scattered.js";

const { events, unread, rows } = JSON.parse(readFileSync(process.argv[2]));

function hear(seed) {
  const tab = { badge: new Badge({ unread: 0, version: 0 }), facts: new Facts() };
  for (const event of scattered(events, seed)) {
    tab.badge.take(event);
    tab.facts.take(event);
  }
  return tab;
}

for (let seed = 0; seed < 20; seed += 1) {
  const { badge, facts } = hear(seed);
  assert.equal(badge.unread, unread);
  for (const [id, isRead, isArchived, isRemoved, solvedBy] of rows) {
    assert.equal(facts.get(id, "read", false, 0), isRead, `${id} is read`);
    assert.equal(facts.get(id, "archived", false, 0), isArchived, `${id} is archived`);
    assert.equal(facts.get(id, "solved", { by: "" }, 0).by, solvedBy, `${id} is solved`);
    assert.equal(facts.get(id, "removed", false, 0), isRemoved, `${id} is removed`);
  }
}
console.log(`${events.length} events, ${rows.length} notifications, ${unread} unread: all agree`);
