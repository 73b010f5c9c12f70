// One press tries all that waits, a bounded batch a request. Without this script each press tries one batch.
//
// <form method="post" action="..." data-module="batches">  answers {delivered, failed, left, triedTo} to us
//   <input name="tried_to">  <... data-field="said">  <progress hidden>  <button type="submit"><... data-field="word">

export function start(form, live) {
  const button = form.querySelector("button[type=submit]");
  if (!button) return;
  const bar = form.querySelector("progress");
  const said = form.querySelector("[data-field=said]");
  const word = button.querySelector("[data-field=word]");
  const done = { delivered: 0, failed: 0 };
  let [isRunning, isStopping] = [false, false]; // a batch that is under way is waited for
  word.textContent = "Retry all";

  async function batch() {
    const headers = { Accept: "application/json" };
    const response = await fetch(form.action, { method: "POST", headers, body: new FormData(form), credentials: "same-origin" });
    if (!response.ok) throw new Error(`batch: HTTP ${response.status}`);
    return response.json();
  }

  function show(left) {
    bar.hidden = false;
    bar.value = done.delivered + done.failed;
    bar.max = Math.max(bar.value + left, 1);
    said.textContent = `${done.delivered} delivered, ${done.failed} failed again, ${left} to try`;
  }

  async function run() {
    [isRunning, isStopping] = [true, false];
    word.textContent = "Stop";
    try {
      for (let left = 1; left > 0 && !isStopping; ) {
        const answer = await batch();
        left = answer.left;
        done.delivered += answer.delivered;
        done.failed += answer.failed;
        form.elements.tried_to.value = answer.triedTo;
        show(left);
        if (left === 0) return finish();
      }
      word.textContent = "Go on";
    } catch {
      said.textContent += ". The server didn't answer: what was not tried waits as before.";
      word.textContent = "Go on";
    } finally {
      isRunning = false;
    }
  }

  /** What was delivered waits no more: the list is read anew. */
  function finish() {
    button.remove();
    live.reload().catch(() => {});
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (isRunning) isStopping = true;
    else run();
  });
}
