// One incident: its failing traces, what they have that good ones have not, what is like it, and what was done.

import * as api from './api.js';
import { sparkline } from './chart.js';
import { h, put } from './dom.js';
import { count, duration, many, time } from './format.js';
import { forView } from './keys.js';
import { empty, facts, fix, fragment, incidentAddress, moment, refused, rowKeys, section, service, traceLink } from './parts.js';

const BINS = 96;

export async function show(main, fingerprint, signal) {
  const { incident, traces, fixes } = await api.incident(fingerprint, signal);
  const trend = h('div', { class: 'overall' });
  const differs = h('div', {}, empty('Comparing …'));
  const similar = h('div', {}, empty('Searching …'));
  put(main,
    h('p', { class: 'crumbs' }, h('a', { href: '/' }, 'Incidents')),
    h('h1', {}, incident.title ?? incident.fingerprint),
    h('p', { class: 'under' }, service(incident.service_name), h('span', { class: 'mono muted' }, incident.exception_type)),
    facts([
      ['Failures', count(incident.failure_count)], ['Traces', count(incident.trace_count)],
      ['First seen', [moment(incident.first_seen), ` · ${time(incident.first_seen)}`]],
      ['Last seen', [moment(incident.last_seen), ` · ${time(incident.last_seen)}`]],
      ['Versions', incident.versions?.map((version) => h('span', { class: 'chip mono' }, version))],
      ['Fix', standing(incident)],
      ['Fingerprint', h('span', { class: 'mono' }, incident.fingerprint)],
    ]),
    trend,
    h('div', { class: 'columns' },
      h('div', {}, section('Appeared with', appeared(incident)), section('What differs', differs), section('Failing traces', failing(traces))),
      h('div', {},
        section('Known fixes', fixes.length > 0 ? h('ul', { class: 'plain' }, fixes.map(fix))
          : empty('None was recorded. Record one with: tracerag fix')),
        section('Similar incidents', similar))));
  forView(rowKeys('.failing a, .similar a'));
  await Promise.all([
    drawn(trend, signal, () => trendOf(incident, signal)),
    drawn(differs, signal, () => differences(fingerprint, signal)),
    drawn(similar, signal, () => alike(incident, traces, signal)),
  ]);
}

// Fills a place, or says there why it is empty.
async function drawn(place, signal, work) {
  try {
    put(place, await work());
  } catch (error) {
    if (!signal.aborted) put(place, refused(error));
  }
}

// Whether the newest fix holds, as far as the lake knows.
function standing({ fixed_at: fixed, regressed_at: back, regressed_version: version }) {
  if (!fixed) return h('span', { class: 'muted' }, 'none is known');
  if (!back) return [h('span', { class: 'pill good' }, 'holds'), ' since ', moment(fixed), ` · ${time(fixed)}`];
  return [h('span', { class: 'pill bad' }, 'came back'), ' ', moment(back), ` · ${time(back)}`,
    version && [' in ', h('span', { class: 'chip mono' }, version)], ` after the fix of ${time(fixed)}`];
}

// What changed shortly before the incident was first seen.
function appeared({ appeared_with: changes }) {
  if (!changes?.length) return empty('Nothing that is known changed in the hour before it was first seen.');
  return [h('ul', { class: 'plain appeared' }, changes.map((one) => h('li', { class: 'under' },
    h('span', { class: 'muted' }, one.kind), one.kind === 'build' ? service(one.key) : h('strong', { class: 'mono' }, one.key),
    h('span', { class: 'mono' }, one.value === null ? 'was deleted' : `= ${one.value}`),
    one.kind !== 'build' && one.service_name && service(one.service_name),
    h('span', { class: 'muted' }, `${duration(one.before_ns)} before · ${time(one.changed_at)}`)))),
  h('p', { class: 'muted' }, 'That they came together is no proof.')];
}

function failing(traces) {
  if (traces.length === 0) return empty('The lake has none of its traces any more.');
  const titles = ['Trace', 'When', 'Request', 'Message', 'Version', 'Environment', 'Took', 'Spans'];
  return h('div', { class: 'scroll', role: 'region', 'aria-label': 'Failing traces', tabindex: 0 },
    h('table', { class: 'rows failing' }, h('caption', { class: 'hidden' }, 'Failing traces, the newest first'),
      h('thead', {}, h('tr', {}, titles.map((title) => h('th', { scope: 'col' }, title)))),
      h('tbody', {}, traces.map((one) => h('tr', {},
        h('td', {}, traceLink(one.trace_id)), h('td', { class: 'whole' }, time(one.time)),
        h('td', {}, one.root_name ?? '–'), h('td', { class: 'message', title: one.message }, one.message ?? '–'),
        h('td', {}, one.service_version && h('span', { class: 'chip mono' }, one.service_version)),
        h('td', {}, one.deployment_environment_name ?? '–'),
        h('td', { class: 'number' }, duration(one.duration_ns)), h('td', { class: 'number' }, count(one.span_count)))))));
}

async function trendOf(incident, signal) {
  const { trends, bin_seconds: seconds } = await api.trends(incident.first_seen, incident.last_seen, BINS, signal);
  const own = trends.find((one) => one.fingerprint === incident.fingerprint);
  if (!own) return null;
  return [
    sparkline(own.counts, { width: 960, height: 56, label: `${many(incident.failure_count, 'failure')} from ${incident.first_seen} to ${incident.last_seen}` }),
    h('p', { class: 'ends muted' }, h('span', {}, time(incident.first_seen)),
      h('span', {}, `failures in ${duration(seconds * 1e9)} each`), h('span', {}, time(incident.last_seen))),
  ];
}

async function differences(fingerprint, signal) {
  let told;
  try {
    told = await api.compare({ fingerprint }, signal);
  } catch (error) {
    if (error.code === 'path-unknown') return empty('This server does not compare traces.');
    throw error;
  }
  const share = (part, of) => (of > 0 ? `${Math.round((100 * part) / of)} %` : '–');
  const anchor = (one) => h('a', { class: 'mono chip', href: `/bundles/${told.example_trace_id}#${fragment(one)}` }, one);
  return [
    h('p', {}, told.said),
    told.differences.length > 0 && h('div', { class: 'scroll', role: 'region', 'aria-label': 'What differs', tabindex: 0 },
      h('table', { class: 'rows' }, h('caption', { class: 'hidden' }, 'What failing traces have more often'),
        h('thead', {}, h('tr', {}, ['What', 'Value', 'Failing', 'Good', 'q', 'Evidence'].map((title) => h('th', { scope: 'col' }, title)))),
        h('tbody', {}, told.differences.map((one) => h('tr', {},
          h('td', {}, h('span', { class: 'muted' }, `${one.kind} `), h('span', { class: 'mono' }, one.name)),
          h('td', { class: 'mono message' }, one.value),
          h('td', { class: 'number', title: `${one.failing_with} of ${one.failing}` }, share(one.failing_with, one.failing)),
          h('td', { class: 'number', title: `${one.good_with} of ${one.good}` }, share(one.good_with, one.good)),
          h('td', { class: 'number' }, one.q_value.toPrecision(2)),
          h('td', {}, told.example_trace_id && one.anchors.map(anchor))))))),
    told.rule && h('p', { class: 'muted' }, told.rule),
  ];
}

// By an example, whose stack, path and payloads say more than a title; by the title where the lake has none any more.
async function asked(incident, traces, signal) {
  const example = traces[0]?.trace_id ?? incident.example_trace_ids?.at(-1);
  const text = { text: incident.title ?? incident.exception_type ?? incident.fingerprint, k: 9 };
  if (!example) return api.similar(text, signal);
  try {
    return await api.similar({ trace_id: example, k: 9 }, signal);
  } catch (error) {
    if (![400, 404, 422].includes(error.status)) throw error;
    return api.similar(text, signal);
  }
}

async function alike(incident, traces, signal) {
  const { incidents } = await asked(incident, traces, signal);
  const others = incidents.filter((one) => one.fingerprint !== incident.fingerprint).slice(0, 8);
  if (others.length === 0) return empty('Nothing in this lake is like it.');
  return h('ul', { class: 'plain similar' }, others.map((one) => h('li', {},
    h('a', { href: incidentAddress(one.fingerprint) }, one.title ?? one.fingerprint),
    h('p', { class: 'under' }, service(one.service_name), h('span', { class: 'muted' }, one.reason)),
    one.fixes.length > 0 && h('ul', { class: 'plain' }, one.fixes.map(fix)))));
}
