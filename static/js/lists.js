// Lists whose rows never enter, leave or move by themselves: what would, waits behind "4 new · Show".
//
// <tbody|ol id="..." data-live-list="kind" data-size="50" data-low="" data-high="">    at most `size` rows, newest first
//   a page holds the rows from `low` to `high`, in the list's order; empty: without end
// templates/includes/pending.html with id="..."                                       what waits, and Show
// <... data-live-empty="...">                                                         shown while there is no row
// <template data-live-template="...">                                                 a blank row of the server's
//
// `rows.js` (deployments) and `feed.js` (everything that only grows) say what a row is and which event makes one.

import { ago, clock, exact } from "./times.js";

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
