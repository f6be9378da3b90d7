// An SQL console: a statement, its rows, a chart of them, and what was asked before.

import * as api from './api.js';
import { chart } from './chart.js';
import { choice, h, put } from './dom.js';
import { count, many, plain } from './format.js';
import { forView } from './keys.js';
import { empty, section } from './parts.js';

const HISTORY = 'tracerag.history';
const MOST_KEPT = 50;
const MOST_ROWS = 1000;
const MOST_BARS = 60;
const MOST_SERIES = 6;
const MOST_POINTS = 5000;
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d/;

const EXAMPLES = [
  ['Failures over time', "select date_bin(interval '10 seconds', time) as time, service_name, count(*) as failures\nfrom failures group by 1, 2 order by 1"],
  ['Slowest operations', 'select service_name, name, count(*) as spans, approx_percentile_cont(duration_ns, 0.99) / 1e6 as p99_ms\nfrom spans group by 1, 2 order by p99_ms desc limit 20'],
  ['Failures by flag and build', "select service_version, flags['payments.decimal_mode'] as mode, count(*) as failures\nfrom failures where service_name = 'payments' group by 1, 2 order by failures desc"],
  ['Tables and columns', "select table_name, column_name, data_type from information_schema.columns\nwhere table_schema = 'public' order by 1, 2"],
];

// What was asked before, the newest first. It stays in this browser.
function asked() {
  try {
    const kept = JSON.parse(localStorage.getItem(HISTORY) ?? '[]');
    return Array.isArray(kept) ? kept.filter((one) => typeof one === 'string') : [];
  } catch {
    return [];
  }
}

function keep(query) {
  const kept = [query, ...asked().filter((one) => one !== query)].slice(0, MOST_KEPT);
  localStorage.setItem(HISTORY, JSON.stringify(kept));
}

export async function show(main, _, signal) {
  const text = h('textarea', {
    id: 'filter', class: 'mono', rows: 6, spellcheck: 'false', autocapitalize: 'off', 'aria-label': 'SQL statement',
    'aria-keyshortcuts': 'Control+Enter', placeholder: 'select …',
  });
  text.value = asked()[0] ?? EXAMPLES[0][1];
  const before = h('div');
  const outcome = h('div', { class: 'outcome', 'aria-live': 'polite' }, empty('The answer stands here.'));
  const desk = { text, before, outcome, signal, running: null };
  text.addEventListener('keydown', (event) => {
    if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      run(desk);
    }
  });
  put(main, h('h1', {}, 'SQL'),
    h('div', { class: 'console' },
      h('div', {}, text,
        h('div', { class: 'toolbar' },
          h('button', { type: 'button', class: 'primary', onclick: () => run(desk) }, 'Run ', h('kbd', {}, 'Ctrl Enter')),
          h('button', { type: 'button', onclick: () => desk.running?.abort() }, 'Stop'),
          h('button', { type: 'button', onclick: () => download(desk) }, 'Download CSV'))),
      before),
    outcome);
  told(desk);
  forView([
    { keys: 'i', does: 'Write the statement', run: () => text.focus() },
    { keys: 'r', does: 'Run it (Ctrl Enter while writing)', run: () => run(desk) },
  ]);
}

// Statements to begin with, and those of before.
function told(desk) {
  const take = (query) => () => {
    desk.text.value = query;
    desk.text.focus();
  };
  const kept = asked();
  const entry = (name, query) => h('li', {}, h('button', { type: 'button', class: 'quiet mono', title: query, onclick: take(query) }, name));
  put(desk.before,
    section('History', kept.length === 0 ? empty('Nothing was asked yet.') : h('ul', { class: 'plain history', tabindex: 0, 'aria-label': 'Statements of before' },
      kept.map((query) => entry(query.replace(/\s+/g, ' '), query))),
    kept.length > 0 && h('button', { type: 'button', class: 'quiet', onclick: () => { localStorage.removeItem(HISTORY); told(desk); } }, 'Forget them')),
    section('Examples', h('ul', { class: 'plain history' }, EXAMPLES.map(([name, query]) => entry(name, query)))));
}

async function run(desk) {
  const { text, outcome, signal } = desk;
  const query = text.value.trim();
  if (!query) return;
  desk.running?.abort();
  const running = (desk.running = new AbortController());
  put(outcome, h('p', { class: 'loading' }, 'Running …'));
  const begun = performance.now();
  try {
    const rows = await api.sql(query, AbortSignal.any([signal, running.signal]));
    keep(query);
    told(desk);
    put(outcome, answer(rows, performance.now() - begun));
  } catch (error) {
    if (signal.aborted || desk.running !== running) return;
    put(outcome, error.name === 'AbortError' ? empty('Stopped.')
      : h('div', { class: 'notice', role: 'alert' }, h('p', { class: 'mono' }, error.detail ?? error.message), h('p', { class: 'muted' }, error.code)));
  }
}

async function download({ text, outcome }) {
  try {
    const address = URL.createObjectURL(await api.csv(text.value.trim()));
    h('a', { href: address, download: 'rows.csv' }).click();
    setTimeout(() => URL.revokeObjectURL(address), 10000);
  } catch (error) {
    put(outcome, h('div', { class: 'notice', role: 'alert' }, error.detail ?? error.message));
  }
}

function answer(rows, took) {
  const columns = Object.keys(rows[0] ?? {});
  const shown = rows.slice(0, MOST_ROWS);
  return [
    h('p', { class: 'muted' }, many(rows.length, 'row'), ` in ${Math.round(took)} ms`, rows.length > MOST_ROWS && `; the first ${count(MOST_ROWS)} are shown, the download has all`),
    rows.length > 0 && drawing(rows, columns),
    rows.length > 0 && h('div', { class: 'scroll', role: 'region', 'aria-label': 'Rows', tabindex: 0 },
      h('table', { class: 'rows result' }, h('caption', { class: 'hidden' }, 'Rows of the answer'),
        h('thead', {}, h('tr', {}, columns.map((name) => h('th', { scope: 'col', class: typeof rows[0][name] === 'number' ? 'number' : null }, name)))),
        h('tbody', {}, shown.map((row) => h('tr', {}, columns.map((name) => cell(name, row[name]))))))),
  ];
}

// Ids lead to what they are of.
function cell(name, value) {
  if (typeof value === 'number') return h('td', { class: 'number' }, String(value));
  if (value && /(^|_)trace_id$/.test(name)) return h('td', {}, h('a', { class: 'mono', href: `/traces/${encodeURIComponent(value)}` }, value));
  if (value && name === 'fingerprint') return h('td', {}, h('a', { class: 'mono', href: `/incidents/${encodeURIComponent(value)}` }, value));
  if (value && name === 'bundle_id') return h('td', {}, h('a', { class: 'mono', href: `/bundles/${encodeURIComponent(value)}` }, value));
  return h('td', { class: 'mono', title: plain(value) }, plain(value));
}

const isNumber = (value) => typeof value === 'number' || (typeof value === 'string' && /^-?\d+$/.test(value));

// What kind of values a column has: `time`, `number`, `text`, or null for what cannot be drawn.
function kindOf(rows, name) {
  const values = rows.map((row) => row[name]).filter((value) => value !== null);
  if (values.length === 0 || values.some((value) => typeof value === 'object')) return null;
  if (values.every((value) => typeof value === 'string' && TIME.test(value))) return 'time';
  return values.every(isNumber) ? 'number' : 'text';
}

// A chart of the rows, and what it is made of.
function drawing(rows, columns) {
  const kinds = new Map(columns.map((name) => [name, kindOf(rows, name)]));
  const of = (kind) => columns.filter((name) => kinds.get(name) === kind);
  const numbers = of('number');
  const places = [...of('time'), ...of('text'), ...numbers];
  if (numbers.length === 0 || rows.length < 2) return null;
  const x = places.find((name) => name !== numbers[0]) ?? numbers[0];
  const by = (kinds.get(x) === 'time' && of('text')[0]) || '';
  const state = { x, y: numbers.at(-1) === x ? numbers[0] : numbers.at(-1), by, kind: kinds.get(x) === 'time' ? 'line' : 'bar' };
  const place = h('div');
  const draw = () => put(place, drawn(rows, kinds, state));
  const pick = (label, values, key) => h('label', { class: 'check' }, label, choice(label, values, state[key], (value) => {
    state[key] = value;
    draw();
  }));
  draw();
  return section('Chart', h('div', { class: 'toolbar' }, pick('X', places, 'x'), pick('Y', numbers, 'y'),
    pick('Series', [['', 'one'], ...of('text')], 'by'), pick('As', [['line', 'lines'], ['bar', 'bars']], 'kind')), place);
}

function drawn(rows, kinds, { x, y, by, kind }) {
  const isTime = kinds.get(x) === 'time';
  const names = isTime ? null : [...new Set(rows.map((row) => plain(row[x])))].slice(0, MOST_BARS);
  const series = new Map();
  for (const row of rows) {
    const at = isTime ? Date.parse(row[x]) : names.indexOf(plain(row[x]));
    if (row[y] === null || row[x] === null || at < 0) continue;
    const name = by ? plain(row[by]) : y;
    if (!series.has(name)) series.set(name, []);
    series.get(name).push([at, Number(row[y])]);
  }
  const all = [...series].map(([name, points]) => ({ name, points }));
  if (all.length === 0) return empty('There is nothing to draw.');
  const first = all.slice(0, MOST_SERIES);
  // A drawing of very many points stops the page. Of more, one of so many is drawn.
  const step = Math.ceil(first.reduce((sum, one) => sum + one.points.length, 0) / MOST_POINTS);
  const some = first.map(({ name, points }) => ({ name, points: points.filter((_, place) => place % step === 0) }));
  return [
    chart({ series: some, kind, names, label: `${y} by ${x}${by ? `, a series for each ${by}` : ''}` }),
    h('p', { class: 'legend' }, some.map((one, index) => h('span', { class: `key series-${index}` }, one.name)), all.length > MOST_SERIES && h('span', { class: 'muted' }, `and ${all.length - MOST_SERIES} more`),
      step > 1 && h('span', { class: 'muted' }, `one point of ${step} is drawn`)),
  ];
}
