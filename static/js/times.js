// Times and durations as people read them: the words of portal/times.py, which portal/tests/times.json holds to these.

const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const WEEKDAYS = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const DAY = 86_400;

const two = (number) => String(number).padStart(2, "0");
const day = (date) => `${date.getUTCDate()} ${MONTHS[date.getUTCMonth()]} ${date.getUTCFullYear()}`;

/** Relative for seven days, then the date in UTC. `moment` and `now` are milliseconds or ISO texts. */
export function ago(moment, now = Date.now()) {
  const seconds = Math.trunc((new Date(now) - new Date(moment)) / 1000);
  if (seconds < 10) return "just now";
  if (seconds < 60) return `${Math.floor(seconds / 10) * 10} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < DAY) return `${Math.floor(seconds / 3600)} h ago`;
  if (seconds < 7 * DAY) return seconds < 2 * DAY ? "yesterday" : `${Math.floor(seconds / DAY)} days ago`;
  return day(new Date(moment));
}

/** The full time with its zone and, outside UTC, how far that is from it: clocks show some hours twice. */
export function exact(moment, zone = "UTC") {
  const local = inZone(moment, zone);
  const minutes = Math.round((local - Math.floor(new Date(moment) / 1000) * 1000) / 60_000);
  const name = zone === "UTC" ? "UTC" : `${zone} (${offset(minutes)})`;
  return `${day(local)}, ${clock(local)} ${name}`;
}

function offset(minutes) {
  const [hours, rest] = [Math.floor(Math.abs(minutes) / 60), Math.abs(minutes) % 60];
  return minutes ? `UTC${minutes < 0 ? "-" : "+"}${hours}${rest ? `:${two(rest)}` : ""}` : "UTC";
}

const formats = new Map();

/** A date whose UTC parts are what clocks in this zone show, to the second. */
function inZone(moment, zone) {
  if (!formats.has(zone)) formats.set(zone, formatOf(zone));
  const parts = Object.fromEntries(formats.get(zone).formatToParts(new Date(moment)).map(({ type, value }) => [type, value]));
  return new Date(Date.UTC(parts.year, parts.month - 1, parts.day, parts.hour, parts.minute, parts.second));
}

function formatOf(zone) {
  const numbers = { year: "numeric", month: "numeric", day: "numeric", hour: "numeric", minute: "numeric", second: "numeric" };
  const options = { ...numbers, calendar: "gregory", numberingSystem: "latn", hourCycle: "h23" };
  return new Intl.DateTimeFormat("en", { ...options, timeZone: zone });
}

/** The day it is then in this zone: "2026-11-23". */
export const dayOf = (moment, zone) => inZone(moment, zone).toISOString().slice(0, 10);

/** "2026-11-23" as "Monday, 23 Nov 2026". */
export function dayWords(text) {
  const date = new Date(`${text}T00:00:00Z`);
  return `${WEEKDAYS[date.getUTCDay()]}, ${day(date)}`;
}

/** The time of day in UTC, to the second. */
export function clock(moment) {
  const date = new Date(moment);
  return `${two(date.getUTCHours())}:${two(date.getUTCMinutes())}:${two(date.getUTCSeconds())}`;
}

export function took(milliseconds) {
  const seconds = Math.max(0, Math.trunc(milliseconds / 1000));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${two(seconds % 60)} s`;
  return `${Math.floor(seconds / 3600)} h ${two(Math.floor((seconds % 3600) / 60))} min`;
}

export function ordinal(number) {
  if (number % 100 >= 10 && number % 100 <= 20) return `${number}th`;
  return `${number}${{ 1: "st", 2: "nd", 3: "rd" }[number % 10] ?? "th"}`;
}
