// What opens below a row: the top keys of the rule, its five minutes, its limits, and each replica's part.

const KEY_COLUMNS = ["Key", "State", "Decisions", "Denied", "In use"];

function table(columns, caption) {
  const cells = columns.map((name, at) => h("th", { scope: "col", class: at > 1 ? "num" : null }, name));
  const element = h("table", {}, h("caption", { class: "hidden" }, caption), h("thead", {}, h("tr", {}, ...cells)), h("tbody"));
  return element;
}

const block = (title, ...children) => h("div", { class: "block" }, h("h3", {}, title), ...children);

function makeDetail(row) {
  const keys = table(KEY_COLUMNS, "Top keys of the rule");
  const note = h("p", { class: "soft note" });
  const title = h("h3", {}, "Top keys");
  const reading = h("span", { class: "reading" });
  const chart = plot(banded([["", "admitted"], ["would", "would deny"], ["denied", "denied"]]),
    "Admitted and denied per second by this rule in the last five minutes. Use the arrow keys to read single seconds.", reading, count);
  const limits = h("ul", { class: "health" });
  const parts = table(["Replica", "", "Admitted", "Denied", "Would deny"], "Each replica’s part of the last second");
  const partsBlock = block("By replica, in the last second", h("div", { class: "scroll" }, parts));
  const left = h("div", {}, h("div", { class: "block" }, title, h("div", { class: "tall", tabindex: "0", role: "group", "aria-label": "Top keys" }, keys), note));
  const right = h("div", {}, h("figure", { class: "block" }, h("figcaption", {}, h("span", {}, "Per second"), reading), chart.svg), block("Limits", limits), partsBlock);
  const element = h("tr", { class: "detail", role: "row" }, h("td", { colspan: COLUMNS.length, role: "cell" }, h("div", { class: "cols" }, left, right)));
  element.put = (now) => {
    const { admitted, denied, would_deny } = now.history;
    chart.put([admitted, would_deny, denied, admitted, would_deny, denied], live.message.time_ms, spanOf(admitted));
    drawKeys(keys, title, note, now);
    reconcile(limits, now.limits.slice(0, 60), (limit) => JSON.stringify(limit), (limit) => h("li", {}, h("span", {}, limitText(limit)), h("span", { class: "soft" }, limit.shadow ? "in shadow mode" : limit.algorithm.replace("_", " "))));
    partsBlock.hidden = now.parts.length < 2;
    reconcile(parts.tBodies[0], now.parts, (part) => part.replica, (part) => h("tr", {}, h("td", {}, outside(part.replica, "name", 40)), h("td"), ...["admitted", "denied", "would_deny"].map(() => h("td", { class: "num" }))),
      (line, part) => [part.admitted, part.denied, part.would_deny].forEach((value, at) => sayCount(line.cells[at + 2], value)));
  };
  return element;
}

function drawKeys(keys, title, note, row) {
  const { top } = live.message;
  const mine = top && top.domain === row.domain && top.rule === row.rule ? top : null;
  keys.hidden = !mine || mine.keys.length === 0;
  say(title, mine ? `Top keys of the last ${duration(mine.window_seconds)}` : "Top keys");
  if (!mine) return say(note, "Waiting for the next second.");
  if (mine.keys.length === 0) return say(note, "No key was decided on in this time.");
  const largest = Math.max(...mine.keys.map((key) => key.error));
  const exact = largest === 0 ? "" : ` A count may be too high by its ± number.`;
  const rest = mine.left_out_at_most > 0 ? ` A key that is not listed had at most ${count(mine.left_out_at_most)} decisions.` : "";
  const names = live.showValues ? "" : " Names are hashes, because values can be secrets; --show-values shows the values.";
  say(note, `${exact}${rest}${names}`.trim());
  reconcile(keys.tBodies[0], mine.keys.slice(0, 50), (key) => key.name, (key) => makeKey(key, row), (line, key) => line.put(key));
}

function makeKey(key, row) {
  const cells = KEY_COLUMNS.map((_, at) => h("td", { class: at > 1 ? "num" : null }));
  const [name, status, decisions, denied, used] = cells;
  if (key.values === null) name.append(outside(key.name));
  else {
    const button = h("button", { type: "button", class: "link-button" }, outside(key.values));
    button.addEventListener("click", () => askFor(row.domain, key.values));
    name.append(button);
  }
  const line = h("tr", {}, ...cells);
  line.put = (now) => {
    const word = WORDS[now.state] ?? safe(now.state, 20);
    if (status.textContent !== word) status.replaceChildren(state(now.state, now.state === "over" ? "denied" : word));
    say(decisions, count(now.decisions) + (now.error > 0 ? ` ± ${count(now.error)}` : ""));
    sayDenied(denied, now);
    say(used, now.share === null ? "–" : percent(now.share));
  };
  return line;
}
