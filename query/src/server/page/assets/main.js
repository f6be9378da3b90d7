// The page's frame: which view is shown, the theme, and what every view shares.

import * as api from './api.js';
import { decoded, h, put } from './dom.js';
import { count } from './format.js';
import { always, forView, showKeys } from './keys.js';
import { askForToken } from './token.js';
import * as incidents from './incidents.js';
import * as incident from './incident.js';
import * as trace from './trace.js';
import * as bundle from './bundle.js';
import * as sql from './sql.js';

const VIEWS = [
  [/^\/$/, incidents, 'incidents'],
  [/^\/incidents\/([^/]+)$/, incident, 'incidents'],
  [/^\/traces\/([^/]+)$/, trace, ''],
  [/^\/bundles\/([^/]+)$/, bundle, ''],
  [/^\/sql$/, sql, 'sql'],
];

const main = document.getElementById('main');
let leave = new AbortController();
let shown = '';

function found(path) {
  for (const [pattern, view, name] of VIEWS) {
    const match = pattern.exec(path);
    if (match) return { view, name, id: match[1] && decoded(match[1]) };
  }
  return null;
}

// Shows the view of the address. The one before is told by its signal that it is over.
async function show() {
  leave.abort();
  leave = new AbortController();
  const { signal } = leave;
  shown = location.pathname;
  const wanted = found(location.pathname);
  forView([]);
  for (const link of document.querySelectorAll('nav a[data-view]')) {
    link.toggleAttribute('aria-current', false);
    if (link.dataset.view === wanted?.name) link.setAttribute('aria-current', 'page');
  }
  if (!wanted) {
    put(main, h('h1', {}, 'Nothing is here'), h('p', {}, h('a', { href: '/' }, 'All incidents')));
    return;
  }
  put(main, h('p', { class: 'loading', role: 'status' }, 'Loading …'));
  main.setAttribute('aria-busy', 'true');
  try {
    await wanted.view.show(main, wanted.id, signal);
  } catch (error) {
    if (signal.aborted) return;
    put(main, problem(error));
  }
  if (signal.aborted) return;
  main.setAttribute('aria-busy', 'false');
  const heading = main.querySelector('h1');
  document.title = heading ? `${heading.textContent} · tracerag` : 'tracerag';
}

function problem(error) {
  if (!(error instanceof api.Problem)) console.error(error);
  return h('section', { class: 'notice', role: 'alert' },
    h('h1', {}, error.code === 'unreachable' ? 'The server does not answer' : 'That did not work'),
    h('p', {}, error.detail ?? error.message),
    error.code && h('p', { class: 'muted' }, error.code),
    h('p', { class: 'row' },
      h('button', { type: 'button', onclick: show }, 'Try again'),
      api.hasToken() && h('button', { type: 'button', onclick: () => { api.forgetToken(); show(); } }, 'Use another token'),
      h('a', { href: '/' }, 'All incidents')));
}

// Goes to an address of the page.
function go(address) {
  history.pushState(null, '', address);
  window.scrollTo(0, 0);
  main.focus({ preventScroll: true });
  show();
}

document.addEventListener('click', (event) => {
  const link = event.target.closest('a[href]');
  const isPlain = event.button === 0 && !event.ctrlKey && !event.metaKey && !event.shiftKey && !event.altKey;
  if (!link || !isPlain || link.target || link.origin !== location.origin || event.defaultPrevented) return;
  if (link.getAttribute('href').startsWith('#') || !found(link.pathname)) return;
  event.preventDefault();
  go(link.pathname + link.search + link.hash);
});

// A change of the fragment alone is the view's to follow.
window.addEventListener('popstate', () => {
  if (location.pathname !== shown) show();
});

// A trace and an incident have ids of the same form: there are fewer incidents, so those are asked for first.
document.getElementById('open').addEventListener('submit', async (event) => {
  event.preventDefault();
  const field = document.getElementById('open-id');
  const id = field.value.trim();
  if (!id) return;
  field.value = '';
  if (id.startsWith('sha256:')) return go(`/bundles/${encodeURIComponent(id)}`);
  try {
    await api.incident(id);
    go(`/incidents/${encodeURIComponent(id)}`);
  } catch {
    go(`/traces/${encodeURIComponent(id)}`);
  }
});

const THEMES = ['auto', 'light', 'dark'];
const themeButton = document.getElementById('theme');
const theme = () => document.documentElement.dataset.theme ?? 'auto';

function nextTheme() {
  const next = THEMES[(THEMES.indexOf(theme()) + 1) % THEMES.length];
  if (next === 'auto') {
    delete document.documentElement.dataset.theme;
    localStorage.removeItem('tracerag.theme');
  } else {
    document.documentElement.dataset.theme = next;
    localStorage.setItem('tracerag.theme', next);
  }
  nameTheme();
}

// What is drawn, and not styled, is drawn anew.
function nameTheme() {
  put(themeButton, `Theme: ${theme()}`);
  document.dispatchEvent(new Event('themechange'));
}

async function standing() {
  try {
    const { tenant, position } = await api.status();
    put(document.getElementById('standing'), `${tenant} · position ${count(position)}`);
  } catch {
    // The view itself says what is wrong.
  }
}

const focus = (id) => () => document.getElementById(id)?.focus();
always([
  { keys: '?', does: 'Show the keys', run: showKeys },
  { keys: 'g i', does: 'Incidents', run: () => go('/') },
  { keys: 'g s', does: 'SQL', run: () => go('/sql') },
  { keys: 'o', does: 'Open by id', run: focus('open-id') },
  { keys: '/', does: 'Filter what is shown', run: focus('filter') },
  { keys: 't', does: 'Next theme: auto, light, dark', run: nextTheme },
]);
document.getElementById('help').addEventListener('click', showKeys);
themeButton.addEventListener('click', nextTheme);
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', nameTheme);
api.tokensFrom(askForToken);
nameTheme();
await show();
standing();
