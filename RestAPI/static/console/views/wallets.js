// The wallets: searched, narrowed, created.

import { ask } from "/static/console/api.js";
import { say } from "/static/console/chrome.js";
import { openDialog } from "/static/console/dialog.js";
import { fill, h } from "/static/console/dom.js";
import {
  FieldWrong,
  amountField,
  choice,
  field,
  form,
  inWords,
  reading,
} from "/static/console/form.js";
import { language, t } from "/static/console/i18n.js";
import { decimalsOf, parseAmount, parseCreditLimit } from "/static/console/money.js";
import {
  firstDeposit,
  money,
  nameOf,
  shortId,
  shortMoment,
  status,
} from "/static/console/parts.js";
import { endless, row } from "/static/console/table.js";

const SEARCH_PAUSE_MILLISECONDS = 250;
const MAX_TEXT_CHARACTERS = 255;
const CURRENCY = /^[A-Z][A-Z0-9]{2,11}$/;

/** Show the list. The address keeps what is searched for. */
export async function show({ access, may, query, keep, signal }) {
  const filters = filterForm(query);
  const columns = [
    { label: t("wallet.name") },
    { label: t("wallet.owner") },
    { label: t("wallet.status") },
    { label: t("wallet.available"), class: "amount" },
    { label: t("wallet.balance"), class: "amount" },
    { label: t("wallet.created"), class: "time" },
  ];
  const list = endless({
    label: t("nav.wallets"),
    columns,
    path: "wallets",
    draw: (wallet) => walletRow(columns, wallet),
    nothing: () =>
      isNarrowed(filters.values())
        ? h("p", { class: "nothing" }, t("wallets.none_found"))
        : emptyState(access),
    signal,
  });
  const read = async () => {
    const wanted = filters.values();
    keep(wanted);
    const wrong =
      wanted.currency && !CURRENCY.test(wanted.currency) ? t("refused.currency_unknown") : "";
    filters.wrong(wrong);
    if (wrong) return;
    try {
      await list.read(wanted);
    } catch (error) {
      if (error.code !== "currency_unknown") throw error;
      filters.wrong(inWords(error));
    }
  };
  filters.onchange(() => read().catch(() => {})); // the list says it
  await read();
  const create = () =>
    openDialog({ title: t("wallets.create"), content: () => createForm(access, may), signal });
  return [
    h(
      "div",
      { class: "title" },
      h("h1", {}, t("nav.wallets")),
      may("wallets:write") &&
        h("button", { type: "button", class: "primary", onclick: create }, t("wallets.create")),
    ),
    h(
      "p",
      { class: "soft" },
      t("wallets.lead"),
      " ",
      h("a", { href: "#/about" }, t("wallets.empty_more")),
    ),
    filters.element,
    list.element,
  ];
}

function isNarrowed({ search, status: wanted, currency }) {
  return Boolean(search || wanted || currency);
}

function emptyState(access) {
  return h(
    "section",
    { class: "card empty-state" },
    h("h2", {}, t("wallets.empty_title")),
    h("p", {}, t("wallets.empty_text")),
    h("h3", {}, t("about.example")),
    firstDeposit(access),
  );
}

function walletRow(columns, wallet) {
  const named = h("a", { href: `#/wallets/${wallet.id}` }, nameOf(wallet));
  return row(columns, [
    h(
      "span",
      {},
      named,
      (wallet.name || wallet.owner) && [" ", h("small", {}, shortId(wallet.id))],
    ),
    wallet.owner,
    status(wallet.status),
    money(wallet.available, wallet.currency),
    money(wallet.balance, wallet.currency),
    shortMoment(wallet.created_at),
  ]);
}

/** The box for searching and the filters beside it; they act as one types. */
function filterForm(query) {
  const search = field("search", t("wallets.search"), {
    type: "search",
    value: query.get("search") ?? "",
    placeholder: t("wallets.search_hint"),
    maxlength: MAX_TEXT_CHARACTERS,
  });
  const statuses = ["active", "frozen", "closed"].map((name) => [name, t(`status.${name}`)]);
  const chosen = choice(
    "status",
    t("wallet.status"),
    [["", t("filter.all")], ...statuses],
    query.get("status") ?? "",
  );
  const currency = field("currency", t("wallet.currency"), {
    value: query.get("currency") ?? "",
    placeholder: t("filter.all"),
    size: 6,
    maxlength: 12,
    autocapitalize: "characters",
  });
  const element = h(
    "form",
    { class: "filters", role: "search", "aria-label": t("wallets.search") },
    search,
    chosen,
    currency,
  );
  const values = () => {
    const given = Object.fromEntries(new FormData(element));
    return { ...given, search: given.search.trim(), currency: given.currency.trim().toUpperCase() };
  };
  const wrong = (text) => {
    const said = currency.querySelector(".wrong");
    fill(said, text);
    said.hidden = text === "";
    if (text) currency.querySelector("input").setAttribute("aria-invalid", "true");
    else currency.querySelector("input").removeAttribute("aria-invalid");
  };
  const onchange = (act) => {
    let timer;
    const soon = () => {
      clearTimeout(timer);
      timer = setTimeout(act, SEARCH_PAUSE_MILLISECONDS);
    };
    element.addEventListener("input", soon);
    element.addEventListener("submit", (event) => {
      event.preventDefault();
      clearTimeout(timer);
      act();
    });
  };
  return { element, values, wrong, onchange };
}

function createForm(access, may) {
  const fields = [
    field("currency", t("wallet.currency"), {
      value: access.default_currency,
      maxlength: 12,
      autocapitalize: "characters",
    }),
    !access.owner &&
      field("owner", t("wallet.owner"), {
        hint: t("wallets.owner_hint"),
        maxlength: MAX_TEXT_CHARACTERS,
      }),
    field("name", t("wallet.name"), { maxlength: MAX_TEXT_CHARACTERS }),
    may("admin") &&
      amountField("min_balance", t("wallet.min_balance"), undefined, {
        hint: t("limits.min_hint"),
      }),
    may("admin") &&
      amountField("max_balance", t("wallet.max_balance"), undefined, {
        hint: t("limits.max_hint"),
      }),
  ];
  return form({
    button: t("wallets.create_button"),
    fields,
    act: async (typed, idempotencyKey) => {
      const body = await creation(typed);
      if (access.owner) body.owner = access.owner;
      const made = await ask("POST", "wallets", { body, idempotencyKey });
      say(t("wallets.created"));
      location.hash = `#/wallets/${made.id}`;
    },
  });
}

/** The body of the request, out of what was typed. */
async function creation({ currency, owner, name, min_balance: least, max_balance: most }) {
  const body = { currency: currency.trim().toUpperCase() };
  if (!CURRENCY.test(body.currency)) throw new FieldWrong("currency", "refused.currency_unknown");
  if (owner?.trim()) body.owner = owner.trim();
  if (name.trim()) body.name = name.trim();
  if (!least?.trim() && !most?.trim()) return body;
  // How many decimals the currency has, the service knows: a wallet that is only tried out tells.
  const tried = await ask("POST", "wallets", {
    query: { dry_run: "true" },
    body: { currency: body.currency },
  });
  const decimals = decimalsOf(tried.balance);
  if (least?.trim())
    body.min_balance = reading("min_balance", () => parseCreditLimit(least, decimals, language()));
  if (most?.trim()) body.max_balance = reading("max_balance", () => parseAmount(most, decimals, language()));
  return body;
}
