// One trace over time, with its evidence at its places.

import * as api from './api.js';
import { h, put, settled } from './dom.js';
import { count, duration, many, nanoseconds, plain, time } from './format.js';
import * as evidence from './evidence.js';
import { forView } from './keys.js';
import { anchorLink, attributes, empty, facts, incidentAddress, refused, service, status } from './parts.js';
import { Tree } from './tree.js';
import { Waterfall } from './waterfall.js';

export async function show(main, id, signal) {
  const { trace, spans, omitted_spans: omitted, slow_span_ids: slow } = await api.trace(id, signal);
  const tree = new Tree(spans, slow);
  const side = h('aside', { class: 'side', 'aria-label': 'The chosen span', tabindex: 0 });
  const view = { tree, bundle: null };
  const waterfall = new Waterfall(tree, (node) => put(side, chosen(node, view)));
  const about = h('div', { class: 'strips', role: 'region', 'aria-label': 'The whole trace', tabindex: 0 });
  put(main, ...head(id, trace, tree), about, toolbar(waterfall), omitted > 0
    ? h('p', { class: 'muted' }, `${count(omitted)} more spans are not shown; SQL has all of them.`) : null,
    h('div', { class: 'split' }, waterfall.element, side));
  waterfall.refresh();
  waterfall.watch(signal);
  keys(waterfall);
  choose(waterfall);
  try {
    view.bundle = await api.bundle(id, signal);
    tree.hang(view.bundle.evidence);
    put(about, strips(view.bundle, tree.apart));
    waterfall.refresh();
    choose(waterfall);
  } catch (error) {
    if (!signal.aborted) put(about, refused(error));
  }
}

// What is looked at first: where it failed, else the root. What a person has chosen stays.
function choose(waterfall) {
  const { nodes } = waterfall.tree;
  if (waterfall.byHand) return waterfall.select(waterfall.selected);
  const first = nodes.find((node) => node.isOrigin && (node.isSlow || node.failures.length > 0))
    ?? nodes.find((node) => node.isOrigin) ?? nodes[0];
  if (first) waterfall.select(first.index);
}

function head(id, trace, tree) {
  const root = tree.nodes[0]?.span ?? {};
  const services = trace?.services ?? [...new Set(tree.nodes.map((node) => node.span.service_name))];
  return [
    h('p', { class: 'crumbs' }, h('a', { href: '/' }, 'Incidents'), ' / ', h('span', { class: 'mono' }, id)),
    h('h1', {}, trace?.root_name ?? root.name ?? id),
    h('p', { class: 'under' }, status(trace?.status), h('strong', {}, duration(trace?.duration_ns ?? tree.span)),
      h('span', {}, time(trace?.start_time ?? root.start_time, true)),
      h('span', { class: 'muted' }, many(trace?.span_count ?? tree.nodes.length, 'span'), ' · ', many(trace?.log_count ?? 0, 'log'), ' · ',
        many(trace?.failure_count ?? 0, 'failure')),
      trace && !trace.complete && h('span', { class: 'pill warn', title: (trace.incomplete_reasons ?? []).join(', ') }, 'incomplete'),
      h('span', { class: 'legend' }, services.map(service)),
      h('a', { class: 'button', href: `/bundles/${encodeURIComponent(id)}` }, 'Evidence bundle')),
  ];
}

// Facts of one kind that strips show; the bundle has all.
const MOST_APART = 50;

// How a fact without a span came to the trace.
const joined = (one) => h('span', { class: 'pill', title: 'how it came to this trace' },
  one.joined_by === 'time' ? 'by instance and time' : one.span_id ? 'its span is not here' : 'by trace');

// Flags, builds and failures of the whole trace, and what is of it and of none of its spans.
function strips({ bundle_id: bundle, evidence: told }, apart) {
  const some = (facts, item) => {
    const shown = facts.slice(0, MOST_APART).map((one) => [anchorLink(one.anchor, bundle), ' ', item(one)]);
    return facts.length > shown.length ? [...shown, `and ${count(facts.length - shown.length)} more in the bundle`] : shown;
  };
  const strip = (title, items) => items.length > 0 && h('div', { class: 'strip' }, h('h2', {}, title), h('ul', {}, items.map((item) => h('li', {}, item))));
  return [
    strip('Failed', told.failures.map((one) => [h('a', { href: incidentAddress(one.fingerprint), class: 'bad-text' }, one.exception_type ?? one.kind ?? 'failure'), ` ${one.message ?? ''}`])),
    strip('Flags', told.flags.map((one) => [h('span', { class: 'mono' }, one.key, ' = ', String(one.variant ?? one.value)), ' ', h('span', { class: 'muted' }, `${one.service ?? '*'} ${one.match}`)])),
    strip('Builds', told.builds.map((one) => [service(one.service), ' ', h('span', { class: 'mono' }, one.version ?? 'unknown'), ' ', h('span', { class: 'mono muted' }, (one.git_sha ?? '').slice(0, 7))])),
    strip('Logs', some(apart.logs, (one) => [joined(one), ' ', service(one.service), h('span', { class: `severity ${(one.severity ?? '').toLowerCase()}` }, ` ${one.severity ?? 'LOG'} `), h('span', { class: 'mono' }, plain(one.body))])),
    strip('Heaps', some(apart.heaps, (one) => [joined(one), ' ', service(one.service), h('span', { class: 'muted' }, ` ${one.instance ?? ''} ${time(one.captured_at, true)}`)])),
    strip('Payloads', some(apart.payloads, (one) => [one.direction, ' ', h('span', { class: 'mono muted' }, one.content_type)])),
    told.linked.length > 0 && strip('Linked', told.linked.map((one) => anchorLink(one.anchor, bundle))),
  ];
}

function toolbar(waterfall) {
  const { tree } = waterfall;
  const found = h('span', { class: 'muted', role: 'status' });
  const apply = () => {
    tree.filter = { words: filter.value.toLowerCase().split(/\s+/).filter(Boolean), onlyFailing: only.checked };
    waterfall.refresh();
    put(found, tree.matches === null ? '' : many(tree.matches, 'span'));
  };
  const filter = h('input', {
    id: 'filter', type: 'search', placeholder: 'Filter spans, logs, errors', 'aria-label': 'Filter spans by text', 'aria-keyshortcuts': '/', oninput: settled(60, apply),
  });
  const only = h('input', { type: 'checkbox', id: 'only-failing', onchange: apply });
  waterfall.onreveal = () => {
    filter.value = '';
    only.checked = false;
    put(found);
  };
  waterfall.toggleFailing = () => {
    only.checked = !only.checked;
    apply();
  };
  const button = (text, run) => h('button', { type: 'button', onclick: run }, text);
  return h('div', { class: 'toolbar' }, filter, h('label', { class: 'check' }, only, 'Failing path only'),
    button('Previous failure', () => waterfall.fail(-1)), button('Next failure', () => waterfall.fail(1)),
    button('Zoom to span', () => waterfall.zoom(false)), button('Whole trace', () => waterfall.zoom(true)), found);
}

function keys(waterfall) {
  waterfall.element.addEventListener('pointerdown', () => (waterfall.byHand = true));
  waterfall.element.addEventListener('keydown', () => (waterfall.byHand = true));
  const moved = (run) => () => {
    waterfall.byHand = true;
    waterfall.grid.focus({ preventScroll: true });
    run();
  };
  forView([
    { keys: 'j', does: 'Next span (or ↓ in the waterfall)', run: moved(() => waterfall.move(1)) },
    { keys: 'k', does: 'Span before (or ↑)', run: moved(() => waterfall.move(-1)) },
    { keys: 'n', does: 'Next failure', run: moved(() => waterfall.fail(1)) },
    { keys: 'p', does: 'Failure before', run: moved(() => waterfall.fail(-1)) },
    { keys: 'x', does: 'Show or hide what is below the span (or → and ←)', run: moved(() => waterfall.turn(waterfall.selected)) },
    { keys: 'f', does: 'Failing path only', run: () => waterfall.toggleFailing() },
    { keys: 'z', does: 'Zoom to the span', run: () => waterfall.zoom(false) },
    { keys: 'Z', does: 'Whole trace', run: () => waterfall.zoom(true) },
    { keys: 'b', does: 'Evidence bundle', run: () => document.querySelector('main a.button').click() },
  ]);
}

// All that is known of a span.
function chosen(node, { tree, bundle }) {
  const { span, fact } = node;
  const id = bundle?.bundle_id;
  const told = bundle?.evidence;
  const own = told?.builds.filter((one) => one.anchor === fact?.build) ?? [];
  const offset = Number(nanoseconds(span.start_time) - tree.first);
  const part = (title, items) => items?.length > 0 && h('section', {}, h('h3', {}, title), items);
  const inEffect = told?.flags.filter((one) => !node.flags.includes(one) && (one.service === span.service_name || !one.service)) ?? [];
  return [
    h('h2', {}, span.name),
    h('p', { class: 'under' }, service(span.service_name), status(span.status_code), node.isFailing && h('span', { class: 'pill bad' }, node.isSlow ? 'too slow for its caller' : node.isOrigin ? 'failed here' : 'failing path'),
      span.on_critical_path && h('span', { class: 'pill' }, 'critical path')),
    facts([
      ['Took', `${duration(span.duration_ns)}, itself ${duration(span.self_time_ns)}`], ['Began', `${duration(offset)} after the trace · ${time(span.start_time, true).slice(11)}`],
      ['Kind', span.kind], ['Message', span.status_message], ['Version', span.service_version], ['Instance', span.service_instance_id],
      ['Anchor', fact ? anchorLink(fact.anchor, id) : h('span', { class: 'mono' }, span.span_id)],
    ]),
    part('Failures', node.failures.map((one) => evidence.failure(one, id))),
    part('Logs', node.logs.map((one) => evidence.log(one, id))),
    part('Payload', node.payloads.map((one) => evidence.payload(one, id))),
    part('Heap', node.heaps.map((one) => evidence.heap(one, id))),
    part('Flags evaluated here', node.flags.map((one) => evidence.flag(one, id))),
    part('Flags in effect', inEffect.map((one) => evidence.flag(one, id))),
    part('Build', own.map((one) => evidence.build(one, id))),
    fact?.attributes && Object.keys(fact.attributes).length > 0 && part('Attributes', [attributes(fact.attributes)]),
    fact?.events?.length > 0 && part('Events', [h('ul', { class: 'plain' }, fact.events.map(evidence.event))]),
    !bundle && empty('Its evidence is being read, or cannot be had.'),
  ];
}
