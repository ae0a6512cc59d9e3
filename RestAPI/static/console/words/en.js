// Every language has the same keys; a test compares them.

import common from "/static/console/words/en/common.js";
import live from "/static/console/words/en/live.js";
import shop from "/static/console/words/en/shop.js";
import wallets from "/static/console/words/en/wallets.js";

export default { ...common, ...wallets, ...live, ...shop };
