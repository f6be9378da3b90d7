// All incidents: what broke, how often, since when, and whether anybody knows what to do.

import * as api from './api.js';
import { sparkline } from './chart.js';
import { choice, h, put, settled } from './dom.js';
import { count, many } from './format.js';
import { forView } from './keys.js';
import { incidentAddress, moment, refused, rowKeys, service } from './parts.js';

const BINS = 48;
// Rows that are drawn; a filter finds the others.
const MOST_ROWS = 200;

// The columns, each with how it is sorted: by text upwards, by all else downwards.
const COLUMNS = [
  ['title', 'Incident', (one) => one.title ?? '', 1],
  ['trend', 'Trend', (one) => one.lately, -1],
  ['failures', 'Failures', (one) => Number(one.failure_count), -1],
  ['traces', 'Traces', (one) => Number(one.trace_count), -1],
  ['versions', 'Versions', (one) => one.versions?.at(-1) ?? '', 1],
  ['first', 'First seen', (one) => one.first_seen ?? '', -1],
  ['last', 'Last seen', (one) => one.last_seen ?? '', -1],
  ['fix', 'Known fix', (one) => (one.fixes.length > 0 ? 1 : 0), -1],
];

export async function show(main, _, signal) {
  const [{ found: incidents, hasMore }, fixes] = await Promise.all([
    api.incidents(signal), api.fixes(signal).catch(() => ({ found: [] })),
  ]);
  // By what counts now: a fix may have been recorded before the incident was merged, or went on under another fingerprint.
  const known = new Map(incidents.map((one) => [one.fingerprint, []]));
  for (const fix of fixes.found) known.get(fix.incident)?.push(fix);
  for (const one of incidents) {
    one.fixes = known.get(one.fingerprint);
    one.text = [one.title, one.service_name, one.exception_type, one.fingerprint, ...(one.versions ?? [])].join(' ').toLowerCase();
    one.lately = 0;
  }
  const state = chosen();
  const body = h('tbody');
  const shown = h('p', { class: 'muted', role: 'status' });
  const overall = h('div', { class: 'overall' });
  const heads = h('tr');
  const draw = () => {
    const found = filtered(incidents, state);
    put(heads, COLUMNS.map((column) => head(column, state, change)));
    put(body, found.slice(0, MOST_ROWS).map(row));
    put(shown, found.length > MOST_ROWS ? `${MOST_ROWS} of ` : '', many(found.length, 'incident'),
      hasMore ? '; only those seen last are here, SQL has all' : '');
  };
  const change = (more) => {
    // What was typed last is looked at a moment later: then another view may be shown, at another address.
    if (signal.aborted) return;
    Object.assign(state, more);
    remember(state);
    draw();
  };
  put(main, h('h1', {}, 'Incidents'), tiles(incidents), overall, toolbar(incidents, state, change), shown,
    incidents.length === 0
      ? h('p', { class: 'notice' }, 'No failure was seen yet. As soon as one is, it stands here.')
      : h('div', { class: 'scroll', role: 'region', 'aria-label': 'Incidents', tabindex: 0 },
        h('table', { class: 'rows incidents' }, h('caption', { class: 'hidden' }, 'Incidents'), h('thead', {}, heads), body)));
  draw();
  forView(rowKeys('.incidents a.title'));
  if (incidents.length > 0) await trends(incidents, overall, draw, signal);
}

// What is filtered and sorted stands in the address, so that it can be sent to somebody.
function chosen() {
  const asked = new URLSearchParams(location.search);
  return {
    text: asked.get('q') ?? '', service: asked.get('service') ?? '', version: asked.get('version') ?? '',
    fix: asked.get('fix') ?? '', sort: asked.get('sort') ?? 'last', turned: asked.get('turned') === '1',
  };
}

function remember({ text, service: of, version, fix, sort, turned }) {
  const wanted = { q: text, service: of, version, fix, sort: sort === 'last' ? '' : sort, turned: turned ? '1' : '' };
  const asked = new URLSearchParams(Object.entries(wanted).filter(([, value]) => value));
  history.replaceState(null, '', asked.size > 0 ? `/?${asked}` : '/');
}

function filtered(incidents, { text, service: of, version, fix, sort, turned }) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const found = incidents.filter((one) => words.every((word) => one.text.includes(word))
    && (!of || one.service_name === of) && (!version || one.versions?.includes(version))
    && (!fix || (fix === 'known') === one.fixes.length > 0));
  const [, , value, direction] = COLUMNS.find(([name]) => name === sort) ?? COLUMNS[6];
  const sign = turned ? -direction : direction;
  return found.sort((a, b) => {
    const [left, right] = [value(a), value(b)];
    return left < right ? -sign : left > right ? sign : 0;
  });
}

function tiles(incidents) {
  const sum = (value) => incidents.reduce((total, one) => total + Number(value(one) ?? 0), 0);
  const tile = (name, value) => h('div', {}, h('dt', {}, name), h('dd', {}, value));
  return h('dl', { class: 'tiles' },
    tile('Incidents', count(incidents.length)),
    tile('Failures', count(sum((one) => one.failure_count))),
    tile('Services', count(new Set(incidents.map((one) => one.service_name)).size)),
    tile('With a known fix', count(incidents.filter((one) => one.fixes.length > 0).length)));
}

function toolbar(incidents, state, change) {
  const unique = (values) => [...new Set(values.filter(Boolean))].sort();
  const filter = h('input', {
    id: 'filter', type: 'search', value: state.text, placeholder: 'Filter', 'aria-label': 'Filter incidents by text',
    'aria-keyshortcuts': '/', oninput: settled(80, () => change({ text: filter.value })),
  });
  return h('div', { class: 'toolbar' }, filter,
    choice('Service', [['', 'All services'], ...unique(incidents.map((one) => one.service_name))], state.service, (value) => change({ service: value })),
    choice('Version', [['', 'All versions'], ...unique(incidents.flatMap((one) => one.versions ?? []))], state.version, (value) => change({ version: value })),
    choice('Known fix', [['', 'With and without fix'], ['known', 'With a known fix'], ['unknown', 'Without one']], state.fix, (value) => change({ fix: value })),
    choice('Sort by', COLUMNS.map(([name, title]) => [name, `By ${title.toLowerCase()}`]), state.sort, (value) => change({ sort: value, turned: false })));
}

function head([name, title, , direction], state, change) {
  const isSorted = state.sort === name;
  const upwards = (direction > 0) !== state.turned;
  return h('th', { scope: 'col', class: name, 'aria-sort': isSorted ? (upwards ? 'ascending' : 'descending') : null },
    h('button', { type: 'button', class: 'quiet', onclick: () => change({ sort: name, turned: isSorted && !state.turned }) },
      title, isSorted && h('span', { 'aria-hidden': 'true' }, upwards ? ' ↑' : ' ↓')));
}

function row(one) {
  const versions = one.versions ?? [];
  return h('tr', {},
    h('td', { class: 'title' },
      h('a', { class: 'title', href: incidentAddress(one.fingerprint) }, one.title ?? one.fingerprint),
      h('span', { class: 'under' }, service(one.service_name), h('span', { class: 'mono muted' }, one.exception_type))),
    h('td', { class: 'trend' }, one.isUnknown ? h('span', { class: 'muted', title: 'Only the trends of the incidents that were seen last are counted' }, 'unknown') : one.counts
      ? sparkline(one.counts, { label: `${many(one.failure_count, 'failure')} in ${BINS} intervals, ${one.lately} in the last quarter` })
      : null),
    h('td', { class: 'number' }, count(one.failure_count)),
    h('td', { class: 'number' }, count(one.trace_count)),
    h('td', {}, versions.slice(-3).map((version) => h('span', { class: 'chip mono' }, version)), versions.length > 3 && ` +${versions.length - 3}`),
    h('td', {}, moment(one.first_seen)),
    h('td', {}, moment(one.last_seen)),
    h('td', {}, known(one.fixes)));
}

function known(fixes) {
  if (fixes.length === 0) return h('span', { class: 'muted' }, '–');
  const [newest] = fixes;
  return h('span', { class: `pill ${newest.came_back ? 'bad' : 'good'}`, title: newest.summary }, newest.came_back ? 'came back' : newest.outcome ?? 'fixed');
}

// The trends come after the list: it is of use without them.
async function trends(incidents, overall, draw, signal) {
  const since = incidents.map((one) => one.first_seen).filter(Boolean).sort()[0];
  const until = incidents.map((one) => one.last_seen).filter(Boolean).sort().at(-1);
  try {
    const told = await api.trends(since, until, BINS, signal);
    const counts = new Map(told.trends.map((one) => [one.fingerprint, one.counts]));
    const all = Array(BINS).fill(0);
    for (const one of incidents) {
      // Where there are more trends than are told, one that is not told may be any.
      one.isUnknown = told.has_more && !counts.has(one.fingerprint);
      if (one.isUnknown) continue;
      one.counts = counts.get(one.fingerprint) ?? Array(BINS).fill(0);
      one.lately = one.counts.slice(-BINS / 4).reduce((sum, value) => sum + value, 0);
      one.counts.forEach((value, index) => (all[index] += value));
    }
    put(overall, sparkline(all, { width: 960, height: 56, label: `Failures of all incidents from ${since} to ${until}` }),
      h('p', { class: 'ends muted' }, h('span', {}, moment(since)), h('span', {}, told.has_more ? 'failures of the incidents whose trend is known' : 'all failures'), h('span', {}, moment(until))));
    draw();
  } catch (error) {
    if (!signal.aborted) put(overall, refused(error));
  }
}
