// One key: its buckets over time, against what is promised.

/** The entries that a line says, as a shell would split it: by spaces, with "…" or '…' around what has some. */
function entriesOf(line) {
  const found = line.match(/(?:"[^"]*"|'[^']*'|[^\s"'])+/g) ?? [];
  return found.map((entry) => entry.replace(/"([^"]*)"|'([^']*)'/g, (_, double, single) => double ?? single));
}

function buildKey() {
  byId("ask").addEventListener("submit", (event) => {
    event.preventDefault();
    const entries = entriesOf(byId("entries").value);
    if (entries.length === 0) return byId("entries").focus();
    watchKey(byId("domain").value, entries);
  });
  byId("stop").addEventListener("click", () => watchKey(null, []));
}

/** From the top keys, when values are shown. The server has cut what is long; then it cannot be asked for. */
function askFor(domain, values) {
  byId("domain").value = domain;
  byId("entries").value = values;
  byId("entries").scrollIntoView({ block: "center" });
  byId("entries").focus();
  if (!values.endsWith("…")) watchKey(domain, entriesOf(values));
}

function keyRefused(text) {
  byId("key").replaceChildren(h("p", { class: "over" }, h("span", { class: "mark" }), ` ${text}`));
  byId("key").kept = undefined;
}

function watchKey(domain, entries) {
  live.keyPoints.clear();
  byId("key").replaceChildren();
  byId("key").kept = undefined;
  byId("stop").hidden = entries.length === 0;
  byId("key-hint").hidden = entries.length > 0;
  // One domain is watched at a time.
  const leaves = entries.length > 0 && watched.rule !== null && watched.domain !== domain;
  if (leaves) view.open = null;
  const rule = leaves ? null : watched.rule;
  watch({ domain: entries.length > 0 ? domain : rule === null ? null : watched.domain, rule, entries });
}

function drawDomains() {
  const domains = [...new Set([...live.rows.values()].map((row) => row.domain))].sort();
  const select = byId("domain");
  reconcile(select, domains, (domain) => domain, (domain) => h("option", { value: domain }, safe(domain, 60)));
  select.parentElement.hidden = domains.length < 2;
}

function drawKey() {
  const { key } = live.message;
  const place = byId("key");
  if (!key) return;
  const items = [...(key.error ? [{ id: "error" }] : []), ...key.limits.map((limit) => ({ id: JSON.stringify([limit.rule, limit.name]), limit })), ...(key.explain ? [{ id: "explain" }] : [])];
  if (items.length === 0) items.push({ id: "wait" });
  reconcile(place, items, (item) => item.id, makeKeyPart, (element, item) => element.put(item.limit));
}

function makeKeyPart({ id, limit }) {
  if (limit) return makeLimit(limit);
  if (id === "error") {
    const element = h("p", { class: "over" }, h("span", { class: "mark" }), " ", h("span"));
    element.put = () => say(element.lastChild, safe(live.message.key.error, 500));
    return element;
  }
  if (id === "wait") {
    const element = h("p", { class: "soft" }, "Reading its buckets.");
    element.put = () => {};
    return element;
  }
  const text = h("pre");
  const element = h("details", { class: "one", open: "" }, h("summary", {}, "explain: why these limits, and what the next answer would be"), text);
  element.put = () => say(text, lines(live.message.key.explain));
  return element;
}

const legend = (cls, text) => h("span", { class: "legend" }, h("span", { class: `swatch ${cls}` }), text);

function figure(series, label, captions, unit) {
  const reading = h("span", { class: "reading" });
  const chart = plot(series, label, reading, unit);
  return { element: h("figure", {}, h("figcaption", {}, ...captions, reading), chart.svg), put: chart.put };
}

function makeLimit(first) {
  const facts = h("dl", { class: "facts" });
  const level = figure([{ cls: "area", kind: "area" }, { cls: "line", kind: "line", name: "hits that pass" }],
    "Hits that pass at once, over time", [legend("", "hits that pass at once")], count);
  const bound = figure([{ cls: "line", kind: "line", name: "admitted" }, { cls: "allowed", kind: "line", name: "allowed" }],
    "Hits admitted since the page began to watch, against burst and refill", [legend("", "admitted"), legend("allowed", "burst + refill·t")], decimal);
  const status = h("span");
  const element = h("div", { class: "one" },
    h("div", { class: "head" }, h("span", {}, outside(first.rule), h("span", { class: "soft" }, ` ${limitText(first)}, key `), outside(first.name)), status),
    facts, h("div", { class: "plots" }, level.element, bound.element));
  element.put = (limit) => {
    const points = live.keyPoints.get(JSON.stringify([limit.rule, limit.name])) ?? [];
    const end = points.at(-1)?.time_ms ?? live.message.time_ms;
    const span = Math.min(Math.max(points.length - 1, 30), SECONDS);
    const levels = points.map((point) => point.level);
    level.put([levels, levels], end, span, limit.burst);
    bound.element.hidden = limit.allowed === null;
    bound.put([points.map((point) => point.admitted), points.map((point) => point.allowed)], end, span);
    const word = limit.fits ? "the next hit passes" : "the next hit is denied";
    if (status.textContent !== word) status.replaceChildren(state(limit.fits ? "ok" : "over", word));
    drawFacts(facts, limit);
  };
  return element;
}

function drawFacts(facts, limit) {
  const { worst } = limit;
  const list = [
    ["Level", count(limit.level), `of ${count(limit.burst)}`],
    ["The next hit passes", limit.next_ms === 0 ? "now" : `in ${duration(limit.next_ms / 1_000)}`, limit.full_ms > 0 ? `full in ${duration(limit.full_ms / 1_000)}` : "full"],
    ["Admitted since watched", count(limit.admitted), limit.allowed === null ? "" : `of ${decimal(limit.allowed)} allowed`],
  ];
  if (worst) list.push(["Worst interval so far", worst.allowed > 0 ? percent(worst.admitted / worst.allowed) : "–", `${count(worst.admitted)} of ${decimal(worst.allowed)} allowed in ${duration(worst.seconds)}`]);
  reconcile(facts, list, ([name]) => name, ([name]) => h("div", {}, h("dt", {}, name), h("dd", {}, h("span"), h("small"))),
    (element, [, value, small]) => {
      say(element.lastChild.firstChild, value);
      say(element.lastChild.lastChild, small);
    });
}
