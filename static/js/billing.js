// A tenant's billing page: what each meter has come to moves in place, as `usage_update` says it, and asks nobody.
// What it costs is worked out by the server and read anew: see reread.js.
//
// <li data-gauge="deployment_minutes" data-version="7" data-levels="50 80 100">
//   data-field: usage, included, percent, says; a <rect data-field="bar">; shown with a limit only: [data-with-limit]

import { setText, show } from "./rows.js";

const NEAR_PERCENT = 80;
const FIGURE = new Intl.NumberFormat("en-US", { maximumFractionDigits: 3 });

/** A quantity as the server writes it: billing/tests/gauges.json holds the two to each other. */
export const amount = (quantity) => FIGURE.format(quantity);

/** What a gauge says of so much used, of so much included (null: nothing is), with these levels in percent. */
export function gauge({ usage, limit, percentage }, levels) {
  if (!limit) return { usage: amount(usage), included: "", percent: "", width: "0%", says: "", state: "well" };
  const reached = levels.filter((level) => usage * 100 >= limit * level).at(-1);
  return {
    usage: amount(usage),
    included: amount(limit),
    percent: `${amount(percentage)} %`,
    width: `${Math.min(percentage, 100)}%`,
    says: reached ? `${reached} % reached` : "",
    state: percentage >= 100 ? "over" : percentage >= NEAR_PERCENT ? "near" : "well",
  };
}

/** Put one `usage_update` into the page, unless that is older than what it shows. */
export function applyUsage(root, event) {
  const row = root.querySelector(`[data-gauge="${CSS.escape(event.resource)}"]`);
  if (!row || Number(row.dataset.version) >= event.version) return;
  const said = gauge(event, row.dataset.levels.split(" ").map(Number));
  row.dataset.version = event.version;
  row.dataset.state = said.state;
  for (const node of row.querySelectorAll("[data-with-limit]")) show(node, Boolean(event.limit));
  for (const name of ["usage", "included", "percent", "says"]) setText(row.querySelector(`[data-field=${name}]`), said[name]);
  row.querySelector("[data-field=bar]").setAttribute("width", said.width);
}

export function start(element, live) {
  live.onEvent((event) => {
    if (event.type === "usage_update") applyUsage(element, event);
    if (event.type === "invoice_event" || event.threshold) live.announcements.say(event.summary);
  });
}
