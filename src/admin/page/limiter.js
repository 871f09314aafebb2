// The limiter itself, and each replica.

const SOURCES = [["store", "store"], ["lease", "lease"], ["cache", "denial cache"], ["local", "fallback: local"], ["allow", "fallback: allow"], ["deny", "fallback: deny"], ["error", "no answer"]];
const REPLICA_COLUMNS = ["Replica", "State", "Admitted/s", "Denied/s", "Fallback/s", "p99", "Connections", "Rules"];
const REFUSED_AT_MOST = 20;

const parts = {};

function buildLimiter() {
  parts.split = h("div", { class: "split", "aria-hidden": "true" });
  parts.sources = h("dl", { class: "sources" });
  parts.facts = h("dl", { class: "facts" });
  parts.refused = block("The last configuration that was refused", h("pre"));
  // Its roles are said, because the styles of a narrow page take them away.
  const heads = REPLICA_COLUMNS.map((name, at) => h("th", { scope: "col", role: "columnheader", class: at > 1 ? "num" : null }, name));
  parts.replicas = h("table", { class: "replicas", role: "table" }, h("caption", { class: "hidden" }, "Replicas"), h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, ...heads)), h("tbody", { role: "rowgroup" }));
  byId("limiter").append(parts.refused, block("Answers per second, by source", parts.split, parts.sources), parts.facts, block("Replicas", h("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "Replicas" }, parts.replicas)));
}

function drawLimiter() {
  const { limiter, replicas } = live.message;
  drawSources(replicas.length > 0 ? replicas : [{ answers: limiter.answers }]);
  drawLimiterFacts(limiter);
  parts.refused.hidden = !limiter.refused;
  if (limiter.refused) {
    const { errors, time_ms } = limiter.refused;
    const more = errors.length > REFUSED_AT_MOST ? `\nand ${errors.length - REFUSED_AT_MOST} more` : "";
    say(parts.refused.lastChild, `${clock(time_ms)}\n${lines(errors.slice(0, REFUSED_AT_MOST).join("\n"))}${more}`);
  }
  reconcile(parts.replicas.tBodies[0], replicas, (replica) => replica.name, makeReplica, (line, replica) => line.put(replica));
}

function drawSources(replicas) {
  // An older replica does not tell all of them.
  const sum = (source) => replicas.reduce((total, { answers }) => total + (answers[source] ?? 0), 0);
  reconcile(parts.sources, SOURCES, ([source]) => source, ([, name]) => h("div", {}, h("dt", {}, name), h("dd")), (element, [source]) => sayCount(element.lastChild, sum(source)));
  reconcile(parts.split, SOURCES, ([source]) => source, ([source]) => h("i", { class: ["store", "lease", "cache", "error"].includes(source) ? source : "fallback" }), (element, [source]) => element.style.setProperty("--part", sum(source)));
}

function drawLimiterFacts({ store, rules, replicas, connections, max_connections, uptime_seconds }) {
  const redis = store.kind !== "memory";
  const errors = Object.entries(store.errors).map(([kind, n]) => `${safe(kind, 30)} ${count(n)}`).join(", ");
  const list = [
    ["Store", redis ? safe(store.address, 80) : "memory", errors ? `not answered: ${errors}` : safe(store.text, 120)],
    ["Store p50 and p99", redis ? `${micros(store.p50_us)}, ${micros(store.p99_us)}` : "–", redis && store.deadline_us ? `at most; the deadline is ${micros(store.deadline_us)}` : ""],
    ["Breaker", redis ? safe(store.breaker, 20) : "–", redis ? `${plural(store.calls, "request")} waited for Redis in the last second` : ""],
    ["Rules", safe(rules.version, 20), `${plural(rules.limits, "limit")} in ${plural(rules.domains, "domain")}, for ${duration(rules.age_seconds)}`],
    ["Connections", count(connections), `of ${count(max_connections)}`],
    ["Replicas counted", replicas === null ? "not known" : count(replicas), `this one runs for ${duration(uptime_seconds)}`],
  ];
  reconcile(parts.facts, list, ([name]) => name, ([name]) => h("div", {}, h("dt", {}, name), h("dd", {}, h("bdi"), h("small"))),
    (element, [, value, small]) => {
      say(element.lastChild.firstChild, value);
      say(element.lastChild.lastChild, small);
    });
}

function makeReplica(replica) {
  const cells = REPLICA_COLUMNS.map((name, at) => h("td", { role: "cell", class: at > 1 ? "num" : null, "data-name": at > 1 ? name : null }));
  const [name, status, admitted, denied, fallback, p99, connections, rules] = cells;
  name.append(outside(replica.name, "name", 40), replica.is_this ? h("small", { class: "soft" }, "this one") : "");
  const line = h("tr", { role: "row" }, ...cells);
  line.put = (now) => {
    const [kind, word] = stateOf(now);
    if (status.textContent !== word) status.replaceChildren(state(kind, word));
    sayCount(admitted, now.admitted);
    sayCount(denied, now.denied);
    sayCount(fallback, fallbacks(now.answers));
    say(p99, micros(now.p99_us));
    sayCount(connections, now.connections);
    saySafe(rules, now.rules_version, 8);
  };
  return line;
}

function stateOf(replica) {
  if (replica.age_ms > SILENT_MS) return ["near", `silent for ${duration(Math.round(replica.age_ms / 1_000))}`];
  if (replica.breaker !== "serving") return ["over", `store: ${safe(replica.breaker, 20)}`];
  if (replica.stale) return ["near", "old rules"];
  return ["well", "well"];
}
