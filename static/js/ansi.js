// A terminal's colours as CSS classes: what portal/ansi.py does for the lines the server renders.
// portal/tests/ansi.json holds the two to each other.

const SEQUENCE = /\x1b(?:\[([0-9;:<=>?]*)[ -/]*([@-~])|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\^_()][0-9A-B]?)/g;
const NAMES = ["black", "red", "green", "yellow", "blue", "magenta", "cyan", "white"];
const RGB = [
  [0, 0, 0], [187, 0, 0], [0, 187, 0], [187, 187, 0], [0, 0, 187], [187, 0, 187], [0, 187, 187], [255, 255, 255],
];
const CUBE = [0, 95, 135, 175, 215, 255];
const PLAIN = { bold: false, faint: false, italic: false, underline: false, fg: "", bg: "" };
const SIMPLE = {
  1: { bold: true }, 2: { faint: true }, 3: { italic: true }, 4: { underline: true }, 21: { bold: false },
  22: { bold: false, faint: false }, 23: { italic: false }, 24: { underline: false }, 39: { fg: "" }, 49: { bg: "" },
};

/** What a terminal shows of a line in which carriage returns wrote over what stood before. */
export function lastState(text) {
  return text.includes("\r") ? text.split("\r").findLast((part) => part) ?? "" : text;
}

/** [classes, text] in order; classes is empty for plain text. Colours don't cross the line's end. */
export function segments(line) {
  const text = lastState(line);
  if (!text.includes("\x1b")) return text ? [["", text]] : [];
  const found = [];
  let style = PLAIN;
  let position = 0;
  for (const sequence of text.matchAll(SEQUENCE)) {
    if (sequence.index > position) found.push([classes(style), text.slice(position, sequence.index)]);
    position = sequence.index + sequence[0].length;
    if (sequence[2] === "m") style = after(style, sequence[1]);
  }
  if (position < text.length) found.push([classes(style), text.slice(position)]);
  return found;
}

function classes(style) {
  const on = ["bold", "faint", "italic", "underline"].filter((name) => style[name]).map((name) => `ansi-${name}`);
  if (style.fg) on.push(`ansi-${style.fg}-fg`);
  if (style.bg) on.push(`ansi-${style.bg}-bg`);
  return on.join(" ");
}

function after(style, parameters) {
  const numbers = parameters.split(";").map((part) => (/^\d+$/.test(part) ? Number(part) : 0));
  let now = style;
  while (numbers.length) {
    const number = numbers.shift();
    if (number === 0) now = PLAIN;
    else if (number === 38 || number === 48) {
      const name = extended(numbers);
      if (name) now = { ...now, [number === 38 ? "fg" : "bg"]: name };
    } else if (SIMPLE[number]) now = { ...now, ...SIMPLE[number] };
    else if ((number >= 30 && number <= 37) || (number >= 90 && number <= 97)) now = { ...now, fg: NAMES[number % 10] };
    else if ((number >= 40 && number <= 47) || (number >= 100 && number <= 107)) now = { ...now, bg: NAMES[number % 10] };
  }
  return now;
}

/** The nearest named colour of `5;index` or `2;r;g;b`, whose numbers it takes. */
function extended(numbers) {
  const mode = numbers.shift();
  if (mode === 5 && numbers.length) return indexed(numbers.shift());
  if (mode === 2 && numbers.length >= 3) return nearest(numbers.splice(0, 3));
  return "";
}

function indexed(index) {
  if (index < 16) return NAMES[index % 8];
  if (index >= 232) return nearest(Array(3).fill(8 + (index - 232) * 10));
  const at = index - 16;
  return nearest([CUBE[Math.floor(at / 36)], CUBE[Math.floor(at / 6) % 6], CUBE[at % 6]]);
}

function nearest(rgb) {
  const distances = RGB.map((known) => known.reduce((sum, value, i) => sum + (value - rgb[i]) ** 2, 0));
  return NAMES[distances.indexOf(Math.min(...distances))];
}
