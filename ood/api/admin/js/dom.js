// Elements from data. Text is always set as text: nothing here parses HTML.

const SVG = "http://www.w3.org/2000/svg";

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "value" || name === "checked" || name === "selected") node[name] = value;
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(3).filter((one) => one !== null && one !== undefined && one !== false));
  return node;
}

const isAttributes = (one) => one && Object.getPrototypeOf(one) === Object.prototype;

/** Make an element: `h("p.soft", "text")`; attributes that begin with "on" are listeners. */
export function h(name, first, ...rest) {
  const [tag, ...classes] = name.split(".");
  const node = document.createElement(tag);
  if (classes.length) node.className = classes.join(" ");
  return isAttributes(first) ? fill(node, first, rest) : fill(node, null, [first, ...rest]);
}

/** The same for SVG. */
export function svg(tag, attributes, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

/** Set a text if it is another one: writing the same one costs a layout. */
export function text(node, value) {
  const string = String(value);
  if (node.oodText !== string) {
    node.oodText = string;
    node.textContent = string;
  }
  return node;
}

/** Set or take away an attribute if it is different. */
export function attribute(node, name, value) {
  const off = value === false || value === null || value === undefined;
  if (off) {
    if (node.hasAttribute(name)) node.removeAttribute(name);
  } else if (node.getAttribute(name) !== String(value)) node.setAttribute(name, value);
  return node;
}

export function show(node, shown) {
  if (node.hidden === Boolean(shown)) node.hidden = !shown;
  return node;
}

/** Children that stay with their keys: `make(item)` returns `{ node, update(item) }`. */
export class List {
  constructor(parent, make) {
    this.parent = parent;
    this.make = make;
    this.parts = new Map();
  }

  update(items, keyOf) {
    const left = new Set(this.parts.keys());
    let next = this.parent.firstChild;
    for (const item of items) {
      const key = keyOf(item);
      let part = this.parts.get(key);
      if (!part) this.parts.set(key, (part = this.make(item)));
      left.delete(key);
      if (part.node === next) next = next.nextSibling;
      else this.parent.insertBefore(part.node, next);
      part.update?.(item);
    }
    for (const key of left) {
      this.parts.get(key).node.remove();
      this.parts.delete(key);
    }
  }
}

const ICONS = {
  online: "M3.5 8.5l3 3 6-7",
  busy: "M8 2.5a5.5 5.5 0 1 1-5.5 5.5",
  errored: "M4 4l8 8M12 4l-8 8",
  stopped: "M4.5 4.5h7v7h-7z",
  warning: "M8 3v6M8 12v.5",
  play: "M5 3.5l7 4.5-7 4.5z",
  restart: "M13 8a5 5 0 1 1-1.6-3.7M13 2.5v3h-3",
  sun: "M8 5a3 3 0 1 0 0 6 3 3 0 0 0 0-6M8 1v1.5M8 13.5V15M1 8h1.5M13.5 8H15M3 3l1 1M12 12l1 1M3 13l1-1M12 4l1-1",
  moon: "M13 9.5A5.5 5.5 0 1 1 6.5 3a4.5 4.5 0 0 0 6.5 6.5z",
  auto: "M8 2.5a5.5 5.5 0 1 0 0 11zM8 2.5a5.5 5.5 0 0 1 0 11",
  plus: "M8 3.5v9M3.5 8h9",
  minus: "M3.5 8h9",
  tool: "M10.5 2.5a3.5 3.5 0 0 0-3.3 4.7l-4.4 4.4 1.6 1.6 4.4-4.4a3.5 3.5 0 0 0 4.6-4.2L11.3 6.700 9.300 4.700z",
};

/** A picture that says nothing a text beside it does not say. */
export function icon(name) {
  return svg("svg", { class: `i i-${name}`, viewBox: "0 0 16 16", "aria-hidden": "true" },
    svg("path", { d: ICONS[name] }));
}
