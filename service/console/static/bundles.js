// Bundles: what is served, what lies beside it, and the calls that promote and roll back, each with a confirmation.

import { ask, once } from "./api.js";
import { announce, answered, card, confirmed, el, failure, facts, link, table } from "./elements.js";

export async function show(place, { signal, refresh }) {
  const answer = el("div", { class: "answer" }), outcome = el("div", { class: "answer" });
  place.append(outcome, answer);
  const again = () => answered(answer, signal, async () =>
    listed(await ask("admin", "/admin/bundles", { signal }), act));
  async function act(title, text, verb, path, body) {
    const given = await confirmed(title, text, verb, body !== undefined);
    if (!given) return;
    outcome.replaceChildren(card(null, el("p", { class: "waiting" }, `${title} …`)));
    try {
      const done = await once("admin", path, { signal, body: body && { ...body, force: given.force } });
      outcome.replaceChildren(card(`${done.bundle} is served`,
        el("p", {}, `By every worker of the replica that answered, after ${done.seconds.toFixed(1)} s.`),
        done.comparison && el("pre", {}, done.comparison)));
      announce(`${done.bundle} is served`);
    } catch (error) {
      if (error.name !== "AbortError") outcome.replaceChildren(failure(error));
    }
    await Promise.all([again(), refresh(signal)]);
  }
  await again();
}

function listed(found, act) {
  const rows = found.bundles.map((entry) => {
    const state = entry.bundle === found.current ? "current" : entry.bundle === found.previous ? "previous" : "";
    const other = entry.bundle !== found.current && entry.problem === null;
    return { class: state, cells: [el("b", {}, entry.bundle), entry.bundle_id ?? "–", entry.created_at ?? "–",
      entry.problem ?? state, el("span", { class: "actions" },
        other && el("button", { type: "button", onclick: () => act(`Promote ${entry.bundle}`,
          `${entry.bundle} is checked and compared with ${found.current}, then every replica serves it.`,
          "Promote", "/admin/bundles/load", { bundle: entry.bundle }) }, "Promote"),
        other && link("compare", { what: "bundles", bundle: entry.bundle }, "Compare"))] };
  });
  return [card(null, facts([["Serves", found.current], ["Rollback goes to", found.previous ?? "nothing"],
    ["Loading", found.loading], ["Problem", found.problem]]),
  el("button", { type: "button", disabled: found.previous === null, onclick: () => act("Roll back",
    `Every replica serves ${found.previous} again instead of ${found.current}.`, "Roll back",
    "/admin/bundles/rollback") }, "Roll back")),
  card("Beside the pointer", table("Bundles", [["Bundle"], ["Id"], ["Made"], ["State"], [""]], rows)),
  card("Workers of the replica that answered", table("Workers", [["Process"], ["Bundle"], ["Problem"]],
    found.workers.map((worker) =>
      [String(worker.worker_id), worker.bundle ?? "not ready", worker.problem ?? "none"])))];
}
