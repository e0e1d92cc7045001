// Numbers and times for people.

const MISSING = "–";

export function number(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return MISSING;
  if (value >= 10000) return `${(value / 1000).toFixed(value >= 100000 ? 0 : 1)}k`;
  return value === 0 ? "0" : value < 10 ? value.toFixed(1) : String(Math.round(value));
}

export function percent(value) {
  return Number.isNaN(value) ? MISSING : `${value < 10 && value > 0 ? value.toFixed(1) : Math.round(value)} %`;
}

export function ms(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return MISSING;
  if (value >= 1000) return `${(value / 1000).toFixed(1)} s`;
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`;
}

export function bytes(value) {
  if (!value) return Number.isNaN(value) || value === undefined ? MISSING : "0";
  const units = ["B", "KB", "MB", "GB", "TB"];
  const at = Math.min(Math.floor(Math.log2(value) / 10), 4);
  const scaled = value / 2 ** (10 * at);
  return `${scaled < 10 && at > 0 ? scaled.toFixed(1) : Math.round(scaled)} ${units[at]}`;
}

export function duration(value) {
  const seconds = Math.max(Math.floor(value / 1000), 0);
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  const hours = Math.floor(seconds / 3600);
  if (hours < 48) return `${hours} h ${Math.floor((seconds % 3600) / 60)} min`;
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

const CLOCK = new Intl.DateTimeFormat("en-GB", { timeStyle: "medium" });
const DAY = new Intl.DateTimeFormat("en-CA", { dateStyle: "short" });

/** The time, and the day unless it is today. */
export function when(text) {
  const date = new Date(text);
  const day = DAY.format(date);
  return day === DAY.format(new Date()) ? CLOCK.format(date) : `${day} ${CLOCK.format(date)}`;
}

export function clock(text) {
  return CLOCK.format(new Date(text));
}

export function day(text) {
  return text ? DAY.format(new Date(text)) : MISSING;
}

export function count(many, noun) {
  return `${many} ${noun}${many === 1 ? "" : "s"}`;
}

// Colours and moves, and what sets titles or makes links.
// eslint-disable-next-line no-control-regex
const ESCAPES = /\u001b(?:\[[0-9;:?]*[A-Za-z]|\][^\u0007\u001b]*(?:\u0007|\u001b\\))/g;

/** What a program wrote, without what only a terminal understands. */
export function uncoloured(text) {
  return text.replace(ESCAPES, "");
}

/** How the command line writes durations and sizes, and reads them. */
export function shortest(value, units) {
  const found = units.find(([, size]) => value && value % size === 0);
  return found ? `${value / found[1]}${found[0]}` : String(value);
}

export const DURATIONS = [["d", 86400000], ["h", 3600000], ["m", 60000], ["s", 1000], ["ms", 1]];
export const SIZES = [["G", 2 ** 30], ["M", 2 ** 20], ["K", 2 ** 10]];
