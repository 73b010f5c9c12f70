// One connection a tab. What the page shows is either confirmed or says since when it is not.

import { applyUpdate, listOf } from "./rows.js";
import { clock } from "./times.js";

const GRACE_MS = 1_000;
const AWAY_MS = 5_000;
const POLL_MS = 30_000;
const STALE_MS = 60_000;
const RELOAD_SPREAD_MS = 2_000;
const RELOAD_AGE_MS = 30_000;
const TOKENS_AGE_MS = 10_000;
const AWAY_TAB_MS = 10_000;
const RECONNECT_MAX_MS = 10_000;
const ANNOUNCE_MS = 5_000;
// The SDK's codes: we asked for it ourselves; a token was refused; forget tokens and positions, then come back.
const OURS = 0;
const UNAUTHORIZED = 1;
const STATE_INVALIDATED = 3014;

/** From best to worst: the top bar shows the worst of the page. */
export const STATES = ["live", "catching", "polling", "stale", "offline", "denied"];
export const LOCKING = new Set(["stale", "offline"]);

export const worst = (states) => states.reduce((a, b) => (STATES.indexOf(b.state) > STATES.indexOf(a.state) ? b : a));

/** The words of a state, as they stand in the mark. */
export function words({ state, since, reason }) {
  if (state === "live") return "Live";
  if (state === "catching") return "Catching up";
  if (state === "polling") return `Every 30 s · ${clock(since)}`;
  if (state === "stale") return `Stale since ${clock(since)}`;
  if (state === "offline") return `Offline since ${clock(since)}`;
  return reason ? `No access: ${reason}` : "No access";
}

/** How fresh one channel's part of the page is. Facts go in with their time (milliseconds); `at(now)` says the state. */
export class Freshness {
  constructor(now, { isEngineAway = false } = {}) {
    this.confirmedAt = now; // the render itself
    this.lostAt = now;
    this.wasLive = false;
    this.isUp = false;
    this.isVerified = true;
    this.hasHttpFailed = false;
    this.isEngineAway = isEngineAway;
    this.denial = null;
  }

  up(now) {
    this.isUp = this.isVerified = this.wasLive = true;
    this.hasHttpFailed = this.isEngineAway = false;
    this.denial = null;
    this.confirmedAt = now;
  }

  /** `heardAt`: when the connection last said anything, which is when the page was last known to be right. */
  lost(now, heardAt = now) {
    if (!this.isUp) return;
    this.isUp = false;
    this.lostAt = now;
    this.confirmedAt = Math.max(this.confirmedAt, heardAt);
  }

  /** A tab that comes back has to ask before it says Live. */
  doubt() {
    this.isVerified = false;
  }

  verified() {
    this.isVerified = true;
  }

  polled(now) {
    this.confirmedAt = now;
    this.hasHttpFailed = false;
  }

  httpFailed() {
    this.hasHttpFailed = true;
  }

  denied(reason) {
    this.isUp = false;
    this.denial = reason || "this page may not listen here any more";
  }

  at(now) {
    const since = this.confirmedAt;
    if (this.denial) return { state: "denied", since, reason: this.denial };
    if (this.isUp) return { state: this.isVerified ? "live" : "catching", since };
    if (this.hasHttpFailed) return { state: "offline", since };
    if (now - since >= STALE_MS) return { state: "stale", since };
    if (this.isEngineAway || now - this.lostAt >= AWAY_MS) return { state: "polling", since };
    return { state: this.wasLive && now - this.lostAt < GRACE_MS ? "live" : "catching", since };
  }
}

/** The person may not see this page any more, or is signed out. Nothing more will come. */
export class AccessEnded extends Error {}

const wait = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
const jittered = (milliseconds) => milliseconds * (0.8 + Math.random() * 0.4);

/** One batch of subscription tokens for everybody who asks at the same time; each token is handed out once. `first`: those the page came with. */
export class TokenBatch {
  constructor(fetchTokens, channels, { now = Date.now, first = null } = {}) {
    Object.assign(this, { fetchTokens, channels, now });
    this.batch = first && { at: now(), given: new Set(), answer: Promise.resolve({ tokens: first }) };
  }

  forget() {
    this.batch = null;
  }

  async take(channel) {
    if (!this.batch || this.batch.given.has(channel) || this.now() - this.batch.at > TOKENS_AGE_MS) {
      this.batch = { at: this.now(), given: new Set(), answer: this.fetchTokens(this.channels) };
      this.batch.answer.catch(() => this.forget());
    }
    const { given, answer } = this.batch;
    given.add(channel);
    return answer;
  }
}

/** The page's connection, its subscriptions and its words about both. */
export class Live {
  constructor(config) {
    this.config = config;
    this.freshness = new Map(); // channel -> Freshness
    this.handlers = []; // (event, channel)
    this.catchUps = []; // async (fresh page): run after a page's state was read anew, before its positions are used
    this.denials = {}; // channel -> why the server gave no token
    this.heardAt = Date.now();
    this.connectionToken = config.tokens?.connection ?? null;
    this.tokens = new TokenBatch((channels) => this.fetchSubscriptionTokens(channels), Object.keys(config.channels), {
      first: config.tokens?.subscriptions,
    });
    this.reloading = null;
    this.lastReload = null;
    this.isOver = false;
    this.announcements = new Announcer(document.getElementById("announcer"));
  }

  onEvent(handler) {
    this.handlers.push(handler);
  }

  onCatchUp(handler) {
    this.catchUps.push(handler);
  }

  start() {
    const now = Date.now();
    const isEngineAway = this.config.engine === "away";
    for (const name of Object.keys(this.config.channels)) this.freshness.set(name, new Freshness(now, { isEngineAway }));
    for (const [name, { reason }] of Object.entries(this.config.denied ?? {})) this.deny(name, reason);
    this.connect();
    for (const [name, position] of Object.entries(this.config.channels)) this.subscribe(name, position);
    this.client.connect();
    this.showState();
    setInterval(() => this.showState(), 500);
    this.pollAgain();
    document.addEventListener("visibilitychange", () => this.tabChanged());
    // The browser knows at once; the page asks at once, instead of at its next poll.
    for (const name of ["offline", "online"]) window.addEventListener(name, () => this.isOver || this.reload().catch(() => {}));
    document.addEventListener("click", (event) => this.clicked(event));
    document.addEventListener("submit", (event) => this.refuseLocked(event), true);
  }

  // --- Connection ---

  connect() {
    const live = this;
    class HeardSocket extends WebSocket {
      constructor(...given) {
        super(...given);
        this.addEventListener("message", () => (live.heardAt = Date.now()));
        // Also while connecting, where the SDK says nothing: a laptop wakes up with tokens that ended hours ago.
        this.addEventListener("close", ({ code }) => code === STATE_INVALIDATED && live.forgetTokens());
      }
    }
    this.client = new Centrifuge(socketAddress(this.config.connection.url), {
      websocket: HeardSocket,
      maxReconnectDelay: RECONNECT_MAX_MS,
      getData: async () => ({ token: (this.connectionToken ??= await this.fetchConnectionToken()) }),
    });
    // A token that still holds is used again, so that ten thousand browsers coming back ask for none.
    this.client.on("error", ({ type }) => type === "connect" && this.forgetTokens());
    this.client.on("disconnected", ({ code, reason }) => this.disconnected(code, reason));
  }

  forgetTokens() {
    this.connectionToken = null;
    this.tokens.forget();
  }

  /** The SDK won't come back by itself from this: find out whether the person still may, then try anew. */
  async disconnected(code, reason) {
    if (this.isOver || code === OURS) return;
    this.forgetTokens();
    for (const freshness of this.freshness.values()) freshness.lost(Date.now(), this.heardAt);
    if (code === UNAUTHORIZED) return this.end(this.endReason ?? reason);
    await wait(jittered(AWAY_MS));
    try {
      await this.reload();
    } catch {
      // Said by the marks already; the connection is tried whatever the page answered.
    }
    if (!this.isOver) this.client.connect();
  }

  subscribe(name, position) {
    const options = {
      getToken: ({ channel }) => this.subscriptionToken(channel),
      getState: () => this.stateOf(name),
    };
    if (position.epoch) options.since = { offset: position.offset, epoch: position.epoch };
    const subscription = this.client.newSubscription(name, options);
    const freshness = this.freshness.get(name);
    subscription.on("subscribed", () => (freshness.up(Date.now()), this.showState()));
    subscription.on("subscribing", () => freshness.lost(Date.now(), this.heardAt));
    subscription.on("unsubscribed", ({ code }) => this.unsubscribed(subscription, name, code));
    subscription.on("publication", ({ data }) => this.receive(data, name));
    subscription.subscribe();
  }

  /** The SDK won't subscribe again by itself. Only our own server says no for good: an engine that refuses what that
   * has just signed may be out of reach of its public keys. */
  async unsubscribed(subscription, name, code) {
    if (this.isOver || code === OURS) return;
    if (this.denials[name]) return this.deny(name, this.denials[name]);
    this.freshness.get(name).lost(Date.now(), this.heardAt);
    this.tokens.forget();
    await wait(jittered(AWAY_MS));
    if (!this.isOver) subscription.subscribe();
  }

  deny(name, reason) {
    if (!this.freshness.has(name)) this.freshness.set(name, new Freshness(Date.now()));
    this.freshness.get(name).denied(reason);
    this.showState();
  }

  async fetchConnectionToken() {
    const response = await this.post(this.config.connection.tokenUrl);
    if (response.status === 401 || response.status === 403) {
      this.endReason = "you are signed out";
      throw new Centrifuge.UnauthorizedError("not any more");
    }
    if (!response.ok) throw new Error(`token: HTTP ${response.status}`);
    return (await response.json()).token;
  }

  async fetchSubscriptionTokens(channels) {
    const response = await this.post(this.config.subscriptionsUrl, { channels });
    if (response.status === 401 || response.status === 403 || response.status === 404) {
      const reason = "your access has ended";
      return { tokens: {}, denied: Object.fromEntries(channels.map((name) => [name, { code: 403, reason }])) };
    }
    if (!response.ok) throw new Error(`subscription tokens: HTTP ${response.status}`);
    return response.json();
  }

  async subscriptionToken(channel) {
    const { tokens, denied } = await this.tokens.take(channel);
    if (tokens[channel]) return tokens[channel];
    if (denied?.[channel]?.code === 403) {
      this.denials[channel] = denied[channel].reason;
      throw new Centrifuge.UnauthorizedError(denied[channel].reason);
    }
    throw new Error(`no token for ${channel}: ${denied?.[channel]?.reason ?? "unknown"}`);
  }

  post(url, body = {}) {
    const headers = { "Content-Type": "application/json", "X-CSRFToken": csrfToken() };
    if (this.config.tenant) headers["X-Tenant"] = this.config.tenant;
    return fetch(url, { method: "POST", headers, body: JSON.stringify(body), credentials: "same-origin", keepalive: true });
  }

  receive(event, channel) {
    try {
      this.handle(event, channel);
    } catch (error) {
      // An exception in a handler would stop the client for good. The page is read anew instead.
      reportError(error);
      this.reload().catch(() => {});
    }
  }

  handle(event, channel) {
    if (event.type === "deployment_update") {
      applyUpdate(event);
      this.announcements.say(event.summary);
    } else if (event.type === "access_changed" && event.userId === this.config.user) this.verifyAccess();
    else if (event.type === "tenant_updated") showTenantName(event);
    for (const handler of this.handlers) handler(event, channel);
  }

  // --- The page's state, read anew ---

  /** Position to subscribe from after a loss. All channels share one reading of the page; each uses it once. */
  async stateOf(channel) {
    const last = this.lastReload;
    const isUsable = last && Date.now() - last.at < RELOAD_AGE_MS && !last.users.has(channel) && last.channels[channel];
    if (!isUsable) await this.reload({ spread: RELOAD_SPREAD_MS });
    this.lastReload.users.add(channel);
    const position = this.lastReload.channels[channel];
    if (!position?.epoch) throw new Error(`no position for ${channel} yet`);
    return position;
  }

  reload({ spread = 0 } = {}) {
    this.reloading ??= this.readPage(spread).finally(() => (this.reloading = null));
    return this.reloading;
  }

  async readPage(spread) {
    if (spread) await wait(Math.random() * spread);
    try {
      const fresh = await fetchPage();
      await mergePage(fresh);
      for (const catchUp of this.catchUps) await catchUp(fresh);
      const { channels } = JSON.parse(fresh.getElementById("live-config").textContent);
      this.lastReload = { at: Date.now(), channels, users: new Set() };
      this.followWhatWasGiven(channels);
      for (const freshness of this.freshness.values()) freshness.polled(Date.now());
    } catch (error) {
      if (error instanceof AccessEnded) this.end(error.message);
      else for (const freshness of this.freshness.values()) freshness.httpFailed();
      throw error;
    } finally {
      this.showState();
    }
  }

  /** What was denied, when this page was rendered or later, and is not any more. */
  followWhatWasGiven(channels) {
    for (const [name, position] of Object.entries(channels)) {
      if (!this.freshness.get(name)?.denial) continue;
      delete this.denials[name];
      const known = this.client.getSubscription(name);
      if (known) known.subscribe();
      else {
        this.tokens.channels.push(name);
        this.subscribe(name, position);
      }
    }
  }

  async verifyAccess() {
    this.forgetTokens();
    try {
      await this.reload();
      this.announcements.say("Your access has changed. This page shows what you may see now.");
    } catch (error) {
      if (!(error instanceof AccessEnded)) return; // said by the marks, tried again by the next poll
    }
  }

  end(reason) {
    if (this.isOver) return;
    this.isOver = true;
    for (const freshness of this.freshness.values()) freshness.denied(reason);
    this.client.disconnect();
    this.showState();
    this.sayEnded(reason);
  }

  sayEnded(reason) {
    const note = document.getElementById("access-ended").content.firstElementChild.cloneNode(true);
    note.querySelector("[data-field=reason]").textContent = `${reason[0].toUpperCase()}${reason.slice(1)}. What stands here is as old as the mark says.`;
    document.getElementById("main").prepend(note);
  }

  pollAgain() {
    const isFirst = !this.polls;
    this.polls = (this.polls ?? 0) + 1;
    setTimeout(() => this.poll(), isFirst ? AWAY_MS + Math.random() * POLL_MS : jittered(POLL_MS));
  }

  async poll() {
    if (!document.hidden && !this.isOver && this.isAway()) await this.reload().catch(() => {});
    this.pollAgain();
  }

  /** Whether some channel has been away long enough for the page to ask by itself. */
  isAway() {
    const now = Date.now();
    return [...this.freshness.values()].some((freshness) => ["polling", "stale", "offline"].includes(freshness.at(now).state));
  }

  // --- The tab ---

  tabChanged() {
    if (document.hidden) this.hiddenAt = Date.now();
    else if (this.hiddenAt && Date.now() - this.hiddenAt > AWAY_TAB_MS && !this.isOver) this.verifyLink();
  }

  /** Any answer of the engine, an error too, proves the link; silence means a new one. */
  async verifyLink() {
    if (this.isAway()) return this.reload().catch(() => {});
    for (const freshness of this.freshness.values()) freshness.doubt();
    this.showState();
    try {
      await this.client.rpc("verify", {});
    } catch (error) {
      if (error.code < 100) return this.reconnect();
    }
    for (const freshness of this.freshness.values()) freshness.verified();
    this.showState();
  }

  reconnect() {
    this.client.disconnect();
    this.client.connect();
  }

  // --- What it says ---

  states(now = Date.now()) {
    return new Map([...this.freshness].map(([name, freshness]) => [name, freshness.at(now)]));
  }

  showState() {
    const states = this.states();
    if (!states.size) return;
    const top = worst([...states.values()]);
    showMark(document.getElementById("live-mark"), top);
    for (const panel of document.querySelectorAll("[data-live-panel]")) {
      const own = panel.dataset.livePanel.split(" ").flatMap((name) => states.get(name) ?? []);
      const mark = panel.querySelector("[data-live-mark]");
      if (!mark || !own.length) continue;
      const state = worst(own);
      // While channels come up one by one, a mark that comes and goes would move what is below it.
      const differs = top.state !== "catching" && (state.state !== top.state || state.reason !== top.reason);
      showMark(mark, state);
      mark.hidden = mark.closest("[data-live-only]").hidden = !differs;
    }
    this.showLocks(top);
  }

  /** What depends on what you see is locked while that may be wrong. Cancel and reading never are. */
  showLocks(top) {
    const isLocked = LOCKING.has(top.state);
    if (!isLocked) for (const lock of document.querySelectorAll("[data-lock]")) lock.remove();
    for (const button of document.querySelectorAll("[data-live-lock]")) {
      if (isLocked === (button.getAttribute("aria-disabled") === "true")) continue;
      if (isLocked) {
        button.setAttribute("aria-disabled", "true");
        button.setAttribute("aria-describedby", lockFor(button, top).id);
      } else {
        button.removeAttribute("aria-disabled");
        button.removeAttribute("aria-describedby");
      }
    }
  }

  refuseLocked(event) {
    const button = event.submitter ?? event.target.querySelector("[type=submit]");
    if (button?.getAttribute("aria-disabled") !== "true") return;
    event.preventDefault();
    event.stopPropagation();
  }

  clicked(event) {
    const shower = event.target.closest?.("[data-live-show]");
    if (!shower) return;
    event.preventDefault();
    listOf(document.getElementById(shower.dataset.liveShow)).show();
  }
}

/** Why a button is locked, said beside it, or once for all the buttons of a list (`data-lock-in`). */
function lockFor(button, top) {
  const shared = document.getElementById(button.dataset.lockIn ?? "");
  const known = (shared ?? button.parentElement).querySelector("[data-lock]");
  if (known) return known;
  const made = document.getElementById("lock").content.firstElementChild.cloneNode(true);
  made.id = `lock-${shared?.id ?? (button.id || "action")}`;
  made.querySelector("[data-field=reason]").textContent = `${words(top)}. ${button.dataset.liveLock}`;
  made.querySelector("a").href = location.href;
  if (shared) shared.append(made);
  else button.after(made);
  return made;
}

// --- Helpers ---------------------------------------------------------------------------------------------------------

/** Where the page's frame names its tenant, it says the new name. */
function showTenantName({ tenantId, version, name }) {
  for (const node of document.querySelectorAll(`[data-tenant-name="${CSS.escape(tenantId)}"]`)) {
    if (Number(node.dataset.version) >= version) continue;
    node.dataset.version = version;
    node.textContent = name;
  }
}

function socketAddress(url) {
  const address = new URL(url, location.href);
  address.protocol = address.protocol.replace("http", "ws");
  return address.href;
}

const csrfToken = () => document.querySelector("meta[name=csrf-token]").content;

function showMark(mark, state) {
  if (!mark) return;
  const text = words(state);
  const word = mark.querySelector("[data-live-word]");
  if (mark.dataset.state === state.state && word.textContent === text) return;
  mark.dataset.state = state.state;
  word.textContent = text;
  mark.title = text;
  const use = mark.querySelector("use");
  use.setAttribute("href", use.getAttribute("href").replace(/#.*/, `#live-${state.state}`));
}

/** This page as the server renders it now. Raises AccessEnded where it may not be seen any more. */
async function fetchPage() {
  const response = await fetch(location.href, { headers: { Accept: "text/html" }, cache: "no-store", credentials: "same-origin" });
  if (response.redirected && new URL(response.url).pathname !== location.pathname) throw new AccessEnded("you are signed out");
  if (response.status === 401) throw new AccessEnded("you are signed out");
  if (response.status === 403 || response.status === 404) throw new AccessEnded("your access to this page has ended");
  if (!response.ok) throw new Error(`page: HTTP ${response.status}`);
  return new DOMParser().parseFromString(await response.text(), "text/html");
}

/** Put a fresh page's regions into this one, without moving rows and never back to something older. */
export async function mergePage(fresh) {
  const { Idiomorph } = await import("../vendor/idiomorph.esm.js");
  const isOlder = (now, next) => Number(now.dataset?.version) > Number(next.dataset?.version);
  const morph = (now, next) =>
    Idiomorph.morph(now, next, {
      morphStyle: "outerHTML",
      callbacks: {
        beforeNodeMorphed(old, incoming) {
          if (old.nodeType !== Node.ELEMENT_NODE) return true;
          if (old.matches("[data-live-list]")) {
            listOf(old).merge(incoming, morph);
            return false;
          }
          // What the script keeps by itself, and what has moved on since the server read it.
          if (old.matches("[data-live-pending], [data-live-only], [data-live-empty], [data-lock]")) return false;
          return !isOlder(old, incoming);
        },
        beforeNodeRemoved: (node) => !node.matches?.("[data-lock]"),
        beforeAttributeUpdated: (name, node) => !(name === "aria-disabled" || (name === "aria-describedby" && node.hasAttribute("data-live-lock"))),
      },
    });
  for (const region of document.querySelectorAll("[data-live-region]")) {
    const next = fresh.getElementById(region.id);
    if (next && !isOlder(region, next)) morph(region, next);
  }
  const article = document.querySelector("[data-page-title]");
  if (article) document.title = fresh.title;
}

/** One polite region, one message in five seconds: what came meanwhile is summed up. */
class Announcer {
  constructor(region) {
    this.region = region;
    this.waiting = [];
    this.timer = null;
  }

  say(text) {
    // What comes on two channels of a page is said once.
    if (!this.region || !text || this.waiting.includes(text)) return;
    this.waiting.push(text);
    this.timer ??= setTimeout(() => this.speak(), ANNOUNCE_MS);
  }

  speak() {
    const last = this.waiting.at(-1);
    const others = this.waiting.length - 1;
    this.region.textContent = others ? `${last.replace(/\.$/, "")}. And ${others} more change${others === 1 ? "" : "s"}.` : last;
    this.waiting = [];
    this.timer = null;
  }
}
