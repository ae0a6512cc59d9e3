// What somebody has, whom they gave coins, and from whom they got some.

import { fill, h } from "/static/console/dom.js";
import { FieldWrong, amountField, field, form, reading } from "/static/console/form.js";
import { t } from "/static/console/i18n.js";
import { isZero, parseAmount } from "/static/console/money.js";
import { ask } from "/static/shop/api.js";
import { coins, coinsText } from "/static/shop/coins.js";
import { itemName, itemPicture } from "/static/shop/shelf.js";

const MAX_NAME_CHARACTERS = 64;

/** Draw what was bought. */
export function drawInventory(element, inventory) {
  fill(
    element,
    h("h2", {}, t("shop.inventory")),
    inventory.length === 0
      ? h("p", { class: "soft" }, t("shop.inventory_empty"))
      : h(
          "ul",
          { class: "inventory" },
          inventory.map(({ type, quantity }) =>
            h("li", {}, itemPicture(type), h("span", {}, itemName(type)), h("span", { class: "times" }, `× ${quantity}`)),
          ),
        ),
  );
}

/** Draw whom coins came from and went to. */
export function drawHistory(element, { received, sent }) {
  fill(
    element,
    h("h2", {}, t("shop.history")),
    received.length + sent.length === 0 && h("p", { class: "soft" }, t("shop.history_empty")),
    received.length > 0 && gifts(t("shop.received"), "in", received.map(({ fromUser, amount }) => [fromUser, amount])),
    sent.length > 0 && gifts(t("shop.sent"), "out", sent.map(({ toUser, amount }) => [toUser, amount])),
  );
}

function gifts(label, direction, pairs) {
  return [
    h("h3", {}, label),
    h(
      "ul",
      { class: `gifts ${direction}`, "aria-label": label },
      pairs.map(([name, amount]) => h("li", {}, h("span", { class: "whom" }, name), coins(amount))),
    ),
  ];
}

/** The form that sends coins to a colleague. */
export function giftForm({ name, refresh }) {
  const element = form({
    button: t("shop.send"),
    fields: [
      field("toUser", t("shop.to"), { maxlength: MAX_NAME_CHARACTERS, autocapitalize: "none" }),
      amountField("amount", t("shop.amount"), t("shop.unit"), { inputmode: "numeric" }),
    ],
    act: async ({ toUser, amount }, idempotencyKey) => {
      const whom = toUser.trim();
      if (whom === "") throw new FieldWrong("toUser", "shop.to_missing");
      if (whom === name) throw new FieldWrong("toUser", "refused.shop_oneself");
      const digits = reading("amount", () => parseAmount(amount, 0));
      if (digits.startsWith("-") || isZero(digits)) throw new FieldWrong("amount", "shop.amount_wrong");
      // A number in the shop's JSON, of any length: it is written as it was typed.
      await ask("POST", "sendCoin", { body: `{"toUser": ${JSON.stringify(whom)}, "amount": ${digits}}`, idempotencyKey });
      await refresh().catch(() => {}); // what was done is said already
      return t("shop.given", { coins: coinsText(digits), name: whom });
    },
  });
  return h("section", { class: "card" }, h("h2", {}, t("shop.gift")), element);
}
