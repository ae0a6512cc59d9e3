// A number of coins, which is a text of digits.

import { h, svg } from "/static/console/dom.js";
import { language, t } from "/static/console/i18n.js";
import { formatAmount } from "/static/console/money.js";

/** A number of coins with the sign of a coin. */
export function coins(amount) {
  return h("span", { class: "coins" }, picture("coin"), h("span", { class: "money" }, formatAmount(amount, language())));
}

/** The same in words. */
export function coinsText(amount) {
  const few = amount.length < 16 ? Number(amount) : 5; // only the form of the word hangs on it
  return t("shop.count", { count: few, amount: formatAmount(amount, language()) });
}

/** A picture out of the shop's sheet; whatever it means is said beside it. */
export function picture(name) {
  return svg(
    "svg",
    { class: `picture ${name}`, viewBox: "0 0 96 96", "aria-hidden": "true", focusable: "false" },
    svg("use", { href: `/static/shop/items.svg#${name}` }),
  );
}
