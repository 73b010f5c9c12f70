import assert from "node:assert/strict";
import { test } from "node:test";
import { address, at, takes } from "../feed.js";
import { compare, isOnPage } from "../rows.js";

const event = {
  id: "0193-a", seq: 1042, type: "deployment_update", tenantId: "acme-id", timestamp: "2026-11-23T15:04:05.123Z",
  actor: { kind: "person", id: "alice-id", name: "Alice" }, summary: "Alice deployed web #104", data: { number: 104 },
};
const nobodys = { ...event, actor: null };

test("what an event says is found by its path, and is empty where it says nothing", () => {
  assert.equal(at(event, "actor.name"), "Alice");
  assert.equal(at(event, "data.number"), "104");
  assert.equal(at(nobodys, "actor.name"), "");
  assert.equal(at(event, "no.such.thing"), "");
});

test("a feed without attributes takes everything", () => {
  assert.ok(takes({}, event, "any"));
  assert.ok(takes({ types: "*", where: "", since: "", until: "" }, nobodys, "any"));
});

test("a feed takes its own channel's events and no other's", () => {
  assert.ok(takes({ channel: "tenant:acme:activity" }, event, "tenant:acme:activity"));
  assert.ok(!takes({ channel: "tenant:acme:activity" }, event, "tenant:acme:dashboard"));
});

test("types, what it must say, and its time decide; all of them", () => {
  const where = JSON.stringify({ "actor.id": "alice-id", tenantId: ["globex-id", "acme-id"] });
  assert.ok(takes({ types: "alert deployment_update", where }, event, ""));
  assert.ok(!takes({ types: "alert" }, event, ""));
  assert.ok(!takes({ where }, nobodys, ""));
  assert.ok(takes({ where: '{"actor.id": ""}' }, nobodys, ""), "nobody's only");
  assert.ok(!takes({ where: '{"actor.id": ""}' }, event, ""));
  assert.ok(takes({ where: '{"actor.id": true}' }, event, ""), "anybody's");
  assert.ok(!takes({ where: '{"actor.id": true}' }, nobodys, ""));
});

test("a time belongs to the period that begins with it, not to the one that ends with it", () => {
  const moment = event.timestamp;
  assert.ok(takes({ since: moment }, event, ""));
  assert.ok(!takes({ until: moment }, event, ""));
  assert.ok(takes({ since: "2026-11-23T00:00:00+00:00", until: "2026-11-24T00:00:00+00:00" }, event, ""));
  assert.ok(!takes({ since: "2026-11-24T00:00:00Z" }, event, ""));
});

test("an address needs a value for each of its fields, and nobody's value can lead elsewhere", () => {
  assert.equal(address("/t/acme/deployments/{data.number}/", event), "/t/acme/deployments/104/");
  assert.equal(address("?by={actor.id}", nobodys), null);
  assert.equal(address("/x/{id}/{type}", { id: "../a b", type: "?" }), "/x/..%2Fa%20b/%3F");
});

test("numbers are ordered by size and ids by age", () => {
  assert.ok(compare("9", "10") < 0);
  assert.ok(compare(1042, "1042") === 0);
  assert.ok(compare("0193ab", "0193aa") > 0);
});

test("a page with newer pages before it takes nothing new", () => {
  assert.ok(isOnPage({ low: null, high: null }, 7));
  assert.ok(!isOnPage({ low: null, high: "1041" }, 1042));
  assert.ok(!isOnPage({ low: "1043", high: null }, 1042));
});
