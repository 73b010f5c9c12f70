// The operations home. What pulse tells moves it at once; while nobody tells anything it asks by itself, since a relay or
// a pulse that is down can't say so. All values are absolute, and what is not newer than what is shown is ignored.

import { mergePage } from "./live.js";
import { setText, setTime, show } from "./rows.js";
import { clock } from "./times.js";

const ASK_AFTER_MS = 7_000;
const SPARK_MS = 120_000;
const SPARK_WIDTH = 120;
const SPARK_HEIGHT = 28;
const LATELY_KEPT = 120;
const ACTIVE = new Set(["starting", "running"]);
const WORDS = { ok: "OK", degraded: "Degraded", failed: "Failed" };
const WORST_FIRST = ["failed", "degraded"];

/** What the page says of all parts together: the words, and the state that colours them. */
export function verdict(parts) {
  const states = Object.values(parts);
  const unwell = states.filter((state) => state !== "ok").length;
  const words = unwell === 0 ? "All well" : unwell === 1 ? "1 part needs help" : `${unwell} parts need help`;
  return { words, state: WORST_FIRST.find((state) => states.includes(state)) ?? "ok" };
}

export const lagWords = (lag) => (lag ? `${lag} behind` : "Up to date");

/** The points of the small chart, as `portal/ops/home.py` draws them: each value holds until the next. */
export function spark(lately, now) {
  const aged = lately.map(([moment, value]) => [now - Date.parse(moment), value]);
  const top = Math.max(0, ...aged.filter(([age]) => age <= SPARK_MS).map(([, value]) => value)) || 1;
  const points = [];
  let height = SPARK_HEIGHT;
  for (const [age, value] of aged) {
    const x = Math.max(0, SPARK_WIDTH * (1 - age / SPARK_MS)).toFixed(1);
    const before = height;
    height = SPARK_HEIGHT - 1 - (SPARK_HEIGHT - 2) * Math.min(1, value / top);
    if (age <= SPARK_MS) points.push(`${x},${before.toFixed(1)}`, `${x},${height.toFixed(1)}`);
  }
  return [...points, `${SPARK_WIDTH.toFixed(1)},${height.toFixed(1)}`].join(" ");
}

/** Which deployments run, over all tenants. Repeated, late or shuffled events come to the same. */
export class Running {
  constructor() {
    this.known = new Map(); // id -> {version, isActive, at}
  }

  /** What the server says: "id:version id:version". What was heard since `asked` may be newer than that. */
  reset(text, asked = Infinity) {
    const listed = new Map(text.split(" ").filter(Boolean).map((one) => one.split(":")));
    for (const [id, { at }] of this.known) if (!listed.has(id) && at < asked) this.known.get(id).isActive = false;
    for (const [id, version] of listed) this.take({ deploymentId: id, version: Number(version), status: "running" }, 0);
  }

  take({ deploymentId, version, status }, at = Date.now()) {
    const known = this.known.get(deploymentId);
    if (known && known.version >= version) return;
    this.known.set(deploymentId, { version, isActive: ACTIVE.has(status), at });
  }

  get count() {
    return [...this.known.values()].filter(({ isActive }) => isActive).length;
  }
}

function setState(node, state) {
  node.dataset.state = state;
  const use = node.querySelector("use");
  if (use) use.setAttribute("href", `#state-${state}`);
  const word = node.querySelector("[data-word]");
  if (word) setText(word, WORDS[state]);
}

/** What `start` keeps of the page. */
export class OpsHome {
  constructor(root, live) {
    Object.assign(this, { root, live, running: new Running(), heardAt: Date.now(), isAsking: false });
    this.readRunning(Infinity);
  }

  find(selector) {
    return this.root.querySelector(selector);
  }

  take(event) {
    if (event.type === "health_update") this.takeHealth(event);
    else if (event.type === "metrics_update" && !event.tenantId) this.takeFigures(event);
    else if (event.type === "deployment_update") this.takeDeployment(event);
  }

  // --- Parts ---

  takeHealth(event) {
    const section = this.find("#verdict");
    this.heard(event);
    if (Number(section.dataset.version) >= event.version) return;
    const isKnown = Object.keys(event.parts).every((name) => this.find(`[data-problem="${CSS.escape(name)}"]`));
    if (!isKnown) return this.ask(); // a part that came with a new release
    for (const id of ["verdict", "parts", "cursors"]) this.find(`#${id}`).dataset.version = event.version;
    for (const [name, state] of Object.entries(event.parts)) this.showPart(name, state, event);
    const { words, state } = verdict(event.parts);
    setState(section, state);
    setText(this.find("[data-verdict]"), words);
    this.showTitle();
    this.live.announcements?.say(event.summary);
  }

  showPart(name, state, { reasons, since }) {
    const reason = reasons[name] ?? "";
    const problem = this.find(`[data-problem="${CSS.escape(name)}"]`);
    problem.dataset.state = state;
    show(problem, state !== "ok");
    setText(problem.querySelector("[data-reason]"), reason);
    for (const row of this.root.querySelectorAll(`[data-part="${CSS.escape(name)}"]`)) {
      row.dataset.state = state;
      setState(row.querySelector(".badge-status"), state);
      const says = row.querySelector("[data-reason]");
      if (says) setText(says, reason);
      const time = row.querySelector("[data-field=since]");
      if (time) setTime(time, since[name]);
      show(row.querySelector("[data-detail]"), state === "ok");
    }
  }

  showTitle() {
    document.title = `${this.find("[data-verdict]").textContent} · Operations · NEO_STACK`;
  }

  // --- Figures ---

  takeFigures(event) {
    this.heard(event);
    const vital = this.find("#vital-events");
    if (Number(vital.dataset.version) >= event.version) return;
    for (const node of this.root.querySelectorAll(".vital[data-version]")) node.dataset.version = event.version;
    for (const node of this.root.querySelectorAll("[data-figure]")) {
      const value = event.metrics[node.dataset.figure];
      setText(node, node.dataset.words === "lag" ? lagWords(value) : value === undefined ? "—" : String(value));
    }
    const chart = vital.querySelector("[data-lately]");
    const lately = [...JSON.parse(chart.dataset.lately), [event.timestamp, event.metrics.events_per_second]];
    chart.dataset.lately = JSON.stringify(lately.slice(-LATELY_KEPT));
    this.draw();
  }

  draw() {
    const chart = this.find("[data-lately]");
    chart.firstElementChild.setAttribute("points", spark(JSON.parse(chart.dataset.lately), Date.now()));
  }

  // --- Running deployments ---

  takeDeployment(event) {
    this.running.take(event);
    setText(this.find("[data-running]"), String(this.running.count));
  }

  readRunning(asked) {
    const node = this.find("[data-running]");
    this.running.reset(node.dataset.running, asked);
    setText(node, String(this.running.count));
  }

  // --- While nobody tells ---

  /** Whoever told this has just looked at everything. */
  heard({ timestamp }) {
    this.heardAt = Date.now();
    const checked = this.find("[data-checked]");
    if (checked.dateTime >= timestamp) return;
    checked.dateTime = timestamp;
    setText(checked, clock(timestamp));
  }

  tick() {
    if (document.hidden || this.live.isOver) return;
    this.draw();
    const isWell = this.find("#verdict").dataset.state === "ok";
    const silence = Date.now() - (isWell ? this.heardAt : (this.askedAt ?? 0));
    if (silence > ASK_AFTER_MS) this.ask();
  }

  async ask() {
    if (this.isAsking) return;
    this.isAsking = true;
    const asked = (this.askedAt = Date.now());
    try {
      const answer = await fetch(this.root.dataset.stateUrl, { cache: "no-store", credentials: "same-origin", redirect: "error" });
      if (!answer.ok) throw new Error(`state: HTTP ${answer.status}`);
      await mergePage(new DOMParser().parseFromString(await answer.text(), "text/html"));
      this.heardAt = Date.now();
      this.readRunning(asked);
      this.showTitle();
    } catch {
      this.sayNoAnswer();
    } finally {
      this.isAsking = false;
    }
  }

  /** Neither told nor answered: what stands here was so when it was last looked at, and that is all there is to say. */
  sayNoAnswer() {
    this.heardAt = Date.now();
    setState(this.find("#verdict"), "unknown");
    setText(this.find("[data-verdict]"), "No answer since the last look");
    this.showTitle();
  }
}

// --- Tenants: a row changes in place; what an event can't say (how many members) is read anew, a few seconds later ------

const READ_AFTER_MS = 2_000;

/** The list, or one tenant's page. */
export class OpsTenants {
  constructor(root, live) {
    Object.assign(this, { root, live, timer: null, came: new Set() });
  }

  take(event) {
    if (event.type === "tenant_updated") this.takeTenant(event);
    const { tenantId } = this.root.dataset;
    const isShown = tenantId ? tenantId === event.tenantId : this.row(event.tenantId);
    if (isShown && ["tenant_updated", "access_changed", "deployment_update"].includes(event.type)) this.readSoon();
  }

  row(id) {
    return id && this.root.querySelector(`[data-tenant="${CSS.escape(id)}"]`);
  }

  takeTenant(event) {
    const row = this.row(event.tenantId);
    if (row && Number(row.dataset.version) < event.version) {
      row.dataset.version = event.version;
      setText(row.querySelector("[data-name]"), event.name);
      const badge = row.querySelector(".badge-status");
      setState(badge, event.suspended ? "degraded" : "ok");
      setText(badge.querySelector("[data-word]"), event.suspended ? "Suspended" : "Active");
    } else if (!row && event.change === "created") {
      this.came.add(event.tenantId);
      const bar = this.root.querySelector("[data-came]");
      if (!bar) return;
      setText(bar.querySelector("[data-field=pending]"), `${this.came.size} new`);
      show(bar, true);
    }
  }

  /** Once for all that comes within two seconds. */
  readSoon() {
    this.timer ??= setTimeout(() => {
      this.timer = null;
      if (!this.live.isOver) this.live.reload().catch(() => {}); // said by the marks, and tried again by the next event
    }, READ_AFTER_MS);
  }
}

export function start(element, live) {
  if (element.dataset.ops) {
    const tenants = new OpsTenants(element, live);
    live.onEvent((event) => tenants.take(event));
    return;
  }
  const home = new OpsHome(element, live);
  live.onEvent((event) => home.take(event));
  live.onCatchUp(async () => home.readRunning(home.askedAt ?? 0));
  const spread = Math.random() * 1_000;
  setInterval(() => home.tick(), 1_000 + spread);
}
