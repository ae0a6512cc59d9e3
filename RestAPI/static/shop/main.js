// The shop's page: who is there, and what they see.

import { languageChoice, say, themeChoice } from "/static/console/chrome.js";
import { fill, h } from "/static/console/dom.js";
import { FieldWrong, field, form, inWords } from "/static/console/form.js";
import { t } from "/static/console/i18n.js";
import { EXPIRED, ask, token } from "/static/shop/api.js";
import { coins } from "/static/shop/coins.js";
import { drawHistory, drawInventory, giftForm } from "/static/shop/mine.js";
import { shelf } from "/static/shop/shelf.js";

const LOOK_AGAIN_MILLISECONDS = 10_000;
const MAX_NAME_CHARACTERS = 64;
const MAX_PASSWORD_CHARACTERS = 128;

const head = document.getElementById("head");
const view = document.getElementById("view");
let left = new AbortController();

/** Show the page for whoever is there; `expired`: they were, until now. */
function start({ expired = false } = {}) {
  left.abort();
  left = new AbortController();
  document.title = `${t("shop.title")} · Coffer`;
  const purse = h("span", { class: "purse", hidden: true });
  drawHead(purse);
  if (token.get() === null) drawLogIn(expired);
  else drawShop(purse, left.signal);
}

function drawHead(purse) {
  const name = token.name();
  fill(
    head,
    h("a", { class: "skip", href: "#view", onclick: skip }, t("nav.skip")),
    h("a", { class: "brand", href: "/shop" }, h("img", { src: "/static/favicon.svg", alt: "" }), t("shop.brand")),
    purse,
    h(
      "div",
      { class: "choices" },
      name !== null && h("span", { class: "customer" }, name),
      name !== null && h("button", { type: "button", class: "quiet", onclick: leave }, t("shop.leave")),
      themeChoice(),
      languageChoice(start),
    ),
  );
}

function drawLogIn(expired) {
  const enter = form({
    button: t("shop.enter"),
    fields: [
      field("username", t("shop.name"), { autocomplete: "username", maxlength: MAX_NAME_CHARACTERS, autocapitalize: "none" }),
      field("password", t("shop.password"), {
        type: "password",
        autocomplete: "current-password",
        maxlength: MAX_PASSWORD_CHARACTERS,
      }),
    ],
    act: async ({ username, password }) => {
      if (username.trim() === "") throw new FieldWrong("username", "shop.name_missing");
      if (password === "") throw new FieldWrong("password", "shop.password_missing");
      const answer = await ask("POST", "auth", { body: JSON.stringify({ username: username.trim(), password }) });
      token.set(answer.token);
      queueMicrotask(start);
    },
  });
  fill(
    view,
    h(
      "section",
      { class: "welcome" },
      h("h1", {}, t("shop.welcome")),
      h("p", { class: "lead" }, t("shop.welcome_text")),
      expired && h("p", { class: "card expired", role: "alert" }, t("shop.expired")),
      enter,
    ),
  );
  view.querySelector("input").focus();
}

async function drawShop(purse, signal) {
  const inventory = h("section", { class: "card" });
  const history = h("section", { class: "card" });
  let known = null;
  const refresh = async () => {
    const info = await ask("GET", "info", { signal });
    if (signal.aborted) return;
    const same = known !== null && JSON.stringify(known) === JSON.stringify(info);
    known = info;
    if (same) return;
    purse.hidden = false;
    fill(purse, h("span", { class: "spoken" }, t("shop.coins"), " "), coins(info.coins));
    goods.afford(info.coins);
    drawInventory(inventory, info.inventory);
    drawHistory(history, info.coinHistory);
  };
  const goods = shelf({ refresh, signal });
  try {
    await Promise.all([goods.read(), refresh()]);
  } catch (error) {
    if (signal.aborted || error.status === 401) return;
    fill(view, trouble(error));
    return;
  }
  const gift = giftForm({ name: token.name(), refresh });
  fill(
    view,
    h("h1", { class: "spoken" }, t("shop.title")),
    h(
      "div",
      { class: "columns" },
      h("div", { class: "side" }, inventory, gift, history),
      h("section", { class: "middle", "aria-labelledby": "shelf-title" }, h("h2", { id: "shelf-title" }, t("shop.items")), goods.element),
    ),
  );
  keepUp(refresh, signal);
}

/** Look now and then: coins come from others, too. */
function keepUp(refresh, signal) {
  const look = () => document.hidden || refresh().catch(() => {}); // the next look finds out more
  const timer = setInterval(look, LOOK_AGAIN_MILLISECONDS);
  document.addEventListener("visibilitychange", look, { signal });
  signal.addEventListener("abort", () => clearInterval(timer));
}

function trouble(error) {
  return h(
    "section",
    { class: "card trouble" },
    h("p", { class: "wrong", role: "alert" }, error.code ? inWords(error) : t("form.broken")),
    h("button", { type: "button", onclick: () => start() }, t("view.again")),
  );
}

function skip(event) {
  event.preventDefault();
  view.focus();
}

function leave() {
  token.forget();
  start();
  say(t("shop.left"));
}

window.addEventListener(EXPIRED, () => start({ expired: true }));
start();
