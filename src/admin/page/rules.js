// The table by rule. A row opens to the top keys of its rule, and to each replica's part.

const COLUMNS = [
  { name: "Rule", by: (row) => row.rule, cls: "what", up: true },
  { name: "State", by: (row) => rank(row), cls: "status" },
  { name: "Limit", cls: "limit" },
  { name: "Admitted/s", by: (row) => recent(row.history.admitted), cls: "num" },
  { name: "Denied/s", by: (row) => recent(row.history.denied) * 1e3 + recent(row.history.would_deny), cls: "num" },
  { name: "In use", by: (row) => row.share ?? -1, cls: "used" },
  { name: "Keys near", by: (row) => row.keys_near, cls: "num" },
  { name: "Keys over", by: (row) => row.keys_over, cls: "num" },
  { name: "Last denial", by: (row) => row.last_denial_ms ?? 0, cls: "num" },
  { name: "Last five minutes", cls: "spark" },
];
const CHOICES = [["all", "All"], ["over", "Denying"], ["near", "Near"], ["shadow", "Shadow"]];
const view = { sort: 1, up: false, filter: "", show: "all", open: null, held: null };
const body = byId("table").tBodies[0];

/** What needs eyes first: denials by their number, then closeness to the limit, then traffic. */
function rank(row) {
  const weight = { over: 3, near: 2, shadow: 1, ok: 0 }[row.kind];
  const within = row.kind === "over" ? recent(row.history.denied) : row.kind === "near" ? row.share ?? 0 : recent(row.history.admitted);
  return weight * 1e9 + Math.min(within, 1e9 - 1);
}

function buildRules() {
  COLUMNS.forEach((column, at) => {
    const inner = column.by ? h("button", { type: "button" }, column.name) : column.name;
    const head = h("th", { scope: "col", role: "columnheader", class: column.cls }, inner);
    if (column.by) {
      inner.addEventListener("click", () => sortBy(at));
      byId("sort").append(h("option", { value: at }, `Sort by ${column.name.toLowerCase()}`));
    }
    byId("table").tHead.rows[0].append(head);
  });
  byId("sort").value = view.sort;
  byId("sort").addEventListener("change", (event) => sortBy(Number(event.target.value)));
  for (const [value, name] of CHOICES) {
    const radio = h("input", { type: "radio", name: "show", value });
    radio.checked = value === view.show;
    radio.addEventListener("change", () => redraw(() => (view.show = value)));
    byId("show").append(h("label", {}, radio, `${name} `, h("span", { class: "soft", "data-of": value })));
  }
  byId("filter").addEventListener("input", (event) => redraw(() => (view.filter = event.target.value.trim().toLowerCase())));
  // Rows do not move under the pointer or the focus.
  body.addEventListener("pointerenter", (event) => event.pointerType === "mouse" && (view.held ??= order()));
  body.addEventListener("pointerleave", () => (view.held = null));
  body.addEventListener("focusin", () => (view.held ??= order()));
  body.addEventListener("focusout", (event) => body.contains(event.relatedTarget) || (view.held = null));
}

function redraw(change) {
  change();
  view.held = null;
  if (live.message) drawRules();
}

function sortBy(at) {
  redraw(() => {
    const same = view.sort === at;
    view.up = same ? !view.up : COLUMNS[at].up ?? false;
    view.sort = at;
    byId("sort").value = at;
  });
}

const order = () => [...body.kept?.keys() ?? []];

function compare(a, b) {
  const by = COLUMNS[view.sort].by;
  const [x, y] = [by(a), by(b)];
  const less = typeof x === "string" ? x.localeCompare(y) : x - y;
  return (view.up ? less : -less) || a.rule.localeCompare(b.rule) || a.domain.localeCompare(b.domain);
}

function shown() {
  const matches = (row) => `${row.domain} ${row.rule} ${row.limits.map((limit) => limit.tier ?? "").join(" ")}`.toLowerCase().includes(view.filter);
  const rows = [...live.rows.values()].filter((row) => (view.show === "all" || row.kind === view.show) && matches(row)).sort(compare);
  if (!view.held) return rows;
  const held = new Map(view.held.map((id, at) => [id, at]));
  return rows.sort((a, b) => (held.get(a.id) ?? Infinity) - (held.get(b.id) ?? Infinity) || 0);
}

function drawRules() {
  const all = [...live.rows.values()];
  [...byId("table").tHead.rows[0].cells].forEach((cell, at) => {
    if (at === view.sort) set(cell, "aria-sort", view.up ? "ascending" : "descending");
    else cell.removeAttribute("aria-sort");
  });
  for (const label of byId("show").querySelectorAll("[data-of]")) {
    const kind = label.dataset.of;
    say(label, count(kind === "all" ? all.length : all.filter((row) => row.kind === kind).length));
  }
  const severalDomains = new Set(all.map((row) => row.domain)).size > 1;
  const rows = shown();
  const items = rows.flatMap((row) => (row.id === view.open ? [row, { detail: row, id: `${row.id} open` }] : [row]));
  reconcile(body, items, (item) => item.id, (item) => (item.detail ? makeDetail(item.detail) : makeRow(item)),
    (element, item) => element.put(item.detail ?? item, severalDomains));
  drawNothing(all, rows);
  const { left_out: rest } = live.message;
  byId("rest").hidden = rest.rules === 0;
  say(byId("rest"), `${plural(rest.rules, "quieter rule")} not listed: together ${count(rest.admitted)} admitted and ${count(rest.denied)} denied in the last second.`);
}

function drawNothing(all, rows) {
  const asked = live.total.admitted.some(Boolean) || live.total.denied.some(Boolean) || live.message.limiter.connections > 0;
  const kind = all.length === 0 ? "rules" : rows.length === 0 ? "filter" : asked ? "" : "traffic";
  const empty = byId("nothing");
  empty.hidden = kind === "";
  byId("table").hidden = all.length === 0;
  if (empty.dataset.kind === kind) return;
  empty.dataset.kind = kind;
  const texts = {
    "": [],
    filter: [h("p", { class: "soft" }, "No rule is like that now.")],
    rules: [h("p", {}, "The configuration has no limits, so every request passes. Give a rule a limit, for example:"),
      h("pre", {}, "domain: edge\ndescriptors:\n- key: api_key\n  rate_limit: { unit: minute, requests_per_unit: 100 }"),
      h("p", { class: "soft" }, "Tollgate reads the file again by itself, and the rule then appears here.")],
    traffic: [h("p", {}, "No Envoy is connected yet. Point a cluster with HTTP/2 at the gRPC port (", h("code", {}, "--grpc-listen"), ", 8081 by default), and name it in the filter ", h("code", {}, "envoy.filters.http.ratelimit"), " with one of the domains above. ", h("code", {}, "examples/envoy.yaml"), " is a complete configuration.")],
  };
  empty.replaceChildren(...texts[kind]);
}

function makeRow(row) {
  // Roles, because a narrow page lays the table out as blocks, and it is no table then to screen readers.
  const tagOf = (cls) => (cls === "what" ? ["th", "rowheader"] : ["td", "cell"]);
  const cells = COLUMNS.map(({ cls, name }) => h(tagOf(cls)[0], { class: cls, role: tagOf(cls)[1], "data-name": ["what", "status", "limit", "spark"].includes(cls) ? null : name }));
  const [what, status, limit, admitted, denied, used, near, over, last, spark] = cells;
  const button = h("button", { type: "button", "aria-expanded": "false", title: row.rule.length > 80 ? safe(row.rule, 400) : null }, outside(row.rule, "name", 80));
  const domain = outside(row.domain, "soft", 60);
  what.append(button, " ", domain);
  status.append(state("ok", ""));
  const meter = h("span", { class: "meter" });
  const share = h("span", { class: "text" });
  used.append(h("span", { class: "use" }, meter, share));
  denied.classList.add("denied-now");
  const line = sparkline();
  spark.append(line.svg);
  const element = h("tr", { role: "row" }, ...cells);
  element.addEventListener("click", () => toggle(row));
  element.put = (now, severalDomains) => {
    set(element, "class", `row ${now.kind}`);
    set(button, "aria-expanded", String(view.open === now.id));
    domain.hidden = !severalDomains;
    set(status.firstChild, "class", `state ${now.kind}`);
    if (status.textContent !== wordOf(now)) status.firstChild.replaceChildren(h("span", { class: "mark" }), wordOf(now));
    sayLimits(limit, now.limits);
    sayCount(admitted, now.admitted);
    sayDenied(denied, now);
    set(used.firstChild, "class", `use ${now.kind === "ok" && now.share >= 1 ? "near" : now.kind}`);
    meter.style.setProperty("--part", Math.min(now.share ?? 0, 1));
    say(share, now.share === null ? "–" : percent(now.share));
    const more = now.keys_more ? "+" : "";
    sayCount(near, now.keys_near, now.keys_near > 0 ? more : "");
    sayCount(over, now.keys_over, now.keys_over > 0 ? more : "");
    say(last, now.last_denial_ms === null ? "–" : ago(now.last_denial_ms, live.message.time_ms));
    last.classList.toggle("zero", now.last_denial_ms === null);
    line.put(now.history);
  };
  return element;
}

function sayCount(cell, value, after = "") {
  say(cell, count(value) + after);
  cell.classList.toggle("zero", value === 0);
}

/** In parentheses: what a rule in shadow mode would have denied. */
function sayDenied(cell, { denied, would_deny }) {
  const would = would_deny > 0 && denied === 0;
  sayCount(cell, would ? would_deny : denied);
  if (would) say(cell, `(${count(would_deny)})`);
  cell.classList.toggle("zero", would || denied === 0);
  cell.title = would ? "would have been denied: the rule is in shadow mode" : "";
}

/** Two limits at most, so that a rule with fifty tiers is one row too; the open row shows all. */
function sayLimits(cell, limits) {
  const texts = limits.slice(0, 2).map(limitText);
  if (limits.length > 2) texts.push(`${limits.length - 2} more`);
  const text = texts.join("; ");
  if (cell.dataset.text === text) return;
  cell.dataset.text = text;
  cell.replaceChildren(...texts.flatMap((one, at) => (at === 0 ? [h("span", {}, one)] : [h("span", { class: "hidden" }, "; "), h("br"), h("span", {}, one)])));
}

function toggle(row) {
  const opens = view.open !== row.id;
  view.open = opens ? row.id : null;
  const keepsKey = watched.entries.length > 0 && watched.domain === row.domain;
  if (opens && watched.entries.length > 0 && !keepsKey) watchKey(null, []);
  watch({ domain: opens || watched.entries.length > 0 ? row.domain : null, rule: opens ? row.rule : null });
  if (live.message) drawRules();
}
