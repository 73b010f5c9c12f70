import assert from "node:assert/strict";
import { test } from "node:test";
import { Badge, newsOf } from "../bell.js";
import { Facts } from "../inbox.js";
import { scattered } from "./scattered.js";

test("the bell sets what is newer and drops what is older or repeated", () => {
  const badge = new Badge({ unread: "3", version: "17" });
  assert.equal(badge.take({ unread: 2, version: 17 }), false);
  assert.equal(badge.take({ unread: 9, version: 16 }), false);
  assert.equal(badge.unread, 3);
  assert.equal(badge.take({ unread: 2, version: 18 }), true);
  assert.equal(badge.unread, 2);
});

test("it counts to 99, and says nothing of nothing", () => {
  const words = (unread) => new Badge({ unread, version: 1 }).words;
  assert.deepEqual([0, 1, 99, 100, 12_000].map(words), ["", "1", "99", "99+", "99+"]);
});

test("a notice and the notification it becomes are one piece of news", () => {
  const notice = { type: "tenant_notice", noticeId: "n1" };
  assert.equal(newsOf(notice), newsOf({ type: "notification", notificationId: "x", object: "notice:n1" }));
  assert.equal(newsOf({ type: "notification", notificationId: "x", object: "deployment:d1" }), "x");
});

test("read and removed are decided by the newest event about each, whatever the order", () => {
  const events = [
    { version: 2, read: ["a", "b"] },
    { version: 3, removed: ["a"] },
    { version: 4, markedUnread: ["a"] },
    { version: 5, restored: ["a"] },
    { version: 6, removed: ["b"] },
  ];
  for (let seed = 0; seed < 50; seed += 1) {
    const facts = new Facts();
    for (const event of scattered(events, seed)) facts.take(event);
    assert.deepEqual(["a", "b"].map((id) => [facts.get(id, "read", null, 1), facts.get(id, "removed", null, 1)]), [[false, false], [true, true]]);
    assert.equal(facts.get("a", "read", "as the page says", 4), "as the page says");
    assert.deepEqual([...facts.newerThan(5)], ["b"]);
  }
});
