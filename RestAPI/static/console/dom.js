// Elements without a framework: h("p", { class: "soft" }, "text", child).

/**
 * Make an element. Properties that begin with "on" are listeners; true sets a bare attribute;
 * false, null and undefined set none. Text goes in as text, never as HTML.
 */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === false || value === null || value === undefined) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  append(element, children);
  return element;
}

/** Make an element of SVG, in the same way. */
export function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  append(element, children);
  return element;
}

/** Put children in the place of whatever is in an element. */
export function fill(element, ...children) {
  element.replaceChildren();
  append(element, children);
  return element;
}

/** Text for those who hear a page, and nothing to be seen. */
export function spoken(text) {
  return h("span", { class: "spoken" }, text);
}

function append(element, children) {
  for (const child of children.flat(Infinity)) {
    if (child !== false && child !== null && child !== undefined) element.append(child);
  }
}
