// What has been told so far, and what it means: which rules deny, and whether the limiter is well.

/** Denials count as going on for so many seconds after the last one. */
const RECENT = 10;
/** A replica's second is old after so many milliseconds. */
const SILENT_MS = 2_500;

const live = {
  message: null,
  rows: new Map(),
  total: { admitted: [], denied: [] },
  keyPoints: new Map(),
  events: [],
  second: 0,
  showValues: false,
};

const idOf = (row) => JSON.stringify([row.domain, row.rule]);
const recent = (list) => list.slice(-RECENT).reduce((sum, value) => sum + value, 0);

function take(message) {
  const second = Math.floor(message.time_ms / 1_000);
  // A new connection may tell the same second again.
  const isNew = second > live.second;
  const gap = live.second ? Math.min(second - live.second - 1, SECONDS) : 0;
  const rows = new Map();
  for (const row of message.rules) rows.set(idOf(row), takeRow(row, isNew, gap));
  takeTotal(message, rows, isNew, gap);
  live.rows = rows;
  live.second = Math.max(second, live.second);
  live.message = message;
  live.showValues = message.show_values;
  takeKey(message.key);
  const known = new Set(live.events.map((event) => `${event.replica} ${event.id}`));
  const fresh = message.events.filter((event) => !known.has(`${event.replica} ${event.id}`));
  live.events = [...fresh.reverse(), ...live.events].slice(0, 300);
  return fresh;
}

function takeRow(row, isNew, gap) {
  const known = live.rows.get(idOf(row));
  const names = ["admitted", "denied", "would_deny"];
  const history = {};
  for (const name of names) {
    if (row.history) history[name] = row.history[name].slice();
    else history[name] = append(known?.history[name] ?? [], row[name], isNew, gap);
  }
  return { ...row, id: idOf(row), history, kind: kindOf(row, history) };
}

function append(list, value, isNew, gap) {
  if (!isNew && list.length > 0) return list;
  // Seconds that were not heard of are gaps in the plots, not zeros.
  for (let missing = 0; missing < gap; missing++) list.push(null);
  list.push(value);
  return list.length > SECONDS ? list.slice(-SECONDS) : list;
}

function takeTotal(message, rows, isNew, gap) {
  for (const name of ["admitted", "denied"]) {
    const list = live.total[name];
    if (message.rules.some((row) => row.history) && (list.length === 0 || gap > 1)) {
      const lists = [...rows.values()].map((row) => row.history[name].slice(-SECONDS));
      const length = Math.max(...lists.map((list) => list.length));
      const sums = new Array(length).fill(0);
      for (const list of lists) list.forEach((value, i) => (sums[length - list.length + i] += value));
      live.total[name] = sums;
    } else {
      const now = message.left_out[name] + [...rows.values()].reduce((sum, row) => sum + row[name], 0);
      live.total[name] = append(list, now, isNew, gap);
    }
  }
}

function takeKey(key) {
  if (!key) return live.keyPoints.clear();
  for (const limit of key.limits) {
    const id = JSON.stringify([limit.rule, limit.name]);
    const old = live.keyPoints.get(id) ?? [];
    const last = old.at(-1)?.time_ms ?? 0;
    live.keyPoints.set(id, [...old, ...(limit.points ?? []).filter((point) => point.time_ms > last)].slice(-SECONDS));
  }
}

/** How a rule stands: over (denies), near, shadow (only would deny), or ok. */
function kindOf(row, history) {
  if (row.keys_over > 0 && recent(history.denied) > 0) return "over";
  if (recent(history.denied) > 0) return "over";
  if (recent(history.would_deny) > 0) return "shadow";
  if (row.keys_near > 0) return "near";
  return row.limits.length > 0 && row.limits.every((limit) => limit.shadow) ? "shadow" : "ok";
}

const WORDS = { over: "denying", near: "near", shadow: "shadow", ok: "ok" };
const wordOf = (row) => (row.kind === "shadow" && recent(row.history.would_deny) > 0 ? "would deny" : WORDS[row.kind]);

const fallbacks = ({ local, allow, deny, error }) => local + allow + deny + error;

/** What is not well, in sentences. Empty: all is well. */
function problems({ limiter, replicas }) {
  const found = [];
  const { store, rules, answers } = limiter;
  if (limiter.phase !== "serving") found.push(["near", `This replica is ${safe(limiter.phase, 20)}.`]);
  if (["degraded", "refused", "not_yet"].includes(store.state)) found.push(["over", `The store cannot be used: ${safe(store.text, 300)}`]);
  else if (store.breaker !== "serving") found.push(["over", `The store is silent, and is probed: its breaker is ${safe(store.breaker, 20)}.`]);
  const answered = replicas.length > 0 ? replicas.reduce((sum, replica) => sum + fallbacks(replica.answers), 0) : fallbacks(answers);
  if (answered > 0) found.push(["over", `${plural(answered, "answer")} in the last second came from a fallback, not from the store.`]);
  if (store.p99_us !== null && store.deadline_us && store.p99_us > store.deadline_us / 2) {
    found.push(["near", `The store is slow: p99 is at most ${micros(store.p99_us)}, and the deadline is ${micros(store.deadline_us)}.`]);
  }
  if (limiter.refused) found.push(["over", "The last configuration was refused, and the rules before it stay in force."]);
  else if (rules.stale) found.push(["over", "A changed configuration is refused, and the rules before it stay in force."]);
  const versions = new Set(replicas.map((replica) => replica.rules_version));
  if (versions.size > 1) found.push(["near", `Replicas have ${versions.size} different versions of the rules.`]);
  for (const replica of replicas) {
    if (replica.age_ms > SILENT_MS) found.push(["near", `Replica ${safe(replica.name, 40)} has been silent for ${duration(replica.age_ms / 1_000)}; its last second is shown.`]);
    if (replica.stale && !replica.is_this) found.push(["near", `Replica ${safe(replica.name, 40)} refused its last configuration.`]);
    if (replica.breaker !== "serving" && !replica.is_this) found.push(["over", `Replica ${safe(replica.name, 40)} gets no answers from the store: its breaker is ${safe(replica.breaker, 20)}.`]);
  }
  if (limiter.connections > limiter.max_connections * 0.8) found.push(["near", `${count(limiter.connections)} of ${count(limiter.max_connections)} connections are open.`]);
  return found;
}
