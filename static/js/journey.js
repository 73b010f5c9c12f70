// How far an event has come, read anew while it isn't there yet. Nothing is asked while nobody looks.
//
// <section id="journey" data-live-region data-module="journey" data-complete="yes" data-about="...">
//   data-about: the page is about this deployment, and the journey that of the last event about it

const FIRST_MS = 500;
const SLOWEST_MS = 10_000;

export function start({ id }, live) {
  let wait = FIRST_MS;
  let timer = null;
  const section = () => document.getElementById(id);

  async function look() {
    timer = null;
    if (!document.hidden) {
      await live.reload().catch(() => {}); // the page's marks say so
      wait = Math.min(wait * 1.5, SLOWEST_MS);
    }
    again();
  }

  function again() {
    if (!live.isOver && section().dataset.complete !== "yes") timer ??= setTimeout(look, wait);
  }

  live.onEvent((event) => {
    if (!section().dataset.about || event.deploymentId !== section().dataset.about || event.type !== "deployment_update") return;
    section().dataset.complete = ""; // the last event is another one now
    wait = FIRST_MS;
    again();
  });
  again();
}
