// What happens, as it happens: notifications, newest on top.

import { ask, follow, page } from "/static/console/api.js";
import { say } from "/static/console/chrome.js";
import { fill, h } from "/static/console/dom.js";
import { field, inWords } from "/static/console/form.js";
import { count, t } from "/static/console/i18n.js";
import { feed } from "/static/console/views/live_feed.js";
import { notificationItem } from "/static/console/views/live_item.js";

const FILTER_PAUSE_MILLISECONDS = 350;
const MAX_USER_CHARACTERS = 255;
/** How many unread ones are counted at most: one page of the service. */
const MOST_COUNTED = 200;
const COUNT_AGAIN_MILLISECONDS = 15_000;
const CATCH_UP_AGAIN_MILLISECONDS = 3000;
/** What came is spoken at most once in this time. */
const SPOKEN_MILLISECONDS = 10_000;
const WALLET_ID = /^[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}$/i;

/** Show what comes, and what came before. */
export async function show({ may, query, keep, signal }) {
  const filters = filterForm(query);
  const state = stateLine();
  const unread = unreadCount(signal);
  const news = spokenNews(signal);
  let following = new AbortController();

  const list = feed({
    draw: (item, fresh) => notificationItem(item, { fresh, mark: may("wallets:write") ? mark : null }),
    nothing: () => t(filters.isNarrow() ? "live.none_found" : "live.none"),
    signal,
  });
  async function mark(item) {
    const marked = await ask("POST", `notifications/${item.id}/read`, { signal });
    unread.add(-1);
    return marked;
  }
  const markAll = h("button", { type: "button", onclick: markEverything }, t("live.read_all"));
  async function markEverything() {
    if (markAll.hasAttribute("aria-disabled")) return;
    markAll.setAttribute("aria-disabled", "true");
    try {
      const { read } = await list.markAll(
        ask("POST", "notifications/read-all", { body: filters.values(), signal }),
      );
      await unread.read(filters.values());
      say(t("live.marked", { count: read }));
    } catch (error) {
      if (!signal.aborted) say(error.code ? inWords(error) : t("form.broken"));
    } finally {
      markAll.removeAttribute("aria-disabled");
    }
  }

  async function begin() {
    following.abort();
    following = new AbortController();
    const mine = following.signal;
    const wanted = filters.values();
    let opened = false;
    keep(wanted);
    if (wanted.wallet_id && !WALLET_ID.test(wanted.wallet_id)) return filters.wrong(t("live.wallet_wrong"));
    filters.wrong("");
    await Promise.all([list.read(wanted), unread.read(wanted)]);
    follow({
      query: given(wanted),
      signal: mine,
      onitem: (item) => {
        if (!list.add(item)) return;
        unread.add(1);
        news.one();
      },
      onstate: (now) => {
        const before = state.set(now);
        // What came while nobody listened: between the list and the first word of the stream, too.
        if (now === "away" || (opened && before === now)) return;
        opened = true;
        catchUp(wanted, mine);
      },
    }).catch((error) => !mine.aborted && state.trouble(error));
  }
  /** After another filter: what cannot be read now is tried again. */
  function beginAnew() {
    begin().catch((error) => {
      if (signal.aborted) return;
      const mine = following.signal;
      state.trouble(error);
      const passes = error.status === 0 || error.status === 429 || error.status >= 500;
      if (passes) setTimeout(() => mine.aborted || beginAnew(), CATCH_UP_AGAIN_MILLISECONDS);
    });
  }
  async function catchUp(wanted, mine) {
    try {
      await list.renew();
      await unread.read(wanted);
    } catch (error) {
      if (mine.aborted || signal.aborted) return;
      if (error.status === 401 || error.status === 403) return state.trouble(error);
      setTimeout(() => mine.aborted || catchUp(wanted, mine), CATCH_UP_AGAIN_MILLISECONDS);
    }
  }

  signal.addEventListener("abort", () => following.abort());
  filters.onchange(beginAnew);
  await begin();
  unread.keepUp(() => filters.values());
  return [
    h(
      "div",
      { class: "title" },
      h("div", { class: "named" }, h("h1", {}, t("nav.live")), unread.element),
      h("div", { class: "buttons" }, state.element, may("wallets:write") && markAll),
    ),
    filters.element,
    news.element,
    list.element,
  ];
}

function given(wanted) {
  return Object.fromEntries(Object.entries(wanted).filter(([, value]) => value));
}

/** Whose notifications are shown; acts as one types. */
function filterForm(query) {
  const user = field("user_id", t("live.user"), {
    value: query.get("user_id") ?? "",
    placeholder: t("filter.all"),
    maxlength: MAX_USER_CHARACTERS,
  });
  const wallet = field("wallet_id", t("live.wallet"), {
    value: query.get("wallet_id") ?? "",
    placeholder: t("filter.all"),
    maxlength: 36,
    spellcheck: "false",
  });
  const element = h("form", { class: "filters two", role: "search", "aria-label": t("live.filter") }, user, wallet);
  const values = () => {
    const typed = [...new FormData(element)].map(([name, value]) => [name, value.trim()]);
    return Object.fromEntries(typed.filter(([, value]) => value !== ""));
  };
  const wrong = (text) => {
    const said = wallet.querySelector(".wrong");
    fill(said, text);
    said.hidden = text === "";
    const input = wallet.querySelector("input");
    if (text) input.setAttribute("aria-invalid", "true");
    else input.removeAttribute("aria-invalid");
  };
  const onchange = (act) => {
    let timer;
    element.addEventListener("input", () => {
      clearTimeout(timer);
      timer = setTimeout(act, FILTER_PAUSE_MILLISECONDS);
    });
    element.addEventListener("submit", (event) => {
      event.preventDefault();
      clearTimeout(timer);
      act();
    });
  };
  return { element, values, wrong, onchange, isNarrow: () => Object.keys(values()).length > 0 };
}

/** Whether news come at once, by asking, or not at all; spoken when it changes. */
function stateLine() {
  const element = h("p", { class: "following", role: "status", "aria-live": "polite" });
  let current = null;
  const set = (now) => {
    const before = current;
    current = now;
    if (before !== now) {
      element.dataset.state = now;
      fill(element, t(`live.state.${now}`));
    }
    return before;
  };
  const trouble = (error) => {
    set("away");
    fill(element, error.code ? inWords(error) : t("form.broken"));
  };
  return { element, set, trouble };
}

/** How many are unread, in the page and in its title. */
function unreadCount(signal) {
  const element = h("span", { class: "badge unread" });
  const title = document.title;
  let number = 0;
  let more = false;
  let wanted = 0; // the newest question: an answer to an older one comes too late
  const draw = () => {
    const shown = count(number) + (more ? "+" : "");
    fill(element, t("live.unread", { count: number, shown }));
    element.classList.toggle("some", number > 0);
    if (!signal.aborted) document.title = number > 0 ? `(${shown}) ${title}` : title;
  };
  const read = async (filter) => {
    const mine = ++wanted;
    const { items, next_cursor: next } = await page("notifications", { ...filter, unread: "true", limit: MOST_COUNTED }, signal);
    if (mine !== wanted) return;
    number = items.length;
    more = next !== null;
    draw();
  };
  const add = (change) => {
    wanted += 1;
    if (!more) number = Math.max(0, number + change); // of more than are counted nothing is known
    draw();
  };
  /** Others mark some as read, too. */
  const keepUp = (filter) => {
    const timer = setInterval(() => document.hidden || read(filter()).catch(() => {}), COUNT_AGAIN_MILLISECONDS);
    signal.addEventListener("abort", () => clearInterval(timer));
  };
  return { element, read, add, keepUp };
}

/** What came, for those who hear the page: now and then, not each. */
function spokenNews(signal) {
  const element = h("p", { class: "spoken", role: "status", "aria-live": "polite" });
  let came = 0;
  let timer = null;
  const speak = () => {
    timer = null;
    fill(element, t("live.came", { count: came }));
    came = 0;
  };
  const one = () => {
    came += 1;
    timer ??= setTimeout(speak, SPOKEN_MILLISECONDS);
  };
  signal.addEventListener("abort", () => clearTimeout(timer));
  return { element, one };
}
