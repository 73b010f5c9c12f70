// Every page's one script. Each thing here adds to a page that already works without it.

import { ago, took } from "./times.js";

const TICK_MS = 1_000;
// Shortcuts are silent in fields and dialogs, and off for whoever switches them off.
const SWITCH = "neo-keys";
const PAIR_MS = 1_500;
const bindings = new Map();
let pending = null;

/** Run `action` on `key`: one key, or two in a row written with a space ("g h"). */
export function bind(key, action) {
  bindings.set(key, action);
}

function keysAreOn() {
  return localStorage.getItem(SWITCH) !== "off";
}

function isSilent(event) {
  return (
    event.ctrlKey || event.metaKey || event.altKey || event.isComposing ||
    isField(event.target) || document.querySelector("dialog[open]") !== null
  );
}

/** A dialog that has just closed keeps the focus in its field until the next frame: nobody writes into what isn't seen. */
function isField(target) {
  const canBeWritten = target.isContentEditable || ["INPUT", "TEXTAREA", "SELECT"].includes(target.tagName);
  return canBeWritten && target.checkVisibility();
}

function onKey(event) {
  if (isSilent(event) || !keysAreOn()) return;
  const pair = pending && Date.now() - pending.at < PAIR_MS ? `${pending.key} ${event.key}` : null;
  pending = null;
  const action = (pair && bindings.get(pair)) ?? bindings.get(event.key);
  if (action) {
    if (action(event) !== false) event.preventDefault();
  } else if ([...bindings.keys()].some((key) => key.startsWith(`${event.key} `))) {
    pending = { key: event.key, at: Date.now() };
  }
}

function listenForKeys() {
  document.addEventListener("keydown", onKey);
  const box = document.getElementById("keys-on");
  if (!box) return;
  box.checked = keysAreOn();
  box.addEventListener("change", () => localStorage.setItem(SWITCH, box.checked ? "on" : "off"));
}

/** Keep relative times and running durations true: text that says "10 s ago" must not stand for an hour. */
export function tick(root = document, now = Date.now()) {
  for (const time of root.querySelectorAll("time[data-relative][datetime]")) {
    setText(time, "exact" in time.dataset ? time.title : ago(time.dateTime, now));
  }
  for (const span of root.querySelectorAll("[data-elapsed][data-from]:not([data-from=''])")) {
    const until = span.dataset.to ? Date.parse(span.dataset.to) : now;
    setText(span, took(until - Date.parse(span.dataset.from)));
  }
}

function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** A tap on a relative time shows the exact one, as hovering does for a mouse; another tap takes it back. */
function showExact(event) {
  const time = event.target.closest?.("time[data-relative][title]");
  if (!time) return;
  time.toggleAttribute("data-exact");
  tick(time.parentElement);
}

function submitOnce(event) {
  const form = event.target;
  if (!form.matches("[data-once]") || event.defaultPrevented) return;
  if (form.dataset.sent) {
    event.preventDefault();
    return;
  }
  form.dataset.sent = "yes";
  const button = event.submitter ?? form.querySelector("[type=submit]");
  button.dataset.word = button.textContent;
  button.textContent = button.dataset.once ?? form.dataset.once;
}

/** A page that comes back from the browser's cache can be sent again. */
function allowAgain(event) {
  if (!event.persisted) return;
  for (const form of document.querySelectorAll("form[data-sent]")) {
    delete form.dataset.sent;
    const button = form.querySelector("[data-word]");
    if (button) button.textContent = button.dataset.word;
  }
}

function filterMenu(event) {
  const wanted = event.target.value.trim().toLowerCase();
  for (const item of document.querySelectorAll(event.target.dataset.filters)) {
    item.hidden = !item.textContent.toLowerCase().includes(wanted);
  }
}

function openDialog(id) {
  document.querySelector("[popover]:popover-open")?.hidePopover();
  const dialog = document.getElementById(id);
  if (!dialog || dialog.open) return;
  // The shortcuts of what this page has; what it has may have come or gone since it was opened.
  for (const group of dialog.querySelectorAll("[data-needs]")) group.hidden = !document.querySelector(group.dataset.needs);
  dialog.showModal();
  if (id === "jump") findTargets(dialog);
}

// --- Jump: a dialog over the page of the same name ---

const JUMP_AFTER_MS = 120;
let jumpTimer = null;

function startJump() {
  const dialog = document.getElementById("jump");
  if (!dialog) return;
  document.addEventListener("keydown", (event) => {
    if (event.key.toLowerCase() !== "k" || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    openDialog("jump");
  });
  dialog.addEventListener("input", () => {
    clearTimeout(jumpTimer);
    jumpTimer = setTimeout(() => findTargets(dialog), JUMP_AFTER_MS);
  });
  dialog.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step && moveInRows(step, dialog) !== false) event.preventDefault();
  });
  dialog.addEventListener("submit", (event) => {
    const first = dialog.querySelector("[data-row-link]");
    if (!first) return;
    event.preventDefault();
    location.assign(first.href);
  });
}

/** The list that the page of this name renders; the newest answer wins. */
async function findTargets(dialog) {
  const query = dialog.querySelector("input").value;
  const response = await fetch(`${dialog.dataset.url}?${new URLSearchParams({ q: query })}`, { credentials: "same-origin" });
  if (!response.ok || query !== dialog.querySelector("input").value) return;
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  const found = page.getElementById("jump-targets");
  if (found) dialog.querySelector("[data-jump-found]").replaceChildren(document.adoptNode(found));
}

function moveInRows(step, root = document.getElementById("main")) {
  const links = [...root.querySelectorAll("[data-row-link]")];
  if (!links.length) return false;
  const at = links.indexOf(document.activeElement);
  links[Math.max(0, Math.min(links.length - 1, at < 0 ? 0 : at + step))].focus();
}

function bindKeys() {
  bind("?", () => openDialog("keys"));
  for (const link of document.querySelectorAll("a[data-key]")) bind(link.dataset.key, () => location.assign(link.href));
  bind("/", () => {
    const search = document.querySelector("[data-search]");
    if (!search) return false;
    search.focus();
  });
  bind("j", () => moveInRows(1));
  bind("k", () => moveInRows(-1));
}

function start() {
  document.addEventListener("submit", submitOnce);
  document.addEventListener("click", showExact);
  window.addEventListener("pageshow", allowAgain);
  for (const input of document.querySelectorAll("[data-filters]")) input.addEventListener("input", filterMenu);
  for (const button of document.querySelectorAll("[data-opens]")) {
    button.hidden = false;
    button.addEventListener("click", (event) => (event.preventDefault(), openDialog(button.dataset.opens)));
  }
  offerCopies();
  listenForKeys();
  startJump();
  bindKeys();
  tick();
  setInterval(() => document.hidden || tick(), TICK_MS);
  document.addEventListener("visibilitychange", () => document.hidden || tick());
  startLive();
}

/** <button data-copies="#id" data-copied="Copied" hidden>: puts a field's value into the clipboard, and says so. */
function offerCopies() {
  if (!navigator.clipboard) return; // not over plain HTTP: the field can be selected
  for (const button of document.querySelectorAll("[data-copies]")) {
    button.hidden = false;
    button.addEventListener("click", async () => {
      const field = document.querySelector(button.dataset.copies);
      try {
        await navigator.clipboard.writeText(field.value);
        button.querySelector("[data-word]").textContent = button.dataset.copied;
      } catch {
        field.focus(); // the browser refuses: whoever wants it copies by hand
        field.select();
      }
    });
  }
}

/** What stands in an element with `data-module`: `start(element, live, bind)` of the module of that name. */
const MODULES = {
  alerts: () => import("./alerts.js"),
  batches: () => import("./batches.js"),
  bell: () => import("./bell.js"),
  billing: () => import("./billing.js"),
  chart: () => import("./chart.js"),
  checks: () => import("./rows.js"),
  feed: () => import("./feed.js"),
  inbox: () => import("./inbox.js"),
  journey: () => import("./journey.js"),
  log: () => import("./log.js"),
  ops: () => import("./ops.js"),
  reread: () => import("./reread.js"),
  tenants: () => import("./tenants.js"),
  undo: () => import("./undo.js"),
};

/** The live parts load only where the server rendered something to follow. */
async function startLive() {
  if (!document.getElementById("live-config")) return;
  const { Live } = await import("./live.js");
  const live = new Live(JSON.parse(document.getElementById("live-config").textContent));
  for (const element of document.querySelectorAll("[data-module]")) {
    (await MODULES[element.dataset.module]()).start(element, live, bind);
  }
  live.start();
}

start();
