// Tree: traffic, eligibility and time of each node, from the root down.

import { ask } from "./api.js";
import { bar, strip } from "./charts.js";
import { announce, answered, card, el, facts, link, table } from "./elements.js";
import { count, fixed, ms, number, plural, share } from "./words.js";

export async function show(place, { values, signal }) {
  const answer = el("div", { class: "answer" });
  place.append(answer);
  await answered(answer, signal, () =>
    found(Number(values.get("level") ?? 0), Number(values.get("node") ?? 0), signal));
}

async function found(level, node, signal) {
  const reply = await ask("admin", `/admin/tree?level=${level}&node=${node}`, { signal });
  const last = reply.level === reply.levels.length;
  announce(`${plural(reply.total, last ? "ad" : "node")} below`);
  const way = [link("tree", {}, "root"), ...reply.path.map((at, above) => [" › ", above + 1 === reply.path.length
    ? `node ${at}` : link("tree", { level: above + 1, node: at }, `node ${at}`)])];
  const rows = reply.nodes.map((child) => [
    last ? link("ad", { id: child.ad_id }, child.ad_id)
      : el("span", {}, link("tree", { level: reply.level, node: child.node }, `node ${child.node}`),
        el("span", { class: "faint" }, ` ${child.ad_id}`)),
    ...(last ? [] : [count(child.ads), count(child.children)]), bar(child.scored, share(child.scored, 0)),
    bar(child.kept, share(child.kept, 0), "strong"), bar(child.eligible, share(child.eligible, 0), "calm"),
    number(child.returned, 2), child.ms ? `${number(child.ms * 1000, 3)} µs` : "–"]);
  return [
    card(null, el("nav", { class: "way", "aria-label": "Way from the root" }, way), facts([
      ["Levels", reply.levels.map(count).join(" › ")],
      ["Traffic of", reply.requests ? plural(reply.requests, "recent request") : "no request yet: ask for some ads"]]),
    !last && strip(reply.nodes),
    reply.mean_levels.length > 0 && table("A mean request by level",
      [["Level"], ["Candidates", true], ["Scored", true], ["Time", true]], reply.mean_levels.map((one) =>
        [String(one.level), fixed(one.candidates, 1), fixed(one.scored, 1), ms(one.ms)]))),
    card(last ? "Ads" : `Level ${reply.level}`, reply.total > reply.nodes.length && el("p", { class: "faint" },
      `The ${count(reply.nodes.length)} of ${count(reply.total)} that most requests scored.`),
    table(last ? "Ads of the node" : "Nodes", [[last ? "Ad" : "Node"], ...(last ? [] : [["Ads", true],
      ["Children", true]]), ["Scored"], [last ? "Returned" : "Kept"], ["Eligible"], ["Ads in an answer", true],
    ["Time", true]], rows))];
}
