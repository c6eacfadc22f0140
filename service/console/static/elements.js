// Elements of the page: made from names, attributes and children, never from strings of HTML.

const SVG = "http://www.w3.org/2000/svg";

/** An element; attributes that are null or false are left out, `on…` are listeners, children may be text or lists. */
export function el(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

/** The same within an <svg>. */
export function svg(name, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, name), attributes, children);
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) {
      element.setAttribute(name, value === true ? "" : value);
    }
  }
  element.append(...children.flat(Infinity).filter((child) => ![null, undefined, false].includes(child)));
  return element;
}

/** A table that scrolls by itself; `columns` are [title, numeric?], rows lists of cells or {cells, …attributes}. */
export function table(caption, columns, rows) {
  return el("div", { class: "scrolled", tabindex: "0", role: "region", "aria-label": caption },
    el("table", { class: columns.length <= 4 ? "few" : null },
      el("caption", { class: "unseen" }, caption),
      el("thead", {}, el("tr", {}, columns.map(([title, numeric]) =>
        el("th", { scope: "col", class: numeric ? "number" : null },
          title || el("span", { class: "unseen" }, "More"))))),
      el("tbody", {}, rows.map((row) => {
        const { cells, ...attributes } = Array.isArray(row) ? { cells: row } : row;
        return el("tr", attributes, cells.map((cell, at) =>
          el("td", { class: columns[at]?.[1] ? "number" : null, "data-title": columns[at]?.[0] }, cell)));
      }))));
}

/** Terms and what they are, in a dense grid; pairs whose value is null are left out. */
export function facts(pairs) {
  return el("dl", { class: "facts" }, pairs.filter(([, value]) => value !== null && value !== undefined)
    .map(([term, value]) => el("div", {}, el("dt", {}, term), el("dd", {}, value))));
}

export function card(title, ...children) {
  return el("section", { class: "card" }, title && el("h2", {}, title), children);
}

/** A link to a view with values for its form. */
export function link(view, values, ...children) {
  return el("a", { href: `#/${view}?${new URLSearchParams(values)}` }, children);
}

/** Says something to those who hear the page. */
export function announce(text) {
  document.getElementById("announced").textContent = text;
}

/** Shows a refusal, or a defect, as it is. */
export function failure(error) {
  const status = error.status ? `${error.status} ${error.type}` : "This page failed";
  return el("section", { class: "card failed", role: "alert" },
    el("h2", {}, status), el("p", {}, error.message), error.help && el("p", {}, error.help),
    error.details && el("pre", {}, error.details),
    [401, 403].includes(error.status) && el("button", {
      type: "button", onclick: () => document.getElementById("tokens-open").click(),
    }, "Enter tokens"));
}

/** Runs what a form asks for: clears the answer, says that it works, shows the answer or the refusal in its place. */
export async function answered(place, signal, work) {
  place.replaceChildren(el("p", { class: "waiting" }, "…"));
  place.setAttribute("aria-busy", "true");
  try {
    const found = await work();
    if (!signal.aborted) place.replaceChildren(...[found].flat(Infinity).filter(Boolean));
  } catch (error) {
    if (error.name === "AbortError") return;
    place.replaceChildren(failure(error));
    announce(error.message);
  } finally {
    place.removeAttribute("aria-busy");
  }
}

/** Whether the operator means it; null if not. */
export function confirmed(title, text, verb, mayForce) {
  const dialog = document.getElementById("confirm"), force = document.getElementById("confirm-force");
  document.getElementById("confirm-title").textContent = title;
  document.getElementById("confirm-text").textContent = text;
  dialog.querySelector("button.main").textContent = verb;
  force.hidden = !mayForce;
  force.querySelector("input").checked = false;
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"
      ? { force: force.querySelector("input").checked } : null), { once: true });
  });
}
