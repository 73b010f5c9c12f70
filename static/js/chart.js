// Metrics on a page: charts with their history, the figures above them, and whether samples arrive at all. The server
// renders all of it, the table included; here a `metrics_update` moves figures and the charts' last point, and one line
// of time goes through every chart of the panel, by mouse or by arrow keys.
//
//   <div data-module="chart">                 the panel; what chart_data() of portal/charts.py gives stands in
//     <script type="application/json" id="chart-data">     a region that is merged on reload
//     <figure data-chart="percent">           one chart: [data-plot] is drawn into, [data-line=name] [data-field=value]
//   [data-figures] [data-metric=name]         figures, anywhere on the page; data-version is the newest shown
//   [data-samples]                            whether samples arrive

import { sayVerdict } from "./rows.js";
import { ago, clock, exact } from "./times.js";

const PREFIXES = ["", "k", "M", "G", "T"];
const STEP = 1000;
const COLOURS = ["--chart-1", "--chart-2", "--chart-3", "--chart-4"];
// With home.css's .line-1 to .line-4: a colour is never alone.
const DASHES = [[], [7, 4], [2, 3], [10, 3, 2, 3]];
const SPOKEN_AFTER_MS = 500;
const TICK_MS = 1_000;
const PAGE_OF_POINTS = 10;
const LABEL_PX = 14;
const GAP_WORDS = "no samples";

// --- Words: those of portal/figures.py, which portal/tests/figures.json holds to these -------------------------------

export function value(number, unit) {
  if (unit === "%") return `${rounded(number, 1)} %`;
  if (unit === "B" || unit === "B/s") return amountOfBytes(number, unit);
  return `${short(number)} ${unit}`.trim();
}

function amountOfBytes(number, unit) {
  let power = 0;
  for (; power < PREFIXES.length - 1 && Math.abs(number) >= STEP - 0.5; power++) number /= STEP;
  return `${power ? short(number) : rounded(number, 0)} ${PREFIXES[power]}${unit}`;
}

function short(number) {
  const size = Math.abs(number);
  return rounded(number, size >= 99.95 ? 0 : size >= 9.995 ? 1 : 2);
}

function rounded(number, digits) {
  const [whole, part] = Math.abs(number).toFixed(digits).split(".");
  const text = whole.replace(/\B(?=(\d{3})+$)/g, ",") + (part ? `.${part}` : "");
  return number < 0 && /[1-9]/.test(text) ? `-${text}` : text;
}

const words = (number, unit) => (number === null || number === undefined ? GAP_WORDS : value(number, unit));

// --- Points ----------------------------------------------------------------------------------------------------------

/**
 * How fast a counter rose in each step but the first, per second, from how much it rose. Of the last step nothing can be
 * said yet. As in monitoring/series.py: monitoring/tests/rates.json holds the two to each other.
 */
export function rates(rises, step) {
  const found = [];
  let steps = rises[0] === null ? 0 : 1; // since the last sample; 0 while none is known
  for (const rise of rises.slice(1)) {
    if (rise === null) {
      found.push(null);
      if (steps) steps += 1;
    } else {
      found.push(steps ? rise / (steps * step) : null);
      steps = 1;
    }
  }
  return [...found.slice(0, -1), null];
}

/**
 * Points where each stands until the next, for `lasts` steps at most; before the first that one, where it is no further
 * away. What is null then is a gap. As in monitoring/series.py: monitoring/tests/standing.json holds the two to each other.
 */
export function standing(points, lasts) {
  const first = points.findIndex((point) => point !== null);
  let known = first < lasts ? (points[first] ?? null) : null;
  let age = 0;
  return points.map((point) => {
    if (point !== null) [known, age] = [point, 0];
    return age++ < lasts ? known : null;
  });
}

/**
 * Means on one grid of time: `values[name][i]` is that of the step which begins at `start + i * step` (seconds). A
 * counter's are how fast it rose, from `rises[name]`, how much it rose, which begin a step earlier; `counted[name]` is
 * its newest value; `lasts[name]`, for how many steps its values stand, where that is more than one.
 */
export class Series {
  constructor({ start, step, size, values, version, sampledAt = {}, rises = {}, counted = {}, lasts = {} }) {
    Object.assign(this, { start, step, size, version, sampledAt, lasts });
    this.counted = { ...counted };
    this.rises = Object.fromEntries(Object.entries(rises).map(([name, points]) => [name, [...points]]));
    this.values = Object.fromEntries(Object.entries(values).map(([name, points]) => [name, [...points]]));
    this.heard = new Map(); // name -> {index's time, sum, count} of the step that is being filled
  }

  get times() {
    return Array.from({ length: this.size }, (_, index) => this.start + index * this.step);
  }

  /** Let the window end with the step of this moment. Says whether it moved. */
  reach(seconds) {
    const behind = Math.floor((seconds - this.start) / this.step) - (this.size - 1);
    if (behind <= 0) return false;
    this.start += behind * this.step;
    for (const points of Object.values(this.values)) {
      points.splice(0, behind);
      while (points.length < this.size) points.push(null);
    }
    for (const [name, points] of Object.entries(this.rises)) {
      points.splice(0, behind);
      while (points.length < this.size + 1) points.push(null);
      this.values[name] = rates(points, this.step);
    }
    return true;
  }

  /** The newest value of each metric, each at its own moment: what is not newer than what is here is left out. */
  take({ version, timestamp, metrics, sampledAt = {} }) {
    if (version <= this.version) return false;
    this.version = version;
    const hasMoved = this.reach(Date.parse(timestamp) / 1000);
    const names = Object.keys(this.values).filter((name) => name in metrics);
    return names.filter((name) => this.put(name, metrics[name], sampledAt[name] ?? timestamp)).length > 0 || hasMoved;
  }

  put(name, number, moment) {
    if (Date.parse(moment) <= Date.parse(this.sampledAt[name] ?? 0)) return false; // no sample of it came
    this.sampledAt = { ...this.sampledAt, [name]: moment };
    // A sender's clock may be a little ahead.
    const index = Math.min(Math.floor((Date.parse(moment) / 1000 - this.start) / this.step), this.size - 1);
    if (index < 0) return false;
    if (this.rises[name]) {
      this.rises[name][index + 1] = (this.rises[name][index + 1] ?? 0) + this.risen(name, number);
      this.values[name] = rates(this.rises[name], this.step);
      return true;
    }
    this.values[name][index] = this.mean(name, index, this.values[name][index], number);
    return true;
  }

  /** What a counter's newest value adds. One that fell has begun anew, at 0. */
  risen(name, number) {
    const before = this.counted[name] ?? number;
    this.counted[name] = number;
    return number >= before ? number - before : number;
  }

  mean(name, index, known, number) {
    const at = this.start + index * this.step;
    let heard = this.heard.get(name);
    if (heard?.at !== at) heard = { at, sum: known ?? 0, count: known === null ? 0 : 1 };
    heard.sum += number;
    heard.count += 1;
    this.heard.set(name, heard);
    return heard.sum / heard.count;
  }

  /** What is drawn and said of a series. */
  shown(name) {
    return standing(this.values[name], this.lasts[name] ?? 1);
  }

  /** Runs of steps in which of none of these anything is known, as [first, last]. A step that has only begun is no gap yet. */
  gaps(names) {
    const found = [];
    const lines = names.map((name) => this.shown(name));
    for (let index = 0; index < this.size; index++) {
      if (lines.some((points) => points[index] !== null)) continue;
      if (found.at(-1)?.[1] === index - 1) found.at(-1)[1] = index;
      else found.push([index, index]);
    }
    return found.filter(([first]) => first < this.size - 1);
  }

  /** Points with a gap on both sides: no line leads to them. */
  lonely(name) {
    const points = this.shown(name);
    const isThere = (index) => points[index] !== null && points[index] !== undefined;
    return points.flatMap((_, index) => (isThere(index) && !isThere(index - 1) && !isThere(index + 1) ? [index] : []));
  }

  newest(name) {
    return this.values[name].findLast((number) => number !== null) ?? null;
  }
}

/** What a chart says of one moment: "15:04, CPU 12.3 %, Memory no samples". */
export function spoken(series, lines, index, time) {
  return [time, ...lines.map(({ name, word, unit }) => `${word} ${words(series.shown(name)[index], unit)}`)].join(", ");
}

/** The next index for a key, null for "no moment any more", undefined for a key that is not ours. */
export function moved(key, isFar, index, size) {
  const step = { ArrowLeft: -1, ArrowRight: 1, PageUp: -PAGE_OF_POINTS, PageDown: PAGE_OF_POINTS }[key];
  if (key === "Escape") return index === null ? undefined : null;
  if (key === "Home") return 0;
  if (key === "End") return size - 1;
  if (!step) return undefined;
  if (index === null) return size - 1;
  return Math.max(0, Math.min(size - 1, index + step * (isFar ? PAGE_OF_POINTS : 1)));
}

// --- Times of the chart's zone, in 24 hours ----------------------------------------------------------------------------

export class Zone {
  constructor(name) {
    const given = { timeZone: name, hourCycle: "h23" };
    this.name = name;
    this.minute = new Intl.DateTimeFormat("en-GB", { ...given, hour: "2-digit", minute: "2-digit" });
    this.day = new Intl.DateTimeFormat("en-GB", { ...given, day: "numeric", month: "short" });
  }

  /** "15:04", with the day where the steps are hours. */
  moment(seconds, step) {
    const time = this.minute.format(seconds * 1000);
    return step < 3600 ? time : `${this.day.format(seconds * 1000)}, ${time}`;
  }

  /** A mark on the axis: midnight is said by its day. */
  tick(seconds) {
    const time = this.minute.format(seconds * 1000);
    return time === "00:00" ? this.day.format(seconds * 1000) : time;
  }
}

// --- Charts ------------------------------------------------------------------------------------------------------------

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const setText = (node, text) => node && node.textContent !== text && (node.textContent = text);

class Chart {
  constructor(figure, panel) {
    this.figure = figure;
    this.panel = panel;
    this.place = figure.querySelector("[data-plot]");
    this.setData(panel.data.charts.find(({ id }) => id === figure.dataset.chart));
    this.place.replaceChildren();
    this.plot = new uPlot(this.options(), this.columns(), this.place);
    this.place.addEventListener("keydown", (event) => this.pressed(event));
    new ResizeObserver(() => this.plot.setSize(this.size())).observe(this.place);
  }

  setData({ unit, lines }) {
    this.unit = unit;
    this.lines = lines.map((line) => ({ ...line, unit }));
    this.names = lines.map(({ name }) => name);
  }

  size() {
    return { width: this.place.clientWidth, height: this.place.clientHeight };
  }

  columns() {
    const { series } = this.panel;
    return [series.times, ...this.names.map((name) => series.shown(name))];
  }

  options() {
    const axis = {
      stroke: () => colour("--muted"),
      grid: { stroke: () => colour("--line"), width: 1 },
      ticks: { show: false },
      font: `11px ${getComputedStyle(document.body).fontFamily}`,
    };
    return {
      ...this.size(),
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), this.panel.zone.name),
      legend: { show: false },
      padding: [8, 20, 0, 0], // half of the last time below it
      cursor: {
        sync: { key: this.panel.element.id },
        y: false,
        drag: { x: false, y: false },
        points: { size: 7, width: 2, stroke: () => colour("--surface"), fill: (plot, index) => colour(COLOURS[index - 1]) },
      },
      scales: { x: { range: () => this.panel.window() }, y: { range: (plot, low, high) => this.range(low, high) } },
      axes: [
        { ...axis, size: 26, space: 64, values: (plot, splits) => splits.map((at) => this.panel.zone.tick(at)) },
        { ...axis, size: 58, space: 32, values: (plot, splits) => splits.map((number) => this.tick(number)) },
      ],
      series: [{}, ...this.names.map((name, index) => this.line(name, index))],
      hooks: { drawClear: [(plot) => this.drawGaps(plot)], setCursor: [({ cursor }) => this.say(cursor.idx)] },
    };
  }

  line(name, index) {
    return {
      stroke: () => colour(COLOURS[index]),
      dash: DASHES[index],
      width: 1.75,
      points: { size: 4, fill: () => colour(COLOURS[index]), filter: () => this.panel.series.lonely(name) },
    };
  }

  tick(number) {
    return this.unit === "%" ? `${number} %` : value(number, this.unit).replace(/\.0+(?= |$)/, "").replace(/(\.\d)0(?= |$)/, "$1");
  }

  /** Percent is of a hundred; what can't be below zero starts there. */
  range(low, high) {
    if (this.unit === "%" && !(high > 100)) return [Math.min(0, low ?? 0), 100];
    if (high === null || (high <= 0 && low >= 0)) return [0, 1];
    return [Math.min(0, low), high > 0 ? high * 1.1 : 0];
  }

  drawGaps(plot) {
    const { ctx, bbox } = plot;
    const { series } = this.panel;
    ctx.save();
    for (const [first, last] of series.gaps(this.names)) {
      // From the last point before it to the first one after it: there no line is drawn.
      const from = plot.valToPos(series.start + Math.max(0, first - 1) * series.step, "x", true);
      const to = Math.min(plot.valToPos(series.start + (last + 1) * series.step, "x", true), bbox.left + bbox.width);
      const left = Math.max(from, bbox.left);
      ctx.fillStyle = colour("--sunken");
      ctx.fillRect(left, bbox.top, to - left, bbox.height);
      this.label(ctx, (left + to) / 2, bbox.top + bbox.height / 2, to - left);
    }
    ctx.restore();
  }

  /** The words in a gap: upright where it is narrow, none where even that has no room. */
  label(ctx, x, y, width) {
    const ratio = devicePixelRatio;
    ctx.font = `${11 * ratio}px ${getComputedStyle(document.body).fontFamily}`;
    if (width < LABEL_PX * ratio) return;
    ctx.save();
    ctx.translate(x, y);
    if (width < ctx.measureText(GAP_WORDS).width + LABEL_PX * ratio) ctx.rotate(-Math.PI / 2);
    ctx.fillStyle = colour("--muted");
    ctx.textAlign = "center";
    ctx.textBaseline = "middle";
    ctx.fillText(GAP_WORDS, 0, 0);
    ctx.restore();
  }

  /** The legend's values: of the moment pointed at, else the newest. */
  say(index) {
    const { series } = this.panel;
    for (const { name, unit } of this.lines) {
      const number = index === null || index === undefined ? series.newest(name) : series.shown(name)[index];
      setText(this.figure.querySelector(`[data-line="${CSS.escape(name)}"] [data-field=value]`), words(number, unit));
    }
    this.panel.point(index ?? null);
  }

  pressed(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const index = moved(event.key, event.shiftKey, this.panel.index, this.panel.series.size);
    if (index === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    this.pointAt(index);
    this.panel.speak(index === null ? null : () => spoken(this.panel.series, this.lines, index, this.panel.moment(index)));
  }

  pointAt(index) {
    const { start, step } = this.panel.series;
    const left = index === null ? -10 : this.plot.valToPos(start + index * step, "x");
    this.plot.setCursor({ left, top: index === null ? -10 : this.place.clientHeight / 3 }, true, true); // told to the others
  }

  draw() {
    this.plot.setData(this.columns());
    if (this.panel.index === null) this.say(null);
  }

  paint() {
    this.plot.redraw(false, false);
  }
}

class Panel {
  constructor(element, announcer) {
    this.element = element;
    this.announcer = announcer;
    this.index = null;
    this.read();
    this.charts = [...element.querySelectorAll("[data-chart]")].map((figure) => new Chart(figure, this));
    new MutationObserver(() => this.charts.forEach((chart) => chart.paint())).observe(document.documentElement, {
      attributeFilter: ["data-bs-theme"],
    });
  }

  read() {
    this.data = JSON.parse(this.element.querySelector("#chart-data").textContent);
    this.series = new Series(this.data);
    this.zone = new Zone(this.data.zone);
    this.skew = this.data.now - Date.now() / 1000; // the server's clock is the one that samples are shown by
  }

  now() {
    return Date.now() / 1000 + this.skew;
  }

  /** Seconds shown: to the end of the step that is being filled. */
  window() {
    const { start, step, size } = this.series;
    return [start, start + (size - 1) * step];
  }

  moment(index) {
    return this.zone.moment(this.series.start + index * this.series.step, this.series.step);
  }

  point(index) {
    if (this.index === index) return;
    this.index = index;
    setText(this.element.querySelector("[data-field=moment]"), index === null ? "Latest" : this.moment(index));
  }

  speak(sentence) {
    clearTimeout(this.speaking);
    if (sentence) this.speaking = setTimeout(() => setText(this.announcer, sentence()), SPOKEN_AFTER_MS);
  }

  take(event) {
    if (this.series.take(event)) this.draw();
  }

  tick() {
    if (this.series.reach(this.now())) this.draw();
  }

  draw() {
    for (const chart of this.charts) chart.draw();
  }

  /** The page was read anew: its data is the truth, unless something newer came meanwhile. */
  catchUp() {
    const { version } = this.series;
    const heard = JSON.parse(this.element.querySelector("#chart-data").textContent).version;
    if (heard < version) return;
    this.read();
    for (const chart of this.charts) {
      const data = this.data.charts.find(({ id }) => id === chart.figure.dataset.chart);
      if (data && String(data.lines.map(({ name }) => name)) === String(chart.names)) chart.draw();
    }
  }
}

// --- Figures -----------------------------------------------------------------------------------------------------------

/** Put a `metrics_update` into the figures. Repeated or late, the newest version stays. */
export function fillFigures(event, root = document) {
  for (const figures of root.querySelectorAll("[data-figures]")) {
    if (Number(figures.dataset.version) >= event.version) continue;
    figures.dataset.version = event.version;
    for (const [name, number] of Object.entries(event.metrics)) fillFigure(figures, name, number, measuredAt(event, name));
  }
}

/** An event has every metric; when each was sampled stands beside. */
const measuredAt = ({ sampledAt, timestamp }, name) => sampledAt?.[name] ?? timestamp;

function fillFigure(figures, name, number, moment) {
  const figure = figures.querySelector(`[data-metric="${CSS.escape(name)}"]`);
  if (!figure) return offer(figures, name);
  setText(figure.querySelector("[data-field=value]"), value(number, figure.dataset.unit));
  const time = figure.querySelector("time");
  time.dateTime = moment;
  time.title = exact(moment);
  setText(time, ago(moment));
}

/** A metric that has no place here yet waits: a figure that appears would move what is being read. */
function offer(figures, name) {
  const bar = document.querySelector("[data-new-metrics]");
  if (!bar) return;
  const names = new Set((bar.dataset.newMetrics || "").split("\n").filter(Boolean)).add(name);
  bar.dataset.newMetrics = [...names].join("\n"); // labels may have spaces, no line ends
  bar.hidden = false;
  setText(bar.querySelector("[data-field=pending]"), `${names.size} new ${names.size === 1 ? "metric" : "metrics"}`);
}

// --- Whether samples arrive --------------------------------------------------------------------------------------------

/** What is known of a tenant's samples. While the link is not live, nothing is: that is not the same as silence. */
export function samplesState({ heardAt, silentAfter, now, isLive, since }) {
  if (!isLive) return { state: "unknown", word: `Not known since ${clock(since)} UTC` };
  if (heardAt === null) return { state: "idle", word: "No samples yet" };
  if (now - heardAt >= silentAfter) return { state: "warn", word: `No samples since ${clock(heardAt)} UTC` };
  return { state: "ok", word: "Samples arrive" };
}

class Samples {
  constructor(element, live, now) {
    Object.assign(this, { element, live, now, heardAt: null });
    this.read();
  }

  read() {
    const { at } = this.element.dataset;
    if (at) this.heardAt = Math.max(this.heardAt ?? 0, Date.parse(at)); // a page read meanwhile may be older
  }

  heard(event) {
    const moments = Object.keys(event.metrics).map((name) => Date.parse(measuredAt(event, name)));
    this.heardAt = Math.max(this.heardAt ?? 0, ...moments);
    this.element.dataset.at = new Date(this.heardAt).toISOString();
    this.show();
  }

  /** Said only once the page has been live: until then stands what the server said. */
  show() {
    const link = this.live.states().get(this.element.dataset.samples);
    if (!link) return;
    this.wasLive ||= link.state === "live";
    if (!this.wasLive || link.state === "catching") return;
    const silentAfter = Number(this.element.dataset.silentAfter) * 1000;
    const isLive = link.state === "live" || link.state === "polling";
    const { state, word } = samplesState({ heardAt: this.heardAt, silentAfter, now: this.now() * 1000, isLive, since: link.since });
    if (this.element.dataset.state !== state) {
      this.element.dataset.state = state;
      const use = this.element.querySelector("use");
      use.setAttribute("href", `#check-${state}`);
    }
    // While nothing is known, what was known last still needs somebody.
    if (isLive) this.element.dataset.silent = state === "warn" ? "yes" : "";
    setText(this.element.querySelector("[data-field=samples]"), word);
    sayVerdict();
  }
}

// --- Start -------------------------------------------------------------------------------------------------------------

export function start(element, live) {
  const panel = element.querySelector("#chart-data") && new Panel(element, document.getElementById("announcer"));
  const place = document.querySelector("[data-samples]");
  const skew = Date.parse(live.config.now) - Date.now();
  const samples = place && new Samples(place, live, () => (Date.now() + skew) / 1000);
  live.onEvent((event) => {
    if (event.type !== "metrics_update") return;
    fillFigures(event);
    panel?.take(event);
    samples?.heard(event);
  });
  live.onCatchUp(async () => {
    panel?.catchUp();
    samples?.read();
    samples?.show();
  });
  setInterval(() => {
    if (document.hidden) return;
    panel?.tick();
    samples?.show();
  }, TICK_MS);
}
