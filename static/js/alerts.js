// Alerts on a page: what an event says of one goes into the places the server rendered for it; one that begins waits
// behind "1 new · Show", one that is over stays, marked, until then. An alert's event has everything a row says.
//
//   <div data-module="alerts" data-page-title="...">      the page; its [data-alert-verdict] answers "who must act?"
//   [data-alert=id][data-version]                         an alert: [data-field] and [data-show-in="firing silenced"]; on
//                                                         a page of its own, data-page-title follows its state
//   <ul data-live-list="alerts" data-states="..." data-tenant="...">   see rows.js
//   [data-alert-tally]                                    {known: {id: [version, state]}, beyond: how many more fire}
//   data-rereads="type type"                              at events of these types the page's regions are read anew:
//                                                         rules, silences, who is called. Few people have it open.

import { Firing, WaitingList, compare, isOnPage, listOf, register, setText, setTime, show, showTenant } from "./rows.js";
import { exact } from "./times.js";

const STATES = { firing: "Firing", acknowledged: "Acknowledged", silenced: "Silenced", resolved: "Resolved" };
const SEVERITIES = { info: "Info", warning: "Warning", error: "Error", critical: "Critical" };
const MARKS = { info: "level-info", warning: "level-warning", error: "level-error", critical: "state-failed" };
// Changes come in groups, and every page that is open asks at once.
const REREAD_AFTER_MS = 150;
const REREAD_SPREAD_MS = 850;
const NO_ID = "00000000-0000-0000-0000-000000000000";

const because = (words) => (words ? `: ${words}` : "");

/** One line on who looks after it: the words of portal/alerts.py, which portal/tests/alerts.json holds to these. */
export function standing({ state, metadata }) {
  if (state === "acknowledged") {
    const until = metadata.until ? ` until ${exact(metadata.until)}` : "";
    return `${metadata.acknowledgedBy} looks after it${until}${because(metadata.note)}`;
  }
  if (state === "silenced") {
    const { by, until, reason } = metadata.silence;
    return `${by} silenced it until ${exact(until)}${because(reason)}`;
  }
  if (state === "resolved") return metadata.endedWhy || "It is over";
  return "Nobody looks after it";
}

export function verdict(firing) {
  if (!firing) return "Nobody has to act";
  return firing === 1 ? "1 alert needs somebody" : `${firing} alerts need somebody`;
}

function setMark(node, state, word, mark) {
  node.dataset.state = state;
  setText(node.querySelector("[data-word]"), word);
  const use = node.querySelector("use");
  if (use.getAttribute("href") !== `#${mark}`) use.setAttribute("href", `#${mark}`);
}

const FIELDS = {
  state: (node, { state }) => setMark(node, state, STATES[state], `alert-${state}`),
  severity: (node, { severity }) => setMark(node, severity, SEVERITIES[severity], MARKS[severity]),
  name: (node, { metadata }) => setText(node, metadata.name),
  message: (node, { message }) => setText(node, message),
  standing: (node, event) => setText(node, standing(event)),
  startedAt: (node, { metadata }) => setTime(node, metadata.startedAt),
  resolvedAt: (node, { metadata }) => setTime(node, metadata.resolvedAt),
  version: (node, { version }) => (node.value = version),
  seenState: (node, { state }) => (node.value = state),
  tenant: (node, { tenantId }) => (tenantId ? showTenant(node, tenantId) : setText(node, "The platform")),
};

/** Put an event into one element that shows its alert. */
export function fill(element, event) {
  element.dataset.version = event.version;
  element.dataset.state = event.state;
  for (const node of element.querySelectorAll("[data-field]")) FIELDS[node.dataset.field]?.(node, event);
  for (const node of element.querySelectorAll("[data-show-in]")) show(node, node.dataset.showIn.split(" ").includes(event.state));
  if (element.dataset.pageTitle) document.title = `${STATES[event.state]} · ${element.dataset.pageTitle}`;
}

/**
 * People were called about an alert, which raises its version and changes nothing else that is shown or sent: what the
 * page shows is still what its forms are about. Not where something before it was missed.
 */
export function call(element, { version }) {
  if (Number(element.dataset.version) !== version - 1) return;
  element.dataset.version = version;
  for (const node of element.querySelectorAll("[data-field=version]")) node.value = version;
}

/** Where an alert stands in a list: what fires is above the rest, newer above older (ids rise with time). */
const orderOf = (id, state) => `${state === "firing" ? 1 : 0}-${id}`;

class AlertList extends WaitingList {
  static rows = "[data-alert]";
  key = (row) => row.dataset.alert;
  order = (row) => orderOf(row.dataset.alert, row.dataset.state);
  seen = new Map(); // id -> newest version heard of, for alerts that are not here

  heard(id, version) {
    this.seen.set(id, version);
  }

  fits({ tenantId, state }) {
    const { tenant, states } = this.body.dataset;
    return (!tenant || tenant === tenantId) && states.split(" ").includes(state);
  }

  /** An event's row has been filled already, if it is here. */
  take(event) {
    const id = event.alertId;
    const row = this.row(id);
    if (row) {
      if (this.version(row) > event.version) return;
      this.mark(row, !this.fits(event));
    } else if ((this.seen.get(id) ?? 0) < event.version) {
      this.heard(id, event.version);
      this.incoming.delete(id);
      const order = orderOf(id, event.state);
      if (this.fits(event) && isOnPage(this.interval(), order)) this.wait(id, order, () => this.made(event));
    }
    this.announce();
  }

  /** What has changed in place finds its own among those that come. */
  show() {
    const rows = this.rows();
    const sorted = [...rows].sort((a, b) => compare(this.order(b), this.order(a)));
    if (sorted.some((row, place) => row !== rows[place])) this.body.append(...sorted);
    super.show();
  }

  made(event) {
    const row = this.blank();
    row.id = `alert-${event.alertId}`;
    row.dataset.alert = event.alertId;
    for (const [selector, name] of [["a", "href"], ["form", "action"]]) {
      for (const node of row.querySelectorAll(selector)) node.setAttribute(name, node.getAttribute(name).replace(NO_ID, event.alertId));
    }
    fill(row, event);
    return row;
  }
}

register("alerts", AlertList);

/** What `start` keeps of the page. */
export class Alerts {
  constructor(root) {
    this.root = root;
    this.tally = new Firing();
    this.count();
  }

  take(event) {
    if (event.type === "alert_escalated") return this.shown(event).forEach((element) => call(element, event));
    if (event.type !== "alert") return;
    for (const element of this.shown(event)) if (Number(element.dataset.version) < event.version) fill(element, event);
    for (const body of this.root.querySelectorAll("[data-live-list=alerts]")) listOf(body).take(event);
    this.count(event);
  }

  shown({ alertId }) {
    return this.root.querySelectorAll(`[data-alert="${CSS.escape(alertId)}"]`);
  }

  count(event) {
    const place = this.root.querySelector("[data-alert-tally]");
    if (!place) return;
    this.tally.read(place.textContent);
    const { tenant } = place.dataset;
    if (event && (!tenant || tenant === event.tenantId)) this.tally.hear(event.alertId, event.version, event.state);
    const { firing } = this.tally;
    const said = this.root.querySelector("[data-alert-verdict]");
    setText(said, verdict(firing));
    said.closest("[data-state]").dataset.state = firing ? "bad" : "ok";
    document.title = firing ? `${firing} firing · ${this.root.dataset.pageTitle}` : this.root.dataset.pageTitle;
  }
}

/** What page.js calls for an element with data-module="alerts". */
export function start(element, live) {
  const alerts = new Alerts(element);
  const rereads = new Set((element.dataset.rereads ?? "").split(" ").filter(Boolean));
  let timer = null;
  const reread = () => {
    timer = null;
    if (!live.isOver) live.reload().catch(() => {}); // the marks say what failed; the next poll tries again
  };
  live.onEvent((event) => {
    alerts.take(event);
    if (rereads.has(event.type)) timer ??= setTimeout(reread, REREAD_AFTER_MS + Math.random() * REREAD_SPREAD_MS);
    if (event.type === "alert") live.announcements.say(event.summary);
  });
  live.onCatchUp(async () => alerts.count());
}
