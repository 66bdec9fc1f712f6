"use strict";
(() => {
  // The script puts the columns of the data block on the page: it rounds nothing, judges nothing, and writes names with
  // textContent only. Own elements are found by data attributes, because ids belong to predictions (#front.road_edge).
  const one = (selector) => document.querySelector(selector);
  const all = (selector) => Array.from(document.querySelectorAll(selector));
  const data = JSON.parse(one('script[type="application/json"]').textContent);
  const { tables, columns } = data;
  const SVG = one("svg").namespaceURI;
  const MINUS = "\u2212";
  const IDENTICAL = 1, SUSPECT = 2, PROVABLE = 4;

  const of = (name, row) => {
    const column = columns[name];
    if (Array.isArray(column)) return column[row];
    if ("all" in column) return column.all;
    const value = column.some[row];
    return value === undefined ? null : value;
  };
  const entry = (name, row) => tables[name][of(name, row)];

  const written = (steps, decimals, signed) => {
    const digits = String(Math.abs(steps)).padStart(decimals + 1, "0");
    const cut = digits.length - decimals;
    const text = decimals ? digits.slice(0, cut) + "." + digits.slice(cut) : digits;
    return (steps < 0 ? MINUS : signed && steps > 0 ? "+" : "") + text;
  };
  const figure = (name, row, { signed = false, unit = true, difference = false } = {}) => {
    const steps = of(name, row);
    if (steps === null) return "";
    const [valueUnit, deltaUnit, decimals] = entry("scale", row);
    return written(steps, decimals, signed) + (unit ? (difference ? deltaUnit : valueUnit) : "");
  };
  const bounds = (row) => {
    const low = figure("low", row, { signed: true, unit: false });
    const high = figure("high", row, { signed: true, unit: false });
    return low || high ? "[" + (low || MINUS + "\u221e") + ", " + (high || "\u221e") + "]" : "";
  };
  const pText = (row) => {
    const steps = of("p", row);
    return steps === null ? "" : steps === 0 ? "< 0.0001" : written(steps, 4, false);
  };
  const reason = (row) => {
    const [place, ...numbers] = String(of("reason", row)).split("|");
    return tables.template[place].replace(/\0/g, () => numbers.shift());
  };
  const count = (number) => number.toLocaleString("en");

  // Differences with their sign turned so that negative is worse, in margins: one scale for every metric.
  const inMargins = (name, row) => {
    const steps = of(name, row);
    const [, , , lower, margin] = entry("scale", row);
    return steps === null || !margin ? null : (lower ? -steps : steps) / margin;
  };

  const make = (tag, attributes = {}, ...children) => {
    const node = document.createElement(tag);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    node.append(...children);
    return node;
  };
  const draw = (tag, attributes) => {
    const node = document.createElementNS(SVG, tag);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    return node;
  };

  const HALF = 68, HEIGHT = 20;
  const place = (value) => HALF + (Math.max(-data.span, Math.min(data.span, value)) / data.span) * (HALF - 6);
  const forest = (row) => {
    const middle = inMargins("delta", row);
    if (middle === null) return null;
    const ends = ["low", "high"].map((name) => inMargins(name, row)).map((v, k) => (v === null ? middle : v));
    const [low, high] = [Math.min(...ends), Math.max(...ends)];
    const svg = draw("svg", { viewBox: `0 0 ${2 * HALF} ${HEIGHT}`, width: 2 * HALF, height: HEIGHT, "aria-hidden": "true" });
    const y = HEIGHT / 2;
    svg.append(
      draw("path", { class: "margin", d: `M${place(-1)} 1V${HEIGHT - 1}` }),
      draw("path", { class: "zero", d: `M${place(0)} 1V${HEIGHT - 1}` }),
      draw("path", { class: "whisker", d: `M${place(low)} ${y}H${place(high)}` }),
    );
    if (low < -data.span) svg.append(draw("path", { class: "tip", d: `M0 ${y}l7 -4v8z` }));
    if (high > data.span) svg.append(draw("path", { class: "tip", d: `M${2 * HALF} ${y}l-7 -4v8z` }));
    if (Math.abs(middle) <= data.span) svg.append(draw("circle", { class: "dot", cx: place(middle), cy: y, r: 3.5 }));
    return svg;
  };

  // ---------------------------------------------------------------------------------------------- filters and order
  const filters = Object.fromEntries(all("[data-filter]").map((input) => [input.dataset.filter, input]));
  const START = { text: "", verdict: "", tier: "", metric: "", slice: "all" };
  let sort = { key: "worst", down: false };
  let page = 0;
  let rows = [];
  let hit = null; // the prediction of the deep link
  const open = new Set(); // rows that show their detail

  if (!tables.slice.includes("all")) START.slice = "";
  const haystacks = [];
  const haystack = (row) => {
    if (haystacks[row] === undefined) {
      const words = ["prediction", "metric", "slice", "task", "tier", "waiver"].map((name) => entry(name, row) || "");
      const flags = of("flags", row);
      words.push(entry("verdict", row)[2], reason(row), flags & SUSPECT ? "suspect" : "", flags & IDENTICAL ? "identical" : "");
      haystacks[row] = words.join(" ").toLowerCase();
    }
    return haystacks[row];
  };

  const sortValue = {
    worst: (row) => row,
    margins: (row) => inMargins("delta", row),
    reason,
    threshold: (row) => entry("threshold", row),
  };
  for (const name of ["prediction", "metric", "slice"]) sortValue[name] = (row) => entry(name, row);
  for (const name of ["incumbent", "candidate", "delta", "mdr"]) {
    sortValue[name] = (row) => (of(name, row) === null ? null : of(name, row) / 10 ** entry("scale", row)[2]);
  }
  for (const name of ["p", "clips"]) sortValue[name] = (row) => of(name, row);

  const select = () => {
    const words = filters.text.value.toLowerCase().split(/\s+/).filter(Boolean);
    const wanted = (name, row) => !filters[name].value || filters[name].value === (name === "verdict" ? entry(name, row)[0] : entry(name, row));
    rows = [];
    for (let row = 0; row < data.rows; row++) {
      if (!["verdict", "tier", "metric", "slice"].every((name) => wanted(name, row))) continue;
      if (words.length && !words.every((word) => haystack(row).includes(word))) continue;
      rows.push(row);
    }
    if (sort.key === "worst") {
      if (sort.down) rows.reverse();
      return;
    }
    const keys = new Map(rows.map((row) => [row, sortValue[sort.key](row)]));
    rows.sort((a, b) => {
      const [x, y] = [keys.get(a), keys.get(b)];
      if (x === null || y === null) return x === y ? a - b : x === null ? 1 : -1; // what was not measured comes last
      const order = x < y ? -1 : x > y ? 1 : 0;
      return (sort.down ? -order : order) || a - b;
    });
  };

  // ------------------------------------------------------------------------------------------------------- the rows
  const cell = (kind, ...children) => make("td", kind ? { class: kind } : {}, ...children);

  const tableRow = (row) => {
    const [key, symbol, word] = entry("verdict", row);
    const name = entry("prediction", row);
    const flags = of("flags", row);
    const tr = make("tr", { class: "v-" + key });
    const button = make("button", { type: "button", "aria-expanded": String(open.has(row)), title: "Show the detail of this cell" });
    button.append(make("span", { class: "mark", "aria-hidden": "true" }, symbol), " " + word);
    button.addEventListener("click", () => toggle(row, tr, button));
    const verdict = cell("verdict-cell", button);
    const notes = [entry("tier", row)];
    if (flags & SUSPECT) notes.push("suspect");
    if (flags & IDENTICAL) notes.push("identical");
    if (entry("waiver", row) !== null) notes.push("waived");
    verdict.append(make("small", {}, notes.join(", ")));
    const difference = cell("number", figure("delta", row, { signed: true, difference: true }));
    if (bounds(row)) difference.append(make("span", { class: "bounds" }, bounds(row)));
    const picture = forest(row);
    tr.append(
      verdict,
      cell("prediction", make("a", { class: "name", href: "#" + encodeURIComponent(name) }, make("bdi", {}, name))),
      cell("metric", entry("metric", row)),
      cell("slice", make("bdi", {}, entry("slice", row))),
      cell("number", figure("incumbent", row)),
      cell("number", figure("candidate", row)),
      difference,
      cell("forest", ...(picture ? [picture] : [])),
      cell("number", figure("mdr", row, { difference: true })),
      cell("number", entry("threshold", row) || ""),
      cell("number", pText(row)),
      cell("number", count(of("clips", row))),
      cell("reason", make("bdi", {}, reason(row))),
    );
    if (name === hit) tr.classList.add("hit");
    return tr;
  };

  const detailRow = (row) => {
    const scale = entry("scale", row);
    const flags = of("flags", row);
    const facts = [
      ["Task", entry("task", row)],
      ["Margin", scale[5]],
      ["Direction", scale[3] ? "lower is better" : "higher is better"],
      ["Clips", count(of("clips", row))],
      ["Frames", count(of("frames", row))],
      ["Positives", of("positives", row) === null ? "" : count(of("positives", row))],
      ["At the incumbent's threshold", figure("at_incumbent", row, { signed: true, difference: true })],
      ["Clips that would decide", of("needed", row) === null ? "" : "about " + count(of("needed", row)) + " more with positives"],
      ["A loss could be proven here", flags & PROVABLE ? "yes" : "no"],
      ["Reached by the change", flags & IDENTICAL ? "no, identical by construction" : "yes"],
      ["Waiver", entry("waiver", row) || ""],
    ];
    const list = make("dl");
    for (const [label, text] of facts) {
      if (text) list.append(make("div", {}, make("dt", {}, label), make("dd", {}, make("bdi", {}, text))));
    }
    const name = entry("prediction", row);
    const every = make("button", { type: "button" }, "All cells of this prediction");
    every.addEventListener("click", () => show({ ...START, text: name, slice: "" }));
    return make("tr", { class: "detail" }, make("td", { colspan: "13" }, list, every));
  };

  const toggle = (row, tr, button) => {
    if (open.delete(row)) tr.nextSibling.remove();
    else {
      open.add(row);
      tr.after(detailRow(row));
    }
    button.setAttribute("aria-expanded", String(open.has(row)));
  };

  const render = () => {
    const first = page * data.page;
    const shown = rows.slice(first, first + data.page);
    const body = document.createDocumentFragment();
    for (const row of shown) {
      body.append(tableRow(row));
      if (open.has(row)) body.append(detailRow(row));
    }
    if (!shown.length) body.append(make("tr", { class: "empty" }, make("td", { colspan: "13" }, "No cell matches these filters.")));
    one("tbody").replaceChildren(body);
    one('[data-role="range"]').textContent = shown.length
      ? `${count(first + 1)} to ${count(first + shown.length)} of ${count(rows.length)} matching cells, ${count(data.rows)} in all`
      : `0 of ${count(data.rows)} cells`;
    for (const button of all('[data-page="previous"]')) button.disabled = page === 0;
    for (const button of all('[data-page="next"]')) button.disabled = first + data.page >= rows.length;
    for (const head of all("th[data-sort]")) {
      if (head.dataset.sort === sort.key) head.setAttribute("aria-sort", sort.down ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    }
    for (const chip of all("[data-verdict]")) chip.setAttribute("aria-pressed", String(filters.verdict.value === chip.dataset.verdict));
  };
  const update = () => {
    page = 0;
    select();
    render();
  };
  const show = (values) => {
    for (const [name, value] of Object.entries(values)) filters[name].value = value;
    update();
  };
  const toTable = () => one('[data-role="cells"]').scrollIntoView({ block: "start" });

  // --------------------------------------------------------------------------------------------------------- events
  for (const input of Object.values(filters)) input.addEventListener("input", update);
  one('[data-role="tools"]').addEventListener("submit", (event) => event.preventDefault());
  one('[data-role="reset"]').addEventListener("click", (event) => {
    event.preventDefault();
    sort = { key: "worst", down: false };
    show(START);
  });
  for (const chip of all("[data-verdict]")) {
    chip.addEventListener("click", () => {
      const same = filters.verdict.value === chip.dataset.verdict;
      // A verdict that only slices have would show an empty table in the view of the whole suite.
      const inSlices = chip.querySelector("b").textContent === "0" && chip.querySelector("small");
      show({ ...START, verdict: same ? "" : chip.dataset.verdict, slice: inSlices && !same ? "" : START.slice });
      if (!same) toTable();
    });
  }
  for (const head of all("th[data-sort]")) {
    head.querySelector("button").addEventListener("click", () => {
      sort = { key: head.dataset.sort, down: sort.key === head.dataset.sort && !sort.down };
      update();
    });
  }
  for (const button of all("[data-page]")) {
    button.addEventListener("click", () => {
      page += button.dataset.page === "next" ? 1 : -1;
      render();
      toTable();
    });
  }
  document.addEventListener("keydown", (event) => {
    const typing = event.target.matches("input, select");
    if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      filters.text.focus();
    } else if (event.key === "Escape" && typing) show(START);
  });

  // #front.road_edge: the block of a regressed prediction if there is one, else its first row in the table.
  const follow = () => {
    let name = location.hash.slice(1);
    try {
      name = decodeURIComponent(name);
    } catch {
      // Typed by hand with a lone %: taken as it is.
    }
    if (!name || !tables.prediction.includes(name)) return;
    hit = name;
    if (document.getElementById(name)) return render();
    show(START);
    let at = rows.findIndex((row) => entry("prediction", row) === name);
    if (at < 0) {
      show({ ...START, slice: "" });
      at = rows.findIndex((row) => entry("prediction", row) === name);
    }
    page = Math.floor(at / data.page);
    open.add(rows[at]);
    render();
    const target = one("tr.hit");
    target.scrollIntoView({ block: "center" });
    target.querySelector("button").focus({ preventScroll: true });
  };

  document.documentElement.classList.add("js");
  show(START);
  follow();
  window.addEventListener("hashchange", follow);
})();
