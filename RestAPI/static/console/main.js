// The console: which view is shown, in which language, and who asks.

import { UNAUTHORIZED, ask, key } from "/static/console/api.js";
import { languageChoice, themeChoice } from "/static/console/chrome.js";
import { fill, h } from "/static/console/dom.js";
import { inWords } from "/static/console/form.js";
import { day, t } from "/static/console/i18n.js";
import * as about from "/static/console/views/about.js";
import * as ledger from "/static/console/views/ledger.js";
import * as live from "/static/console/views/live.js";
import * as wallet from "/static/console/views/wallet.js";
import * as wallets from "/static/console/views/wallets.js";

// Each view is `show(context, ...parts of the address)`, which returns its elements, at once or
// later. `context`: who asks (`access`), what they may do (`may(scope)`), what the address asks for
// (`query`, and `keep(query)` writes it there), `draw()` shows the view anew, and `signal` aborts
// when it is left.
const VIEWS = [
  [/^\/(?:wallets)?$/, wallets, "wallets"],
  [/^\/wallets\/([^/]+)$/, wallet, "wallets"],
  [/^\/live$/, live, "live"],
  [/^\/ledger$/, ledger, "ledger"],
  [/^\/about$/, about, "about"],
];

const view = document.getElementById("view");
const head = document.getElementById("head");
const foot = document.getElementById("foot");
let access = null;
let left = new AbortController();

/** Whether the caller's key has a scope; admin has all. */
export function may(scope) {
  return access.scopes.includes(scope) || access.scopes.includes("admin");
}

async function start() {
  left.abort();
  access = null;
  try {
    access = await ask("GET", "access");
  } catch (error) {
    drawFrame();
    if (error.status === 401) return askForKey(key.get() !== null);
    return fill(view, trouble(error, start));
  }
  drawFrame();
  await draw();
}

/** The part of the address after the #: a path, and what it asks for. */
function whereTo() {
  const [path, query = ""] = location.hash.replace(/^#/, "").split("?");
  return { path: path || "/", query: new URLSearchParams(query) };
}

async function draw() {
  left.abort();
  left = new AbortController();
  const { signal } = left;
  const { path, query } = whereTo();
  const [match, shown, name] = VIEWS.map(([rule, ...rest]) => [path.match(rule), ...rest]).find(
    ([found]) => found,
  ) ?? [[], wallets, "wallets"];
  for (const link of head.querySelectorAll("nav a")) {
    if (link.dataset.view === name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `${t(`nav.${name}`)} · Coffer`;
  const keep = (wanted) => {
    const given = new URLSearchParams([...Object.entries(wanted)].filter(([, value]) => value));
    history.replaceState(null, "", given.size ? `#${path}?${given}` : `#${path}`);
  };
  try {
    const elements = await shown.show(
      { access, may, query, keep, draw, signal },
      ...match.slice(1),
    );
    if (!signal.aborted) fill(view, elements);
  } catch (error) {
    if (signal.aborted || error.status === 401) return;
    fill(view, trouble(error, draw));
    if (!error.code) throw error;
  }
}

function trouble(error, again) {
  return h(
    "section",
    { class: "card trouble" },
    h("p", { class: "wrong", role: "alert" }, error.code ? inWords(error) : t("form.broken")),
    h("button", { type: "button", onclick: again }, t("view.again")),
  );
}

function askForKey(refused) {
  key.forget();
  document.title = `${t("key.title")} · Coffer`;
  const input = h("input", { id: "key", type: "password", autocomplete: "off", required: true });
  const asked = h(
    "form",
    { class: "card form key" },
    h("h1", {}, t("key.title")),
    h("p", {}, t("key.why")),
    h("div", { class: "field" }, h("label", { for: "key" }, t("key.label")), input),
    refused && h("p", { class: "wrong", role: "alert" }, t("key.refused")),
    h("div", { class: "buttons" }, h("button", { class: "primary" }, t("key.enter"))),
    h("p", { class: "soft" }, t("key.whence"), " ", h("code", {}, "python -m RestAPI keys create")),
  );
  asked.addEventListener("submit", (event) => {
    event.preventDefault();
    key.set(input.value.trim());
    start();
  });
  fill(view, asked);
  input.focus();
}

function drawFrame() {
  const link = (name) => h("a", { href: `#/${name}`, "data-view": name }, t(`nav.${name}`));
  fill(
    head,
    h("a", { class: "skip", href: "#view", onclick: skip }, t("nav.skip")),
    h(
      "a",
      { class: "brand", href: "#/wallets" },
      h("img", { src: "/static/favicon.svg", alt: "" }),
      "Coffer",
    ),
    h(
      "nav",
      { "aria-label": t("nav.label") },
      access && [link("wallets"), link("live"), link("ledger")],
      h("a", { href: "/shop" }, t("nav.shop")),
      h("a", { href: "/docs" }, t("nav.docs")),
    ),
    h("div", { class: "choices" }, whoAsks(), themeChoice(), languageChoice(start)),
  );
  fill(
    foot,
    h("span", {}, t("foot.money")),
    h(
      "nav",
      { "aria-label": t("foot.label") },
      access && link("about"),
      h("a", { href: "/openapi.json" }, "OpenAPI"),
      h("a", { href: "/asyncapi.yaml" }, "AsyncAPI"),
      h("a", { href: "/health/ready" }, t("foot.health")),
      // With keys it asks for one, which a link cannot bring.
      access?.access === "open" && h("a", { href: "/metrics" }, t("foot.metrics")),
    ),
  );
}

function whoAsks() {
  if (!access || access.access === "open")
    return access && h("span", { class: "badge open-access" }, t("access.open"));
  const { name, scopes, owner, expires_at: expires } = access;
  return h(
    "details",
    { class: "who" },
    h("summary", {}, h("span", { class: "spoken" }, t("key.label"), " "), name ?? access.key_id),
    h(
      "div",
      { class: "card" },
      h(
        "p",
        {},
        t("key.scopes"),
        " ",
        scopes.map((scope) => [h("code", {}, scope), " "]),
      ),
      owner && h("p", {}, t("key.owner", { owner })),
      expires && h("p", {}, t("key.expires", { when: day(expires) })),
      h("button", { type: "button", onclick: leave }, t("key.leave")),
    ),
  );
}

/** The address says which view is shown, so this link moves the focus by itself. */
function skip(event) {
  event.preventDefault();
  view.focus();
}

function leave() {
  key.forget();
  start();
}

window.addEventListener("hashchange", async () => {
  if (!access) return;
  await draw();
  view.focus({ preventScroll: true });
  scrollTo(0, 0);
});
window.addEventListener(UNAUTHORIZED, () => access && start());
start();
