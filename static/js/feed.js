// A list that only grows: activity, the log, an inbox. What arrives waits behind "4 new · Show" (see rows.js); a row is a
// clone of the server's own blank one, filled from the event. Nothing here knows what the events mean.
//
// On the list, <ol|tbody data-module="feed" data-live-list="feed" id="..." data-size="50" data-low="" data-high="">:
//   data-channel     events of this channel only (a page may follow several); without it, of every channel
//   data-types       "*", or the types it takes, separated by spaces
//   data-where       JSON, {"actor.id": "…", "tenantId": ["…", "…"]}: the event must say this (true: anything; "": nothing)
//   data-since, data-until   ISO times; the event's timestamp lies in [since, until)
//   data-key-from    where in the event a row's key is, "id" if not given    (the row's data-key)
//   data-order-from  where its order is, "seq" if not given                  (the row's data-order; highest first)
//   data-time-zone   days and exact times are this zone's; UTC if not given
//   data-high        set on a page that isn't the newest: then nothing new belongs on it
// In <template data-live-template="{id}" [data-for="a_type"]>, one row; that of the event's type, else the one without:
//   data-field="summary"        its text is what the event says there, "actor.name" or "data.title" too. A <time> gets the
//                               moment. Where the event says nothing, what the template says stays.
//   data-words="{element id}"   with data-field: the value's words, from <script type="application/json" id="...">{value: words}
//   data-tenant                 with data-field: the value is a tenant's id, and its words are the tenant's name
//   data-href="/x/{id}/"        its address, once every {field} has a value
// With <template data-live-day="{id}">, one element with [data-day-start] stands before the first row of each day (rows have
//   data-day, "2026-11-23"): in it data-field="day" gets the words, data-href="?day={day}" the address.

import { WaitingList, compare, isOnPage, listOf, register, setText, setTime, showTenant } from "./rows.js";
import { dayOf, dayWords } from "./times.js";

/** What an event says at "actor.name": its text; empty where it says nothing. */
export function at(event, path) {
  const value = path.split(".").reduce((found, name) => found?.[name], event);
  return value === null || value === undefined ? "" : String(value);
}

/** Whether a feed with these attributes (a `dataset`) takes an event that came on this channel. */
export function takes(dataset, event, channel) {
  const { types = "*", since, until } = dataset;
  if (dataset.channel && dataset.channel !== channel) return false;
  if (types !== "*" && !types.split(" ").includes(event.type)) return false;
  const moment = Date.parse(event.timestamp);
  if ((since && moment < Date.parse(since)) || (until && moment >= Date.parse(until))) return false;
  const where = Object.entries(JSON.parse(dataset.where || "{}"));
  const says = (path, wanted) => (wanted === true ? at(event, path) !== "" : [wanted].flat().includes(at(event, path)));
  return where.every(([path, wanted]) => says(path, wanted));
}

/** An address with its {fields} filled in; null while one of them has no value. */
export function address(pattern, event) {
  const values = [...pattern.matchAll(/{([^}]+)}/g)].map(([, path]) => at(event, path));
  if (values.includes("")) return null;
  return pattern.replace(/{[^}]+}/g, () => encodeURIComponent(values.shift()));
}

function fillField(node, event, zone) {
  const value = at(event, node.dataset.field);
  if (!value) return;
  if (node.tagName === "TIME") return setTime(node, value, zone);
  if ("tenant" in node.dataset) return showTenant(node, value);
  const { words } = node.dataset;
  const said = words ? JSON.parse(document.getElementById(words).textContent)[value] : value;
  if (said) setText(node, said);
}

function fill(element, event, zone) {
  const all = (selector) => [element, ...element.querySelectorAll("*")].filter((node) => node.matches(selector));
  for (const node of all("[data-field]")) fillField(node, event, zone);
  for (const node of all("[data-href]")) {
    const href = address(node.dataset.href, event);
    if (href) node.setAttribute("href", href);
  }
  return element;
}

export class Feed extends WaitingList {
  passed = 0; // how many of those that wait are older than a page holds

  get zone() {
    return this.body.dataset.timeZone || "UTC";
  }

  get size() {
    return Number(this.body.dataset.size) || Infinity;
  }

  /** Count an event that belongs here. Repeated or late, it counts once, or not at all if the page is past it. */
  take(event, channel) {
    const { keyFrom = "id", orderFrom = "seq" } = this.body.dataset;
    const [key, order] = [at(event, keyFrom), at(event, orderFrom)];
    if (!key || !takes(this.body.dataset, event, channel) || !this.isOpenTo(order)) return;
    if (this.row(key) || this.incoming.has(key)) return;
    this.wait(key, order, () => this.made(key, order, event));
    this.announce();
  }

  isOpenTo(order) {
    return isOnPage(this.interval(), order) && !(this.passed && compare(order, this.oldestWaiting()) < 0);
  }

  oldestWaiting() {
    return [...this.incoming.values()].map(({ order }) => order).sort(compare)[0];
  }

  /** A page that nobody looks at for days keeps no more than it will show, and goes on counting. */
  wait(key, order, make) {
    super.wait(key, order, make);
    if (this.incoming.size <= this.size) return;
    const [oldest] = [...this.incoming].sort(([, a], [, b]) => compare(a.order, b.order))[0];
    this.incoming.delete(oldest);
    this.passed += 1;
  }

  made(key, order, event) {
    const row = fill(this.blank(event.type), event, this.zone);
    row.dataset.key = key;
    row.dataset.order = order;
    row.dataset.day = dayOf(event.timestamp, this.zone);
    return row;
  }

  merge(fresh, morph) {
    this.passed = 0;
    super.merge(fresh, morph);
  }

  /** How many wait. Read anew, a page that shows none of these rows can only say that there are at least a page's. */
  count() {
    const isAll = this.passed || this.incoming.size < this.size;
    return `${this.incoming.size + this.passed}${isAll ? "" : "+"}`;
  }

  show() {
    super.show();
    this.passed = 0;
    this.announce();
  }

  /** One heading before the first row of each day. */
  settled() {
    const template = document.querySelector(`[data-live-day="${this.body.id}"]`);
    if (!template) return;
    for (const heading of this.body.querySelectorAll("[data-day-start]")) heading.remove();
    let last = null;
    for (const row of this.rows()) {
      const { day } = row.dataset;
      if (day !== last) row.before(this.heading(template, day));
      last = day;
    }
  }

  heading(template, day) {
    const heading = document.importNode(template.content.firstElementChild, true);
    heading.dataset.dayStart = day;
    setText(heading.querySelector("[data-field=day]"), dayWords(day));
    for (const link of heading.querySelectorAll("[data-href]")) link.setAttribute("href", address(link.dataset.href, { day }));
    return heading;
  }
}

register("feed", Feed);

/** What page.js calls for an element with data-module="feed". */
export function start(element, live) {
  live.onEvent((event, channel) => listOf(element).take(event, channel));
}
