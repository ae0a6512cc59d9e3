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
 * @returns {{element: Element, read: (query: object) => Promise<void>, renew: () => Promise<void>}}
 *   `read` begins anew with a query, `renew` puts what has come since on top (newest first)
 */
export function endless(options) {
  const list = new EndlessList(options);
  return { element: list.element, read: (query) => list.read(query), renew: () => list.renew() };
}

const PAGE_ITEMS = 50;

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

  /** Begin anew with a query. Throws a Refusal. */
  read(query) {
    this.#query = query;
    this.#cursor = null;
    return this.#read({ first: true });
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

  async #read(mine) {
    this.#reading = mine;
    this.element.setAttribute("aria-busy", "true");
    try {
      const found = await this.#page(this.#cursor);
      if (this.#reading === mine) this.#take(found, mine.first);
    } catch (error) {
      if (this.#options.signal.aborted || this.#reading !== mine) return;
      if (mine.first) throw error;
      fill(this.#state, h("p", { class: "wrong" }, inWords(error)));
    } finally {
      if (this.#reading === mine) {
        this.#reading = null;
        this.element.removeAttribute("aria-busy");
      }
    }
  }

  #take({ items, next_cursor: next }, first) {
    const { draw, nothing } = this.#options;
    if (first) {
      this.#body.replaceChildren();
      this.#known.clear();
    }
    for (const { id } of items) this.#known.add(id);
    this.#body.append(...items.map((item) => draw(item)));
    this.#cursor = next;
    this.#more.hidden = next === null;
    this.#table.hidden = this.#known.size === 0;
    fill(this.#state, this.#known.size === 0 && next === null ? nothing() : null);
    // More than fits may not have come yet, and the observer tells only of changes.
    this.#watcher.unobserve(this.#more);
    this.#watcher.observe(this.#more);
  }

  async #renew() {
    if (this.#reading) return;
    const found = await this.#page(null);
    if (this.#reading) return;
    const fresh = found.items.filter(({ id }) => !this.#known.has(id));
    if (fresh.length === 0) return;
    // A whole page of news may have a gap below it.
    if (fresh.length === this.#options.limit) return this.read(this.#query);
    for (const { id } of fresh) this.#known.add(id);
    this.#body.prepend(...fresh.map((item) => this.#options.draw(item, true)));
    this.#table.hidden = false;
    fill(this.#state);
  }
}
