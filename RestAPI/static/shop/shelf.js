// What there is to buy.

import { say } from "/static/console/chrome.js";
import { fill, h } from "/static/console/dom.js";
import { inWords, newIdempotencyKey } from "/static/console/form.js";
import { knows, t } from "/static/console/i18n.js";
import { ask } from "/static/shop/api.js";
import { coins, coinsText, picture } from "/static/shop/coins.js";

const DRAWN = new Set([
  "t-shirt", "cup", "book", "pen", "powerbank", "hoody", "umbrella", "socks", "wallet", "pink-hoody",
]);

/** What an item is called. */
export function itemName(type) {
  const word = type.replaceAll("-", "_");
  return knows(`item.${word}`) ? t(`item.${word}`) : type;
}

/** The picture of an item; those that were made later have a box. */
export function itemPicture(type) {
  return picture(DRAWN.has(type) ? type : "box");
}

/**
 * The items with their prices. `refresh()` is called after a purchase, and when an answer says that the
 * page knows too little.
 *
 * @returns {{element: Element, read: () => Promise<void>, afford: (coins: string) => void}}
 *   `afford` says how many coins there are to spend
 */
export function shelf({ refresh, signal }) {
  const element = h("ul", { class: "shelf" });
  let shown = [];
  let purse = null;
  const read = async () => {
    const { items } = await ask("GET", "items", { signal });
    shown = items.map((item) => card(item, refresh));
    fill(element, shown.map((one) => one.element), items.length === 0 && h("li", { class: "nothing" }, t("shop.no_items")));
    if (purse !== null) afford(purse);
  };
  const afford = (held) => {
    purse = held;
    for (const one of shown) one.afford(held);
  };
  return { element, read, afford };
}

/** One item. A click buys one; the same key goes with it until the shop has answered for good. */
function card({ type, price }, refresh) {
  let idempotencyKey = newIdempotencyKey();
  let busy = false;
  const name = itemName(type);
  const wrong = h("p", { class: "wrong", role: "alert", hidden: true });
  const short = h("p", { class: "short", hidden: true });
  const button = h("button", { type: "button", class: "primary", onclick: buy }, t("shop.buy"), h("span", { class: "spoken" }, ` ${name}, ${coinsText(price)}`));

  async function buy() {
    if (busy) return;
    busy = true;
    button.setAttribute("aria-disabled", "true");
    wrong.hidden = true;
    try {
      await ask("GET", `buy/${encodeURIComponent(type)}`, { idempotencyKey });
      idempotencyKey = newIdempotencyKey();
      say(t("shop.bought", { name }));
    } catch (error) {
      if (error.status >= 400 && error.status < 500 && error.status !== 429) idempotencyKey = newIdempotencyKey();
      wrong.hidden = false;
      fill(wrong, error.code ? inWords(error) : t("form.broken"));
    } finally {
      busy = false;
      button.removeAttribute("aria-disabled");
    }
    await refresh().catch(() => {}); // what was done is said already
  }

  const afford = (held) => {
    const missing = BigInt(price) - BigInt(held);
    short.hidden = missing <= 0n;
    fill(short, missing > 0n ? t("shop.short", { coins: coinsText(String(missing)) }) : null);
    button.classList.toggle("primary", missing <= 0n);
  };
  const element = h(
    "li",
    { class: "card item", "data-item": type },
    h("div", { class: "stage" }, itemPicture(type)),
    h("h3", {}, name),
    h("div", { class: "offer" }, coins(price), button),
    short,
    wrong,
  );
  return { element, afford };
}
