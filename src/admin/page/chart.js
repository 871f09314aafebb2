// Plots of five minutes, one point a second.

const SECONDS = 300;

/** The last `n` bins of `width` seconds, as sums per second; missing seconds count as 0. */
function binned(values, width) {
  const bins = Math.ceil(SECONDS / width);
  const sums = new Array(bins).fill(0);
  for (let back = 0; back < Math.min(values.length, SECONDS); back++) {
    sums[bins - 1 - Math.floor(back / width)] += (values[values.length - 1 - back] ?? 0) / width;
  }
  return sums;
}

const greatest = (values) => values.reduce((most, value) => Math.max(most, value ?? 0), 0);

/** Admitted, and in front of it denied, from one base line. No axis: the numbers stand beside it. */
function sparkline() {
  const [area, would, denied] = ["area", "area would", "area denied"].map((cls) => s("path", { class: cls }));
  const svg = s("svg", { viewBox: "0 0 160 26", preserveAspectRatio: "none", "aria-hidden": "true" }, area, would, denied, s("path", { class: "base", d: "M0 25.5H160", fill: "none" }));
  const put = (history) => {
    const width = 5;
    const [a, d, w] = [binned(history.admitted, width), binned(history.denied, width), binned(history.would_deny, width)];
    const most = Math.max(greatest(a), greatest(d), greatest(w), 1e-9);
    set(area, "d", steps(a, most));
    set(would, "d", steps(w, most));
    set(denied, "d", steps(d, most));
  };
  return { svg, put };

  function steps(values, most) {
    const step = 160 / values.length;
    let path = "M0 25";
    values.forEach((value, i) => {
      // What happened at all is seen: at least a pixel.
      const y = value > 0 ? Math.min(24, 25 - (value / most) * 23) : 25;
      path += `V${y.toFixed(1)}H${((i + 1) * step).toFixed(1)}`;
    });
    return `${path}V25Z`;
  }
}

/** A band and its edge, for each of several lists: all bands lie behind all edges. */
const banded = (named) => [...named.map(([cls]) => ({ cls: `area ${cls}`, kind: "area" })), ...named.map(([cls, name]) => ({ cls: `line ${cls}`, kind: "line", name }))];

/** So many seconds are drawn: those that are known, and at least a minute. */
const spanOf = (list) => Math.min(Math.max(list.length - 1, 60), SECONDS);

/** A round number that is at least `value`. */
function ceiling(value) {
  const power = 10 ** Math.floor(Math.log10(Math.max(value, 1)));
  return [1, 1.5, 2, 3, 4, 5, 6, 8, 10].map((n) => n * power).find((n) => n >= value * 0.999) ?? 10 * power;
}

/**
 * A plot with axes. `series` are {cls, kind: "area" | "line", name}; `put(lists, end)` draws lists of equal length whose
 * last point is of the time `end`, and at least `reach` high. The pointer, and the arrow keys, read single points out.
 */
function plot(series, label, reading, unit = decimal) {
  const [high, left, bottom] = [132, 44, 18];
  const inner = { w: 1, h: high - bottom - 8 };
  const floor = 8 + inner.h;
  const paths = series.map(({ cls }) => s("path", { class: cls }));
  const [most, half] = [s("text", { x: left - 6, y: 12, class: "end" }), s("text", { x: left - 6, y: 8 + inner.h / 2 + 4, class: "end" })];
  const [since, now] = [s("text", { x: left, y: high - 4 }), s("text", { y: high - 4, class: "end" }, "now")];
  const [grid, base, cursor] = ["grid", "base", "cursor"].map((cls) => s("path", { class: cls, d: "" }));
  const svg = s("svg", { class: "chart", height: high, role: "img", tabindex: "0", "aria-label": label },
    grid, ...paths, base, most, half, s("text", { x: left - 6, y: floor, class: "end" }, "0"), since, now, cursor);
  let [drawn, at] = [{ lists: [], end: 0, span: SECONDS }, null];

  // One unit is one pixel at any width, so that text keeps its size.
  function fit(width) {
    if (width < 100) return;
    inner.w = width - left - 4;
    set(svg, "viewBox", `0 0 ${width} ${high}`);
    set(grid, "d", `M${left} 8.5H${width - 4}M${left} ${8.5 + inner.h / 2}H${width - 4}`);
    set(base, "d", `M${left} ${floor + 0.5}H${width - 4}`);
    set(now, "x", width - 4);
    if (drawn.lists.length > 0) put(drawn.lists, drawn.end, drawn.span, drawn.reach);
  }
  new ResizeObserver(([entry]) => fit(Math.round(entry.contentRect.width))).observe(svg);

  function put(lists, end, span = SECONDS, reach = 0) {
    drawn = { lists, end, span, reach };
    const highest = ceiling(Math.max(reach, ...lists.map((list) => greatest(list))));
    say(most, count(highest));
    say(half, highest >= 2 ? decimal(highest / 2) : "");
    say(since, span >= SECONDS - 1 ? "5 min ago" : `${span} s ago`);
    lists.forEach((list, i) => set(paths[i], "d", shape(list.slice(-span - 1), highest, series[i].kind)));
    read();
  }

  function shape(list, highest, kind) {
    const step = inner.w / Math.max(drawn.span, 1);
    const x = (i) => left + inner.w - (list.length - 1 - i) * step;
    const y = (value) => 8 + inner.h * (1 - value / highest);
    let [path, open, first] = ["", false, null];
    const close = (i) => (kind === "area" && open ? `V${floor}H${x(first).toFixed(1)}Z` : "");
    list.forEach((value, i) => {
      if (value === null) {
        path += close(i);
        open = false;
      } else {
        path += `${open ? "L" : "M"}${x(i).toFixed(1)} ${y(value).toFixed(1)}`;
        if (!open) [open, first] = [true, i];
      }
    });
    return path + close(list.length);
  }

  function read() {
    const length = drawn.lists[0]?.length ?? 0;
    if (at === null || length === 0) {
      set(cursor, "d", "");
      say(reading, "");
      return;
    }
    const back = Math.min(at, length - 1);
    const px = left + inner.w - (back * inner.w) / Math.max(drawn.span, 1);
    set(cursor, "d", `M${px.toFixed(1)} 8V${floor}`);
    const values = drawn.lists.map((list, i) => [series[i].name, list[list.length - 1 - back]]).filter(([name, value]) => name && value !== null && value !== undefined);
    say(reading, `${clock(drawn.end - back * 1_000)}  ${values.map(([name, value]) => `${name} ${unit(value)}`).join(", ")}`);
  }

  const point = (event) => {
    const box = svg.getBoundingClientRect();
    const x = event.clientX - box.left;
    at = Math.round(Math.min(Math.max((left + inner.w - x) / inner.w, 0), 1) * drawn.span);
    read();
  };
  const leave = () => {
    at = null;
    read();
  };
  svg.addEventListener("pointermove", point);
  svg.addEventListener("pointerleave", leave);
  svg.addEventListener("blur", leave);
  svg.addEventListener("keydown", (event) => {
    const moves = { ArrowLeft: 1, ArrowRight: -1, PageUp: 10, PageDown: -10 };
    if (!(event.key in moves)) return;
    event.preventDefault();
    at = Math.min(Math.max((at ?? -1) + moves[event.key], 0), drawn.span);
    read();
  });
  return { svg, put };
}
