// One wallet: what is in it, how it came about, and what can be done with it.

import { ask, follow, page } from "/static/console/api.js";
import { say } from "/static/console/chrome.js";
import { fill, h } from "/static/console/dom.js";
import { t } from "/static/console/i18n.js";
import { history } from "/static/console/views/wallet_history.js";
import { actions } from "/static/console/views/wallet_actions.js";
import { holds } from "/static/console/views/wallet_holds.js";
import { administration } from "/static/console/views/wallet_administration.js";
import { isZero } from "/static/console/money.js";
import { moment, money, moneyText, nameOf, status } from "/static/console/parts.js";
import { plot } from "/static/console/plot.js";

const LOOK_AGAIN_MILLISECONDS = 15_000;
const PLOTTED_OPERATIONS = 200;
// How much of the plot may show that nothing happened since.
const IDLE_SHARE = 0.25;
const LEAST_IDLE_MILLISECONDS = 1000;

/** Show the wallet with an id. */
export async function show({ access, may, signal }, id) {
  const path = `wallets/${encodeURIComponent(id)}`;
  // What the parts of the view share: `wallet` is the newest state. `refresh` reads everything anew
  // and never throws: what was done is done, whether or not it can be shown at once.
  const shared = {
    access,
    may,
    signal,
    path,
    wallet: await ask("GET", path, { signal }),
    refresh: () => refresh().catch(() => {}),
  };
  const parts = [head(shared), actions(shared), holds(shared), balances(shared), history(shared)];
  let shownVersion = shared.wallet.version;
  let refreshing = Promise.resolve();
  let next = null; // the refresh that has not begun: whoever asks meanwhile shares it

  function refresh() {
    const now = () => {
      next = null;
      return readAnew();
    };
    next ??= refreshing = refreshing.then(now, now);
    return next;
  }

  async function readAnew() {
    const wallet = await ask("GET", path, { signal });
    if (wallet.version === shownVersion) return;
    shared.wallet = wallet;
    await Promise.all(parts.map((part) => part.renew()));
    shownVersion = wallet.version; // not before: a part that failed is drawn the next time
  }

  await Promise.all(parts.map((part) => part.renew()));
  keepUp(shared.refresh, shared.wallet.id, signal);
  const [top, doing, held, drawn, past] = parts.map((part) => part.element);
  return [
    h("a", { class: "back", href: "#/wallets" }, t("wallet.back")),
    top,
    h(
      "div",
      { class: "columns" },
      h("div", { class: "side" }, doing, held),
      h("div", { class: "middle" }, drawn, past),
    ),
  ];
}

/** Look anew whenever something is told of the wallet, and now and then in case nobody tells. */
function keepUp(refresh, walletId, signal) {
  follow({
    query: { wallet_id: walletId },
    onitem: refresh,
    onstate: (state) => state === "stream" && refresh(),
    signal,
  }).catch(() => {}); // a key that is refused goes back to the question by itself
  const timer = setInterval(() => document.hidden || refresh(), LOOK_AGAIN_MILLISECONDS);
  signal.addEventListener("abort", () => clearInterval(timer));
}

/** The name, the status and the figures. */
function head(shared) {
  const element = h("section", { class: "wallet-head", "aria-label": t("wallet.title") });
  const menu = administration(shared);
  const name = h("h1");
  const badge = h("span");
  const figures = h("dl", { class: "figures" });
  fill(
    element,
    h("div", { class: "title" }, h("div", { class: "named" }, name, badge), menu.element),
    idLine(shared.wallet.id),
    figures,
  );
  const renew = () => {
    const { wallet } = shared;
    fill(name, nameOf(wallet));
    fill(badge, status(wallet.status));
    menu.renew();
    fill(figures, figuresOf(wallet));
  };
  return { element, renew };
}

function figuresOf(wallet) {
  const figure = (label, value, kind) =>
    h("div", { class: kind }, h("dt", {}, label), h("dd", {}, value));
  const { currency } = wallet;
  return [
    figure(t("wallet.available"), money(wallet.available, currency), "main-figure"),
    figure(t("wallet.balance"), money(wallet.balance, currency)),
    figure(
      t("wallet.held"),
      money(wallet.held, currency),
      isZero(wallet.held) ? "quiet-figure" : "",
    ),
    figure(
      t("wallet.min_balance"),
      money(wallet.min_balance, currency),
      isZero(wallet.min_balance) ? "quiet-figure" : "",
    ),
    wallet.max_balance !== null &&
      figure(t("wallet.max_balance"), money(wallet.max_balance, currency)),
    figure(t("wallet.owner"), wallet.owner ?? "—"),
    figure(t("wallet.version"), String(wallet.version)),
    figure(t("wallet.created"), moment(wallet.created_at)),
  ];
}

function idLine(id) {
  const copy = () =>
    navigator.clipboard.writeText(id).then(
      () => say(t("wallet.copied")),
      () => {}, // the browser's user has said no
    );
  return h(
    "p",
    { class: "id-line" },
    h("code", {}, id),
    // Browsers have a clipboard only for pages over HTTPS, or of this machine.
    navigator.clipboard &&
      h("button", { type: "button", class: "quiet", onclick: copy }, t("wallet.copy")),
  );
}

/** The balance over the last operations. */
function balances(shared) {
  const element = h("section", { class: "card", "aria-label": t("plot.title") });
  let drawn = null;
  let shownSeq = -1;
  let points = [];
  const renew = async () => {
    const { wallet } = shared;
    if (wallet.entry_seq === shownSeq) return;
    const { items } = await page(
      `${shared.path}/operations`,
      { limit: PLOTTED_OPERATIONS },
      shared.signal,
    );
    shownSeq = wallet.entry_seq;
    element.hidden = items.length === 0;
    if (items.length === 0) return;
    points = pointsOf(items);
    const data = [
      points.map(({ at }) => Date.parse(at) / 1000),
      points.map(({ balance }) => Number(balance)),
    ];
    if (drawn) return drawn.set(data);
    const describe = (index) => [
      moment(points[index].at),
      " ",
      moneyText(points[index].balance, wallet.currency),
    ];
    drawn = plot(
      { label: t("plot.title"), series: [{ label: t("wallet.balance"), stepped: true }], describe },
      data,
    );
    fill(element, h("h2", {}, t("plot.title")), drawn.element);
  };
  return { element, renew };
}

/** The balance before the first of some operations and after each, oldest first, and now. */
function pointsOf(items) {
  const oldestFirst = [...items].reverse();
  const [first] = oldestFirst;
  return [
    { at: first.created_at, balance: first.previous_balance },
    ...oldestFirst.map((item) => ({ at: item.created_at, balance: item.new_balance })),
    { at: endOf(first, items[0]), balance: items[0].new_balance },
  ];
}

/** Now, or sooner where that would leave the operations themselves no room. */
function endOf(oldest, newest) {
  const [begin, end] = [oldest, newest].map(({ created_at: at }) => Date.parse(at));
  const latest = end + Math.max((end - begin) * IDLE_SHARE, LEAST_IDLE_MILLISECONDS);
  return new Date(Math.min(Date.now(), latest)).toISOString();
}
