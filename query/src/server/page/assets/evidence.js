// The facts of a bundle, each with its anchor. The views of a trace and of a bundle show them alike.

import { h } from './dom.js';
import { bytes, count, duration, plain, time } from './format.js';
import { anchorLink, attributes, facts, fragment, incidentAddress, service, traceLink } from './parts.js';

// One fact; within its bundle's own view it can be linked to.
function fact(anchor, bundle, ...children) {
  return h('article', { class: 'fact', id: bundle ? null : anchor }, h('header', {}, anchorLink(anchor, bundle)), children);
}

export function log(one, bundle) {
  return fact(one.anchor, bundle,
    h('p', { class: 'log' }, h('span', { class: 'mono muted' }, time(one.time, true).slice(11)),
      h('span', { class: `severity ${(one.severity ?? '').toLowerCase()}` }, one.severity ?? 'LOG'),
      h('span', { class: 'mono said' }, plain(one.body))),
    attributes(one.attributes, 'Attributes of the log record'));
}

export function failure(one, bundle) {
  const frame = (at) => h('li', { class: at.in_app ? 'own' : 'muted', 'data-anchor': at.anchor },
    h('span', { class: 'mono' }, at.function ?? '?'),
    h('span', { class: 'mono muted' }, ` ${at.file ?? ''}${at.line ? `:${at.line}` : ''}`));
  return fact(one.anchor, bundle,
    h('p', { class: 'bad-text' }, h('strong', { class: 'mono' }, one.exception_type ?? one.kind ?? 'failure'), ` ${one.message ?? ''}`),
    h('p', { class: 'under' }, service(one.service), h('a', { href: incidentAddress(one.fingerprint) }, 'its incident'),
      h('span', { class: 'muted' }, one.grouped_by)),
    one.frames?.length > 0 && h('ol', { class: 'frames', tabindex: 0, 'aria-label': 'Stack, the innermost frame first' }, one.frames.map(frame)));
}

const match = (how) => h('span', { class: `pill ${how === 'ambiguous' ? 'warn' : ''}`, title: 'how this is known' }, how);

const candidates = (all) => all?.length > 0 && h('p', { class: 'muted' }, 'or: ', all.map(plain).join(', '));

export function flag(one, bundle) {
  return fact(one.anchor, bundle,
    h('p', { class: 'under' }, h('strong', { class: 'mono' }, one.key), h('span', { class: 'mono' }, `= ${plain(one.variant ?? one.value)}`),
      match(one.match), h('span', { class: 'muted' }, [one.kind, ' for ', one.service ?? 'all services', one.since && `, since ${time(one.since)}`])),
    candidates(one.candidates));
}

export function build(one, bundle) {
  return fact(one.anchor, bundle,
    h('p', { class: 'under' }, service(one.service), h('strong', { class: 'mono' }, one.version ?? 'unknown'), match(one.match)),
    facts([
      ['Commit', one.git_sha && h('span', { class: 'mono' }, one.git_sha)], ['Deployed', one.deployed_at && time(one.deployed_at)],
      ['Build', one.build_number], ['Instance', one.instance], ['Environment', one.environment],
      ['Artifact', one.artifact && h('span', { class: 'mono' }, one.artifact)],
      ['Lock files', Object.keys(one.lockfile_digests ?? {}).join(', ')],
      ['Migrations', (one.schema_migrations ?? []).map(plain).join(', ')],
    ]), candidates(one.candidates));
}

export function payload(one, bundle) {
  const names = [...new Set([...Object.keys(one.shape ?? {}), ...Object.keys(one.sample ?? {})])];
  const isObject = one.shape && typeof one.shape === 'object' && !Array.isArray(one.shape);
  return fact(one.anchor, bundle,
    h('p', { class: 'under' }, h('strong', {}, one.direction), h('span', { class: 'mono muted' }, one.content_type), h('span', { class: 'muted' }, bytes(one.size_bytes))),
    isObject ? h('table', { class: 'attributes' }, h('thead', {}, h('tr', {}, ['Field', 'Type', 'Sample'].map((title) => h('th', { scope: 'col' }, title)))),
      h('tbody', {}, names.map((name) => h('tr', { 'data-anchor': `${one.anchor}/${name}` }, h('th', { scope: 'row' }, name),
        h('td', { class: 'muted' }, plain(one.shape[name])), h('td', {}, plain(one.sample?.[name]))))))
      : h('pre', { class: 'mono' }, plain(one.shape)),
    one.redactions?.length > 0 && h('p', { class: 'muted' }, 'Not kept: ', one.redactions.map(plain).join(', ')));
}

export function heap(one, bundle) {
  const types = one.top_types ?? [];
  const most = Math.max(1, ...types.map((type) => Number(type.bytes)));
  const sites = one.top_sites ?? [];
  const share = (value) => {
    const bar = h('span', { class: 'share', 'aria-hidden': 'true' });
    bar.style.width = `${(100 * Number(value)) / most}%`;
    return bar;
  };
  const line = (name, of) => h('tr', { 'data-anchor': of.anchor }, h('th', { scope: 'row' }, name), h('td', { class: 'number' }, bytes(of.bytes), share(of.bytes)), h('td', { class: 'number' }, count(of.count)));
  const table = (title, rows) => rows.length > 0 && h('table', { class: 'attributes heap' }, h('caption', {}, title),
    h('thead', {}, h('tr', {}, ['What', 'Bytes', 'Count'].map((name) => h('th', { scope: 'col' }, name)))), h('tbody', {}, rows));
  return fact(one.anchor, bundle,
    h('p', { class: 'under' }, service(one.service), h('span', { class: 'mono' }, one.format), h('span', { class: 'muted' }, `${time(one.captured_at, true)} · joined by ${one.joined_by}`)),
    table('Types', types.map((type) => line(type.type, type))),
    table('Sites', sites.map((site) => line(`${site.function ?? ''} ${site.file ?? ''}${site.line ? `:${site.line}` : ''}`, site))),
    one.snapshot_uri && h('p', { class: 'mono muted' }, one.snapshot_uri));
}

export function link(one, bundle) {
  return fact(one.anchor, bundle, h('p', { class: 'under' }, h('span', {}, one.direction === 'in' ? 'linked from' : 'links to'), traceLink(one.trace_id), h('span', { class: 'mono muted' }, one.span_id)));
}

export function metric(one, bundle, drawn) {
  const newest = one.points?.at(-1)?.[1];
  return fact(one.anchor, bundle,
    h('p', { class: 'under' }, h('strong', { class: 'mono' }, one.name), service(one.service), h('span', { class: 'muted' }, [one.instance, ' ', one.unit])),
    h('p', { class: 'row' }, drawn, h('span', { class: 'mono' }, one.unit === 'By' ? bytes(newest) : plain(newest))), attributes(one.attributes, 'Attributes of the series'));
}

export const event = (one) => h('li', {}, h('p', { class: 'under' }, h('strong', { class: 'mono' }, one.name), h('span', { class: 'mono muted' }, time(one.time, true).slice(11))), attributes(one.attributes, 'Attributes of the event'));

// What stands of a span in a bundle, besides its name.
export function span(one) {
  return [
    facts([
      ['Kind', one.kind], ['Took', duration(one.duration_ns)], ['Began', time(one.started_at, true)],
      ['Status', one.status_message ? `${one.status}: ${one.status_message}` : one.status],
      ['Build', one.build && h('a', { class: 'mono', href: `#${fragment(one.build)}` }, one.build)],
      ['Parent', one.parent_span_id && h('a', { class: 'mono', href: `#${fragment(`span:${one.parent_span_id}`)}` }, `span:${one.parent_span_id}`)],
    ]),
    attributes(one.attributes), one.events?.length > 0 && h('ul', { class: 'plain' }, one.events.map(event)),
  ];
}
