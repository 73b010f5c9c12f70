import assert from "node:assert/strict";
import { beforeEach, mock, test } from "node:test";
import { showTenant, tenantNames } from "../rows.js";
import { applyTenant, ask, start, tenantsIn } from "../tenants.js";

globalThis.CSS = { escape: (text) => text };

/** As much of an element as the module touches. */
class Node {
  dataset = {};
  isConnected = true;
  children = [];
  text = "";

  constructor(tagName) {
    this.tagName = tagName;
  }

  get textContent() {
    return this.children.length ? this.children.map((child) => child.textContent).join("") : this.text;
  }

  set textContent(text) {
    [this.children, this.text] = [[], text];
  }

  replaceChildren(...children) {
    this.children = children;
  }

  append(child) {
    this.children.push(child);
  }

  querySelector(selector) {
    const [, id] = selector.match(/^\[data-tenant-id="(.*)"\]$/);
    return this.children.find(({ dataset }) => dataset.tenantId === id) ?? null;
  }

  querySelectorAll = () => [];
}

function option(id, slug, name, version) {
  return Object.assign(new Node("OPTION"), { value: slug, textContent: name, dataset: { tenantId: id, version } });
}

const acme = { type: "tenant_updated", tenantId: "a1", slug: "acme", name: "Acme & Sons", version: 7 };
const initech = "01900000-0000-7000-8000-0000deadbeef";
let script, select, answers, asked;
const says = () => select.children.map(({ value, textContent }) => [value, textContent]);
const nameOf = (id) => tenantNames().get(id)?.name;

beforeEach(() => {
  script = { textContent: JSON.stringify({ a1: { name: "Acme", version: 6 } }) };
  select = new Node("SELECT");
  select.append(option("a1", "acme", "Acme", "6"));
  globalThis.document = {
    getElementById: (id) => (id === "tenant-names" ? script : null),
    createElement: (name) => new Node(name.toUpperCase()),
    querySelector: () => ({ dataset: { namesUrl: "/names/" } }),
  };
  [answers, asked] = [[], []];
  globalThis.fetch = async (url) => {
    asked.push(url);
    const names = answers.shift();
    return { ok: Boolean(names), status: names ? 200 : 503, json: async () => ({ names }) };
  };
});

// --- The filter ---

test("a new name stands in the filter and is what later rows say", () => {
  applyTenant(select, acme);
  assert.deepEqual(says(), [["acme", "Acme & Sons"]]);
  assert.equal(nameOf("a1"), "Acme & Sons");
});

test("what is older than the page, or comes again, changes nothing", () => {
  for (const version of [5, 6]) applyTenant(select, { ...acme, version });
  assert.deepEqual(says(), [["acme", "Acme"]]);
  applyTenant(select, acme);
  applyTenant(select, { ...acme, name: "Acme", version: 6 });
  assert.deepEqual(says(), [["acme", "Acme & Sons"]]);
  assert.equal(nameOf("a1"), "Acme & Sons");
});

test("a tenant that is new is offered once, with its name for the rows that it brings", () => {
  const globex = { ...acme, tenantId: "g1", slug: "globex", name: "Globex", version: 1 };
  for (const event of [globex, globex]) applyTenant(select, event);
  assert.deepEqual(says(), [["acme", "Acme"], ["globex", "Globex"]]);
  assert.equal(nameOf("g1"), "Globex");
});

test("a field to search in offers nobody by itself, and its page learns the names all the same", () => {
  const field = new Node("SPAN");
  applyTenant(field, acme);
  assert.deepEqual(field.children, []);
  assert.equal(nameOf("a1"), "Acme & Sons");
});

test("other events leave the filter alone, and a page that was read anew says the newer names", async () => {
  const heard = {};
  start(select, { onEvent: (handler) => (heard.event = handler), onCatchUp: (handler) => (heard.fresh = handler) });
  heard.event({ ...acme, type: "deployment_update" });
  assert.deepEqual(says(), [["acme", "Acme"]]);
  heard.event(acme);
  assert.deepEqual(says(), [["acme", "Acme & Sons"]]);
  const fresh = { textContent: JSON.stringify({ a1: { name: "Older", version: 6 }, g1: { name: "Globex", version: 1 } }) };
  await heard.fresh({ getElementById: () => fresh });
  assert.deepEqual([nameOf("a1"), nameOf("g1")], ["Acme & Sons", "Globex"]);
});

test("of what the jump dialog finds only tenants are suggested, by their address", () => {
  const link = (href, words) => ({ getAttribute: () => href, querySelector: () => ({ textContent: words }) });
  const found = [link("/ops/tenants/", "Tenants"), link("/ops/tenants/acme/", "Acme"), link("/ops/events/7/", "tenants")];
  assert.deepEqual(tenantsIn(found), [["acme", "Acme"]]);
});

// --- Names ---

/** Run what is due, and whatever it waits for. */
async function pass(milliseconds) {
  mock.timers.tick(milliseconds);
  for (let turn = 0; turn < 20; turn++) await Promise.resolve();
}

test("a name that is known is said at once, one that stands there stays, and what is nobody's asks nobody", () => {
  const cell = new Node("TD");
  showTenant(cell, "a1");
  assert.equal(cell.textContent, "Acme");
  showTenant(cell, initech);
  assert.equal(cell.textContent, "Acme");
  showTenant(new Node("TD"), null);
  assert.deepEqual(asked, []);
});

test("all names that rows want within a moment are one request, and are not asked for again", async (t) => {
  mock.timers.enable({ apis: ["setTimeout"] });
  t.after(() => mock.timers.reset());
  const [cell, again, other] = [new Node("TD"), new Node("TD"), new Node("A")];
  answers = [{ [initech]: { name: "Initech", version: 1 }, g1: { name: "Globex", version: 1 } }];
  ask(initech, cell);
  ask(initech, again);
  ask("g1", other);
  assert.equal(cell.textContent, "…deadbeef");
  assert.equal(cell.children[0].href, `?tenant=${initech}`);
  await pass(1_000);
  assert.deepEqual(asked, [`/names/?id=${initech}&id=g1`]);
  assert.deepEqual([cell, again, other].map((node) => node.textContent), ["Initech", "Initech", "Globex"]);
  const later = new Node("TD");
  showTenant(later, initech);
  assert.equal(later.textContent, "Initech");
  await pass(1_000);
  assert.equal(asked.length, 1);
});

test("without an answer the rows say the id, and the next row asks for all of them", async (t) => {
  mock.timers.enable({ apis: ["setTimeout"] });
  t.after(() => mock.timers.reset());
  const [cell, gone, next] = [new Node("TD"), new Node("TD"), new Node("TD")];
  ask(initech, cell);
  ask("x1", gone);
  await pass(60_000);
  assert.equal(asked.length, 1);
  assert.equal(cell.textContent, "…deadbeef");
  gone.isConnected = false; // its row has left the page
  answers = [{ [initech]: { name: "Initech", version: 1 }, g1: { name: "Globex", version: 1 } }];
  ask("g1", next);
  await pass(1_000);
  assert.equal(asked[1], `/names/?id=${initech}&id=g1`);
  assert.deepEqual([cell.textContent, next.textContent], ["Initech", "Globex"]);
});

test("a tenant that was deleted keeps its id, and is asked for once", async (t) => {
  mock.timers.enable({ apis: ["setTimeout"] });
  t.after(() => mock.timers.reset());
  const [cell, again] = [new Node("TD"), new Node("TD")];
  answers = [{}];
  ask(initech, cell);
  await pass(1_000);
  ask(initech, again);
  await pass(1_000);
  assert.equal(asked.length, 1);
  assert.deepEqual([cell.textContent, again.textContent], ["…deadbeef", "…deadbeef"]);
});

test("no request asks for more than the server answers, and what is heard meanwhile needs no answer", async (t) => {
  mock.timers.enable({ apis: ["setTimeout"] });
  t.after(() => mock.timers.reset());
  const cells = Array.from({ length: 101 }, () => new Node("TD"));
  answers = [{}, {}];
  cells.forEach((cell, number) => ask(`t${number}`, cell));
  applyTenant(select, { ...acme, tenantId: "t100", name: "Initech", version: 1 });
  assert.equal(cells[100].textContent, "Initech");
  await pass(1_000);
  await pass(1_000);
  assert.deepEqual(asked.map((url) => url.split("id=").length - 1), [100]);
});
