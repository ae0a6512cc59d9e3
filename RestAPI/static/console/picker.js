// A field for another wallet: by its id, or found by owner or name.

import { page } from "/static/console/api.js";
import { fill, h } from "/static/console/dom.js";
import { FieldWrong, field } from "/static/console/form.js";
import { t } from "/static/console/i18n.js";
import { shortId } from "/static/console/parts.js";

const SEARCH_PAUSE_MILLISECONDS = 250;
const SHOWN_WALLETS = 5;
const ID = /^[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}$/i;

/**
 * The field. Wallets that are found stand below it as buttons; only those in the currency of
 * `wallet`, and not itself. `resolve(typed)` gives the id, of a text the one wallet that is found
 * by it.
 *
 * @returns {{element: Element, resolve: (typed: string) => Promise<string>}}
 */
export function walletPicker(name, label, { wallet, signal, hint = t("picker.hint") }) {
  const found = h("ul", { class: "found" });
  const state = h("p", { class: "hint", role: "status" });
  const labelled = field(name, label, { hint, maxlength: 255 });
  const input = labelled.querySelector("input");
  labelled.append(found, state);
  let timer;
  let choosing = false;

  const clear = () => {
    clearTimeout(timer);
    fill(found);
    fill(state);
  };
  const choose = (other) => {
    clear();
    input.value = other.id;
    choosing = true; // the form is to know of the change, the search is not
    input.dispatchEvent(new Event("input", { bubbles: true }));
    choosing = false;
    fill(state, t("picker.chosen", { name: describe(other) }));
    input.focus();
  };
  const search = async () => {
    const asked = input.value;
    const items = await matching(asked, wallet, signal).catch(() => []);
    if (input.value !== asked || !asked.trim()) return;
    fill(
      found,
      items.map((other) =>
        h("li", {}, h("button", { type: "button", onclick: () => choose(other) }, describe(other))),
      ),
    );
    fill(state, t("picker.found", { count: items.length }));
  };
  input.addEventListener("input", () => {
    if (choosing) return;
    clear();
    if (input.value.trim()) timer = setTimeout(search, SEARCH_PAUSE_MILLISECONDS);
  });
  // Reset comes before the fields are empty.
  queueMicrotask(() => labelled.closest("form")?.addEventListener("reset", clear));

  const resolve = async (typed) => {
    const text = typed.trim();
    if (text === "") throw new FieldWrong(name, "picker.missing");
    if (ID.test(text)) return text;
    const items = await matching(text, wallet, signal);
    if (items.length !== 1)
      throw new FieldWrong(name, items.length ? "picker.many" : "picker.none");
    return items[0].id;
  };
  return { element: labelled, resolve };
}

async function matching(text, wallet, signal) {
  const query = { search: text.trim(), currency: wallet.currency, limit: SHOWN_WALLETS + 1 };
  const { items } = await page("wallets", query, signal);
  return items.filter(({ id }) => id !== wallet.id).slice(0, SHOWN_WALLETS);
}

/** Each part is isolated: text from right to left does not turn round what stands beside it. */
function describe(wallet) {
  const texts = [wallet.name, wallet.owner, shortId(wallet.id)].filter(Boolean);
  return texts.map((text) => `\u2068${text}\u2069`).join(" · ");
}
