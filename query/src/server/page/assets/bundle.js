// One evidence bundle: every fact with its anchor, which can be linked to.

import * as api from './api.js';
import { sparkline } from './chart.js';
import { decoded, h, put } from './dom.js';
import { count, duration, plain, time } from './format.js';
import * as evidence from './evidence.js';
import { forView } from './keys.js';
import { anchorLink, attributes, facts, fix, incidentAddress, rowKeys, service, status, traceLink } from './parts.js';

// Facts of a section that are drawn at first.
const FIRST = 300;

export async function show(main, id, signal) {
  const bundle = await api.bundle(id, signal);
  const told = bundle.evidence;
  const sections = [
    ['failures', 'Failures', told.failures, evidence.failure], ['spans', 'Spans', told.spans, span],
    ['logs', 'Logs', told.logs, evidence.log], ['flags', 'Flags', told.flags, evidence.flag],
    ['builds', 'Builds', told.builds, evidence.build], ['payloads', 'Payloads', told.payloads, evidence.payload],
    ['heaps', 'Heaps', told.heaps, evidence.heap], ['metrics', 'Metrics', told.metrics, series],
    ['links', 'Links', told.linked, evidence.link], ['resources', 'Resources', told.resources, resource],
    ['similar', 'Similar incidents', bundle.context?.similar, like],
  ].map(([name, title, facts_, draw]) => listed(name, title, facts_ ?? [], draw, told.omitted?.[name]));
  put(main, h('p', { class: 'crumbs' }, h('a', { href: '/' }, 'Incidents'), ' / ', traceLink(told.trace.trace_id, told.trace.trace_id)),
    h('h1', {}, 'Evidence bundle'), head(bundle),
    h('div', { class: 'bundle' }, contents(sections), h('div', { class: 'facts-of' }, sections.map((one) => one.element))));
  const follow = () => arrive(sections);
  window.addEventListener('hashchange', follow, { signal });
  // A click on the anchor that the address already has does not change it.
  main.addEventListener('click', (event) => event.target.closest('a[href^="#"]') && setTimeout(follow), { signal });
  forView([...rowKeys('.fact .anchor'), {
    keys: 'v', does: 'The trace as a waterfall', run: () => main.querySelector('.crumbs a[href^="/traces/"]').click(),
  }]);
  follow();
}

function head({ bundle_id: id, evidence: told, context, view }) {
  const counts = Object.entries(told.redaction?.counts ?? {}).map(([kind, number]) => `${kind} ${number}`).join(', ');
  return h('div', { class: 'about' },
    h('p', { class: 'under' }, status(told.trace.status), h('strong', {}, told.trace.root_name), h('span', {}, duration(told.trace.duration_ns)),
      h('span', { class: `pill ${told.sealed ? 'good' : 'warn'}`, title: told.sealed ? 'the same bytes for ever' : 'evidence may still come' }, told.sealed ? 'sealed' : 'not sealed yet'),
      h('a', { class: 'button', href: `/traces/${encodeURIComponent(told.trace.trace_id)}` }, 'Waterfall')),
    facts([
      ['Bundle', h('span', { class: 'mono' }, id)], ['Trace', traceLink(told.trace.trace_id, told.trace.trace_id)],
      ['Began', time(told.trace.started_at, true)], ['Revision', told.trace.revision], ['Position', count(context?.position)],
      ['Redacted', counts || 'nothing'], ['Incomplete', (told.trace.incomplete_reasons ?? []).join(', ')],
      ['Withheld', view?.withheld?.join(', ')],
      ['Calls', (told.trace.service_graph ?? []).map((one) => h('span', { class: `chip ${one.errors > 0 ? 'bad' : ''}` },
        `${one.from} → ${one.to} ${count(one.calls)}${one.errors > 0 ? `, ${count(one.errors)} failed` : ''}`))],
    ]));
}

// A section; facts beyond the first are drawn when somebody asks for them.
function listed(name, title, all, draw, omitted) {
  const rest = h('p');
  const body = h('div', {}, all.slice(0, FIRST).map((one) => draw(one)));
  const drawAll = () => {
    if (!rest.isConnected || rest.childNodes.length === 0) return false;
    body.append(...all.slice(FIRST).map((one) => draw(one)));
    put(rest);
    return true;
  };
  if (all.length > FIRST) put(rest, h('button', { type: 'button', onclick: drawAll }, `Show the other ${count(all.length - FIRST)}`));
  const element = all.length > 0 || omitted ? h('section', { class: 'panel', 'aria-labelledby': `of-${name}` },
    h('h2', { id: `of-${name}`, tabindex: -1 }, title, h('span', { class: 'muted' }, ` ${count(all.length)}`)), body, rest,
    omitted && h('p', { class: 'muted' }, `${count(omitted.omitted)} left out: ${omitted.why}`)) : null;
  return { name, title, element, size: all.length, drawAll };
}

const contents = (sections) => h('nav', { class: 'contents', 'aria-label': 'Sections of the bundle' }, h('ul', {},
  sections.filter((one) => one.element).map((one) => h('li', {}, h('a', { href: `#of-${one.name}` }, one.title, h('span', { class: 'muted' }, ` ${count(one.size)}`))))));

// The element of an anchor. A short form stands for the first that it matches, a place within a payload for what holds it.
function place(anchor) {
  const by = (form) => document.querySelector(`[data-anchor${form}"${CSS.escape(anchor)}"], .fact[id${form}"${CSS.escape(anchor)}"]`);
  const exact = document.getElementById(anchor) ?? by('=');
  if (exact) return exact;
  if (/^(build|flag|config):[^@]*$/.test(anchor)) {
    return document.querySelector(`.fact[id^="${CSS.escape(`${anchor}@`)}"]`);
  }
  const within = /^(payload:[^#]+#[^/]+)\//.exec(anchor);
  return within && document.getElementById(within[1]);
}

// Shows the fact that the address names.
function arrive(sections) {
  for (const one of document.querySelectorAll('.arrived')) one.classList.remove('arrived');
  const hash = location.hash.slice(1);
  if (!hash) return;
  const anchor = decoded(hash);
  const found = place(anchor) ?? (sections.some((one) => one.drawAll()) ? place(anchor) : null);
  if (!found) return;
  found.querySelector('details')?.setAttribute('open', '');
  found.classList.add('arrived');
  bring(found, 4);
  const goal = found.matches('.fact') ? found.querySelector('.anchor') : found;
  goal?.focus({ preventScroll: true });
}

// What is far off is laid out when it comes near, and moves what is below it: so it takes a few looks.
function bring(element, looks) {
  element.scrollIntoView({ block: 'start' });
  if (looks > 1) requestAnimationFrame(() => bring(element, looks - 1));
}

// A span is a line until somebody opens it: a bundle may have thousands.
function span(one) {
  const inside = h('div');
  const details = h('details', { ontoggle: () => details.open && !inside.hasChildNodes() && put(inside, evidence.span(one)) },
    h('summary', {}, service(one.service), h('span', { class: 'mono' }, one.name), one.status === 'ERROR' && status(one.status),
      one.on_critical_path && h('span', { class: 'pill' }, 'critical'), h('span', { class: 'muted' }, duration(one.duration_ns))), inside);
  return h('article', { class: 'fact', id: one.anchor }, h('header', {}, anchorLink(one.anchor)), details);
}

function series(one) {
  const values = one.points.map(([, value]) => Number(value)).filter(Number.isFinite);
  if (values.length < 2) return evidence.metric(one, '', null);
  const [least, most] = [Math.min(...values), Math.max(...values)];
  const drawn = sparkline(values.map((value) => value - least + (most - least) * 0.05 + 1e-9), {
    width: 180, height: 24, label: `${one.name} from ${plain(values[0])} to ${plain(values.at(-1))}`,
  });
  return evidence.metric(one, '', drawn);
}

const resource = (one) => h('article', { class: 'fact' }, h('p', { class: 'under' }, service(one.service), h('span', { class: 'mono' }, one.version), h('span', { class: 'muted' }, [one.instance, ' ', one.environment])),
  attributes(one.attributes, 'Attributes of the resource'));

const like = (one) => h('article', { class: 'fact', id: one.anchor }, h('header', {}, anchorLink(one.anchor)),
  h('p', {}, h('a', { href: incidentAddress(one.fingerprint) }, one.title ?? one.fingerprint)), h('p', { class: 'muted' }, one.reason),
  one.fixes?.length > 0 && h('ul', { class: 'plain' }, one.fixes.map(fix)));
