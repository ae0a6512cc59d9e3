// Amounts are strings of decimal digits from the field to the server and back; none is ever a
// number.

/** What is wrong with a typed amount; `code` is a key of the words. */
export class AmountUnclear extends Error {
  constructor(code) {
    super(code);
    this.code = code;
  }
}

const SPACES = /[\s\u00a0\u2007\u202f'’]+/g;
const THOUSANDS_DIGITS = 3;

/**
 * Read an amount as people type it: "1 234,50", "1,234.50", "1.234,50", "1234.5", "12".
 *
 * Spaces and apostrophes separate thousands and nothing else. Of two kinds of other separators the
 * last is the decimal one, and one that comes twice separates thousands. A single one is the
 * decimal one, but where one to three digits stand before it and three after, it could be either, and
 * is refused: better asked again than a thousand times wrong. Only where the currency has so many
 * decimals the decimal sign of the language is taken as one.
 *
 * @param {string} typed
 * @param {number} decimals of the currency
 * @param {string} language of the page
 * @returns {string} an exact decimal such as "1234.50", to be sent as it is
 * @throws {AmountUnclear}
 */
export function parseAmount(typed, decimals, language = "en") {
  const spaced = typed
    .replace(SPACES, " ")
    .trim()
    .replace(/^([-−+]) /, "$1");
  if (spaced === "") throw new AmountUnclear("amount.missing");
  const text = withoutSpaces(spaced);
  const sign = /^[-−]/.test(text) ? "-" : "";
  const unsigned = text.replace(/^[-−+]/, "");
  if (!/^\d*(?:[.,]\d+)*[.,]?$/.test(unsigned) || !/\d/.test(unsigned)) {
    throw new AmountUnclear("amount.not_a_number");
  }
  const [whole, fraction] = splitAtDecimalPoint(unsigned, decimals, language);
  const digits = whole.replace(/^0+(?=\d)/, "") || "0";
  const kept =
    fraction.replace(/0+$/, "").length > decimals ? fraction : fraction.slice(0, decimals);
  if (kept.length > decimals) {
    throw new AmountUnclear(decimals === 0 ? "amount.whole_only" : "amount.too_precise");
  }
  return sign + digits + (kept ? `.${kept}` : "");
}

/** A lower limit as people type it, with its minus or without: it is 0 or negative. */
export function parseCreditLimit(typed, decimals, language = "en") {
  const amount = parseAmount(typed, decimals, language).replace(/^-/, "");
  return isZero(amount) ? "0" : `-${amount}`;
}

function withoutSpaces(text) {
  const grouped = /^[-−+]?\d{1,3}(?: \d{3})+(?:[.,]\d*)?$/;
  if (text.includes(" ") && !grouped.test(text)) throw new AmountUnclear("amount.not_a_number");
  return text.replaceAll(" ", "");
}

function splitAtDecimalPoint(text, decimals, language) {
  const separators = text.match(/[.,]/g) ?? [];
  const last = separators.at(-1);
  if (last === undefined) return [text, ""];
  const at = text.lastIndexOf(last);
  const [head, tail] = [text.slice(0, at), text.slice(at + 1)];
  const kinds = new Set(separators).size;
  if (kinds === 1 && separators.length > 1) return [groups(text, last), ""];
  if (kinds === 2) {
    const other = last === "." ? "," : ".";
    if (head.includes(last)) throw new AmountUnclear("amount.not_a_number");
    return [groups(head, other), tail];
  }
  const couldBeThousands = /^[1-9]\d{0,2}$/.test(head) && tail.length === THOUSANDS_DIGITS;
  if (couldBeThousands && (decimals < THOUSANDS_DIGITS || last !== signs(language).decimal)) {
    throw new AmountUnclear("amount.ambiguous");
  }
  return [head, tail];
}

function groups(text, separator) {
  const [first, ...others] = text.split(separator);
  if (first.length > THOUSANDS_DIGITS || others.some((part) => part.length !== THOUSANDS_DIGITS)) {
    throw new AmountUnclear("amount.not_a_number");
  }
  return first + others.join("");
}

/** How many decimals the amounts of a wallet have, by one that the server wrote: "0.00" has 2. */
export function decimalsOf(amount) {
  return (amount.split(".")[1] ?? "").length;
}

/** An amount of the server for people of a language, all digits kept: "-1 234,50". */
export function formatAmount(amount, language) {
  const [whole, fraction] = amount.replace("-", "").split(".");
  const { group, decimal } = signs(language);
  const grouped = whole.replace(/\B(?=(\d{3})+$)/g, group);
  const sign = amount.startsWith("-") ? "−" : "";
  return sign + grouped + (fraction ? decimal + fraction : "");
}

/** The same as people type it, which parseAmount reads as the same: "-1234,50". */
export function typeAmount(amount, language) {
  return amount.replace(".", signs(language).decimal);
}

/** What separates thousands and decimals in a language. */
function signs(language) {
  const parts = new Intl.NumberFormat(language).formatToParts(12345.5);
  const sign = (type, otherwise) => parts.find((part) => part.type === type)?.value ?? otherwise;
  return { group: sign("group", "\u00a0"), decimal: sign("decimal", ".") };
}

/** Whether an amount of the server is zero. */
export function isZero(amount) {
  return !/[1-9]/.test(amount);
}

/** The amount in units of its last decimal, exact. */
export function minorUnits(amount) {
  return BigInt(amount.replace(".", ""));
}
