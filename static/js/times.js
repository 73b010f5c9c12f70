// Times and durations as people read them: the words of portal/times.py, which portal/tests/times.json holds to these.

const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
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

/** The full time with its zone. */
export function exact(moment) {
  const date = new Date(moment);
  return `${day(date)}, ${clock(date)} UTC`;
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
