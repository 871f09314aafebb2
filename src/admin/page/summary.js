// The answer in one look: who is denied, by which rule, how close the others are, whether the limiter is well.

const totals = plot(banded([["", "admitted"], ["denied", "denied"]]),
  "Admitted and denied per second in the last five minutes. Use the arrow keys to read single seconds.", document.querySelector("#total .reading"), count);
byId("total").append(totals.svg);

function drawSummary() {
  const { message } = live;
  const rows = [...live.rows.values()];
  const of = (kind) => rows.filter((row) => row.kind === kind);
  const over = of("over");
  drawHeadline(rows, over);
  drawMost(over, of("near"), rows.filter((row) => recent(row.history.would_deny) > 0));
  drawHealth(problems(message), message);
  const said = `${safe(message.replica, 40)}, version ${safe(message.limiter.tollgate, 20)}`;
  say(byId("about"), said);
  byId("total").hidden = rows.length === 0;
  const { admitted, denied } = live.total;
  totals.put([admitted, denied, admitted, denied], message.time_ms, spanOf(admitted));
  const rate = rateOf(live.total.denied);
  document.title = over.length > 0 ? `${rate}/s denied – Tollgate` : "Tollgate";
}

/** Denials a second, over the seconds in which they count as going on. */
const rateOf = (list) => {
  const rate = recent(list) / Math.max(Math.min(list.length, RECENT), 1);
  return rate >= 10 ? count(Math.round(rate)) : tenths.format(Math.max(rate, 0.1));
};

function drawHeadline(rows, over) {
  const headline = byId("headline");
  if (rows.length === 0) return say(headline, "No rule has a limit");
  const seen = Math.max(recent(live.total.admitted), recent(live.total.denied));
  if (over.length === 0) {
    const asked = live.total.admitted.some(Boolean) || live.total.denied.some(Boolean);
    return say(headline, seen > 0 || asked ? "Nobody is being denied" : "No request in the last five minutes");
  }
  const [first, rest] = [`${rateOf(live.total.denied)} denials a second`, `, by ${over.length === 1 ? "one rule" : `${over.length} rules`} of ${rows.length}`];
  if (headline.textContent !== first + rest) headline.replaceChildren(h("b", { class: "denied" }, first), rest);
}

function drawMost(over, near, would) {
  const parts = [];
  const byDenied = over.toSorted((a, b) => recent(b.history.denied) - recent(a.history.denied));
  byDenied.slice(0, 3).forEach((row, i, first) => {
    if (i > 0) parts.push(i === first.length - 1 ? " and " : ", ");
    parts.push(outside(row.rule, "name", 80), i === 0 ? ` denies ${rateOf(row.history.denied)} a second` : ` ${rateOf(row.history.denied)}`);
  });
  if (parts.length > 0) parts.push(". ");
  if (near.length > 0) parts.push(near.length === 1 ? "One other rule is near its limit. " : `${near.length} other rules are near their limits. `);
  if (would.length > 0) parts.push(would.length === 1 ? "One rule in shadow mode would deny." : `${would.length} rules in shadow mode would deny.`);
  const most = byId("most");
  const fresh = h("p", {}, ...parts);
  if (fresh.textContent !== most.textContent) most.replaceChildren(...fresh.childNodes);
}

function drawHealth(found, { limiter, replicas }) {
  const list = found.length > 0 ? found : [["well", wellText(limiter, replicas)]];
  reconcile(byId("health"), list.slice(0, 6), ([kind, text]) => `${kind}${text.replace(/[\d.,]+/g, "")}`,
    ([kind]) => h("li", { class: kind }, h("span", { class: "mark" }), h("span", { class: "said" })),
    (item, [, text]) => say(item.lastChild, text));
}

function wellText({ store, replicas: counted }, replicas) {
  const many = Math.max(replicas.length, counted ?? 0);
  const who = many > 1 ? `${many} replicas with the same rules` : "one replica";
  if (store.kind === "memory") return `The limiter is well: ${who}, with its buckets in memory.`;
  const speed = store.p99_us === null ? "" : `; the store’s p99 is at most ${micros(store.p99_us)} of ${micros(store.deadline_us)}`;
  return `The limiter is well: ${who}${speed}.`;
}
