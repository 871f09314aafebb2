// What all parts of the page use: elements, numbers and times as text.
//
// Values that clients chose reach the page only as text: nothing here or elsewhere makes markup of data.

const LONGEST = 160;
const byId = (id) => document.getElementById(id);

/** An element with attributes and children; a child may be text. */
function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

function s(tag, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** Writes only what has changed, so that a selection and a screen reader's place survive. */
function say(element, text) {
  const value = String(text);
  if (element.textContent !== value) element.textContent = value;
}

function set(element, name, value) {
  if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value);
}

/** Text from outside: control and direction characters are spelled out, and what is long is cut. */
function safe(text, longest = LONGEST) {
  const whole = String(text ?? "");
  // The cut comes first: 60 kB need not be looked through. It never splits a character in two.
  const short = whole.length > longest ? [...whole.slice(0, longest + 1)].slice(0, longest).join("") + "…" : whole;
  return short.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu, (c) => `\\u{${c.codePointAt(0).toString(16)}}`);
}

/** The same as an element, whose direction cannot reach its surroundings. */
function outside(text, cls = "name", longest = LONGEST) {
  const element = h("bdi", { class: cls });
  saySafe(element, text, longest);
  return element;
}

function saySafe(element, text, longest = LONGEST) {
  say(element, safe(text, longest));
}

/** Several lines from outside: line ends stay. */
const lines = (text) => String(text ?? "").slice(0, 20_000).split("\n").map((line) => safe(line, 1_000)).join("\n");

/** Makes the children of `parent` those of `items`, in their order, and keeps the elements of known keys. */
function reconcile(parent, items, key, make, update) {
  const kept = (parent.kept ??= new Map());
  const wanted = new Set();
  let at = parent.firstChild;
  for (const item of items) {
    const id = key(item);
    wanted.add(id);
    let element = kept.get(id);
    if (!element) kept.set(id, (element = make(item)));
    update?.(element, item);
    if (element === at) at = at.nextSibling;
    else parent.insertBefore(element, at);
  }
  for (const [id, element] of kept) {
    if (!wanted.has(id)) {
      element.remove();
      kept.delete(id);
    }
  }
}

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const tenths = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

const count = (n) => (n >= 100_000 ? compact : whole).format(n);
const decimal = (n) => (n >= 100_000 ? compact : tenths).format(n);
const percent = (part) => `${whole.format(part > 0.99 && part < 1 ? 99 : part * 100)} %`;
const plural = (n, one, many = `${one}s`) => `${count(n)} ${n === 1 ? one : many}`;

function duration(seconds) {
  if (seconds < 10) return `${tenths.format(Math.ceil(seconds * 10) / 10)} s`;
  if (seconds < 120) return `${whole.format(seconds)} s`;
  if (seconds < 7_200) return `${whole.format(seconds / 60)} min`;
  if (seconds < 172_800) return `${whole.format(seconds / 3_600)} h`;
  return `${whole.format(seconds / 86_400)} d`;
}

function micros(us) {
  if (us === null) return "–";
  if (us < 1_000) return `${whole.format(us)} µs`;
  return us < 1_000_000 ? `${tenths.format(us / 1_000)} ms` : `${tenths.format(us / 1_000_000)} s`;
}

const clockFormat = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const clock = (ms) => clockFormat.format(new Date(ms));
const ago = (ms, now) => (now - ms < 2_000 ? "now" : `${duration(Math.floor((now - ms) / 1_000))} ago`);

const PERIODS = new Map([[1, "s"], [60, "min"], [3_600, "h"], [86_400, "day"], [604_800, "week"], [2_592_000, "30 days"], [31_536_000, "365 days"]]);
const ALGORITHMS = { fixed_window: "window", sliding_log: "log" };

/** A limit in a few words, such as "100/min, burst 200". */
function limitText(limit) {
  const period = limit.period_seconds === null ? safe(limit.period ?? "month", 20) : PERIODS.get(limit.period_seconds) ?? duration(limit.period_seconds);
  const parts = [`${count(limit.requests)}/${period}`];
  if (limit.algorithm === "token_bucket" && limit.burst !== limit.requests) parts.push(`burst ${count(limit.burst)}`);
  if (ALGORITHMS[limit.algorithm]) parts.push(ALGORITHMS[limit.algorithm]);
  const text = parts.join(", ");
  return limit.tier ? `${safe(limit.tier, 24)} ${text}` : text;
}

/** A shape and a word; the shape follows from the class. */
const state = (kind, word) => h("span", { class: `state ${kind}` }, h("span", { class: "mark" }), word);
