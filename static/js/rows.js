// Lists whose rows never enter, leave or move by themselves: what would, waits behind "4 new · Show".
//
// <tbody|ol id="..." data-live-list="kind" data-size="50" data-low="" data-high="">    at most `size` rows, newest first
//   a page holds the rows from `low` to `high`, in the list's order; empty: without end
// templates/includes/pending.html with id="..."                                       what waits, and Show
// <... data-live-empty="...">                                                         shown while there is no row
// <template data-live-template="...">                                                 a blank row of the server's
//
// Who registers a class for a kind says what a row is and which event makes one: deployments below, `feed.js`
// (everything that only grows), `inbox.js`.
//
// Below them stand the rows that most pages list, deployments. Every live page needs both: one file, one request.

import { ago, clock, exact, ordinal, took } from "./times.js";

export const setText = (node, text) => node.textContent === text || (node.textContent = text);

export function show(node, isShown) {
  if (!node || node.hidden === !isShown) return;
  const hadFocus = !isShown && node.contains(document.activeElement);
  node.hidden = !isShown;
  if (hadFocus) document.querySelector("[data-focus-home]")?.focus();
}

/** The moment in a <time>: relative where it says so, with the exact one of this zone beside it. Empty without a moment. */
export function setTime(node, moment, zone = "UTC") {
  if (!moment) {
    node.removeAttribute("datetime");
    return setText(node, "");
  }
  node.dateTime = moment;
  node.title = exact(moment, zone);
  setText(node, "relative" in node.dataset ? ago(moment) : clock(moment));
}

/** Numbers by size, ids of version 7 by age. */
export function compare(a, b) {
  const areNumbers = a !== "" && b !== "" && !isNaN(a) && !isNaN(b);
  const [one, other] = areNumbers ? [Number(a), Number(b)] : [String(a), String(b)];
  return one < other ? -1 : one > other ? 1 : 0;
}

/** Whether a row belongs on this page of its list: pages hold an interval, open where there is no further page. */
export function isOnPage({ low, high }, order) {
  return (low === null || compare(order, low) >= 0) && (high === null || compare(order, high) <= 0);
}

/** What every list that waits has in common. Subclasses say what a row's key and order are. */
export class WaitingList {
  constructor(body) {
    this.body = body;
    this.incoming = new Map(); // key -> {order, make()}
    this.gone = new Set();
    this.cameFrom = null; // the row that had the focus before Show took it
    this.bar?.addEventListener("focusin", ({ relatedTarget }) => {
      if (!this.bar.contains(relatedTarget)) this.cameFrom = this.body.contains(relatedTarget) ? relatedTarget : null;
    });
  }

  static rows = "[data-key]";
  key = (row) => row.dataset.key;
  order = (row) => row.dataset.order;
  version = (row) => Number(row.dataset.version ?? 0);
  /** A row of the server's that waits to enter: told to whoever keeps account of what was heard. */
  heard() {}

  get bar() {
    return document.querySelector(`[data-live-pending="${this.body.id}"]`);
  }

  rows(body = this.body) {
    return [...body.querySelectorAll(this.constructor.rows)];
  }

  row(key) {
    return this.rows().find((row) => this.key(row) === key);
  }

  interval({ dataset } = this.body) {
    return { low: dataset.low || null, high: dataset.high || null };
  }

  /** A row built from the server's template, which is chosen by what it is for or is the only one. */
  blank(kind = "") {
    const all = [...document.querySelectorAll(`[data-live-template="${this.body.id}"]`)];
    const template = all.find(({ dataset }) => dataset.for === kind) ?? all.find(({ dataset }) => !dataset.for);
    return document.importNode(template.content.firstElementChild, true);
  }

  wait(key, order, make) {
    this.incoming.set(key, { order, make });
  }

  mark(row, isGone) {
    this.gone[isGone ? "add" : "delete"](this.key(row));
    row.classList.toggle("is-gone", isGone);
  }

  /** The same list, as the server renders it now: rows that are here change in place, the others wait. */
  merge(fresh, morph) {
    const interval = this.interval(fresh);
    const keys = new Set();
    for (const row of this.rows(fresh)) {
      const key = this.key(row);
      keys.add(key);
      const shown = this.row(key);
      if (!shown) {
        this.heard(key, this.version(row));
        this.wait(key, this.order(row), () => document.importNode(row, true));
      } else {
        if (this.version(row) >= this.version(shown)) morph(shown, row);
        this.mark(shown, false);
      }
    }
    for (const row of this.rows()) {
      // A row that newer ones pushed to the next page still matches.
      if (!keys.has(this.key(row))) this.mark(row, isOnPage(interval, this.order(row)));
    }
    for (const key of this.incoming.keys()) if (!keys.has(key)) this.incoming.delete(key);
    this.announce();
  }

  count() {
    return String(this.incoming.size);
  }

  announce() {
    const words = [];
    if (this.incoming.size) words.push(`${this.count()} new`);
    if (this.gone.size) words.push(`${this.gone.size} no longer ${this.gone.size === 1 ? "matches" : "match"}`);
    if (!this.bar) return;
    setText(this.bar.querySelector("[data-field=pending]"), words.join(" · "));
    show(this.bar, words.length > 0);
  }

  /** Let in and out what waits, newest first, no more rows than a page has. A row that had the focus stays in its place. */
  show() {
    const kept = this.cameFrom;
    const top = kept?.getBoundingClientRect().top;
    for (const key of this.gone) this.row(key)?.remove();
    for (const { order, make } of [...this.incoming.values()].sort((a, b) => compare(b.order, a.order))) {
      const next = this.rows().find((row) => compare(this.order(row), order) < 0);
      this.body.insertBefore(make(), next ?? null);
    }
    const rows = this.rows();
    const size = Number(this.body.dataset.size) || Infinity;
    for (const row of rows.slice(size)) row.remove();
    if (rows.length > size) this.body.dataset.low = this.order(rows[size - 1]);
    this.gone.clear();
    this.incoming.clear();
    this.settled();
    show(document.querySelector(`[data-live-empty="${this.body.id}"]`), this.rows().length === 0);
    this.announce();
    this.focusAfterShow(kept, top);
  }

  /** What stands between the rows is put right, after rows came and went. */
  settled() {}

  focusAfterShow(kept, top) {
    this.cameFrom = null;
    if (!kept?.isConnected) return this.body.querySelector("[data-row-link]")?.focus({ preventScroll: true });
    kept.focus({ preventScroll: true });
    window.scrollBy({ top: kept.getBoundingClientRect().top - top, behavior: "instant" });
  }
}

const classes = new Map();
const lists = new WeakMap();

/** `kind` is the `data-live-list` of the lists that this class keeps. */
export function register(kind, cls) {
  classes.set(kind, cls);
}

export function listOf(body) {
  if (!lists.has(body)) lists.set(body, new (classes.get(body.dataset.liveList))(body));
  return lists.get(body);
}

// --- Deployments -----------------------------------------------------------------------------------------------------
//
// What an event says about a deployment, put into the places the server rendered for it. No HTML is built from strings:
// a new row is a clone of the row's own template. Whatever is not newer than what is shown is ignored.

const WORDS = {
  queued: "Queued", starting: "Starting", running: "Running", completed: "Completed", failed: "Failed",
  cancelled: "Cancelled", lost: "Lost", pending: "Pending", skipped: "Skipped",
};
const ENDED = new Set(["completed", "failed", "cancelled", "lost"]);
const DIGEST_SHOWN = 12;
const NO_ID = "00000000-0000-0000-0000-000000000000";

export const statusWord = (status) => WORDS[status] ?? status;

/** One line on where it stands: the words of deployments/rows.py, which deployments/tests/words.json holds to these. */
export function progress(status, data) {
  if (status === "queued") return `${data.queuePosition ? ordinal(data.queuePosition) : "After the 50th"} in the queue`;
  if (status === "starting" || status === "running") {
    return (data.cancelRequestedAt ? "Cancel asked · " : "") + stepWords(data.steps);
  }
  if (status === "completed") return `${data.steps.length} ${data.steps.length === 1 ? "step" : "steps"} done`;
  return data.reason;
}

function stepWords(steps) {
  const running = steps.findIndex((step) => step.status === "running");
  if (running >= 0) return `${steps[running].name} · ${running + 1} of ${steps.length}`;
  return `${steps.filter((step) => step.status === "completed").length} of ${steps.length} steps`;
}

/** Whether a list's filters let this deployment in. */
export function matches(filters, status, data) {
  return (
    (!filters.statuses.length || filters.statuses.includes(status)) &&
    (!filters.stack || filters.stack === data.stack) &&
    (!filters.query || data.title.toLowerCase().includes(filters.query.toLowerCase()))
  );
}

const tenants = new WeakMap(); // <script id="tenant-names"> -> Map of id -> {name, version}

/** What a page over several tenants calls them: the names it came with, and those that it has learnt. */
export function tenantNames(script = document.getElementById("tenant-names")) {
  if (script && !tenants.has(script)) tenants.set(script, new Map(Object.entries(JSON.parse(script.textContent))));
  return tenants.get(script);
}

/** Events carry a tenant's id, people know its name. One that the page doesn't know is asked for. */
export function showTenant(node, id) {
  const names = tenantNames();
  const known = names?.get(id);
  if (known) setText(node, known.name);
  else if (names && id && !node.textContent) import("./tenants.js").then(({ ask }) => ask(id, node));
}

function setIcon(svgUse, name) {
  const href = svgUse.getAttribute("href").replace(/#.*/, `#${name}`);
  if (svgUse.getAttribute("href") !== href) svgUse.setAttribute("href", href);
}

function setTook(node, started, ended) {
  node.dataset.from = started ?? "";
  node.dataset.to = ended ?? "";
  setText(node, started ? took((ended ? Date.parse(ended) : Date.now()) - Date.parse(started)) : "");
}

const FIELDS = {
  status(node, { status }) {
    node.dataset.status = status;
    setText(node.querySelector("[data-word]"), statusWord(status));
    setIcon(node.querySelector("use"), `status-${status}`);
  },
  statusWord: (node, { status }) => setText(node, statusWord(status)),
  progress: (node, { status, data }) => setText(node, progress(status, data)),
  reason: (node, { data }) => setText(node, data.reason),
  title: (node, { data }) => setText(node, data.title),
  requestedBy: (node, { data }) => setText(node, data.requestedBy),
  tenant: (node, { tenantId }) => showTenant(node, tenantId),
  digest: (node, { data }) => setText(node, data.digest.replace("sha256:", "").slice(0, DIGEST_SHOWN)),
  createdAt: (node, { data }) => setTime(node, data.createdAt),
  startedAt: (node, { data }) => setTime(node, data.startedAt),
  endedAt: (node, { data }) => setTime(node, data.endedAt),
  cancelRequestedAt: (node, { data }) => setTime(node, data.cancelRequestedAt),
  took: (node, { data }) => setTook(node, data.startedAt, data.endedAt),
  version: (node, { version }) => (node.value = version),
  stackVersion: (node, { data }) => setText(node, String(data.stackVersion)),
  canceller: (node, { data }) => setText(node, data.cancelRequestedBy ?? "Somebody"),
  seenStatus: (node, { status }) => (node.value = status),
};

const SHOWN_WHEN = {
  cancellable: ({ status, data }) => !ENDED.has(status) && !data.cancelRequestedAt,
  cancelling: ({ status, data }) => !ENDED.has(status) && Boolean(data.cancelRequestedAt),
  retryable: ({ status }) => status === "failed" || status === "lost",
  rollbackable: ({ status }) => status === "completed",
  broken: ({ status }) => status === "failed" || status === "lost",
  intact: ({ status }) => status !== "failed" && status !== "lost",
};

function fillStep(node, step) {
  if (!step) return;
  node.dataset.status = step.status;
  setIcon(node.querySelector("use"), `status-${step.status}`);
  setTook(node.querySelector("[data-field=stepTook]"), step.startedAt, step.endedAt);
  const code = step.exitCode ? `, exit code ${step.exitCode}` : "";
  setText(node.querySelector("[data-field=stepWord]"), statusWord(step.status) + code);
}

/** Put an event into one element that shows its deployment. */
export function fill(element, event) {
  element.dataset.version = event.version;
  for (const node of element.querySelectorAll("[data-field]")) FIELDS[node.dataset.field]?.(node, event);
  for (const node of element.querySelectorAll("[data-step]")) fillStep(node, event.data.steps[node.dataset.step]);
  for (const node of element.querySelectorAll("[data-show-when]")) show(node, SHOWN_WHEN[node.dataset.showWhen](event));
  for (const node of element.querySelectorAll("[data-show-with]")) show(node, Boolean(event.data[node.dataset.showWith]));
  if (element.dataset.pageTitle) document.title = `${statusWord(event.status)} · ${element.dataset.pageTitle}`;
}

/** The address of an event's deployment: its number stands in the place of 0, or its id in that of the id of nothing. */
const addressOf = (pattern, { deploymentId, data }) => pattern.replace("/0/", `/${data.number}/`).replace(NO_ID, deploymentId);

/**
 * Deployments: rows change in place, and what the filters let in or out waits. A tenant's are ordered by number; with
 * `data-order-by="id"` those of all tenants, or of the one in `data-tenant`, by id: these rise with time.
 */
class DeploymentList extends WaitingList {
  static rows = "[data-deployment]";
  key = (row) => row.dataset.deployment;
  order = (row) => (this.isById ? row.dataset.deployment : row.dataset.number);
  seen = new Map(); // id -> newest version heard of, for deployments that are not here

  heard(id, version) {
    this.seen.set(id, version);
  }

  get isById() {
    return this.body.dataset.orderBy === "id";
  }

  isOurs({ tenantId }) {
    return !this.body.dataset.tenant || this.body.dataset.tenant === tenantId;
  }

  get filters() {
    const { statuses, stack, query } = this.body.dataset;
    return { statuses: statuses.split(" ").filter(Boolean), stack, query };
  }

  fits(event) {
    return this.isOurs(event) && matches(this.filters, event.status, event.data);
  }

  /** An event's row has been filled already, if it is here. */
  take(event) {
    const id = event.deploymentId;
    const fits = this.fits(event);
    const row = this.row(id);
    if (row) {
      if (this.version(row) > event.version) return;
      this.mark(row, !fits);
    } else if ((this.seen.get(id) ?? 0) < event.version) {
      this.heard(id, event.version);
      this.incoming.delete(id);
      const order = this.isById ? id : event.data.number;
      if (fits && isOnPage(this.interval(), order)) this.wait(id, order, () => this.made(event));
    }
    this.announce();
  }

  made(event) {
    const row = this.blank();
    row.id = `deployment-${event.deploymentId}`;
    row.dataset.deployment = event.deploymentId;
    row.dataset.number = event.data.number;
    row.querySelector("[data-row-link]").href = addressOf(this.body.dataset.url, event);
    for (const form of row.querySelectorAll("[data-row-form]")) form.setAttribute("action", addressOf(form.getAttribute("action"), event));
    fill(row, event);
    return row;
  }
}

register("deployments", DeploymentList);

/** What failed or was lost and was not tried again: of each name only the newest deployment counts. */
class AttentionList extends DeploymentList {
  names = new Map(); // id -> name, of what waits
  newest = new Map(); // name -> highest number heard of

  fits(event) {
    return super.fits(event) && this.newest.get(event.data.name) <= event.data.number;
  }

  take(event) {
    const { name, number } = event.data;
    this.names.set(event.deploymentId, name);
    this.newest.set(name, Math.max(number, this.newest.get(name) ?? 0));
    for (const row of this.rows()) if (this.isPast(row.dataset.name, this.order(row))) this.mark(row, true);
    for (const [id, { order }] of this.incoming) if (this.isPast(this.names.get(id), order)) this.incoming.delete(id);
    super.take(event);
  }

  isPast(name, number) {
    return (this.newest.get(name) ?? 0) > Number(number);
  }

  merge(fresh, morph) {
    for (const row of this.rows(fresh)) this.names.set(this.key(row), row.dataset.name);
    super.merge(fresh, morph);
  }

  made(event) {
    const row = super.made(event);
    row.id = `trouble-${event.deploymentId}`;
    row.dataset.name = event.data.name;
    return row;
  }

  announce() {
    super.announce();
    const check = document.querySelector(`[data-live-count="${this.body.id}"]`);
    if (check) sayFailures(check, this.rows().length - this.gone.size + this.incoming.size);
  }
}

register("attention", AttentionList);

function sayFailures(check, count) {
  check.dataset.state = count ? "bad" : "ok";
  check.dataset.count = count;
  setIcon(check.querySelector("use"), `check-${check.dataset.state}`);
  setText(check.querySelector("[data-field=failures]"), failuresWords(count));
  sayVerdict();
}

/** The words of portal/templatetags/neo.py, which portal/tests/needs.json holds to these. */
export const failuresWords = (count) => (count ? `${count} failed or lost, not tried again` : "No failed deployment waits for you");
export const alertsWords = (count) => (count ? `${count} ${count === 1 ? "alert fires" : "alerts fire"}` : "No alert fires");
export const needsWords = (count) => (count ? `${count} ${count === 1 ? "thing needs" : "things need"} you` : "Nothing needs you");

/** The answer to "is anything wrong?": failures, alerts that fire, and samples that have stopped. */
export function sayVerdict(root = document) {
  const verdict = root.querySelector("[data-verdict]");
  if (!verdict) return;
  const failures = Number(root.querySelector("[data-live-count=attention]").dataset.count);
  const isSilent = Boolean(root.querySelector("[data-samples]")?.dataset.silent);
  const firing = Number(root.querySelector("[data-module=checks]")?.dataset.count ?? 0);
  setText(verdict, needsWords(failures + firing + isSilent));
}

/** How many deployments run and wait: each is counted by the newest that was heard of it. */
class Tally {
  constructor() {
    this.known = new Map(); // id -> [version, status]; what has ended too, so that nothing late brings it back
    this.text = null;
  }

  /** What the server counted, when the page was made or read anew. */
  read(text) {
    if (text === this.text) return;
    this.text = text;
    const fresh = JSON.parse(text);
    for (const [id, [, status]] of this.known) if (!fresh[id] && !ENDED.has(status)) this.known.delete(id);
    for (const [id, [version, status]] of Object.entries(fresh)) this.hear(id, version, status);
  }

  hear(id, version, status) {
    if ((this.known.get(id)?.[0] ?? 0) < version) this.known.set(id, [version, status]);
  }

  count(...statuses) {
    return [...this.known.values()].filter(([, status]) => statuses.includes(status)).length;
  }
}

const tallies = new WeakMap();

function count(event, root) {
  const script = root.querySelector("[data-tallies]");
  if (!script) return;
  if (!tallies.has(script)) tallies.set(script, new Tally());
  const tally = tallies.get(script);
  tally.read(script.textContent);
  tally.hear(event.deploymentId, event.version, event.status);
  setText(root.querySelector("[data-tally=running]"), String(tally.count("starting", "running")));
  setText(root.querySelector("[data-tally=waiting]"), String(tally.count("queued")));
}

/** A deployment that runs another again, to retry it or to roll back to it, stands in that one's history. */
function addLater(list, event, kind) {
  const number = event.data.number;
  if (list.dataset.tenant !== event.tenantId) return; // numbers are a tenant's own
  const known = [...list.querySelectorAll("[data-later]")];
  if (known.some((item) => Number(item.dataset.later) === number)) return;
  const template = list.parentElement.querySelector(`[data-later-template="${kind}"]`);
  const item = template.content.firstElementChild.cloneNode(true);
  item.dataset.later = number;
  const link = item.querySelector("a");
  link.href = addressOf(list.dataset.url, event);
  setText(link, event.data.title);
  setTime(item.querySelector("time"), event.data.createdAt);
  list.insertBefore(item, known.find((other) => Number(other.dataset.later) > number) ?? null);
}

/** Apply one `deployment_update` to the whole page. Repeated, late or shuffled, the newest version stays. */
export function applyUpdate(event, root = document) {
  for (const element of root.querySelectorAll(`[data-deployment="${CSS.escape(event.deploymentId)}"]`)) {
    if (Number(element.dataset.version) < event.version) fill(element, event);
  }
  for (const body of root.querySelectorAll("[data-live-list=deployments], [data-live-list=attention]")) listOf(body).take(event);
  count(event, root);
  for (const [kind, past] of [["retry", event.data.retryOf], ["rollback", event.data.rollbackOf]]) {
    if (!past) continue;
    for (const list of root.querySelectorAll(`[data-later-than="${past}"]`)) addLater(list, event, kind);
  }
}

// --- Alerts, where a page only counts them ---------------------------------------------------------------------------

/** How many alerts fire: each is counted by the newest that was heard of it. */
export class Firing {
  constructor() {
    this.known = new Map(); // id -> [version, state]; what is over too, so that nothing late brings it back
    this.beyond = 0; // how many fire of which nothing else is known
    this.text = null;
  }

  /** What the server counted, when the page was made or read anew. */
  read(text) {
    if (text === this.text) return;
    this.text = text;
    const { known: fresh, beyond } = JSON.parse(text);
    this.beyond = beyond;
    for (const [id, [version, state]] of this.known) {
      if (!fresh[id] && state !== "resolved") this.known.set(id, [version, "resolved"]);
    }
    for (const [id, [version, state]] of Object.entries(fresh)) this.hear(id, version, state);
  }

  hear(id, version, state) {
    if ((this.known.get(id)?.[0] ?? 0) < version) this.known.set(id, [version, state]);
  }

  get firing() {
    return this.beyond + [...this.known.values()].filter(([, state]) => state === "firing").length;
  }
}

/** What page.js calls for home's check of alerts: it has no list of them, which would be one more file. */
export function start(check, live) {
  const tally = new Firing();
  const count = (event) => {
    tally.read(check.querySelector("[data-alert-tally]").textContent);
    if (event) tally.hear(event.alertId, event.version, event.state);
    check.dataset.count = tally.firing;
    check.dataset.state = tally.firing ? "bad" : "ok";
    setIcon(check.querySelector("use"), `check-${check.dataset.state}`);
    setText(check.querySelector("[data-field=alerts]"), alertsWords(tally.firing));
    sayVerdict();
  };
  live.onEvent((event) => event.type === "alert" && count(event));
  live.onCatchUp(async () => count());
  count();
}
