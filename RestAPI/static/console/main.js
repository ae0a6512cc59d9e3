// The console: which view is shown, in which language, and who asks.

import { ask, key } from "/static/console/api.js";
import { fill, h } from "/static/console/dom.js";
import { LANGUAGES, language, speak, t } from "/static/console/i18n.js";
import * as ledger from "/static/console/views/ledger.js";
import * as live from "/static/console/views/live.js";
import * as wallet from "/static/console/views/wallet.js";
import * as wallets from "/static/console/views/wallets.js";

// Each view is `show(context, ...parts of the address)`, which returns its elements, at once or later.
// `context` says who asks (`access`), and `signal` aborts when the view is left.
const VIEWS = [
  [/^#?\/?(?:wallets)?$/, wallets],
  [/^#\/wallets\/([^/]+)$/, wallet],
  [/^#\/live$/, live],
  [/^#\/ledger$/, ledger],
];

const view = document.getElementById("view");
const head = document.getElementById("head");
let access = null;
let left = new AbortController();

/** Whether the caller's key has a scope; admin has all. */
export function may(scope) {
  return access.scopes.includes(scope) || access.scopes.includes("admin");
}

async function start() {
  drawHead();
  try {
    access = await ask("GET", "access");
  } catch (error) {
    if (error.status === 401) return askForKey(key.get() ? t("key.refused") : "");
    return fill(view, h("p", { class: "wrong", role: "alert" }, error.message));
  }
  drawHead();
  await draw();
}

async function draw() {
  left.abort();
  left = new AbortController();
  const { signal } = left;
  const [found, shown] = VIEWS.map(([rule, module]) => [location.hash.match(rule), module]).find(
    ([match]) => match,
  ) ?? [[], wallets];
  for (const link of head.querySelectorAll("nav a")) {
    const here = link.dataset.view && location.hash.startsWith(`#/${link.dataset.view}`);
    if (here) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  try {
    const elements = await shown.show({ access, may, signal }, ...found.slice(1));
    if (!signal.aborted) fill(view, elements);
  } catch (error) {
    if (signal.aborted) return;
    if (error.status === 401) return start();
    fill(view, h("p", { class: "wrong", role: "alert" }, error.message));
  }
  view.focus({ preventScroll: true });
}

function askForKey(said) {
  const input = h("input", { id: "key", type: "password", autocomplete: "off", required: true });
  const asked = h(
    "form",
    { class: "card form" },
    h("h2", {}, t("key.title")),
    h("p", {}, t("key.why")),
    h("label", { for: "key" }, t("key.label")),
    input,
    said && h("p", { class: "wrong", role: "alert" }, said),
    h("div", { class: "buttons" }, h("button", { class: "primary" }, t("key.enter"))),
  );
  asked.addEventListener("submit", (event) => {
    event.preventDefault();
    key.set(input.value.trim());
    start();
  });
  fill(view, asked);
  input.focus();
}

function drawHead() {
  const link = (name) =>
    h("a", { href: `#/${name}`, "data-view": name }, t(`nav.${name}`));
  fill(
    head,
    h("a", { class: "brand", href: "#/wallets" }, h("img", { src: "/static/favicon.svg", alt: "" }), "Coffer"),
    h(
      "nav",
      { "aria-label": t("nav.label") },
      link("wallets"),
      link("live"),
      link("ledger"),
      h("a", { href: "/shop" }, t("nav.shop")),
      h("a", { href: "/docs" }, t("nav.docs")),
    ),
    languages(),
    key.get() && h("button", { type: "button", onclick: leave }, t("key.leave")),
  );
}

function languages() {
  const select = h(
    "select",
    { "aria-label": t("nav.language"), onchange: () => (speak(select.value), start()) },
    LANGUAGES.map((code) => h("option", { value: code, selected: code === language() }, code.toUpperCase())),
  );
  return select;
}

function leave() {
  key.forget();
  start();
}

window.addEventListener("hashchange", draw);
start();
