// Events as a bad network brings them.

/** The same shuffle for the same seed. */
function chance(seed) {
  return () => {
    seed = (seed * 1664525 + 1013904223) % 2 ** 32;
    return seed / 2 ** 32;
  };
}

/** Every event at least once; some again, some late, in any order. */
export function scattered(events, seed) {
  const random = chance(seed);
  const all = [...events, ...events.filter(() => random() < 0.3)];
  for (let at = all.length - 1; at > 0; at -= 1) {
    const other = Math.floor(random() * (at + 1));
    [all[at], all[other]] = [all[other], all[at]];
  }
  return all;
}
