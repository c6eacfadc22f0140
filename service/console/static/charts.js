// Charts as inline SVG. Each has a text that says what it shows, and numbers beside it: none is read by colour alone.

import { el, svg } from "./elements.js";
import { count, ms, number, share } from "./words.js";

/** A small bar of a share, 0 to 1. */
export function bar(value, text, kind = "") {
  const width = Math.max(0, Math.min(1, value || 0)) * 100;
  return el("span", { class: "bar" },
    svg("svg", { viewBox: "0 0 100 8", preserveAspectRatio: "none", "aria-hidden": "true" },
      svg("rect", { width: 100, height: 8, class: "track" }), svg("rect", { width, height: 8, class: `fill ${kind}` })),
    el("span", {}, text));
}

/** Parts of a whole side by side, with a legend: [name, milliseconds]. */
export function stages(parts, total) {
  const known = parts.filter(([, value]) => value > 0);
  let at = 0;
  const rects = known.map(([name, value], index) => {
    const width = (value / Math.max(total, 1e-9)) * 100, x = at;
    at += width;
    return svg("rect", { x, y: 0, width, height: 10, class: `part part-${index % 6}` },
      svg("title", {}, `${name}: ${ms(value)}`));
  });
  return el("div", { class: "stages" },
    svg("svg", { viewBox: "0 0 100 10", preserveAspectRatio: "none", role: "img",
      "aria-label": `Time by stage: ${known.map(([name, value]) => `${name} ${ms(value)}`).join(", ")}` },
    svg("rect", { width: 100, height: 10, class: "track" }), rects),
    el("ul", { class: "legend" }, known.map(([name, value], index) => el("li", {},
      svg("svg", { viewBox: "0 0 8 8", "aria-hidden": "true" },
        svg("rect", { width: 8, height: 8, rx: 2, class: `part-${index % 6}` })), `${name} ${ms(value)}`))));
}

/** How the candidates of a level are spread: kept above the line, dropped below it. */
export function spread(given, unit) {
  const bins = given.kept.length, most = Math.max(...given.kept, ...given.dropped, 1), width = 240 / bins;
  const height = (value) => (value ? Math.max(1.5, Math.sqrt(value / most) * 26) : 0);
  return el("figure", { class: "spread" },
    svg("svg", { viewBox: "0 0 240 56", role: "img", "aria-label":
      `${unit} from ${number(given.low)} to ${number(given.high)}: ${count(sum(given.kept))} kept, `
      + `${count(sum(given.dropped))} dropped` },
    given.kept.map((value, at) => svg("rect", { class: "kept", x: at * width + 0.5, width: width - 1,
      y: 27 - height(value), height: height(value) })),
    given.dropped.map((value, at) => svg("rect", { class: "dropped", x: at * width + 0.5, width: width - 1, y: 29,
      height: height(value) })),
    svg("line", { x1: 0, x2: 240, y1: 28, y2: 28, class: "axis" })),
    el("figcaption", {}, el("span", {}, number(given.low)), el("span", {}, `${unit}, kept above the line`),
      el("span", {}, number(given.high))));
}

const sum = (values) => values.reduce((total, value) => total + value, 0);

/** The walk through the tree: a row a level, a dot a candidate, lines from kept nodes to their children. */
export function walk(levels, depth) {
  const width = 720, row = 74, place = new Map(), lines = [], dots = [];
  levels.forEach((level, at) => {
    const y = 22 + at * row;
    const nodes = [...level.nodes].sort((a, b) => a.node - b.node);
    const radius = Math.max(1.6, Math.min(6, width / (nodes.length || 1) / 2.6));
    if (!nodes.length) {
      dots.push(svg("rect", { x: 4, y: y - 5, width: width - 8, height: 10, rx: 5, class: "all" }));
    }
    nodes.forEach((node, index) => {
      const x = ((index + 0.5) / nodes.length) * (width - 12) + 6;
      place.set(`${level.level}/${node.node}`, [x, y]);
      const parent = place.get(`${level.level - 1}/${node.parent}`);
      if (parent) {
        lines.push(svg("path", { class: node.kept ? "line kept" : "line",
          d: `M${parent[0]} ${parent[1]} C${parent[0]} ${y - row / 2} ${x} ${parent[1] + row / 2} ${x} ${y}` }));
      }
      dots.push(svg("circle", { cx: x, cy: y, r: radius, class: node.kept ? "kept" : "dropped" },
        svg("title", {}, `${level.level === depth ? node.ad_id : `node ${node.node}, such as ${node.ad_id}`}: score `
          + `${number(node.score)}, rank ${node.rank}, ${node.kept ? "kept" : "dropped"}`)));
    });
  });
  const height = 22 + (levels.length - 1) * row + 12;
  return svg("svg", { class: "walk", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label":
    `The search by level: ${levels.map((level) => `level ${level.level}, ${count(level.kept)} of `
      + `${count(level.candidates)} kept`).join("; ")}` }, lines, dots);
}

/** The children of a node side by side, as wide as they hold ads; the darker, the more requests went on below. */
export function strip(nodes) {
  const total = nodes.reduce((found, node) => found + node.ads, 0) || 1;
  let at = 0;
  return svg("svg", { class: "strip", viewBox: "0 0 720 34", preserveAspectRatio: "none", role: "img",
    "aria-label": `${count(nodes.length)} nodes, as wide as they hold ads, as dark as requests went on below them` },
  [...nodes].sort((a, b) => a.node - b.node).map((node) => {
    const width = (node.ads / total) * 720, x = at;
    at += width;
    return svg("g", {}, svg("rect", { x, width: Math.max(width - 1, 0.6), y: 0, height: 34, class: "track" }),
      svg("rect", { x, width: Math.max(width - 1, 0.6), y: 0, height: 34, class: "fill",
        "fill-opacity": 0.08 + 0.92 * node.kept },
      svg("title", {}, `node ${node.node}: ${count(node.ads)} ads, kept by ${share(node.kept, 0)}`)));
  }));
}

/** A line of the last values. */
export function sparkline(values, text) {
  const most = Math.max(...values, 1e-9), step = 120 / Math.max(values.length - 1, 1);
  const points = values.map((value, at) => `${at * step},${26 - (value / most) * 24}`).join(" ");
  return svg("svg", { class: "sparkline", viewBox: "0 0 120 28", preserveAspectRatio: "none", role: "img",
    "aria-label": text }, svg("polyline", { points }));
}
