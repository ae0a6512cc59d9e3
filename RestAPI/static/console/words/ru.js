// Every language has the same keys; a test compares them.

import common from "/static/console/words/ru/common.js";
import live from "/static/console/words/ru/live.js";
import shop from "/static/console/words/ru/shop.js";
import wallets from "/static/console/words/ru/wallets.js";

export default { ...common, ...wallets, ...live, ...shop };
