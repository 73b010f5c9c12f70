// The inbox's page. Rows change in place; what comes, and what goes by another tab's hand, waits behind "Show". What this tab
// removes leaves a line with Undo in its place for ten seconds.
//
// Read or unread, put away or not, there or removed, and solved are four things. For each of a notification's four the
// newest version decides, so that events may come repeated, late and in any order.

import { ring } from "./bell.js";
import { WaitingList, listOf, register, setText, setTime, show } from "./rows.js";

const UNDO_MS = 10_000;
const EVENTS_KEPT = 500;
const IDS_AT_ONCE = 500;

/** What events say of notifications: each fact stays until a newer version contradicts it. */
export class Facts {
  facts = new Map(); // "id what" -> {value, version}

  learn(id, what, value, version) {
    const known = this.facts.get(`${id} ${what}`);
    if (!known || known.version < version) this.facts.set(`${id} ${what}`, { value, version });
  }

  /** What is so, as far as something newer than `version` was heard; else `before`. */
  get(id, what, before, version) {
    const known = this.facts.get(`${id} ${what}`);
    return known && known.version > version ? known.value : before;
  }

  /** Of which something was heard since. */
  newerThan(version) {
    return new Set([...this.facts].filter(([, known]) => known.version > version).map(([key]) => key.split(" ")[0]));
  }

  take({ read = [], markedUnread = [], archived = [], unarchived = [], removed = [], restored = [], solved = [], solvedBy, timestamp, version }) {
    const said = [
      ["read", true, read], ["read", false, markedUnread], ["archived", true, archived], ["archived", false, unarchived],
      ["removed", true, removed], ["removed", false, restored], ["solved", { by: solvedBy, at: timestamp }, solved],
    ];
    for (const [what, value, ids] of said) for (const id of ids) this.learn(id, what, value, version);
    return new Set(said.flatMap(([, , ids]) => ids));
  }
}

const json = (id) => JSON.parse(document.getElementById(id).textContent);

class InboxList extends WaitingList {
  facts = new Facts();
  arrived = new Map(); // id -> the event that brought it
  own = new Set(); // removed or put away in this tab: their line with Undo says it
  needsPage = () => {}; // what events can't tell, the server must

  static rows = "[data-notification]";
  key = (row) => row.dataset.notification;
  order = (row) => row.dataset.number;

  get isUnreadOnly() {
    return this.body.dataset.unreadOnly === "yes";
  }

  get isArchive() {
    return this.body.dataset.archive === "yes";
  }

  // --- What events say ---

  take(event) {
    if (event.type === "access_changed") return this.leave(event);
    const ids = event.type === "notification" ? this.arrive(event) : this.facts.take(event);
    for (const id of ids) this.settle(id);
    this.announce();
  }

  arrive(event) {
    if (this.arrived.size < EVENTS_KEPT) this.arrived.set(event.notificationId, event);
    return [event.notificationId];
  }

  /** Make what is shown of one notification agree with what is known of it. */
  settle(id) {
    const row = this.row(id);
    if (row) {
      this.dress(id, row);
      if (!this.own.has(id)) this.mark(row, !this.belongs(id, row));
      return;
    }
    const event = this.arrived.get(id);
    const shown = Number(this.body.dataset.version);
    if (event?.version > shown) this.fits(event) && this.waitFor(event);
    else if (this.incoming.has(id)) this.isElsewhere(id, shown) && this.incoming.delete(id);
    else if (this.hasComeBack(id, shown) || this.hasBecomeUnread(id, shown)) this.needsPage();
  }

  /** What the row says of its notification, besides its words. */
  dress(id, row) {
    setRead(row, this.isRead(id, row));
    const solved = this.facts.get(id, "solved", null, this.version(row));
    if (solved) setSolved(row, solved);
  }

  /** Whether a notification that was in the inbox as of this version is in the other list since, or in none. */
  isElsewhere(id, since) {
    return this.facts.get(id, "removed", false, since) || this.facts.get(id, "archived", false, since);
  }

  hasComeBack(id, since) {
    return this.facts.get(id, "removed", true, since) === false || this.facts.get(id, "archived", null, since) === this.isArchive;
  }

  hasBecomeUnread(id, since) {
    return this.isUnreadOnly && this.facts.get(id, "read", true, since) === false;
  }

  isRead(id, row) {
    return this.facts.get(id, "read", row.dataset.read === "yes", this.version(row));
  }

  belongs(id, row) {
    const isRemoved = this.facts.get(id, "removed", false, this.version(row));
    const isArchived = this.facts.get(id, "archived", this.isArchive, this.version(row));
    return !isRemoved && isArchived === this.isArchive && !(this.isUnreadOnly && this.isRead(id, row));
  }

  fits({ tenantId, kind, level }) {
    const { tenant, high, kinds, level: wanted } = this.body.dataset;
    const isWanted = (!kinds || kinds.split(" ").includes(kind)) && (!wanted || wanted === level);
    return !high && !this.isArchive && (!tenant || tenant === tenantId) && isWanted;
  }

  waitFor(event) {
    const id = event.notificationId;
    const isRead = this.facts.get(id, "read", false, event.version);
    if (this.isElsewhere(id, event.version) || (this.isUnreadOnly && isRead)) this.incoming.delete(id);
    else this.wait(id, String(event.version), () => this.made(event));
  }

  made(event) {
    const row = this.blank();
    row.id = `notification-${event.notificationId}`;
    Object.assign(row.dataset, {
      notification: event.notificationId, number: event.version, version: event.version, group: event.group,
      tenant: event.tenantId ?? "", level: event.level, read: "no",
    });
    const place = (name) => row.querySelector(`[data-field=${name}]`);
    for (const name of ["title", "message"]) setText(place(name), event[name]);
    setText(place("level"), json("inbox-levels")[event.level]);
    setText(place("tenant"), event.tenantId ? (json("inbox-tenants")[event.tenantId] ?? "") : "NEO_STACK");
    setTime(place("createdAt"), event.timestamp);
    if (event.link) place("title").href = event.link;
    row.querySelector("use").setAttribute("href", `#level-${event.level}`);
    row.querySelector("[name=id]").value = event.notificationId;
    this.dress(event.notificationId, row);
    return row;
  }

  /** Who lost a tenant sees nothing of it from then on: this is not left to wait behind Show. */
  leave({ reason, tenantId }) {
    if (!tenantId || !["removed", "suspended"].includes(reason)) return;
    for (const row of this.rows()) if (row.dataset.tenant === tenantId) this.drop(row);
    for (const [id, event] of this.arrived) {
      if (event.tenantId !== tenantId) continue;
      this.arrived.delete(id);
      this.incoming.delete(id);
    }
    this.announce();
  }

  drop(row) {
    this.gone.delete(this.key(row));
    row.remove();
    show(document.querySelector(`[data-live-empty="${this.body.id}"]`), this.rows().length === 0);
  }

  // --- What the server says ---

  /** A page that was made before the last event is taken as far as it goes; what is newer is put on top of it. */
  merge(fresh, morph) {
    super.merge(fresh, morph);
    const made = Number(fresh.dataset.version);
    this.body.dataset.version = Math.max(made, Number(this.body.dataset.version));
    for (const id of this.own) if (this.row(id)) this.mark(this.row(id), false);
    for (const id of this.facts.newerThan(made)) this.settle(id);
    for (const [id, { version }] of this.arrived) if (version > made) this.settle(id);
    this.announce();
  }

  /** What speaks of the same stands together, where its newest stands. */
  settled() {
    const rows = this.rows();
    for (const row of rows) this.dress(this.key(row), row);
    const newest = new Map();
    for (const { dataset } of rows) newest.set(dataset.group, Math.max(newest.get(dataset.group) ?? 0, Number(dataset.number)));
    const place = ({ dataset }) => [newest.get(dataset.group), Number(dataset.number)];
    const sorted = [...rows].sort((a, b) => place(b)[0] - place(a)[0] || place(b)[1] - place(a)[1]);
    if (sorted.some((row, at) => row !== rows[at])) this.body.append(...sorted);
    sorted.forEach((row, at) => row.toggleAttribute("data-continues", row.dataset.group === sorted[at - 1]?.dataset.group));
  }
}

register("inbox", InboxList);

function setRead(row, isRead) {
  row.dataset.read = isRead ? "yes" : "no";
  show(row.querySelector("[data-field=new]"), !isRead);
  const toggle = row.querySelector("[data-field=toggle]");
  toggle.value = isRead ? "mark_unread" : "read";
  setText(toggle, isRead ? "Mark unread" : "Mark read");
}

function setSolved(row, { by, at }) {
  const place = (name) => row.querySelector(`[data-field=${name}]`);
  setText(place("solvedBy"), by);
  setTime(place("solvedAt"), at);
  show(place("solved"), true);
}

// --- What a person does here -----------------------------------------------------------------------------------------

const ADDRESSES = {
  read: "read", mark_unread: "mark-unread", archive: "archive", unarchive: "unarchive", remove: "remove", restore: "restore", read_all: "read-all",
};
/** In the answer of each, what its ids have become: a field of inbox_update. */
const BECOMES = {
  read: "read", mark_unread: "markedUnread", archive: "archived", unarchive: "unarchived", remove: "removed", restore: "restored", read_all: "read",
};
/** What takes a row out of the list: what its line says then, and what undoes it. */
const LEAVING = {
  remove: ["Removed.", "restore"], archive: ["Put into the archive.", "unarchive"], unarchive: ["Moved to the inbox.", "archive"],
};

class Hand {
  constructor(list, live) {
    Object.assign(this, { list, live });
  }

  /** Raises where the server did not do it. */
  async ask(what, body) {
    const response = await this.live.post(`/api/notifications/${ADDRESSES[what]}`, body);
    if (!response.ok) throw new Error(`notifications: HTTP ${response.status}`);
    const { unread, version, ids } = await response.json();
    ring({ unread, version });
    if (ids.length) this.list.take({ type: "inbox_update", version, [BECOMES[what]]: ids });
    return ids;
  }

  submitted(event) {
    const form = event.target.closest?.("[data-inbox-form]");
    if (!form) return;
    event.preventDefault();
    const what = event.submitter.value;
    const row = form.closest("[data-notification]");
    const done = what === "read_all" ? this.readAll(form) : LEAVING[what] ? this.takeOut(row, what) : this.ask(what, { ids: [this.list.key(row)] });
    // What the script could not do, the form does by itself: its page says what is wrong.
    done.catch(() => form.isConnected && sendPlainly(form, what));
  }

  async takeOut(row, what) {
    const id = this.list.key(row);
    this.list.own.add(id);
    try {
      await this.ask(what, { ids: [id] });
    } catch (error) {
      this.list.own.delete(id);
      throw error;
    }
    this.offerUndo(row, id, ...LEAVING[what]);
  }

  offerUndo(row, id, words, undo) {
    const line = row.querySelector("[data-undo]");
    setText(line.querySelector("[data-field=goneWords]"), words);
    const hadFocus = row.contains(document.activeElement);
    row.classList.add("is-removed");
    line.hidden = false;
    const button = line.querySelector("[data-undoes]");
    if (hadFocus) button.focus();
    const isInUse = () => this.list.body.matches(":hover") || row.contains(document.activeElement);
    const timer = afterQuiet(UNDO_MS, isInUse, () => (this.list.own.delete(id), this.list.drop(row)));
    button.onclick = async () => {
      await this.ask(undo, { ids: [id] });
      clearInterval(timer);
      this.list.own.delete(id);
      row.classList.remove("is-removed");
      line.hidden = true;
      row.querySelector("[data-row-link]").focus();
    };
  }

  async readAll(form) {
    const body = { upTo: Number(document.getElementById("bell").dataset.version) };
    for (const name of ["tenant", "about", "level"]) if (form.elements[name]?.value) body[name] = form.elements[name].value;
    const ids = await this.ask("read_all", body);
    const place = document.getElementById("inbox-undone");
    if (!ids.length) return place.replaceChildren();
    const note = document.getElementById("undone").content.firstElementChild.cloneNode(true);
    setText(note.querySelector("[data-field=words]"), `${ids.length} marked as read`);
    place.replaceChildren(note);
    const timer = afterQuiet(UNDO_MS, () => note.matches(":hover, :focus-within"), () => note.remove());
    note.querySelector("[data-undoes]").onclick = async () => {
      for (let at = 0; at < ids.length; at += IDS_AT_ONCE) await this.ask("mark_unread", { ids: ids.slice(at, at + IDS_AT_ONCE) });
      clearInterval(timer);
      note.remove();
    };
  }

  /** Who opens what a notification speaks of has read it. */
  opened(event) {
    const row = event.target.closest?.("[data-row-link]")?.closest("[data-notification]");
    if (row?.dataset.read === "no") this.ask("read", { ids: [this.list.key(row)] }).catch(() => {});
  }
}

/** Run `end` after so long, and not while somebody is there. */
function afterQuiet(milliseconds, isInUse, end) {
  const until = Date.now() + milliseconds;
  const timer = setInterval(() => {
    if (Date.now() < until || isInUse()) return;
    clearInterval(timer);
    end();
  }, 250);
  return timer;
}

function sendPlainly(form, what) {
  const field = document.createElement("input");
  Object.assign(field, { type: "hidden", name: "do", value: what });
  form.append(field);
  form.submit();
}

export function start(body, live) {
  const list = listOf(body);
  list.needsPage = () => live.reload().catch(() => {});
  const hand = new Hand(list, live);
  const isMine = ({ type, userId }) => ["notification", "inbox_update", "access_changed"].includes(type) && userId === live.config.user;
  live.onEvent((event) => isMine(event) && list.take(event));
  document.addEventListener("submit", (event) => hand.submitted(event));
  document.addEventListener("click", (event) => hand.opened(event));
}
