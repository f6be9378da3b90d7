// Elements. Whatever is shown is set as text; there is no way from a text to markup here.

const SVG = 'http://www.w3.org/2000/svg';

// An element of HTML: `on…` are listeners, `true` is an attribute without a value, what is absent is left out.
export function h(tag, attributes, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

// An element of SVG.
export function svg(tag, attributes, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? '' : String(value));
  }
  append(element, children);
  return element;
}

function append(element, children) {
  for (const child of children.flat(Infinity)) {
    if (child === undefined || child === null || child === false) continue;
    element.append(child instanceof Node ? child : String(child));
  }
}

// Puts children in place of those that an element has.
export function put(element, ...children) {
  element.replaceChildren();
  append(element, children);
  return element;
}

// A part of an address as it was before it was encoded; as it stands where somebody typed a per cent sign.
export function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

// A link to another site, if the address is one that a browser may follow, else its text.
export function external(address, text = address) {
  let url;
  try {
    url = new URL(address);
  } catch {
    return h('span', {}, text);
  }
  if (url.protocol !== 'https:' && url.protocol !== 'http:') return h('span', {}, text);
  return h('a', { href: url.href, rel: 'noopener noreferrer', target: '_blank' }, text);
}

// A choice between values; each is a text, or a pair of value and what it is called.
export function choice(label, values, chosen, onchange) {
  const options = values.map((one) => {
    const [value, name] = Array.isArray(one) ? one : [one, one];
    return h('option', { value, selected: value === chosen }, name);
  });
  return h('select', { 'aria-label': label, onchange: (event) => onchange(event.target.value) }, options);
}

// A function that runs once for many calls within some milliseconds.
export function settled(milliseconds, work) {
  let timer;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(work, milliseconds);
  };
}
