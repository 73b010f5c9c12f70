// A filter by tenant on a page over all of them, and the names that the page's rows want and don't know.
//
// <... data-module="tenants" data-names-url="...">         the filter, and where names are asked for
//   <option data-tenant-id="{id}" data-version="7">Acme    in a <select> of all there are: who comes is offered
//   <input data-suggests="{jump}" list="{datalist}">       where these are too many: what is typed is looked for
// <script type="application/json" id="tenant-names">{id: {name, version}}

import { setText, tenantNames } from "./rows.js";

const ASK_AFTER_MS = 50;
const NAMES_AT_ONCE = 100; // the server answers for no more
const SUGGEST_AFTER_MS = 150;
const ID_SHOWN = 8;

// --- Names -----------------------------------------------------------------------------------------------------------

const nameless = new Map(); // id -> the nodes that wait for this tenant's name
let timer = null; // of the next request, or of the one under way

/** What a tenant is called, unless that is older than what is known; whoever waits for it says so. */
export function learn(id, { name, version }) {
  const names = tenantNames();
  if ((names.get(id)?.version ?? 0) < version) names.set(id, { name, version });
  for (const node of nameless.get(id) ?? []) setText(node, names.get(id).name);
  nameless.delete(id);
}

/** Show the tenant by its id until its name has come. All that is asked for within a moment is one request. */
export function ask(id, node) {
  const names = tenantNames();
  if (names.get(id)) return setText(node, names.get(id).name);
  showId(node, id);
  if (names.has(id)) return; // the server knows of no such tenant either
  nameless.set(id, (nameless.get(id) ?? new Set()).add(node));
  timer ??= setTimeout(fetchNames, ASK_AFTER_MS);
}

/** The end of an id, which is its own: its beginning tells when it was made. It leads to all of that tenant. */
function showId(node, id) {
  const words = `…${id.slice(-ID_SHOWN)}`;
  if (node.tagName === "A") return setText(node, words);
  const link = document.createElement("a");
  link.href = `?tenant=${id}`;
  link.textContent = words;
  node.replaceChildren(link);
}

async function fetchNames() {
  forgetRowsThatAreGone();
  const ids = [...nameless.keys()].slice(0, NAMES_AT_ONCE);
  let isAnswered = true;
  try {
    const names = ids.length ? await namesOf(ids) : {};
    for (const id of ids) names[id] ? learn(id, names[id]) : giveUp(id);
  } catch {
    isAnswered = false; // what stands there leads to the tenant by its id, and the next row asks for all of them
  }
  timer = isAnswered && nameless.size ? setTimeout(fetchNames, ASK_AFTER_MS) : null;
}

function forgetRowsThatAreGone() {
  for (const [id, nodes] of nameless) {
    for (const node of nodes) if (!node.isConnected) nodes.delete(node);
    if (!nodes.size) nameless.delete(id);
  }
}

async function namesOf(ids) {
  const { namesUrl } = document.querySelector("[data-names-url]").dataset;
  const query = new URLSearchParams(ids.map((id) => ["id", id]));
  const answer = await fetch(`${namesUrl}?${query}`, { credentials: "same-origin", redirect: "error" });
  if (!answer.ok) throw new Error(`names: HTTP ${answer.status}`);
  return (await answer.json()).names;
}

/** It was deleted: its id is all there is to show. */
function giveUp(id) {
  tenantNames().set(id, null);
  nameless.delete(id);
}

// --- The filter ------------------------------------------------------------------------------------------------------

/** Put one `tenant_updated` among the names and into a list of all, unless it is older than what they say. */
export function applyTenant(filter, { tenantId, slug, name, version }) {
  learn(tenantId, { name, version });
  if (filter.tagName !== "SELECT") return;
  let option = filter.querySelector(`[data-tenant-id="${CSS.escape(tenantId)}"]`);
  if (Number(option?.dataset.version ?? 0) >= version) return;
  if (!option) {
    option = document.createElement("option");
    option.value = slug;
    option.dataset.tenantId = tenantId;
    filter.append(option);
  }
  option.dataset.version = version;
  setText(option, name);
}

/** The tenants that the jump dialog's page finds, for the field's list: [slug, name]. */
export function tenantsIn(links) {
  const slugs = links.map((link) => [link.getAttribute("href").match(/\/tenants\/([^/]+)\/$/)?.[1], link]);
  return slugs.filter(([slug]) => slug).map(([slug, link]) => [slug, link.querySelector("strong").textContent]);
}

async function suggest(input) {
  const { value } = input;
  const answer = await fetch(`${input.dataset.suggests}?${new URLSearchParams({ q: value })}`, { credentials: "same-origin" });
  if (!answer.ok || value !== input.value) return;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const found = tenantsIn([...page.querySelectorAll("#jump-targets a")]);
  input.list.replaceChildren(...found.map(([slug, name]) => new Option(name, slug)));
}

function suggestWhileTyping(input) {
  let wait = null;
  input.addEventListener("input", () => {
    clearTimeout(wait);
    wait = setTimeout(() => suggest(input).catch(() => {}), SUGGEST_AFTER_MS); // a name can be typed without help
  });
}

export function start(filter, live) {
  for (const input of filter.querySelectorAll("[data-suggests]")) suggestWhileTyping(input);
  if (!tenantNames()) return;
  live.onEvent((event) => event.type === "tenant_updated" && applyTenant(filter, event));
  live.onCatchUp(async (fresh) => {
    for (const [id, tenant] of tenantNames(fresh.getElementById("tenant-names")) ?? []) learn(id, tenant);
  });
}
