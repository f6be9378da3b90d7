// The keyboard: what each key does now, and the list of it.

import { h, put } from './dom.js';

const common = [];
let ofView = [];
let before = '';

// Keys that hold in every view: `{ keys: 'g i', does: 'Incidents', run }`.
export function always(bindings) {
  common.push(...bindings);
}

// Keys of the view that is shown; they go with it.
export function forView(bindings) {
  ofView = bindings;
}

const isTyping = (target) => target.matches('input, textarea, select, [contenteditable]');

function pressed(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector('dialog[open]')) return;
  if (isTyping(event.target)) {
    if (event.key === 'Escape') event.target.blur();
    return;
  }
  const all = [...ofView, ...common];
  const bound = (keys) => all.find((binding) => binding.keys === keys);
  const binding = bound(`${before} ${event.key}`) ?? bound(event.key);
  before = binding || event.key.length > 1 ? '' : event.key;
  if (!binding) return;
  event.preventDefault();
  binding.run();
}

const list = (title, bindings) => [
  h('h3', {}, title),
  h('dl', { class: 'keys' }, bindings.map(({ keys, does }) => h('div', {},
    h('dt', {}, keys.split(' ').map((key) => h('kbd', {}, named(key)))), h('dd', {}, does)))),
];

const named = (key) => ({ ArrowUp: '↑', ArrowDown: '↓', ArrowLeft: '←', ArrowRight: '→', ' ': 'Space' })[key] ?? key;

// Shows what the keys do.
export function showKeys() {
  const dialog = document.getElementById('keys');
  put(dialog,
    h('header', {}, h('h2', { id: 'keys-title' }, 'Keys'),
      h('button', { type: 'button', class: 'quiet', onclick: () => dialog.close() }, 'Close ', h('kbd', {}, 'Esc'))),
    ofView.length > 0 && list('This view', ofView), list('Everywhere', common));
  dialog.showModal();
}

document.addEventListener('keydown', pressed);
