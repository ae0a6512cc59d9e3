// One notification.

import { fill, h, spoken } from "/static/console/dom.js";
import { inWords } from "/static/console/form.js";
import { knows, language, t } from "/static/console/i18n.js";
import { moneyText, shortId, shortMoment } from "/static/console/parts.js";

/**
 * A row of the feed. `mark(item)` marks it as read and gives it as it is then; null where that is not
 * allowed.
 *
 * @returns {{element: Element, marked: () => void}}
 */
export function notificationItem(item, { fresh, mark }) {
  const dot = h("span", { class: "dot" }, spoken(t("live.is_unread")));
  const wrong = h("p", { class: "wrong", role: "alert", hidden: true });
  const { title, text } = inOwnWords(item);
  const button = mark && h("button", { type: "button", class: "quiet", onclick: () => markThis() }, t("live.read"), spoken(` ${title}`));
  const element = h(
    "li",
    { class: ["notice", fresh && "fresh-notice"].filter(Boolean).join(" ") },
    dot,
    h(
      "div",
      { class: "notice-body" },
      h("div", { class: "notice-head" }, h("strong", {}, title), shortMoment(item.created_at)),
      h("p", {}, text),
      h(
        "p",
        { class: "notice-about" },
        item.user_id !== null && h("span", {}, item.user_id),
        item.wallet_id !== null &&
          h("a", { href: `#/wallets/${item.wallet_id}` }, t("live.of_wallet", { id: shortId(item.wallet_id) })),
      ),
      wrong,
    ),
    button,
  );
  const marked = () => {
    element.classList.remove("unread");
    dot.hidden = true;
    if (button) button.hidden = true;
  };
  if (item.read_at === null) element.classList.add("unread");
  else marked();

  async function markThis() {
    if (button.hasAttribute("aria-disabled")) return;
    button.setAttribute("aria-disabled", "true");
    wrong.hidden = true;
    try {
      await mark(item);
      marked();
      // The button is gone: the focus goes on to the next one, not to the top of the page.
      const next = element.nextElementSibling?.querySelector("button:not([hidden])");
      (next ?? element.closest(".list")?.querySelector("button:not([hidden])"))?.focus();
    } catch (error) {
      if (error.name === "AbortError") return;
      wrong.hidden = false;
      fill(wrong, error.code ? inWords(error) : t("form.broken"));
    } finally {
      button.removeAttribute("aria-disabled");
    }
  }
  return { element, marked };
}

/** In English what the service says; in other languages the same out of the event's data. */
function inOwnWords({ type, title, text, data }) {
  if (language() === "en") return { title, text };
  const operation = `operation.${data.operation_type}`;
  if (data.operation_type && knows(operation)) {
    const amount = moneyText(data.amount, data.currency);
    const balance = moneyText(data.new_balance, data.currency);
    return { title: t(operation), text: t("live.operation", { amount, balance }) };
  }
  const named = `event.${type}`;
  if (!knows(named)) return { title, text };
  if (type === "coffer.message") return { title: t(named), text };
  if (data.amount && data.currency) return { title: t(named), text: moneyText(data.amount, data.currency) };
  return { title: t(named), text: [data.name, data.currency].filter(Boolean).join(" · ") };
}
