// The bell in the bar, and the toasts. The bell sets {unread, version} and drops what is older: it never counts by itself.

const TOAST_MS = 6_000;
const TOASTS_SHOWN = 3;
// What a page hears of later than this, because it was away, is in the inbox: nobody is told of it now.
const NEWS_MS = 60_000;
const COUNTED = 99;

/** How many are unread, as of a version of the inbox. Repeated, late or shuffled, the newest version stays. */
export class Badge {
  constructor({ unread, version }) {
    this.unread = Number(unread);
    this.version = Number(version);
  }

  /** Whether it changed. */
  take({ unread, version }) {
    if (version <= this.version) return false;
    Object.assign(this, { unread, version });
    return true;
  }

  get words() {
    return this.unread > COUNTED ? `${COUNTED}+` : this.unread ? String(this.unread) : "";
  }
}

const isCounted = ({ type }) => type === "notification" || type === "inbox_update";

/** Put an event, or the API's answer to a change, into the bell. The page itself keeps what it shows. */
export function ring(state, bell = document.getElementById("bell")) {
  const badge = new Badge(bell.dataset);
  if (!badge.take(state)) return;
  Object.assign(bell.dataset, { unread: badge.unread, version: badge.version });
  bell.setAttribute("aria-label", badge.unread ? `Notifications, ${badge.unread} unread` : "Notifications");
  const count = bell.querySelector("[data-field=count]");
  count.textContent = badge.words;
  count.hidden = !badge.unread;
}

/** What makes two events the same piece of news: a notice comes to the tenant at once and to the inbox a moment later. */
export function newsOf({ type, noticeId, notificationId, object }) {
  if (type === "tenant_notice") return `notice:${noticeId}`;
  return object.startsWith("notice:") ? object : notificationId;
}

/** Whether the thing that an event speaks of ("deployment:{id}") is what somebody is looking at. */
function isOnScreen(object) {
  const [kind, id] = (object ?? "").split(":");
  if (!id) return false;
  return [...document.querySelectorAll(`main [data-${CSS.escape(kind)}="${CSS.escape(id)}"]`)].some((element) => {
    const { top, bottom } = element.getBoundingClientRect();
    return element.checkVisibility() && bottom > 0 && top < innerHeight;
  });
}

export function start(bell, live) {
  const toasts = new Toasts(document.getElementById("toasts"), live);
  const ahead = Date.parse(live.config.now) - Date.now(); // the server's clock counts, not this machine's
  const isNews = ({ timestamp }) => Date.now() + ahead - Date.parse(timestamp) < NEWS_MS;
  live.onEvent((event, channel) => {
    // Platform admins hear of every inbox and every notice, on their own channels.
    if (isCounted(event) && event.userId !== live.config.user) return;
    if (isCounted(event)) ring(event);
    if (event.type === "tenant_notice" && channel.endsWith(":notifications") && isNews(event)) toasts.show(event);
    if (event.type === "notification" && isNews(event) && !isOnScreen(event.object)) toasts.show(event);
    if (event.type === "inbox_update") for (const id of [...event.read, ...event.removed]) toasts.settle(id);
  });
}

/** At most three, then "5 more"; good news leaves by itself, errors stay. Only the tab that is looked at shows them. */
class Toasts {
  constructor(region, live) {
    this.region = region;
    this.live = live;
    this.seen = new Set();
    this.waiting = [];
  }

  show(event) {
    const news = newsOf(event);
    if (this.seen.has(news)) return this.known(news, event);
    if (document.hidden || document.getElementById("inbox")) return;
    this.seen.add(news);
    if (this.region.querySelectorAll(".toast-note").length < TOASTS_SHOWN) this.put(event);
    else this.waiting.push(event);
    this.count();
  }

  /** A notice that is shown already has come to the inbox too: now it can be read there. */
  known(news, { link, notificationId }) {
    const toast = this.region.querySelector(`[data-news="${CSS.escape(news)}"]:not([data-told-of])`);
    if (toast && notificationId) this.offerLink(toast, link, notificationId);
  }

  put(event) {
    const { title, message, level, link, notificationId } = event;
    const toast = document.getElementById("toast").content.firstElementChild.cloneNode(true);
    Object.assign(toast.dataset, { level, news: newsOf(event) });
    toast.setAttribute("role", level === "error" ? "alert" : "status");
    toast.querySelector("[data-field=title]").textContent = title;
    toast.querySelector("[data-field=message]").textContent = message;
    toast.querySelector("[data-closes]").addEventListener("click", () => this.close(toast));
    if (notificationId) this.offerLink(toast, link, notificationId);
    this.region.append(toast);
    if (level === "success" || level === "info") this.leaveLater(toast);
  }

  offerLink(toast, link, id) {
    toast.dataset.toldOf = id;
    const anchor = toast.querySelector("[data-field=link]");
    anchor.hidden = !link;
    anchor.href = link;
    anchor.addEventListener("click", () => this.live.post("/api/notifications/read", { ids: [id] }).catch(() => {}));
  }

  leaveLater(toast) {
    let left = TOAST_MS;
    let last = Date.now();
    const timer = setInterval(() => {
      const now = Date.now();
      if (!toast.matches(":hover, :focus-within")) left -= now - last;
      last = now;
      if (left > 0 && toast.isConnected) return;
      clearInterval(timer);
      this.close(toast);
    }, 200);
  }

  /** It was read or removed, here or in another tab. */
  settle(id) {
    this.waiting = this.waiting.filter(({ notificationId }) => notificationId !== id);
    const toast = this.region.querySelector(`[data-told-of="${CSS.escape(id)}"]`);
    if (toast && !toast.matches(":hover, :focus-within")) this.close(toast);
    this.count();
  }

  close(toast) {
    if (!toast.isConnected) return; // dismissed before its time was up
    toast.remove();
    const next = this.waiting.shift();
    if (next) this.put(next);
    this.count();
  }

  count() {
    this.region.querySelector(".more")?.remove();
    if (!this.waiting.length) return;
    const more = document.createElement("div");
    more.className = "more";
    more.textContent = `${this.waiting.length} more`;
    this.region.append(more);
  }
}
