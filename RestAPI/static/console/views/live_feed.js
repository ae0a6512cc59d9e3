// The list of notifications: it grows at its top by itself and at its end as one scrolls, and keeps no more
// than a bounded number of rows.

import { page } from "/static/console/api.js";
import { fill, h } from "/static/console/dom.js";
import { inWords } from "/static/console/form.js";
import { t } from "/static/console/i18n.js";

/** How many rows are kept in the page: what goes beyond is taken out at the other end. */
export const MOST_ROWS = 400;
const PAGE_ITEMS = 50;
/** By how many a page is read where rows that are shown already must be passed. */
const PASSING_PAGE_ITEMS = 200;

/**
 * The feed. `draw(item, fresh)` gives `{element, marked()}` of a notification.
 *
 * @returns {{element: Element, read: (query: object) => Promise<void>, renew: () => Promise<void>,
 *   add: (item: object) => boolean, markAll: <T>(marking: Promise<T>) => Promise<T>}}
 *   `add` puts what came on top and tells whether it is new; `renew` adds what the newest page has beside
 */
export function feed({ draw, nothing, signal }) {
  const body = h("ol", { class: "feed", "aria-label": t("live.list") });
  const more = h("button", { type: "button", class: "more", hidden: true, onclick: () => readOn() }, t("list.more"));
  const back = h("button", { type: "button", class: "more newest", hidden: true, onclick: toNewest }, t("live.newest"));
  const said = h("div", { class: "list-state", role: "status" });
  const element = h("div", { class: "list" }, back, body, said, more);
  const rows = new Map(); // by id; the Map's order is not that of the page
  let query = {};
  let cursor = null;
  let passing = false; // rows were taken out at the end: its cursor leads too far
  let away = false; // rows were taken out at the top: what comes now has no place there
  let reading = null;

  const watcher = new IntersectionObserver(
    (entries) => entries.some(({ isIntersecting }) => isIntersecting) && readOn(),
    { rootMargin: "300px" },
  );
  signal.addEventListener("abort", () => watcher.disconnect());

  function insert(item, { fresh = false, onTop = false } = {}) {
    if (rows.has(item.id)) return false;
    const drawn = draw(item, fresh);
    drawn.element.dataset.id = item.id;
    rows.set(item.id, drawn);
    if (onTop) body.prepend(drawn.element);
    else body.append(drawn.element);
    return true;
  }

  function remove(row) {
    rows.delete(row.dataset.id);
    row.remove();
  }

  function add(item) {
    if (rows.has(item.id)) return false;
    if (reading?.came) {
      reading.came.push(item); // the rows of now are about to go
      return true;
    }
    if (away) {
      back.hidden = false;
      return true;
    }
    insert(item, { fresh: true, onTop: true });
    fill(said);
    while (rows.size > MOST_ROWS) {
      remove(body.lastElementChild);
      passing = true;
      more.hidden = false;
    }
    return true;
  }

  const trouble = (error) =>
    fill(said, h("p", { class: "wrong" }, error.code ? inWords(error) : t("form.broken")));

  function toNewest() {
    read(query).catch((error) => !signal.aborted && trouble(error));
  }

  async function readOn() {
    if (reading || more.hidden) return;
    const mine = (reading = {});
    try {
      let found;
      do {
        // Rows that were taken out at the end are found again from the top on.
        const from = passing ? null : cursor;
        found = await page("notifications", { ...query, limit: passing || mine.passing ? PASSING_PAGE_ITEMS : PAGE_ITEMS, cursor: from }, signal);
        if (reading !== mine) return;
        mine.passing ||= passing;
        passing = false;
        cursor = found.next_cursor;
      } while (cursor !== null && found.items.every(({ id }) => rows.has(id)));
      append(found.items);
    } catch (error) {
      if (!signal.aborted && reading === mine) trouble(error);
    } finally {
      if (reading === mine) reading = null;
    }
  }

  function append(items) {
    for (const item of items) insert(item);
    while (rows.size > MOST_ROWS) {
      remove(body.firstElementChild);
      away = true;
      back.hidden = false;
    }
    more.hidden = cursor === null;
    fill(said, rows.size === 0 ? h("p", { class: "nothing" }, nothing()) : null);
    // More than fits may not have come yet, and the observer tells only of changes.
    watcher.unobserve(more);
    watcher.observe(more);
  }

  /** Rows of another query must not stand there as if they were of this one. */
  function empty(wanted) {
    query = wanted;
    cursor = null;
    more.hidden = true;
    back.hidden = true;
    for (const row of [...body.children]) remove(row);
    fill(said);
  }

  async function read(wanted) {
    const mine = (reading = { came: reading?.came && wanted === query ? reading.came : [] });
    try {
      const found = await page("notifications", { ...wanted, limit: PAGE_ITEMS }, signal);
      if (reading !== mine) return;
      query = wanted;
      for (const row of [...body.children]) remove(row);
      passing = false;
      away = false;
      back.hidden = true;
      cursor = found.next_cursor;
      append(found.items);
    } catch (error) {
      if (reading === mine && wanted !== query) empty(wanted);
      throw error;
    } finally {
      if (reading === mine) {
        reading = null;
        if (query === wanted) mine.came.forEach(add);
      }
    }
  }

  async function renew() {
    if (reading || away) return;
    const asked = query;
    const found = await page("notifications", { ...asked, limit: PAGE_ITEMS }, signal);
    if (reading || away || query !== asked) return;
    const fresh = found.items.filter(({ id }) => !rows.has(id));
    // More than a page came: what lies between is read with the rest.
    if (fresh.length === found.items.length && rows.size > 0 && found.next_cursor !== null) return read(asked);
    for (const item of fresh.reverse()) add(item);
  }

  /** Mark those that are there now as read, once `marking` is done; what comes meanwhile is not. */
  async function markAll(marking) {
    const shown = [...rows.values()];
    const answer = await marking;
    for (const drawn of shown) drawn.marked();
    return answer;
  }
  return { element, read, renew, add, markAll };
}
