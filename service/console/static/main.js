// The page: its views, by the part of the address behind #, its tokens, and what it says while the service is down.

import { ask, keepTokens, onTrouble, tokens } from "./api.js";
import { announce, el, failure } from "./elements.js";

const VIEWS = [
  ["ask", "Ask"], ["walk", "Walk"], ["why", "Why not"], ["compare", "Compare"], ["ad", "Ad"], ["tree", "Tree"],
  ["health", "Health"], ["bundles", "Bundles"], ["trials", "Trials"],
];
const HEARTBEAT = 10_000; // ms between looks at what is served, while the page is visible

const main = document.getElementById("view"), notice = document.getElementById("notice");
let leave = new AbortController(), info = null;

/** What is served, as GET /info says; waits for a service that is down. */
async function served(signal) {
  info = await ask("read", "/info", { signal });
  const text = `bundle ${info.bundle.bundle_id} · ${info.bundle.counts.items.toLocaleString("en")} ads`;
  const place = document.getElementById("served");
  if (place.textContent !== text) place.textContent = text; // said again only if it is news
  return info;
}

async function show() {
  leave.abort();
  leave = new AbortController();
  const { signal } = leave;
  const [name, query] = (location.hash.slice(2) || "ask").split("?");
  const [view, title] = VIEWS.find(([known]) => known === name) ?? VIEWS[0];
  for (const item of document.querySelectorAll("#views a")) {
    if (item.dataset.view === view) item.setAttribute("aria-current", "page");
    else item.removeAttribute("aria-current");
  }
  document.title = `${title} · Console`;
  main.replaceChildren(el("h1", {}, title), el("p", { class: "waiting" }, "…"));
  try {
    const module = await import(`./${view}.js`);
    const now = info ?? await served(signal);
    if (signal.aborted) return;
    main.replaceChildren(el("h1", {}, title));
    await module.show(main, { info: now, values: new URLSearchParams(query ?? ""), signal, refresh: served });
  } catch (error) {
    if (error.name !== "AbortError") main.append(failure(error));
  }
}

onTrouble((trouble) => {
  document.body.classList.toggle("down", trouble !== null);
  if (trouble === null) {
    if (notice.firstChild) announce("The service answers again");
    notice.replaceChildren();
    return;
  }
  notice.replaceChildren(el("p", {}, `${trouble.why}. Trying again in ${trouble.seconds} s …`));
});

document.getElementById("views").append(...VIEWS.map(([view, title]) =>
  el("li", {}, el("a", { href: `#/${view}`, "data-view": view }, title))));

const dialog = document.getElementById("tokens");
document.getElementById("tokens-open").addEventListener("click", () => {
  const kept = tokens();
  for (const input of dialog.querySelectorAll("input")) input.value = kept[input.name] ?? "";
  dialog.returnValue = "";
  dialog.showModal();
});
dialog.addEventListener("close", () => {
  if (dialog.returnValue === "save") {
    keepTokens(Object.fromEntries(new FormData(dialog.querySelector("form"))));
  } else if (dialog.returnValue === "forget") keepTokens({});
  if (["save", "forget"].includes(dialog.returnValue)) show();
  for (const input of dialog.querySelectorAll("input")) input.value = "";
});

window.addEventListener("hashchange", () => { show().then(() => main.focus({ preventScroll: true })); });
setInterval(() => {
  if (!document.hidden && !document.body.classList.contains("down")) served(leave.signal).catch(() => {});
}, HEARTBEAT);
show();
