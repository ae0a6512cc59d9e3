// Tables that become cards where there is little room, and lists that go on as one scrolls.

import { page } from "/static/console/api.js";
import { fill, h } from "/static/console/dom.js";
import { t } from "/static/console/i18n.js";
import { inWords } from "/static/console/form.js";

/**
 * A table. The roles are written out: as cards its parts are no longer displayed as a table, and a
 * screen reader is to hear one nevertheless.
 *
 * @param {string} label what it lists, for those who hear it
 * @param {{label: string, class?: string}[]} columns
 * @returns {{element: Element, body: Element}} rows go into the body
 */
export function table(label, columns) {
  const body = h("tbody", { role: "rowgroup" });
  const heads = columns.map((column) =>
    h("th", { role: "columnheader", scope: "col", class: column.class }, column.label),
  );
  const element = h(
    "table",
    { role: "table", "aria-label": label, class: "table" },
    h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, heads)),
    body,
  );
  return { element, body };
}

/** A row with a cell for each column; what is empty is left out of a card. */
export function row(columns, cells, attributes = {}) {
  return h(
    "tr",
    { role: "row", ...attributes },
    cells.map((content, at) => {
      const empty = content === null || content === undefined || content === "";
      const { label, class: kind } = columns[at];
      return h(
        "td",
        {
          role: "cell",
          "data-label": label,
          class: [kind, empty && "empty"].filter(Boolean).join(" "),
        },
        content,
      );
    }),
  );
}

/**
 * A table that is read page by page, as its end comes into view or by a button.
 *
 * `draw(item, fresh)` gives a row; `nothing()` what stands there without any.
 *
 * @param {{label: string, columns: object[], path: string, signal: AbortSignal, limit?: number,
 *   draw: (item: object, fresh?: boolean) => Element, nothing: () => (Node | string)}} options
 * @returns {{element: Element, read: (query: object) => Promise<void>, renew: () => Promise<void>,
 *   empty: () => void}}
 *   `read` begins anew with a query, `renew` puts what has come since on top (newest first), `empty`
 *   leaves nothing there
 */
export function endless(options) {
  const list = new EndlessList(options);
  return {
    element: list.element,
    read: (query) => list.read(query),
    renew: () => list.renew(),
    empty: () => list.empty(),
  };
}

const PAGE_ITEMS = 50;
/** How many rows are kept where they come by themselves: those below what is seen are taken out. */
export const MOST_ROWS = 400;
/** Two screens below the top of this one nobody reads. */
const SCREENS_KEPT = 2;

class EndlessList {
  #options;
  #table;
  #body;
  #state = h("div", { class: "list-state", role: "status" });
  #more;
  #watcher;
  #known = new Set();
  #query = {};
  #cursor = null;
  #reading = null; // who reads now: an answer for somebody else comes too late
  #settled = Promise.resolve(); // when who reads now has done so
  #passing = false; // rows were taken out at the end: the cursor leads too far
  #failed = false; // the first page could not be read: nothing is shown
  #renewing = Promise.resolve();

  constructor({ limit = PAGE_ITEMS, ...options }) {
    this.#options = { limit, ...options };
    ({ element: this.#table, body: this.#body } = table(options.label, options.columns));
    const readOn = () => this.#readOn();
    this.#more = h(
      "button",
      { type: "button", class: "more", hidden: true, onclick: readOn },
      t("list.more"),
    );
    this.element = h("div", { class: "list" }, this.#table, this.#state, this.#more);
    this.#watcher = new IntersectionObserver(
      (entries) => entries.some(({ isIntersecting }) => isIntersecting) && readOn(),
      { rootMargin: "300px" },
    );
    options.signal.addEventListener("abort", () => this.#watcher.disconnect());
  }

  /** Begin anew with a query. Throws a Refusal; rows of another query are gone then. */
  read(query) {
    this.#query = query;
    this.#cursor = null;
    return this.#read({ first: true });
  }

  /** Take out all that there is, the word about a failure, too. */
  empty() {
    this.#clear();
    fill(this.#state);
  }

  /** Put what has come since on top. Throws a Refusal. */
  renew() {
    const now = () => this.#renew();
    this.#renewing = this.#renewing.then(now, now);
    return this.#renewing;
  }

  #page(cursor) {
    const { path, limit, signal } = this.#options;
    return page(path, { ...this.#query, limit, cursor }, signal);
  }

  async #readOn() {
    if (!this.#reading && !this.#more.hidden) await this.#read({ first: false });
  }

  #read(mine) {
    const done = this.#readAs(mine);
    this.#settled = done.catch(() => {});
    return done;
  }

  async #readAs(mine) {
    this.#reading = mine;
    this.element.setAttribute("aria-busy", "true");
    try {
      const found = await this.#nextPage(mine);
      if (this.#reading === mine) this.#take(found, mine.first);
    } catch (error) {
      if (this.#options.signal.aborted || this.#reading !== mine) return;
      if (mine.first) this.#clear();
      fill(this.#state, this.#trouble(error, mine.first));
      if (mine.first) throw error;
    } finally {
      if (this.#reading === mine) {
        this.#reading = null;
        this.element.removeAttribute("aria-busy");
      }
    }
  }

  /** The page after the last row. Rows that were taken out are found again from the top on. */
  async #nextPage(mine) {
    let from = this.#passing && !mine.first ? null : this.#cursor;
    for (;;) {
      const found = await this.#page(from);
      const items = mine.first ? found.items : found.items.filter(({ id }) => !this.#known.has(id));
      from = found.next_cursor;
      if (mine.first || items.length > 0 || from === null || this.#reading !== mine)
        return { items, next_cursor: from };
    }
  }

  /** What is said where a page could not be read; the first one can be asked for again. */
  #trouble(error, first) {
    const again = () => this.read(this.#query).catch(() => {}); // it is said here again
    return [
      h("p", { class: "wrong" }, error.code ? inWords(error) : t("form.broken")),
      first && h("button", { type: "button", onclick: again }, t("view.again")),
    ];
  }

  #clear() {
    this.#failed = true;
    this.#body.replaceChildren();
    this.#known.clear();
    this.#table.hidden = true;
    this.#more.hidden = true;
  }

  #take({ items, next_cursor: next }, first) {
    const { nothing } = this.#options;
    this.#passing = false;
    if (first) {
      this.#failed = false;
      this.#body.replaceChildren();
      this.#known.clear();
    }
    this.#body.append(...items.map((item) => this.#drawn(item)));
    this.#cursor = next;
    this.#more.hidden = next === null;
    this.#table.hidden = this.#known.size === 0;
    fill(this.#state, this.#known.size === 0 && next === null ? nothing() : null);
    // More than fits may not have come yet, and the observer tells only of changes.
    this.#watcher.unobserve(this.#more);
    this.#watcher.observe(this.#more);
  }

  async #renew() {
    while (this.#reading) await this.#settled;
    if (this.#failed) return this.read(this.#query);
    const asked = this.#query;
    const found = await this.#page(null);
    while (this.#reading) await this.#settled;
    if (this.#query !== asked) return; // another query was read meanwhile
    const fresh = found.items.filter(({ id }) => !this.#known.has(id));
    if (fresh.length === 0) return;
    // A whole page of news may have a gap below it.
    if (fresh.length === this.#options.limit) return this.read(this.#query);
    this.#body.prepend(...fresh.map((item) => this.#drawn(item, true)));
    this.#trim();
    this.#table.hidden = false;
    fill(this.#state);
  }
  #drawn(item, fresh = undefined) {
    const element = this.#options.draw(item, fresh);
    element.dataset.id = item.id;
    this.#known.add(item.id);
    return element;
  }

  #trim() {
    while (this.#known.size > MOST_ROWS) {
      const last = this.#body.lastElementChild;
      if (last.getBoundingClientRect().top < SCREENS_KEPT * innerHeight) return;
      this.#known.delete(last.dataset.id);
      last.remove();
      this.#passing = true;
      this.#more.hidden = false;
    }
  }
}
