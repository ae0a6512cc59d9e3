// What this service is, and where the rest of it is found.

import { h } from "/static/console/dom.js";
import { t } from "/static/console/i18n.js";
import { firstDeposit } from "/static/console/parts.js";

const PLACES = [
  ["/docs", "docs"],
  ["/openapi.json", "openapi"],
  ["/asyncapi.yaml", "asyncapi"],
  ["/health/ready", "health"],
  ["/metrics", "metrics"],
];

export async function show({ access }) {
  const places = PLACES.filter(([path]) => path !== "/metrics" || access.access === "open");
  return [
    h("h1", {}, t("about.title")),
    h("p", { class: "lead" }, t("about.lead")),
    h(
      "ul",
      { class: "points" },
      ["once", "double", "events", "holds"].map((name) => h("li", {}, t(`about.${name}`))),
    ),
    h("h2", {}, t("about.example")),
    firstDeposit(access),
    h("h2", {}, t("about.places")),
    h(
      "ul",
      { class: "cards" },
      places.map(([path, name]) =>
        h(
          "li",
          {},
          h(
            "a",
            { href: path },
            h("strong", {}, t(`about.${name}`)),
            h("span", {}, t(`about.${name}_what`)),
          ),
        ),
      ),
    ),
  ];
}
