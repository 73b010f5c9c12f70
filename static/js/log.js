// A deployment's log: lines by their numbers, never cleared, never doubled. What is not here is a gap that says so.
//
// Inside the view stand chunks of lines and gaps, in the order of their numbers. Lines go in at the end, or where a gap
// was; what is already there is not touched.

import { segments } from "./ansi.js";
import { clock, took } from "./times.js";

const CHUNK_LINES = 200;
// Lines written in one frame: as many as fit into its time, measured as they are written.
const FRAME_LINES = 100;
const FRAME_LINES_MIN = 100;
const FRAME_LINES_MAX = 300;
const FRAME_MS = 16;
const LOAD_LINES = 1_000;
const CATCH_UP_LINES = 5_000;
const KEPT_LINES = 50_000;
const LEAD_LINES = 100;
const MARKED_LINES = 1_000;
const END_PX = 4;
const STORE_WRAP = "neo-log-wrap";
const STORE_TIME = "neo-log-time";

/** `#L120` or `#L120-L135` as [from, to]; null for anything else. */
export function parseHash(hash) {
  const found = /^#L(\d+)(?:-L(\d+))?$/.exec(hash);
  if (!found) return null;
  const [from, to] = [Number(found[1]), Number(found[2] ?? found[1])];
  return [Math.min(from, to), Math.max(from, to)];
}

/** Of the lines of a block, those that are new after `last`, and the gap before them if some are missing. */
export function newLines(last, { line, log, level, timestamp }) {
  const texts = log.split("\n");
  const lines = texts.map((text, i) => ({ number: line + i, text, level, at: timestamp })).filter(({ number }) => number > last);
  return { lines, gap: lines.length && lines[0].number > last + 1 ? [last + 1, lines[0].number - 1] : null };
}

/** What is left of a gap once lines `from` to `to` were loaded: the parts before and after, null where nothing is. */
export function splitGap([low, high], from, to) {
  return [from > low ? [low, from - 1] : null, to < high ? [to + 1, high] : null];
}

class LogView {
  constructor(section, live) {
    this.section = section;
    this.live = live;
    this.view = section.querySelector("[data-log-view]");
    this.lineTemplate = section.querySelector("[data-line-template]").content.firstElementChild;
    this.gapTemplate = section.querySelector("[data-gap-template]").content.firstElementChild;
    this.started = section.dataset.started;
    this.last = Number(section.dataset.total);
    this.loaded = this.view.querySelectorAll(".l").length;
    this.queue = [];
    this.frameLines = FRAME_LINES;
    this.held = null;
    this.isFollowing = false;
    this.unseen = 0;
    this.lastTop = 0;
    this.matches = [];
    this.current = 0;
  }

  start(bind) {
    this.restore();
    this.view.addEventListener("scroll", () => this.scrolled(), { passive: true });
    this.view.addEventListener("click", (event) => this.clicked(event));
    this.view.addEventListener("keydown", (event) => event.key === "End" && !event.ctrlKey && this.follow());
    document.addEventListener("selectionchange", () => this.selected());
    window.addEventListener("hashchange", () => this.openHash());
    this.watchGaps();
    this.watchSizes();
    this.bindTools(bind);
    this.live.onEvent((event, channel) => this.take(event, channel));
    this.live.onCatchUp(() => this.catchUp());
    this.open();
  }

  // --- Opening: a link's line, a running log's end, a failed one's first error ---

  open() {
    const { ended, firstError } = this.section.dataset;
    if (parseHash(location.hash)) this.openHash();
    else if (new URLSearchParams(location.search).has("from")) this.stay();
    else if (!ended) this.follow();
    else if (firstError) this.goTo(Number(firstError));
    else this.view.scrollTop = this.view.scrollHeight;
  }

  async openHash() {
    const range = parseHash(location.hash);
    for (const line of this.view.querySelectorAll(".is-linked")) line.classList.remove("is-linked");
    if (!range) return;
    await this.goTo(range[0]);
    this.view.scrollIntoView({ block: "nearest" });
    for (let number = range[0]; number <= Math.min(range[1], range[0] + LOAD_LINES); number++) {
      this.line(number)?.classList.add("is-linked");
    }
  }

  line(number) {
    return document.getElementById(`L${number}`);
  }

  /** Bring a line into view, loading what is round it first. */
  async goTo(number) {
    this.stay();
    if (!this.line(number)) {
      const gap = this.gaps().find((each) => number >= each.range[0] && number <= each.range[1]);
      if (!gap) return null;
      await this.load(gap.node, Math.max(gap.range[0], number - LEAD_LINES), Math.min(gap.range[1], number + LEAD_LINES));
    }
    const line = this.line(number);
    if (line) this.center(line);
    return line;
  }

  /** Within the view only: opening a page must not scroll it past its own heading. */
  center(line) {
    const frame = this.view.getBoundingClientRect();
    const place = line.getBoundingClientRect();
    this.view.scrollTop += place.top - frame.top - (frame.height - place.height) / 2;
    this.lastTop = this.view.scrollTop;
  }

  // --- New lines ---

  /** Warnings also go to the tenant's channel, where they overtake the lines before them: only our own channel counts. */
  take(event, channel) {
    if (event.type === "deployment_update" && event.deploymentId === this.deploymentId()) {
      this.started ||= event.data.startedAt ?? "";
    }
    if (event.type !== "deployment_log" || channel !== this.section.dataset.log) return;
    if (this.held) this.held.push(event);
    else this.add(event);
  }

  deploymentId() {
    return this.section.dataset.log.split(":").at(-1);
  }

  add(block) {
    const { lines, gap } = newLines(this.last, block);
    if (!lines.length) return;
    if (gap) this.queue.push({ gap });
    for (const line of lines) this.queue.push({ line });
    this.last = lines.at(-1).number;
    this.writeSoon();
  }

  writeSoon() {
    this.frame ??= requestAnimationFrame(() => this.write());
  }

  /** One write a frame, of so many lines that it stays short. */
  write() {
    this.frame = null;
    const began = performance.now();
    const batch = this.queue.splice(0, this.frameLines);
    for (const { line, gap } of batch) {
      if (gap) this.view.append(this.makeGap(gap, "missing"));
      else this.openChunk().append(this.makeLine(line));
    }
    const count = batch.filter(({ line }) => line).length;
    this.loaded += count;
    this.section.querySelector("[data-line-count]").textContent = this.last;
    this.section.querySelector("[data-log-empty]").hidden = true;
    if (this.isFollowing) this.toEnd();
    else this.countUnseen(count);
    this.adapt(batch.length, performance.now() - began);
    if (this.queue.length) this.writeSoon();
    else if (this.isFollowing) this.dropOldest();
  }

  adapt(count, milliseconds) {
    if (count < this.frameLines) return;
    const fitting = Math.round((count * FRAME_MS) / Math.max(1, milliseconds));
    this.frameLines = Math.min(FRAME_LINES_MAX, Math.max(FRAME_LINES_MIN, fitting));
  }

  openChunk() {
    const tail = this.view.lastElementChild;
    if (tail?.classList.contains("chunk") && tail.childElementCount < CHUNK_LINES) return tail;
    const chunk = this.view.appendChild(makeChunk());
    this.sizes.observe(chunk);
    return chunk;
  }

  makeLine({ number, text, level, at }) {
    const node = this.lineTemplate.cloneNode(true);
    const [link, time, content] = node.children;
    node.id = `L${number}`;
    node.dataset.at = at;
    if (level !== "info") node.dataset.level = level;
    link.href = `#L${number}`;
    link.dataset.n = number;
    link.setAttribute("aria-label", `Line ${number}`);
    this.setTime(time, at);
    for (const [classes, part] of segments(text)) content.append(classes ? makeSpan(classes, part) : part);
    return node;
  }

  /** Far more lines than anybody reads: the oldest go back behind a gap. */
  dropOldest() {
    if (this.loaded <= KEPT_LINES) return;
    const chunk = this.view.querySelector(".chunk");
    const [first, last] = [chunk.firstElementChild, chunk.lastElementChild].map((node) => Number(node.id.slice(1)));
    const before = chunk.previousElementSibling;
    const low = before?.matches("[data-gap]") ? Number(before.dataset.from) : first;
    before?.remove();
    this.loaded -= chunk.childElementCount;
    chunk.replaceWith(this.makeGap([low, last]));
  }

  /** Ask for the lines after the last number; events that arrive meanwhile wait their turn. */
  async catchUp() {
    this.held ??= [];
    try {
      let missing = CATCH_UP_LINES;
      let answer;
      do {
        answer = await this.fetchLines(this.last, LOAD_LINES);
        for (const line of answer.lines) this.addLine(line);
        missing -= answer.lines.length;
      } while (answer.lines.length && answer.last > this.last && missing > 0);
      this.leaveGap(answer.last);
    } finally {
      const held = this.held;
      this.held = null;
      for (const block of held) this.add(block);
    }
  }

  /** More was missed than one waits for: the rest is a gap, to be loaded by whoever wants to read it. */
  leaveGap(last) {
    if (last <= this.last) return;
    this.queue.push({ gap: [this.last + 1, last] });
    this.last = last;
    this.writeSoon();
  }

  addLine({ number, level, at, text }) {
    this.add({ line: number, log: text, level, timestamp: at });
  }

  async fetchLines(after, limit) {
    const response = await fetch(`${this.section.dataset.linesUrl}?after=${after}&limit=${limit}`, { credentials: "same-origin" });
    if (!response.ok) throw new Error(`log lines: HTTP ${response.status}`);
    const { lines, last } = await response.json();
    return { lines: lines.map(([number, level, at, text]) => ({ number, level, at, text })), last };
  }

  /** A chunk that comes into sight gets its true height then, and the end moves: whoever follows goes along. */
  watchSizes() {
    this.sizes = new ResizeObserver(() => this.isFollowing && !this.isAtEnd() && this.toEnd());
    for (const chunk of this.view.querySelectorAll(".chunk")) this.sizes.observe(chunk);
  }

  // --- Gaps ---

  gaps() {
    return [...this.view.querySelectorAll("[data-gap]")].map((node) => ({ node, range: gapRange(node) }));
  }

  makeGap(range, word = "") {
    const node = this.gapTemplate.cloneNode(true);
    node.dataset.from = range[0];
    node.dataset.to = range[1];
    node.querySelector("[data-field=gap]").textContent = `Lines ${range[0]}–${range[1]}${word && ` ${word}`}`;
    node.querySelector("a").href = `?from=${range[0]}`;
    if (word) node.dataset.word = word;
    this.watcher?.observe(node);
    return node;
  }

  /** Gaps fill themselves as one scrolls near, except lines that went missing: those say so until asked for. */
  watchGaps() {
    this.watcher = new IntersectionObserver(
      (entries) => entries.forEach(({ isIntersecting, target }) => isIntersecting && !target.dataset.word && this.loadNear(target)),
      { root: this.view, rootMargin: "400px 0px" },
    );
    for (const { node } of this.gaps()) this.watcher.observe(node);
  }

  /** The part of a gap that is next to what one reads: its end when it stands above, else its beginning. */
  loadNear(gap) {
    const [low, high] = gapRange(gap);
    const isAbove = gap.nextElementSibling && gap.offsetTop < this.view.scrollTop + this.view.clientHeight / 2;
    return isAbove ? this.load(gap, Math.max(low, high - LOAD_LINES + 1), high) : this.load(gap, low, Math.min(high, low + LOAD_LINES - 1));
  }

  async load(gap, from, to) {
    if (gap.dataset.loading) return;
    gap.dataset.loading = "yes";
    try {
      const lines = [];
      while (from + lines.length <= to) {
        const answer = await this.fetchLines(from + lines.length - 1, Math.min(LOAD_LINES, to - from - lines.length + 1));
        if (!answer.lines.length) break;
        lines.push(...answer.lines);
      }
      this.fillGap(gap, from, to, lines);
    } catch {
      // The gap still says which lines are missing; its link is the way to try again.
      delete gap.dataset.loading;
    }
  }

  fillGap(gap, from, to, lines) {
    const [before, after] = splitGap(gapRange(gap), from, to);
    const chunks = [];
    for (let i = 0; i < lines.length; i += CHUNK_LINES) {
      const chunk = makeChunk();
      // Measured once, so that the browser knows its height when it is out of sight.
      chunk.classList.add("is-measured");
      chunk.append(...lines.slice(i, i + CHUNK_LINES).map((line) => this.makeLine(line)));
      chunks.push(chunk);
    }
    const anchor = this.anchor(gap);
    const top = anchor?.getBoundingClientRect().top;
    gap.replaceWith(...[before && this.makeGap(before), ...chunks, after && this.makeGap(after)].filter(Boolean));
    this.loaded += lines.length;
    if (anchor) this.view.scrollTop += anchor.getBoundingClientRect().top - top;
    this.lastTop = this.view.scrollTop;
    requestAnimationFrame(() => requestAnimationFrame(() => chunks.forEach((chunk) => chunk.classList.remove("is-measured"))));
    this.markMatches();
  }

  /** What must not move when a gap opens: the first line in sight, wherever the gap is. */
  anchor(gap) {
    const frame = this.view.getBoundingClientRect();
    const found = document.elementFromPoint(frame.left + 10, frame.top + Math.min(60, frame.height / 2))?.closest(".l");
    if (found && this.view.contains(found)) return found;
    return gap.nextElementSibling?.querySelector(".l") ?? null;
  }

  // --- Follow and Stay ---

  follow() {
    this.isFollowing = true;
    this.countUnseen(-this.unseen);
    this.showFollow();
    this.toEnd();
  }

  stay() {
    this.isFollowing = false;
    this.showFollow();
  }

  toEnd() {
    this.view.scrollTop = this.view.scrollHeight;
    this.lastTop = this.view.scrollTop;
  }

  isAtEnd() {
    return this.view.scrollTop + this.view.clientHeight >= this.view.scrollHeight - END_PX;
  }

  /** Moving up is staying; only the end, the End key or the button follows again. */
  scrolled() {
    const top = this.view.scrollTop;
    if (this.isFollowing && top < this.lastTop && !this.isAtEnd()) this.stay();
    else if (!this.isFollowing && top > this.lastTop && this.isAtEnd()) this.follow();
    this.lastTop = top;
  }

  selected() {
    const selection = document.getSelection();
    if (this.isFollowing && !selection.isCollapsed && this.view.contains(selection.anchorNode)) this.stay();
  }

  countUnseen(more) {
    this.unseen += more;
    const button = this.section.querySelector("[data-new-lines]");
    button.hidden = this.unseen <= 0;
    button.querySelector("[data-field=count]").textContent = `${this.unseen} new line${this.unseen === 1 ? "" : "s"}`;
  }

  showFollow() {
    this.section.querySelector("[data-log-follow]").setAttribute("aria-pressed", this.isFollowing);
  }

  // --- Tools ---

  clicked(event) {
    const link = event.target.closest("a");
    if (!link) return;
    const gap = link.closest("[data-gap]");
    if (gap) {
      event.preventDefault();
      this.loadNear(gap);
    } else if (link.dataset.n) {
      event.preventDefault();
      this.linkTo(Number(link.dataset.n), event.shiftKey);
    }
  }

  linkTo(number, isRange) {
    const known = isRange && parseHash(location.hash);
    const hash = known && known[0] !== number ? `#L${Math.min(known[0], number)}-L${Math.max(known[0], number)}` : `#L${number}`;
    history.replaceState(null, "", hash);
    this.stay();
    for (const line of this.view.querySelectorAll(".is-linked")) line.classList.remove("is-linked");
    const [from, to] = parseHash(hash);
    for (let each = from; each <= to; each++) this.line(each)?.classList.add("is-linked");
  }

  bindTools(bind) {
    const tool = (name) => this.section.querySelector(`[data-log-${name}]`);
    const toggleFollow = () => (this.isFollowing ? this.stay() : this.follow());
    tool("follow").addEventListener("click", toggleFollow);
    tool("wrap").addEventListener("click", () => this.setWrap(!this.isWrapped()));
    tool("time").addEventListener("change", (event) => this.setTimes(event.target.value));
    tool("search").addEventListener("submit", (event) => this.submitted(event));
    tool("search").addEventListener("input", () => this.forgetMatches());
    this.section.querySelector("[data-new-lines]").addEventListener("click", () => (this.follow(), this.view.focus()));
    this.section.querySelector("[data-no-script-only]")?.remove();
    bind("f", toggleFollow);
    bind("w", () => this.setWrap(!this.isWrapped()));
    bind("n", () => this.toMatch(1));
    bind("N", () => this.toMatch(-1));
    bind("e", () => this.toNextError());
    bind("End", () => this.follow());
  }

  restore() {
    this.setWrap(localStorage.getItem(STORE_WRAP) !== "off");
    const mode = localStorage.getItem(STORE_TIME) ?? "none";
    this.section.querySelector("[data-log-time]").value = mode;
    this.setTimes(mode);
  }

  isWrapped() {
    return !this.section.classList.contains("no-wrap");
  }

  setWrap(isOn) {
    this.section.classList.toggle("no-wrap", !isOn);
    this.section.querySelector("[data-log-wrap]").setAttribute("aria-pressed", isOn);
    localStorage.setItem(STORE_WRAP, isOn ? "on" : "off");
    if (this.isFollowing) this.toEnd();
  }

  /** None, elapsed since the start, or the clock; a few chunks a frame, so that a long log doesn't stop the page. */
  setTimes(mode) {
    this.timeMode = mode;
    localStorage.setItem(STORE_TIME, mode);
    const chunks = [...this.view.querySelectorAll(".chunk")];
    const some = () => {
      if (this.timeMode !== mode) return;
      for (const chunk of chunks.splice(0, 5)) for (const line of chunk.children) this.setTime(line.children[1], line.dataset.at);
      if (chunks.length) requestAnimationFrame(some);
    };
    some();
  }

  setTime(node, at) {
    if (this.timeMode === "clock") node.dataset.t = clock(at);
    else if (this.timeMode === "elapsed" && this.started) node.dataset.t = took(Date.parse(at) - Date.parse(this.started));
    else delete node.dataset.t;
  }

  // --- Search: on the server, over the whole log ---

  async submitted(event) {
    event.preventDefault();
    const { q, level } = Object.fromEntries(new FormData(event.target));
    if (this.query === q && this.level === level && this.matches.length) return this.toMatch(1);
    await this.search(q, level);
    await this.toMatch(0);
  }

  async search(query, level) {
    if (!query && !level) return this.forgetMatches();
    const response = await fetch(`${this.section.dataset.searchUrl}?${new URLSearchParams({ q: query, level })}`, { credentials: "same-origin" });
    if (!response.ok) return this.sayFound("Search did not answer. Try again.");
    const { matches, isCut } = await response.json();
    Object.assign(this, { query, level, matches, isCut, match: 0 });
    this.markMatches();
  }

  forgetMatches() {
    Object.assign(this, { query: "", level: "", matches: [] });
    this.sayFound("");
    globalThis.CSS?.highlights?.delete("log-match");
  }

  async toMatch(step) {
    if (!this.matches.length) return this.sayFound(this.query || this.level ? "Nothing found" : "");
    this.match = (this.match + step + this.matches.length) % this.matches.length;
    this.sayFound(`${this.match + 1} / ${this.matches.length}${this.isCut ? "+" : ""}`);
    await this.goToCurrent(this.matches[this.match]);
  }

  async goToCurrent(number) {
    this.view.querySelector(".is-current")?.classList.remove("is-current");
    this.current = number;
    (await this.goTo(number))?.classList.add("is-current");
    this.markMatches();
  }

  async toNextError() {
    const response = await fetch(`${this.section.dataset.searchUrl}?level=error`, { credentials: "same-origin" });
    if (!response.ok) return this.sayFound("Search did not answer. Try again.");
    const { matches } = await response.json();
    if (!matches.length) return this.sayFound("No error");
    await this.goToCurrent(matches.find((number) => number > this.current) ?? matches[0]);
  }

  sayFound(text) {
    const found = this.section.querySelector("[data-found]");
    found.textContent = text;
    found.hidden = !text;
  }

  /** Painted by the browser over the text: no line's nodes change. */
  markMatches() {
    if (!globalThis.CSS?.highlights || !this.query) return;
    const at = this.matches.findIndex((number) => number >= this.current);
    const near = this.matches.slice(Math.max(0, at - MARKED_LINES / 2), Math.max(0, at) + MARKED_LINES / 2);
    const ranges = near.flatMap((number) => rangesIn(this.line(number)?.lastElementChild, this.query.toLowerCase()));
    CSS.highlights.set("log-match", new Highlight(...ranges));
  }
}

const gapRange = ({ dataset }) => [Number(dataset.from), Number(dataset.to)];

function makeChunk() {
  const chunk = document.createElement("div");
  chunk.className = "chunk";
  return chunk;
}

function makeSpan(classes, text) {
  const span = document.createElement("span");
  span.className = classes;
  span.textContent = text;
  return span;
}

/** Where `query` stands in a line whose text is spread over coloured spans. */
function rangesIn(node, query) {
  if (!node) return [];
  const parts = [];
  const walker = document.createTreeWalker(node, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) parts.push(walker.currentNode);
  const text = parts.map((part) => part.data).join("").toLowerCase();
  const found = [];
  for (let at = text.indexOf(query); at >= 0; at = text.indexOf(query, at + query.length)) {
    const range = new Range();
    range.setStart(...place(parts, at));
    range.setEnd(...place(parts, at + query.length));
    found.push(range);
  }
  return found;
}

function place(parts, offset) {
  let left = offset;
  for (const part of parts) {
    if (left <= part.length) return [part, left];
    left -= part.length;
  }
  return [parts.at(-1), parts.at(-1).length];
}

export function start(section, live, bind) {
  new LogView(section, live).start(bind);
}
