// A table that is asked to show other rows every 2 s: only cells that look different are touched, so that focus, a
// selection and a press of a button in another cell survive.
// On a narrow screen the style sheet makes a card of each row; the roles keep it a table for screen readers.

import { fill, h } from "./parts.js";

const classOf = (column) => column.number ? "number" : column.acts ? "acts" : null;

/**
 * `columns`: `{title, cell(row, current), number?, head?, acts?}`. `cell` answers with a text, a node or an array of
 * them; `current()` is the newest row of the same key, for what a button does later. `head`: the cell names its row; `acts`: it
 * holds buttons.
 * `key(row)` tells rows apart. `caption` names the table. `empty`: what is said when there are no rows.
 */
export function table({ caption, columns, key, testid, empty }) {
  const head = h("tr", { role: "row" }, columns.map((column) =>
    h("th", { role: "columnheader", scope: "col", class: classOf(column) }, column.title)));
  const body = h("tbody", { role: "rowgroup" });
  const nothing = h("p", { class: "quiet", "data-testid": `${testid}-empty` }, empty);
  const shown = h("table", { role: "table", "data-testid": testid },
    h("caption", { class: "visually-hidden" }, caption), h("thead", { role: "rowgroup" }, head), body);
  const scroller = h("div", { class: "scroller", role: "region", "aria-label": caption, tabindex: "0" }, shown);
  const known = new Map();

  function rowOf(row) {
    // What is in a cell has an element of its own: on a narrow screen it stands beside the name of the column.
    const cells = columns.map(() => h("div", { class: "cell" }));
    const around = columns.map((column, n) => h(column.head ? "th" : "td", {
      role: column.head ? "rowheader" : "cell", scope: column.head ? "row" : null, "data-label": column.title,
      class: classOf(column),
    }, cells[n]));
    return { row, cells, element: h("tr", { role: "row", "data-key": key(row) }, around) };
  }

  function update(rows) {
    const keys = new Set(rows.map(key));
    for (const [name, entry] of known) {
      if (!keys.has(name)) {
        entry.element.remove();
        known.delete(name);
      }
    }
    let after = null;
    for (const row of rows) {
      const name = key(row);
      let entry = known.get(name);
      // The very same object says the same.
      if (entry?.row !== row) {
        entry ??= rowOf(row);
        known.set(name, entry);
        entry.row = row;
        columns.forEach((column, n) => fill(entry.cells[n], column.cell(row, () => entry.row)));
      }
      const place = after === null ? body.firstChild : after.nextSibling;
      // An element that is moved loses the focus: only those that are out of place are.
      if (place !== entry.element) body.insertBefore(entry.element, place);
      after = entry.element;
    }
    scroller.hidden = rows.length === 0;
    nothing.hidden = rows.length > 0;
  }

  nothing.hidden = true;
  scroller.hidden = true;
  return { element: h("div", { class: "table" }, scroller, nothing), update };
}
