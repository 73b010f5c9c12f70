// Keyboard shortcuts: silent in fields and dialogs, and off for whoever switches them off.

const SWITCH = "neo-keys";
const PAIR_MS = 1_500;
const bindings = new Map();
let pending = null;

/** Run `action` on `key`: one key, or two in a row written with a space ("g h"). */
export function bind(key, action) {
  bindings.set(key, action);
}

export function isOn() {
  return localStorage.getItem(SWITCH) !== "off";
}

function isSilent(event) {
  const target = event.target;
  return (
    event.ctrlKey || event.metaKey || event.altKey || event.isComposing ||
    target.isContentEditable || ["INPUT", "TEXTAREA", "SELECT"].includes(target.tagName) ||
    document.querySelector("dialog[open]") !== null
  );
}

function onKey(event) {
  if (isSilent(event) || !isOn()) return;
  const pair = pending && Date.now() - pending.at < PAIR_MS ? `${pending.key} ${event.key}` : null;
  pending = null;
  const action = (pair && bindings.get(pair)) ?? bindings.get(event.key);
  if (action) {
    if (action(event) !== false) event.preventDefault();
  } else if ([...bindings.keys()].some((key) => key.startsWith(`${event.key} `))) {
    pending = { key: event.key, at: Date.now() };
  }
}

export function start() {
  document.addEventListener("keydown", onKey);
  const box = document.getElementById("keys-on");
  if (!box) return;
  box.checked = isOn();
  box.addEventListener("change", () => localStorage.setItem(SWITCH, box.checked ? "on" : "off"));
}
