(async () => {
  // The script puts the columns of the data block on the page: it rounds nothing, judges nothing, and writes names with
  // textContent only. Own elements are found by data attributes, because ids belong to predictions (#front.road_edge).
  const one = (selector) => document.querySelector(selector);
  const all = (selector) => Array.from(document.querySelectorAll(selector));
  const unpacked = async (text) => {
    const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"))).json();
  };
  if (!window.DecompressionStream) return; // the page then reads as it does without a script
  const data = await unpacked(one('[data-role="data"]').textContent);
  const { tables, columns } = data;
  const MINUS = "\u2212";
  const APART = 6; // untouched networks that do not yet crowd out the others
  const IDENTICAL = 1, SUSPECT = 2, PROVABLE = 4, SPEAKS = 8, GAINED = 16;

  const of = (name, row) => {
    const column = columns[name];
    if (Array.isArray(column)) return column[row];
    if ("all" in column) return column.all;
    const value = column.some[row];
    return value === undefined ? null : value;
  };
  const entry = (name, row) => tables[name][of(name, row)];
  const has = (row, flag) => Boolean(of("flags", row) & flag);

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
  const moved = (name, row) => figure(name, row, { signed: true, difference: true });
  const bounds = (row) => {
    const [low, high] = ["low", "high"].map((name) => figure(name, row, { signed: true, unit: false }));
    return low || high ? "[" + (low || MINUS + "\u221e") + ", " + (high || "\u221e") + "]" : "";
  };
  const pText = (row, name = "p") => {
    const steps = of(name, row);
    return steps === null ? "" : steps === 0 ? "< 0.0001" : written(steps, 4, false);
  };
  const reason = (row) => {
    const [place, ...numbers] = String(of("reason", row)).split("|");
    return tables.template[place].replace(/\0/g, () => numbers.shift());
  };
  const count = (number) => number.toLocaleString("en");
  const counted = (name, row) => (of(name, row) === null ? "" : count(of(name, row)));

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

  const { draw } = charts;
  const HALF = 56, HEIGHT = 20;
  const place = (value) => HALF + (Math.max(-data.span, Math.min(data.span, value)) / data.span) * (HALF - 6);
  const forest = (row) => {
    const middle = inMargins("delta", row);
    if (middle === null) return "";
    const ends = ["low", "high"].map((name) => inMargins(name, row)).map((v) => (v === null ? middle : v));
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

  // ------------------------------------------------------------------------------------ predictions, filters and order
  const cellsOf = tables.prediction.map(() => []); // rows of each prediction, worst first, as the data has them
  for (let row = 0; row < data.rows; row++) cellsOf[of("prediction", row)].push(row);
  const leadOf = cellsOf.map((cells) => cells.find((row) => has(row, SPEAKS)));

  const filters = Object.fromEntries(all("[data-filter]").map((input) => [input.dataset.filter, input]));
  const START = { text: "", verdict: "", tier: "", network: "", task: "", metric: "", slice: "" };
  let sort = { key: "worst", down: false };
  let page = 0;
  let rows = []; // the cell that is shown of each matching prediction
  let hit = null; // the prediction of the deep link
  const open = new Set(); // predictions that show their panel

  const haystacks = [];
  const haystack = (row) => {
    if (haystacks[row] === undefined) {
      const words = ["prediction", "metric", "slice", "task", "tier", "waiver"].map((name) => entry(name, row) || "");
      words.push(entry("verdict", row)[2], reason(row), has(row, SUSPECT) ? "suspect" : "", has(row, IDENTICAL) ? "identical" : "");
      haystacks[row] = words.join(" ").toLowerCase();
    }
    return haystacks[row];
  };

  const sortValue = { worst: (row) => row, margins: (row) => inMargins("delta", row), threshold: (row) => entry("threshold", row) };
  for (const name of ["prediction", "metric", "slice"]) sortValue[name] = (row) => entry(name, row);
  for (const name of ["incumbent", "candidate", "delta", "mdr"]) {
    sortValue[name] = (row) => (of(name, row) === null ? null : of(name, row) / 10 ** entry("scale", row)[2]);
  }
  for (const name of ["p", "clips"]) sortValue[name] = (row) => of(name, row);

  const select = () => {
    const words = filters.text.value.toLowerCase().split(/\s+/).filter(Boolean);
    const wanted = (name, row) => !filters[name].value || filters[name].value === (name === "verdict" ? entry(name, row)[0] : entry(name, row));
    const chosen = ["metric", "slice"].some((name) => filters[name].value);
    rows = cellsOf
      .map((cells, k) => (chosen ? cells.find((row) => wanted("metric", row) && wanted("slice", row) && (filters.slice.value || has(row, SPEAKS))) : leadOf[k]))
      .filter((row) => row !== undefined && ["verdict", "tier", "network", "task"].every((name) => wanted(name, row)) && words.every((word) => haystack(row).includes(word)));
    rows.sort((a, b) => a - b);
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

  // ------------------------------------------------------------------------------------------------------- the panels
  const cell = (kind, ...children) => make("td", kind ? { class: kind } : {}, ...children);
  // A long unit stands under its number, so that the column stays as narrow as the number.
  const amount = (text) => {
    const [, number, unit] = /^(\S*) ?(.*)$/.exec(text);
    return cell("number", ...(unit.length > 3 ? [number, make("span", { class: "bounds" }, unit)] : [text]));
  };
  const tagged = (row) => {
    const [key, symbol, word] = entry("verdict", row);
    return make("span", { class: "tag v-" + key }, make("span", { class: "mark", "aria-hidden": "true" }, symbol), " " + word);
  };
  const drawing = (heading, title, node, ...notes) => make("figure", {}, make(heading, {}, title), node, make("figcaption", {}, ...notes));
  const note = (text) => make("span", { class: "note" }, text);

  // A long name breaks where its parts end.
  const named = (name) => make("bdi", {}, ...name.split(/(?<=[._])|(?=\[)/).flatMap((part, k) => (k ? [make("wbr"), part] : [part])));

  const facts = (row) => {
    const scale = entry("scale", row);
    const list = make("dl");
    const since = of("since", row) === null ? "" : `${moved("since", row)}, p ${pText(row, "p_since")}${has(row, GAINED) ? ", proven better" : ""}`;
    for (const [label, text] of [
      ["Task", entry("task", row)],
      ["Direction", scale[3] ? "lower is better" : "higher is better"],
      ["Margin", scale[5]],
      ["Clips", counted("clips", row)],
      ["Frames", counted("frames", row)],
      ["Positives", counted("positives", row)],
      ["At the incumbent's threshold", moved("at_incumbent", row)],
      ["Threshold-free (AP)", moved("free", row)],
      ["Since its anchor", since],
      ["Clips that would decide", of("needed", row) === null ? "" : "about " + count(of("needed", row)) + " more with " + (of("positives", row) === null ? "a truth" : "positives")],
      ["A loss could be proven here", has(row, PROVABLE) ? "yes" : "no"],
      ["Reached by the change", has(row, IDENTICAL) ? "no, identical by construction" : "yes"],
      ["Waiver", entry("waiver", row) || ""],
    ]) {
      if (text) list.append(make("div", {}, make("dt", {}, label), make("dd", {}, make("bdi", {}, text))));
    }
    return list;
  };

  const cellTable = (cells) => {
    const body = make("tbody");
    for (const row of cells) {
      body.append(make("tr", { class: "v-" + entry("verdict", row)[0] },
        cell("", tagged(row)), cell("", entry("metric", row)), cell("slice", make("bdi", {}, entry("slice", row))),
        amount(figure("incumbent", row)), amount(figure("candidate", row)),
        cell("number", moved("delta", row) + " " + bounds(row)), cell("forest", forest(row)),
        cell("number", pText(row)), cell("number", counted("clips", row)), cell("reason", make("bdi", {}, reason(row)))));
    }
    const heads = ["Verdict", "Metric", "Slice", "Incumbent", "Candidate", "Difference [bounds]", "In margins", "Adjusted p", "Clips", "Reason"];
    const head = make("tr", {}, ...heads.map((text) => make("th", { scope: "col" }, text)));
    return make("div", { class: "box", tabindex: "0", role: "group", "aria-label": "All cells of this prediction" }, make("table", {}, make("thead", {}, head), body));
  };

  // heading: one level below what the panel stands in. drawn: curves that are shown there already.
  const panelOf = (prediction, heading = "h3", drawn = 0) => {
    const row = leadOf[prediction] ?? cellsOf[prediction][0];
    const panel = (Object.hasOwn(data.panels, entry("prediction", row)) && data.panels[entry("prediction", row)]) || {};
    const root = make("div", { class: "panel" });
    if (panel.meaning) root.append(make("p", { class: "muted" }, panel.meaning));
    root.append(facts(row));
    const grid = make("div", { class: "figures" });
    for (const pair of (panel.curves || []).slice(drawn)) {
      const notes = charts.SIDES.map((side, k) => charts.legend(side, `${side}: ${pair[k + 1][3]}`));
      if (panel.limit) notes.push(note("dotted: the objective's constraint, " + panel.limit[2]));
      grid.append(drawing(heading, "Precision and recall" + (pair[0] ? ", " + pair[0] : ""), charts.precisionRecall(pair, panel.limit), ...notes));
    }
    if (panel.reliability) {
      const [, , , stated, losses] = panel.reliability;
      const notes = charts.SIDES.map((side, k) => charts.legend(side, stated[k]));
      grid.append(drawing(heading, "Are scores probabilities?", charts.reliability(panel.reliability), ...notes, ...(losses ? [note(losses)] : [])));
    }
    if (panel.scores) {
      grid.append(drawing(heading, "Scores", charts.histogram("Histogram of scores", "score (logit)", panel.scores, 2), note("thin: negatives, thick: positives; dashed: incumbent. Each is scaled to its own highest bar.")));
    }
    if (panel.errors) grid.append(drawing(heading, "Mean error of each clip", charts.histogram("Histogram of mean errors by clip", "output minus truth", panel.errors, 1), note("dashed: incumbent, solid: candidate")));
    if (panel.strip) {
      const [, greatest, clips, named] = panel.strip;
      const worst = make("span", { class: "note" }, `Bars add up to the difference of ${entry("metric", row)}; the longest is ${greatest}.`);
      if (named.length) worst.append(" Worst: ", ...named.flatMap((name, k) => [k ? ", " : "", make("bdi", { class: "name" }, name)]), ".");
      grid.append(drawing(heading, "Which clips carry it", charts.strip(panel.strip), worst));
    }
    if (panel.points) {
      const body = make("tbody", {}, ...panel.points.map(([label, before, after]) => make("tr", {}, make("th", { scope: "row" }, label), cell("", make("bdi", {}, before)), cell("", make("bdi", {}, after)))));
      const head = make("tr", {}, ...["Operating point", "incumbent", "candidate"].map((text) => make("th", { scope: "col" }, text)));
      grid.append(make("figure", { class: "points" }, make(heading, {}, "Thresholds"), make("table", {}, make("thead", {}, head), body)));
    }
    root.append(grid, make(heading, {}, `All ${cellsOf[prediction].length} cells`), cellTable(cellsOf[prediction]));
    return root;
  };

  // ------------------------------------------------------------------------------------------------------- the table
  const COLUMNS = all("th[data-sort]").length;
  const tableRow = (row) => {
    const [key, symbol, word] = entry("verdict", row);
    const name = entry("prediction", row);
    const tr = make("tr", { class: "v-" + key });
    const button = make("button", { type: "button", "aria-expanded": String(open.has(of("prediction", row))), title: "Show what is behind it" });
    button.append(make("span", { class: "mark", "aria-hidden": "true" }, symbol), " " + word);
    button.addEventListener("click", () => toggle(row, tr, button));
    const verdict = cell("verdict-cell", button);
    const notes = [entry("tier", row)];
    if (has(row, SUSPECT)) notes.push("suspect");
    if (has(row, IDENTICAL)) notes.push("identical");
    if (entry("waiver", row) !== null) notes.push("waived");
    verdict.append(make("small", {}, notes.join(", ")));
    tr.append(
      verdict,
      cell("prediction", make("a", { class: "name", href: "#" + encodeURIComponent(name) }, named(name)), make("small", {}, entry("task", row))),
      cell("metric", entry("metric", row)),
      cell("slice", make("bdi", {}, entry("slice", row))),
    );
    if (of("delta", row) === null) tr.append(make("td", { class: "why", colspan: "7" }, make("div", {}, make("bdi", {}, reason(row)))));
    else {
      const difference = amount(moved("delta", row));
      if (bounds(row)) difference.append(make("span", { class: "bounds" }, bounds(row)));
      tr.append(
        amount(figure("incumbent", row)),
        amount(figure("candidate", row)),
        difference,
        cell("forest", forest(row)),
        amount(figure("mdr", row, { difference: true })),
        cell("number", entry("threshold", row) || ""),
        cell("number", pText(row)),
      );
    }
    tr.append(cell("number", counted("clips", row)));
    if (name === hit) tr.classList.add("hit");
    return tr;
  };
  const panelRow = (row) => make("tr", { class: "detail" }, make("td", { colspan: String(COLUMNS) }, panelOf(of("prediction", row))));

  const toggle = (row, tr, button) => {
    const prediction = of("prediction", row);
    if (open.delete(prediction)) tr.nextSibling.remove();
    else {
      open.add(prediction);
      tr.after(panelRow(row));
    }
    button.setAttribute("aria-expanded", String(open.has(prediction)));
  };

  const FIRST = 100; // rows that are there at once; the others of the page follow in the next moments
  let turn = 0;
  const append = (body, shown, from, to) => {
    const part = document.createDocumentFragment();
    for (const row of shown.slice(from, to)) {
      part.append(tableRow(row));
      if (open.has(of("prediction", row))) part.append(panelRow(row));
    }
    body.append(part);
    const mine = turn;
    if (to < shown.length) requestAnimationFrame(() => mine === turn && append(body, shown, to, to + 300));
  };
  const render = (atOnce = FIRST) => {
    const first = page * data.page;
    const shown = rows.slice(first, first + data.page);
    const body = one('[data-role="rows"]');
    turn++;
    body.replaceChildren();
    if (shown.length) append(body, shown, 0, atOnce);
    else body.append(make("tr", { class: "empty" }, make("td", { colspan: String(COLUMNS) }, "No prediction matches these filters.")));
    one('[data-role="range"]').textContent = shown.length
      ? `${count(first + 1)} to ${count(first + shown.length)} of ${count(rows.length)} matching predictions, ${count(cellsOf.length)} in all`
      : `0 of ${count(cellsOf.length)} predictions`;
    for (const button of all('[data-page="previous"]')) button.disabled = page === 0;
    for (const button of all('[data-page="next"]')) button.disabled = first + data.page >= rows.length;
    for (const pager of all(".pages")) pager.hidden = rows.length <= data.page;
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

  // ------------------------------------------------------------------------------------------------------- the house map
  const house = () => {
    const networks = new Map();
    leadOf.forEach((row) => {
      if (row === undefined || !entry("network", row)) return;
      const heads = networks.get(entry("network", row)) || new Map();
      heads.set(entry("head", row), [...(heads.get(entry("head", row)) || []), row]);
      networks.set(entry("network", row), heads);
    });
    const root = one('[data-role="house"]');
    const far = make("div", { class: "house" });
    let beyond = 0;
    for (const [network, heads] of networks) {
      const card = make("div", { class: "network" }, make("h3", {}, make("bdi", {}, network)));
      for (const [head, members] of heads) {
        const verdicts = new Map();
        for (const row of members) verdicts.set(entry("verdict", row)[2], (verdicts.get(entry("verdict", row)[2]) || 0) + 1);
        const told = [...verdicts].map(([word, number]) => `${count(number)} ${word}`).join(", ");
        const button = make("button", { type: "button", class: "head", title: `${head || "latency"}: ${told}`, "aria-label": `${head || "latency"}: ${told}. Show in the table` });
        button.append(make("bdi", { class: "label" }, head.slice(network.length + 1) || head || "latency"));
        const squares = make("span", { class: "squares", "aria-hidden": "true" });
        for (const row of members) {
          const [key, symbol] = entry("verdict", row);
          squares.append(make("i", { class: `v-${key}${has(row, IDENTICAL) ? " identical" : ""}`, title: `${entry("prediction", row)}: ${entry("verdict", row)[2]}` }, key === "non-inferior" ? "" : symbol));
        }
        button.append(squares);
        button.addEventListener("click", () => {
          show({ ...START, network, text: head, task: head ? "" : "network" });
          toTable();
        });
        card.append(button);
      }
      // Networks that nothing reached stand apart, so that few of many are seen at once.
      const rows = [...heads.values()].flat();
      const reached = rows.some((row) => !has(row, IDENTICAL));
      (reached ? root : far).append(card);
      beyond += reached ? 0 : rows.length;
    }
    const told = `${count(far.childElementCount)} networks out of the change's reach: ${count(beyond)} predictions`;
    if (far.childElementCount > APART && root.childElementCount) {
      root.after(make("details", {}, make("summary", {}, told), far));
    } else {
      root.append(...far.children);
    }
  };

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
      show({ ...START, verdict: same ? "" : chip.dataset.verdict });
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
  // Frames: both releases side by side, one of them, or the bare picture.
  for (const button of all("[data-view]")) {
    button.addEventListener("click", () => {
      const frames = button.closest("[data-frames]");
      frames.dataset.frames = button.dataset.view;
      for (const other of frames.querySelectorAll("[data-view]")) other.setAttribute("aria-pressed", String(other === button));
    });
  }
  for (const folded of all("details[data-panel]")) {
    folded.addEventListener("toggle", () => {
      const prediction = tables.prediction.indexOf(folded.dataset.panel);
      if (folded.open && folded.childElementCount === 1 && prediction >= 0) folded.append(panelOf(prediction, "h4", Number(folded.dataset.drawn)));
    });
  }
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const typing = event.target.matches("input, select");
    if (event.key === "/" && !typing) {
      event.preventDefault();
      filters.text.focus();
    } else if (event.key === "Escape" && typing) show(START);
    else if ((event.key === "j" || event.key === "k") && !typing) {
      const buttons = all('[data-role="rows"] > tr > .verdict-cell button');
      const at = buttons.indexOf(document.activeElement);
      const next = buttons[at < 0 ? 0 : Math.max(0, Math.min(buttons.length - 1, at + (event.key === "j" ? 1 : -1)))];
      if (next) next.focus();
    }
  });

  // #front.road_edge: the block of a regressed prediction if there is one, else its row in the table.
  const follow = () => {
    let name = location.hash.slice(1);
    try {
      name = decodeURIComponent(name);
    } catch {
      // Typed by hand with a lone %: taken as it is.
    }
    const prediction = tables.prediction.indexOf(name);
    if (!name || prediction < 0) return;
    hit = name;
    if (document.getElementById(name)) {
      render();
      for (let folded = document.getElementById(name); (folded = folded.parentElement?.closest("details")); ) folded.open = true;
      document.getElementById(name).scrollIntoView({ block: "start" });
      return;
    }
    open.add(prediction);
    show(START);
    page = Math.floor(rows.findIndex((row) => of("prediction", row) === prediction) / data.page);
    render(data.page); // the row may be further down than what is there at once
    const target = one("tr.hit");
    target.scrollIntoView({ block: "center" });
    target.querySelector("button").focus({ preventScroll: true });
  };

  document.documentElement.classList.add("js");
  house();
  show(START);
  follow();
  window.addEventListener("hashchange", follow);
  document.documentElement.dataset.ready = "yes";
})();
