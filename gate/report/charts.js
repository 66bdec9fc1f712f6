"use strict";
// What a panel draws, as SVG: shapes come as small integers of their axis, texts are ready. Nothing is computed but places.
const charts = (() => {
  const SVG = document.querySelector("svg").namespaceURI;
  const draw = (tag, attributes = {}, ...children) => {
    const node = document.createElementNS(SVG, tag);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    node.append(...children);
    return node;
  };
  const GRID = 250;
  // 56 for the tick labels and the axis title side by side.
  const W = 340, H = 240, L = 56, R = 12, T = 10, B = 44;
  const x = (share) => +(L + share * (W - L - R)).toFixed(1);
  const y = (share) => +(T + (1 - share) * (H - T - B)).toFixed(1);

  const frame = (label, across, up, ticks = {}) => {
    const svg = draw("svg", { class: "chart", viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": label });
    for (const [at, text] of ticks.up || []) {
      svg.append(draw("path", { class: "grid", d: `M${L} ${y(at)}H${W - R}` }));
      svg.append(draw("text", { class: "tick", x: L - 6, y: y(at) + 4, "text-anchor": "end" }, text));
    }
    for (const [at, text] of ticks.across || []) {
      svg.append(draw("path", { class: "grid", d: `M${x(at)} ${H - B}v4` }));
      svg.append(draw("text", { class: "tick", x: x(at), y: H - B + 17, "text-anchor": "middle" }, text));
    }
    svg.append(draw("text", { class: "axis", x: (L + W - R) / 2, y: H - 8, "text-anchor": "middle" }, across));
    if (up) {
      const turned = `translate(13 ${(T + H - B) / 2}) rotate(-90)`;
      svg.append(draw("text", { class: "axis", transform: turned, "text-anchor": "middle" }, up));
    }
    return svg;
  };
  const SHARES = [0, 0.25, 0.5, 0.75, 1].map((at) => [at, at.toFixed(2)]);
  const mark = (side, [across, up], size = 5) =>
    side === "incumbent"
      ? draw("circle", { class: "point incumbent", cx: across, cy: up, r: size })
      : draw("path", { class: "point candidate", d: `M${across} ${up - size - 1}l${size + 1} ${size + 1}l${-size - 1} ${size + 1}l${-size - 1} ${-size - 1}z` });
  const SIDES = ["incumbent", "candidate"];

  // Steps of recall and of precision, summed up.
  const places = ([recall, precision]) => {
    let [r, p] = [0, 0];
    return recall.map((step, k) => {
      r += step;
      p += precision[k];
      return [x(r / GRID), y(p / GRID)];
    });
  };
  const precisionRecall = ([, ...sides], limit) => {
    const svg = frame(`Precision over recall. ${SIDES.map((side, k) => side + ": " + sides[k][3]).join("; ")}`, "recall", "precision", { up: SHARES, across: SHARES });
    if (limit) {
      const [held, at] = limit;
      svg.append(draw("path", { class: "limit", d: held === "precision" ? `M${L} ${y(at / GRID)}H${W - R}` : `M${x(at / GRID)} ${T}V${H - B}` }));
    }
    sides.forEach((side, k) => svg.append(draw("path", { class: "curve " + SIDES[k], d: "M" + places(side).map((at) => at.join(" ")).join("L") })));
    sides.forEach((side, k) => side[2] && svg.append(mark(SIDES[k], [x(side[2][0] / GRID), y(side[2][1] / GRID)])));
    return svg;
  };

  const reliability = ([top, before, after, stated]) => {
    const ticks = [0, 0.5, 1].map((at) => [at, at ? (at === 1 ? top : String(+(at * top).toPrecision(2))) : "0"]);
    const svg = frame("Reliability. " + stated.join("; "), "predicted probability", "share of positives", { up: ticks, across: ticks });
    svg.append(draw("path", { class: "diagonal", d: `M${x(0)} ${y(0)}L${x(1)} ${y(1)}` }));
    [before, after].forEach((bins, k) => {
      for (const [predicted, observed, se] of bins) {
        const across = x(predicted / GRID) + (k ? 2 : -2);
        const [low, high] = [observed - 2 * se, observed + 2 * se].map((v) => y(Math.min(1, Math.max(0, v / GRID))));
        svg.append(draw("path", { class: "whisker " + SIDES[k], d: `M${across} ${low}V${high}` }));
        svg.append(mark(SIDES[k], [across, y(observed / GRID)], 3.5));
      }
    });
    return svg;
  };

  // Rows of heights in hundredths as steps: the incumbent dashed, the candidate solid.
  const steps = (row) => {
    const wide = 1 / row.length;
    return "M" + row.map((height, k) => `${x(k * wide)} ${y(height / 100)}L${x((k + 1) * wide)} ${y(height / 100)}`).join("L");
  };
  const histogram = (label, across, [low, high, ...rows], kinds) => {
    const svg = frame(label, across, "", { across: [[0, low], [0.5, ""], [1, high]] });
    svg.append(draw("path", { class: "grid", d: `M${L} ${y(0)}H${W - R}` }));
    rows.forEach((row, k) => {
      const side = SIDES[Math.floor(k / kinds)];
      svg.append(draw("path", { class: `curve ${side}${kinds === 2 && k % 2 === 0 ? " negatives" : ""}`, d: steps(row) }));
    });
    return svg;
  };

  const strip = ([heights, greatest, clips]) => {
    const svg = frame(`What each of ${clips} clips adds to the difference, worst first`, `${clips.toLocaleString("en")} clips, worst first`, "", { up: [[1, "+" + greatest], [0.5, "0"], [0, "\u2212" + greatest]].map(([at, text]) => [at, text.split(" ")[0]]) });
    const wide = 1 / heights.length;
    heights.forEach((height, k) => {
      const [a, b] = [y(0.5), y(0.5 + height / 200)];
      svg.append(draw("rect", { class: height < 0 ? "lost" : "won", x: x(k * wide), width: Math.max(0.8, (W - L - R) * wide - 0.6).toFixed(2), y: Math.min(a, b), height: Math.abs(a - b).toFixed(1) }));
    });
    return svg;
  };

  const legend = (side, text) => {
    const svg = draw("svg", { viewBox: "0 0 34 12", width: 34, height: 12, "aria-hidden": "true" });
    svg.append(draw("path", { class: "curve " + side, d: "M0 6H34" }), mark(side, [17, 6], 4.5));
    const node = document.createElement("span");
    node.className = "legend";
    node.append(svg, " " + text);
    return node;
  };
  return { draw, precisionRecall, reliability, histogram, strip, legend, SIDES };
})();
