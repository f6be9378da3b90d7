// Drawings of numbers. Each says in words what it shows, for who does not see it.

import { svg } from './dom.js';
import { count } from './format.js';

// Bars of equal intervals, small enough for a row of a table.
export function sparkline(counts, { width = 120, height = 24, label }) {
  const most = Math.max(...counts, 1);
  const step = width / counts.length;
  const bars = counts.map((value, index) => {
    if (value === 0) return null;
    const tall = Math.max(2, (value / most) * (height - 2));
    return svg('rect', {
      x: (index * step + 0.5).toFixed(2), y: (height - tall).toFixed(2),
      width: Math.max(1, step - 1).toFixed(2), height: tall.toFixed(2), rx: 0.5,
    });
  });
  return svg('svg', {
    class: 'spark', role: 'img', 'aria-label': label, viewBox: `0 0 ${width} ${height}`, width, height,
    preserveAspectRatio: 'none',
  }, svg('line', { class: 'base', x1: 0, x2: width, y1: height - 0.5, y2: height - 0.5 }), bars);
}

const WIDE = 1200;
const TALL = 260;
const LEFT = 64;
const BOTTOM = 34;
const TOP = 10;

// Numbers that are easy to read, from 0 or the least to the greatest.
function ticks(least, most) {
  const rough = (most - least) / 4 || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((one) => one >= rough);
  const first = Math.floor(least / step) * step;
  const found = [];
  for (let value = first; value < most + step && found.length < 12; value += step) found.push(Number(value.toPrecision(12)));
  return found;
}

// The least and the greatest of numbers, however many there are.
const range = (values) => values.reduce(([least, most], one) => [Math.min(least, one), Math.max(most, one)], [Infinity, -Infinity]);

const short = (value) => Math.abs(value) >= 10000
  ? Intl.NumberFormat('en-US', { notation: 'compact', maximumFractionDigits: 1 }).format(value)
  : String(Number(value.toPrecision(4)));

// A chart of series: `[{ name, points: [[x, y], …] }]`. `kind` is `line` or `bar`; `names` are what stands below the
// places 0, 1, 2 …, or null where x is a time in ms.
export function chart({ series, kind, names, label }) {
  const points = series.flatMap((one) => one.points);
  const [lowest, highest] = range(points.map(([, y]) => y));
  const marks = ticks(Math.min(0, lowest), Math.max(highest, 0) || 1);
  const [low, high] = [marks[0], marks.at(-1)];
  const places = names?.length ?? 0;
  const [first, last] = names ? [-0.5, places - 0.5] : range(points.map(([x]) => x));
  const x = (value) => LEFT + ((value - first) / (last - first || 1)) * (WIDE - LEFT - 12);
  const y = (value) => TOP + (1 - (value - low) / (high - low)) * (TALL - TOP - BOTTOM);
  const grid = marks.map((value) => [
    svg('line', { class: 'grid', x1: LEFT, x2: WIDE - 12, y1: y(value), y2: y(value) }),
    svg('text', { x: LEFT - 8, y: y(value) + 4, 'text-anchor': 'end' }, short(value)),
  ]);
  const drawn = series.map((one, index) => (kind === 'bar'
    ? bars(one, index, series.length, x, y, places || points.length)
    : lines(one, index, x, y)));
  return svg('svg', { class: 'chart', role: 'img', 'aria-label': label, viewBox: `0 0 ${WIDE} ${TALL}` },
    grid, drawn, names ? below(names, x) : times(first, last, x));
}

function bars(one, index, of, x, y, places) {
  const room = ((WIDE - LEFT - 12) / Math.max(places, 1)) * 0.8;
  const width = Math.max(1, room / of);
  return one.points.map(([at, value]) => svg('rect', {
    class: `series-${index % 6}`, x: x(at) - room / 2 + index * width, width: Math.max(1, width - 1),
    y: Math.min(y(value), y(0)), height: Math.abs(y(value) - y(0)),
  }, svg('title', {}, `${one.name}: ${count(value)}`)));
}

function lines(one, index, x, y) {
  const sorted = [...one.points].sort(([a], [b]) => a - b);
  const path = sorted.map(([at, value], place) => `${place === 0 ? 'M' : 'L'}${x(at).toFixed(1)} ${y(value).toFixed(1)}`);
  const dots = sorted.length > 60 ? [] : sorted.map(([at, value]) => svg('circle', {
    class: `series-${index % 6}`, cx: x(at), cy: y(value), r: 2.5,
  }, svg('title', {}, `${one.name}: ${count(value)}`)));
  return [svg('path', { class: `series-${index % 6}`, d: path.join(' ') }), dots];
}

function below(names, x) {
  const every = Math.ceil(names.length / 8);
  return names.map((name, index) => index % every === 0 && svg('text', {
    x: x(index), y: TALL - 12, 'text-anchor': 'middle',
  }, name.length > 16 ? `${name.slice(0, 15)}…` : name));
}

function times(first, last, x) {
  const withDate = last - first > 86400000;
  const parts = [0, 0.25, 0.5, 0.75, 1].map((part) => first + part * (last - first));
  return parts.map((at, index) => {
    const text = new Date(at).toISOString();
    return svg('text', { x: x(at), y: TALL - 12, 'text-anchor': ['start', 'middle', 'middle', 'middle', 'end'][index] },
      withDate ? text.slice(5, 16).replace('T', ' ') : text.slice(11, 19));
  });
}
