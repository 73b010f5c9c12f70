// A panel that is read anew when an event of its types arrives: for what few people have open and changes seldom.
//
//   <section data-module="reread" data-types="access_changed ...">
//     ... [data-reread-pending] the bar that says what waits ...
//     <tbody id=... data-reread-rows> <tr id=... data-live-region data-version=...> ...
//
// With data-seconds="10" it is read at most that often, and only while somebody can see it: for what changes all the time.
// With data-every="30" it is read that often though nothing was heard, while somebody can see it: for what no event says.
// The list may be missing: then there are only regions. Rows change in place, as every region does that the page merges. One that came or went moves the others, so it waits
// behind "Show".

// Changes come in groups, and every page that is open asks at once.
const AFTER_MS = 150;
const SPREAD_MS = 350;

export function start(section, live) {
  const types = new Set(section.dataset.types.split(" "));
  const list = section.querySelector("[data-reread-rows]") && new RereadList(section);
  const everyMs = Number(section.dataset.seconds ?? 0) * 1_000;
  let timer = null;
  let nextAt = 0;
  const reread = () => {
    timer = null;
    if (everyMs && document.hidden) return document.addEventListener("visibilitychange", wake, { once: true });
    if (live.reloading) return live.reloading.catch(() => {}).then(wake); // it may have looked before this was so
    nextAt = Date.now() + everyMs;
    if (!live.isOver) live.reload().catch(() => {}); // the marks say what failed; the next poll tries again
  };
  const wake = () => (timer ??= setTimeout(reread, waiting(nextAt - Date.now())));
  live.onEvent(({ type }) => types.has(type) && wake());
  live.onCatchUp((fresh) => list?.compare(fresh));
  if (section.dataset.every) setInterval(() => document.hidden || wake(), Number(section.dataset.every) * 1_000);
}

const waiting = (leftMs) => Math.max(0, leftMs) + AFTER_MS + Math.random() * SPREAD_MS;

class RereadList {
  constructor(section) {
    this.rows = section.querySelector("[data-reread-rows]");
    this.pending = section.querySelector("[data-reread-pending]");
    this.pending.querySelector("a").addEventListener("click", (event) => (event.preventDefault(), this.show()));
    this.fresh = null;
  }

  /** Say what a fresh page has that this one has not, and the reverse. */
  compare(fresh) {
    this.fresh = fresh.getElementById(this.rows.id);
    if (!this.fresh) return;
    const [here, there] = [ids(this.rows), ids(this.fresh)];
    for (const row of this.rows.children) row.classList.toggle("has-ended", !there.has(row.id));
    const came = [...there].filter((id) => !here.has(id)).length;
    const went = [...here].filter((id) => !there.has(id)).length;
    const words = [came && `${came} new`, went && `${went} gone`].filter(Boolean).join(" · ");
    this.pending.querySelector("[data-field=pending]").textContent = words;
    this.pending.hidden = !words;
  }

  show() {
    const rows = [...this.fresh.children].map((row) => document.importNode(row, true));
    this.rows.replaceChildren(...rows);
    for (const empty of this.rows.closest("section").querySelectorAll(".empty")) empty.hidden = rows.length > 0;
    this.pending.hidden = true;
    this.rows.querySelector("a, button")?.focus({ preventScroll: true });
  }
}

const ids = (rows) => new Set([...rows.children].map((row) => row.id));
