// Small charts of series that grow at their right end.

import { h, svg, text, attribute } from "./dom.js";
import { SAMPLES } from "./live.js";

const WIDTH = 300;
const HEIGHT = 80;

/** The line of a series, oldest to newest, broken where nothing is known. */
function path(at, many, width, height, top) {
  let line = "";
  let pen = "M";
  const step = width / (many - 1);
  for (let age = many - 1; age >= 0; age -= 1) {
    const value = at(age);
    if (Number.isNaN(value)) {
      pen = "M";
      continue;
    }
    const y = height - 1 - (value / top) * (height - 3);
    line += `${pen}${((many - 1 - age) * step).toFixed(1)} ${y.toFixed(1)}`;
    pen = "L";
  }
  return line;
}

function most(at, many) {
  let found = 0;
  for (let age = 0; age < many; age += 1) {
    const value = at(age);
    if (value > found) found = value;
  }
  return found;
}

/** The next round number above, so that the scale does not change all the time. */
function above(value, least, unit) {
  if (value <= least) return least;
  const power = unit * 10 ** Math.floor(Math.log10(value / unit));
  return [1, 1.5, 2, 3, 4, 5, 7.5, 10].map((one) => one * power).find((one) => one >= value);
}

const SPARK = 60;

/** A line of the last minute; what it says is beside it in numbers. */
export function spark() {
  const line = svg("path", { class: "line" });
  const node = svg("svg", { class: "spark", viewBox: "0 0 80 20", preserveAspectRatio: "none", "aria-hidden": "true" }, line);
  return {
    node,
    update(at) {
      attribute(line, "d", path(at, SPARK, 80, 20, Math.max(most(at, SPARK), 1)));
    },
  };
}

/**
 * A chart of the last five minutes with one or more lines: `[word, class]` each.
 * Arrow keys and the pointer read values off it.
 */
export function chart(title, lines, format, least, unit = 1) {
  const values = lines.map(([word, kind]) => ({
    word, kind, line: svg("path", { class: `line ${kind}` }), said: h("b"),
  }));
  const area = svg("path", { class: `area ${lines[0][1]}` });
  const rule = svg("path", { class: "rule", visibility: "hidden" });
  const picture = svg("svg", {
    viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", tabindex: "0",
  }, svg("path", { class: "grid", d: `M0 .5H${WIDTH}M0 ${HEIGHT / 2}H${WIDTH}M0 ${HEIGHT - 0.5}H${WIDTH}` }), area,
  values.map(({ line }) => line), rule);
  const top = h("span.top-value");
  const age = h("span", "now");
  const node = h("section.card.chart", {},
    h("div.legend", h("h3", title),
      h("p", values.map(({ word, kind, said }) => h("span", { class: kind }, word && `${word} `, said)))),
    h("div.plot", picture, top),
    h("div.axis", { "aria-hidden": "true" }, h("span", "5 min ago"), age));
  let read = null;
  let series = [];
  const look = (at) => {
    read = at === null ? null : Math.min(Math.max(Math.round(at), 0), SAMPLES - 1);
    tell();
  };
  picture.addEventListener("pointermove", (event) => {
    const box = picture.getBoundingClientRect();
    look((1 - (event.clientX - box.left) / box.width) * (SAMPLES - 1));
  });
  for (const kind of ["pointerleave", "blur"]) picture.addEventListener(kind, () => look(null));
  picture.addEventListener("keydown", (event) => {
    const steps = { ArrowLeft: 5, ArrowRight: -5 }[event.key];
    if (!steps) return;
    event.preventDefault();
    look((read ?? 0) + steps);
  });
  function tell() {
    values.forEach(({ said }, index) => text(said, format(series[index]?.(read ?? 0) ?? NaN)));
    text(age, read ? `${read} s ago` : "now");
    const x = ((SAMPLES - 1 - (read ?? 0)) / (SAMPLES - 1)) * WIDTH;
    attribute(rule, "d", `M${x.toFixed(1)} 0V${HEIGHT}`);
    attribute(rule, "visibility", read === null ? "hidden" : "visible");
    const words = values.map(({ word, said }) => `${word} ${said.textContent}`.trim()).join(", ");
    attribute(picture, "aria-label", `${title}, ${read ? `${read} seconds ago` : "now"}: ${words}; `
      + `at most ${format(highest)} in the last five minutes`);
  }
  let highest = 0;
  return {
    node,
    update(...given) {
      series = given;
      highest = Math.max(...given.map((at) => most(at, SAMPLES)));
      const scale = above(highest, least, unit);
      text(top, format(scale));
      values.forEach(({ line }, index) => attribute(line, "d", path(given[index], SAMPLES, WIDTH, HEIGHT, scale)));
      const first = values[0].line.getAttribute("d");
      const from = first.match(/^M([\d.]+)/)?.[1];
      const whole = first.lastIndexOf("M") === 0;
      attribute(area, "d", whole ? `${first}V${HEIGHT}H${from}Z` : "");
      tell();
    },
  };
}
