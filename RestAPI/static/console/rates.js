// Rates and quantiles out of two answers of figures that count up.

const MILLISECONDS_PER_SECOND = 1000;

/**
 * What happened between two answers of GET /status. Null where they cannot be compared: the service was
 * started anew in between, or no time went by.
 *
 * @returns {{seconds: number, entries: number, requests: number, failed: number, p50: number | null,
 *   p99: number | null} | null} entries, requests and failed ones by the second, latencies in seconds,
 *   null where nothing was asked
 */
export function between(before, after) {
  const seconds = (Date.parse(after.at) - Date.parse(before.at)) / MILLISECONDS_PER_SECOND;
  const entries = after.operations.entries - before.operations.entries;
  const requests = after.requests.count - before.requests.count;
  const failed = after.requests.failed - before.requests.failed;
  const buckets = after.requests.seconds.buckets.map(({ le, count }, at) => ({
    le: le === "+Inf" ? Infinity : Number(le),
    count: count - (before.requests.seconds.buckets[at]?.count ?? 0),
  }));
  if (seconds <= 0 || entries < 0 || requests < 0 || failed < 0 || buckets.some(({ count }) => count < 0)) return null;
  return {
    seconds,
    entries: entries / seconds,
    requests: requests / seconds,
    failed: failed / seconds,
    p50: quantile(buckets, 0.5),
    p99: quantile(buckets, 0.99),
  };
}

/**
 * A quantile out of cumulative buckets, as if what is in one were spread evenly in it; of the last one,
 * which has no end, its begin. Null where there is nothing.
 *
 * @param {{le: number, count: number}[]} buckets by their upper ends
 * @param {number} share from 0 to 1
 */
export function quantile(buckets, share) {
  const all = buckets.at(-1)?.count ?? 0;
  if (all === 0) return null;
  const wanted = share * all;
  const at = buckets.findIndex(({ count }) => count >= wanted);
  const { le, count } = buckets[at];
  const begin = at === 0 ? { le: 0, count: 0 } : buckets[at - 1];
  if (le === Infinity) return begin.le;
  if (count === begin.count) return le;
  return begin.le + ((wanted - begin.count) / (count - begin.count)) * (le - begin.le);
}
