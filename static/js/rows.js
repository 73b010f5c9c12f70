// What an event says about a deployment, put into the places the server rendered for it. No HTML is built from strings:
// a new row is a clone of the row's own template. Whatever is not newer than what is shown is ignored.

import { ago, clock, exact, ordinal, took } from "./times.js";

const WORDS = {
  queued: "Queued", starting: "Starting", running: "Running", completed: "Completed", failed: "Failed",
  cancelled: "Cancelled", lost: "Lost", pending: "Pending", skipped: "Skipped",
};
const ENDED = new Set(["completed", "failed", "cancelled", "lost"]);
const DIGEST_SHOWN = 12;

export const statusWord = (status) => WORDS[status] ?? status;

/** One line on where it stands: the words of deployments/rows.py, which deployments/tests/words.json holds to these. */
export function progress(status, data) {
  if (status === "queued") return data.queuePosition ? `${ordinal(data.queuePosition)} in the queue` : "In the queue";
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

/** Whether a number belongs on this page of the list: pages hold an interval, open where there is no further page. */
export function isOnPage(page, number) {
  return (page.low === null || number >= page.low) && (page.high === null || number <= page.high);
}

// --- Filling ---------------------------------------------------------------------------------------------------------

const setText = (node, text) => node.textContent === text || (node.textContent = text);

function setIcon(svgUse, name) {
  const href = svgUse.getAttribute("href").replace(/#.*/, `#${name}`);
  if (svgUse.getAttribute("href") !== href) svgUse.setAttribute("href", href);
}

function setTime(node, moment) {
  if (!moment) {
    node.removeAttribute("datetime");
    return setText(node, "");
  }
  node.dateTime = moment;
  node.title = exact(moment);
  setText(node, "relative" in node.dataset ? ago(moment) : clock(moment));
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
  digest: (node, { data }) => setText(node, data.digest.replace("sha256:", "").slice(0, DIGEST_SHOWN)),
  createdAt: (node, { data }) => setTime(node, data.createdAt),
  startedAt: (node, { data }) => setTime(node, data.startedAt),
  endedAt: (node, { data }) => setTime(node, data.endedAt),
  cancelRequestedAt: (node, { data }) => setTime(node, data.cancelRequestedAt),
  took: (node, { data }) => setTook(node, data.startedAt, data.endedAt),
  version: (node, { version }) => (node.value = version),
  seenStatus: (node, { status }) => (node.value = status),
};

const SHOWN_WHEN = {
  cancellable: ({ status, data }) => !ENDED.has(status) && !data.cancelRequestedAt,
  cancelling: ({ status, data }) => !ENDED.has(status) && Boolean(data.cancelRequestedAt),
  retryable: ({ status }) => status === "failed" || status === "lost",
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

function show(node, isShown) {
  if (node.hidden === !isShown) return;
  const hadFocus = !isShown && node.contains(document.activeElement);
  node.hidden = !isShown;
  if (hadFocus) document.querySelector("[data-focus-home]")?.focus();
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

// --- Lists -----------------------------------------------------------------------------------------------------------

/** A list whose rows never enter, leave or move by themselves: what would, waits behind "Show". */
class List {
  constructor(body) {
    this.body = body;
    this.incoming = new Map(); // id -> {number, version, make()}
    this.gone = new Set();
    this.seen = new Map(); // id -> newest version heard of, for deployments that are not here
  }

  static filters({ dataset }) {
    return { statuses: dataset.statuses.split(" ").filter(Boolean), stack: dataset.stack, query: dataset.query };
  }

  static interval({ dataset }) {
    const number = (text) => (text ? Number(text) : null);
    return { low: number(dataset.low), high: number(dataset.high) };
  }

  row(id) {
    return this.body.querySelector(`[data-deployment="${CSS.escape(id)}"]`);
  }

  /** An event's row has been filled already, if it is here. */
  take(event) {
    const id = event.deploymentId;
    const fits = matches(List.filters(this.body), event.status, event.data);
    const row = this.row(id);
    if (row) {
      if (Number(row.dataset.version) > event.version) return;
      this.mark(row, !fits);
    } else if ((this.seen.get(id) ?? 0) < event.version) {
      this.seen.set(id, event.version);
      this.incoming.delete(id);
      if (fits && isOnPage(List.interval(this.body), event.data.number)) this.incoming.set(id, this.fromEvent(event));
    }
    this.announce();
  }

  fromEvent(event) {
    const make = () => {
      const template = document.querySelector(`[data-live-template="${this.body.id}"]`);
      const row = template.content.firstElementChild.cloneNode(true);
      row.id = `deployment-${event.deploymentId}`;
      row.dataset.deployment = event.deploymentId;
      row.dataset.number = event.data.number;
      row.querySelector("[data-row-link]").href = this.body.dataset.url.replace("/0/", `/${event.data.number}/`);
      fill(row, event);
      return row;
    };
    return { number: event.data.number, version: event.version, make };
  }

  mark(row, isGone) {
    this.gone[isGone ? "add" : "delete"](row.dataset.deployment);
    row.classList.toggle("is-gone", isGone);
  }

  /** The same list, as the server renders it now: rows that are here change in place, the others wait. */
  merge(fresh, morph) {
    const interval = List.interval(fresh);
    const freshRows = [...fresh.querySelectorAll("[data-deployment]")];
    const ids = new Set(freshRows.map((row) => row.dataset.deployment));
    for (const row of freshRows) {
      const shown = this.row(row.dataset.deployment);
      const version = Number(row.dataset.version);
      if (!shown) {
        const make = () => document.importNode(row, true);
        this.seen.set(row.dataset.deployment, version);
        this.incoming.set(row.dataset.deployment, { number: Number(row.dataset.number), version, make });
      } else {
        if (version >= Number(shown.dataset.version)) morph(shown, row);
        this.mark(shown, false);
      }
    }
    for (const row of this.body.querySelectorAll("[data-deployment]")) {
      // A row that newer ones pushed to the next page still matches.
      if (!ids.has(row.dataset.deployment)) this.mark(row, isOnPage(interval, Number(row.dataset.number)));
    }
    for (const id of this.incoming.keys()) if (!ids.has(id)) this.incoming.delete(id);
    this.announce();
  }

  announce() {
    const words = [];
    if (this.incoming.size) words.push(`${this.incoming.size} new`);
    if (this.gone.size) words.push(`${this.gone.size} no longer ${this.gone.size === 1 ? "matches" : "match"}`);
    const bar = document.querySelector(`[data-live-pending="${this.body.id}"]`);
    setText(bar.querySelector("[data-field=pending]"), words.join(" · "));
    show(bar, words.length > 0);
  }

  /** Let in and out what waits, newest first, no more rows than a page has. */
  show() {
    for (const id of this.gone) this.row(id)?.remove();
    for (const { number, make } of [...this.incoming.values()].sort((a, b) => b.number - a.number)) {
      const rows = [...this.body.querySelectorAll("[data-deployment]")];
      this.body.insertBefore(make(), rows.find((row) => Number(row.dataset.number) < number) ?? null);
    }
    const rows = [...this.body.querySelectorAll("[data-deployment]")];
    const size = Number(this.body.dataset.size);
    for (const row of rows.slice(size)) row.remove();
    if (rows.length > size) this.body.dataset.low = rows[size - 1].dataset.number;
    this.gone.clear();
    this.incoming.clear();
    show(document.querySelector(`[data-live-empty="${this.body.id}"]`), this.body.childElementCount === 0);
    this.announce();
    this.body.querySelector("[data-row-link]")?.focus({ preventScroll: true });
  }
}

const lists = new WeakMap();

export function listOf(body) {
  if (!lists.has(body)) lists.set(body, new List(body));
  return lists.get(body);
}

/** A deployment that tries another again stands in that one's history. */
function addRetry(list, event) {
  const number = event.data.number;
  if (list.querySelector(`[data-retry="${number}"]`)) return;
  const item = list.parentElement.querySelector("[data-retry-template]").content.firstElementChild.cloneNode(true);
  item.dataset.retry = number;
  const link = item.querySelector("a");
  link.href = list.dataset.url.replace("/0/", `/${number}/`);
  setText(link, event.data.title);
  setTime(item.querySelector("time"), event.data.createdAt);
  list.append(item);
}

/** Apply one `deployment_update` to the whole page. Repeated, late or shuffled, the newest version stays. */
export function applyUpdate(event, root = document) {
  for (const element of root.querySelectorAll(`[data-deployment="${CSS.escape(event.deploymentId)}"]`)) {
    if (Number(element.dataset.version) < event.version) fill(element, event);
  }
  for (const body of root.querySelectorAll("[data-live-list]")) listOf(body).take(event);
  if (event.data.retryOf) {
    for (const list of root.querySelectorAll(`[data-retries-of="${event.data.retryOf}"]`)) addRetry(list, event);
  }
}
