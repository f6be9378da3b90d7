// What several views show alike.

import { external, h } from './dom.js';
import { hue, plain, time, ago } from './format.js';

export const service = (name) => h('span', { class: `service hue-${hue(name)}` }, name ?? 'unknown');

export const traceLink = (id, text = `${id.slice(0, 8)}…`) => h('a', { href: `/traces/${encodeURIComponent(id)}`, class: 'mono', title: id }, text);

export const incidentAddress = (fingerprint) => `/incidents/${encodeURIComponent(fingerprint)}`;

// A moment, with how long ago it was.
export const moment = (text) => h('time', { datetime: text, title: `${text} (UTC)` }, ago(text));

export const status = (code) => h('span', { class: `pill ${code === 'ERROR' ? 'bad' : code === 'OK' ? 'good' : ''}` }, code ?? 'UNSET');

// A list of names and values; what is absent is left out.
export function facts(pairs) {
  const rows = pairs.filter(([, value]) => value !== null && value !== undefined && value !== '');
  return h('dl', { class: 'facts' }, rows.map(([name, value]) => h('div', {}, h('dt', {}, name),
    h('dd', {}, value instanceof Node ? value : Array.isArray(value) ? value : plain(value)))));
}

// Attributes, by name.
export function attributes(values, label = 'Attributes') {
  const entries = Object.entries(values ?? {});
  if (entries.length === 0) return null;
  return h('table', { class: 'attributes' }, h('caption', { class: 'hidden' }, label),
    h('tbody', {}, entries.map(([name, value]) => h('tr', {}, h('th', { scope: 'row' }, name), h('td', {}, plain(value))))));
}

// A heading with what stands below it.
export const section = (title, ...children) => h('section', { class: 'panel' }, h('h2', {}, title), children);

export const empty = (text) => h('p', { class: 'muted' }, text);

// What a request that failed leaves in its place; a scope that a token lacks takes nothing from the rest of the view.
export const refused = (error) => h('p', { class: 'muted', role: 'note' }, error.detail ?? error.message);

// What was done about an incident.
export function fix(one) {
  return h('li', { class: 'known' },
    h('span', { class: `pill ${one.came_back ? 'bad' : one.outcome === 'wrong' ? 'warn' : 'good'}` },
      one.came_back ? 'came back' : one.outcome ?? 'fixed'),
    h('span', {}, one.summary ?? 'no summary'),
    h('span', { class: 'muted' }, [time(one.fixed_at), one.author && ` by ${one.author}`, one.test_name && ` · test ${one.test_name}`]),
    one.patch_url && external(one.patch_url, 'patch'));
}

// Moves the focus among elements, as `j` and `k` do.
export function step(selector, by) {
  const all = [...document.querySelectorAll(selector)];
  const at = all.indexOf(document.activeElement);
  const next = all[Math.max(0, Math.min(all.length - 1, at === -1 ? (by > 0 ? 0 : all.length - 1) : at + by))];
  next?.focus();
  next?.scrollIntoView({ block: 'nearest' });
}

export const rowKeys = (selector) => [
  { keys: 'j', does: 'Next row', run: () => step(selector, 1) },
  { keys: 'k', does: 'Row before', run: () => step(selector, -1) },
];

// An anchor as the fragment of an address: readable, and each of its own.
export const fragment = (anchor) => encodeURIComponent(anchor).replace(/%(3A|40|2F|7E)/g, decodeURIComponent);

// A link to a fact of a bundle; `bundle` is empty within the bundle's own view.
export const anchorLink = (anchor, bundle = '') => h('a', {
  class: 'anchor mono', href: `${bundle && `/bundles/${encodeURIComponent(bundle)}`}#${fragment(anchor)}`,
}, anchor);
