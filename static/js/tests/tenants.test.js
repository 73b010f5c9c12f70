import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { applyTenant, start } from "../tenants.js";

globalThis.CSS = { escape: (text) => text };

/** As much of a <select> as the module touches. */
class Select {
  constructor(...options) {
    this.options = options;
  }

  querySelector(selector) {
    const [, id] = selector.match(/^\[data-tenant-id="(.*)"\]$/);
    return this.options.find(({ dataset }) => dataset.tenantId === id) ?? null;
  }

  append(option) {
    this.options.push(option);
  }

  get says() {
    return this.options.map(({ value, textContent }) => [value, textContent]);
  }
}

const option = (id, slug, name, version) => ({ value: slug, textContent: name, dataset: { tenantId: id, version } });
const acme = { type: "tenant_updated", tenantId: "a1", slug: "acme", name: "Acme & Sons", version: 7 };
const names = { textContent: "" };
let select;

beforeEach(() => {
  names.textContent = JSON.stringify({ a1: "Acme" });
  select = new Select(option("a1", "acme", "Acme", "6"));
  globalThis.document = { getElementById: (id) => (id === "tenant-names" ? names : null), createElement: () => ({ dataset: {} }) };
});

test("a new name stands in the filter and is what later rows say", () => {
  applyTenant(select, acme);
  assert.deepEqual(select.says, [["acme", "Acme & Sons"]]);
  assert.deepEqual(JSON.parse(names.textContent), { a1: "Acme & Sons" });
});

test("what is older than the page, or comes again, changes nothing", () => {
  for (const version of [5, 6]) applyTenant(select, { ...acme, version });
  assert.deepEqual(select.says, [["acme", "Acme"]]);
  applyTenant(select, acme);
  applyTenant(select, { ...acme, name: "Acme", version: 6 });
  assert.deepEqual(select.says, [["acme", "Acme & Sons"]]);
});

test("a tenant that is new is offered once, with its name for the rows that it brings", () => {
  const globex = { ...acme, tenantId: "g1", slug: "globex", name: "Globex", version: 1 };
  for (const event of [globex, globex]) applyTenant(select, event);
  assert.deepEqual(select.says, [["acme", "Acme"], ["globex", "Globex"]]);
  assert.deepEqual(JSON.parse(names.textContent), { a1: "Acme", g1: "Globex" });
});

test("other events leave the filter alone", () => {
  let hear;
  start(select, { onEvent: (handler) => (hear = handler) });
  hear({ ...acme, type: "deployment_update" });
  assert.deepEqual(select.says, [["acme", "Acme"]]);
  hear(acme);
  assert.deepEqual(select.says, [["acme", "Acme & Sons"]]);
});
