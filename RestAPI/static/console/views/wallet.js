// Not drawn yet.

import { h } from "/static/console/dom.js";

export async function show() {
  return h("p", {}, "…");
}
