// What can be undone for some seconds: <div data-module="undo" data-seconds="10"> ... <form data-undo>. The sentence
// stays, the button leaves; not while somebody is at it.

const TICK_MS = 250;

export function start(note) {
  const form = note.querySelector("[data-undo]");
  let left = Number(note.dataset.seconds) * 1_000;
  const timer = setInterval(() => {
    if (!form.matches(":hover, :focus-within")) left -= TICK_MS;
    if (left > 0 || form.dataset.sent) return;
    clearInterval(timer);
    form.remove();
  }, TICK_MS);
}
