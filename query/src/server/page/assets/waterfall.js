// The spans of a trace over time. Only the rows that are in view are in the document, so that a trace of thousands of
// spans scrolls and filters like one of ten.

import { h, put } from './dom.js';
import { duration, hue, many, nanoseconds } from './format.js';

const ROW = 26;
// Rows beyond the view, on each side.
const SPARE = 8;
const DEEPEST = 24;

export class Waterfall {
  // `onselect` is told of the node that is chosen.
  constructor(tree, onselect) {
    this.tree = tree;
    this.onselect = onselect;
    this.selected = -1;
    this.from = 0;
    this.to = tree.span;
    this.rows = new Map();
    this.ticks = h('div', { class: 'ticks', role: 'columnheader' });
    this.body = h('div', { class: 'spans', role: 'rowgroup' });
    this.overview = h('canvas', { height: 48, role: 'img', 'aria-label': 'The whole trace in small; the failing path is red' });
    this.frame = h('span', { class: 'frame' });
    this.grid = h('div', {
      class: 'waterfall', role: 'treegrid', tabindex: 0, 'aria-label': 'Spans', 'aria-readonly': 'true',
      onscroll: () => this.later(), onkeydown: (event) => this.key(event), onclick: (event) => this.click(event),
    },
    h('div', { role: 'rowgroup', class: 'heads' }, h('div', { class: 'head', role: 'row', 'aria-rowindex': 1 },
      h('div', { role: 'columnheader' }, 'Service and operation'), this.ticks)), this.body);
    this.element = h('div', { class: 'trace-time' },
      h('div', { class: 'overview', onclick: (event) => this.jump(event) }, this.overview, this.frame), this.grid);
  }

  // Draws anew when the window or the theme changes, until the view is left.
  watch(signal) {
    const observer = new ResizeObserver(() => this.refresh());
    observer.observe(this.grid);
    signal.addEventListener('abort', () => observer.disconnect());
    document.addEventListener('themechange', () => this.drawOverview(), { signal });
  }

  // What is shown has changed.
  refresh() {
    this.visible = this.tree.visible();
    this.places = new Map(this.visible.map((node, place) => [node.index, place]));
    this.grid.setAttribute('aria-rowcount', this.visible.length + 1);
    this.body.style.height = `${this.visible.length * ROW}px`;
    this.rows.clear();
    put(this.body);
    this.drawTicks();
    this.drawOverview();
    this.draw();
  }

  later() {
    this.waiting ??= requestAnimationFrame(() => {
      this.waiting = null;
      this.draw();
    });
  }

  // Puts the rows in view into the document, and takes the others out.
  draw() {
    const top = this.grid.scrollTop;
    const first = Math.max(0, Math.floor(top / ROW) - SPARE);
    const last = Math.min(this.visible.length, Math.ceil((top + this.grid.clientHeight) / ROW) + SPARE);
    const wanted = new Set(this.visible.slice(first, last).map((node) => node.index));
    for (const [index, row] of this.rows) {
      if (wanted.has(index)) continue;
      row.remove();
      this.rows.delete(index);
    }
    const added = [];
    for (let place = first; place < last; place += 1) {
      const node = this.visible[place];
      if (this.rows.has(node.index)) continue;
      const row = this.row(node, place);
      this.rows.set(node.index, row);
      added.push(row);
    }
    this.body.append(...added);
    const isThere = this.rows.has(this.selected);
    this.grid.toggleAttribute('aria-activedescendant', isThere);
    if (isThere) this.grid.setAttribute('aria-activedescendant', `row-${this.selected}`);
    this.drawFrame(first, last);
  }

  row(node, place) {
    const { span } = node;
    const isOpen = node.below > 0 ? !this.tree.collapsed.has(node.index) : null;
    const indent = h('span', { class: 'indent' });
    indent.style.width = `${Math.min(span.depth, DEEPEST) * 14}px`;
    const row = h('div', {
      id: `row-${node.index}`, role: 'row', class: `span hue-${hue(span.service_name)}`, 'aria-level': span.depth + 1,
      'aria-rowindex': place + 2, 'aria-expanded': isOpen === null ? null : String(isOpen),
      'aria-selected': String(node.index === this.selected), 'data-index': node.index,
    },
    h('div', { role: 'gridcell', class: 'name' }, indent,
      h('span', { class: 'twist', 'aria-hidden': 'true' }, isOpen === null ? '' : isOpen ? '▾' : '▸'),
      h('span', { class: 'stripe' }), h('span', { class: 'who' }, span.service_name ?? 'unknown'),
      h('span', { class: 'what', title: span.name }, span.name), badges(node)),
    h('div', { role: 'gridcell', class: 'time' }, this.bar(node)));
    row.style.transform = `translateY(${place * ROW}px)`;
    for (const [name, is] of [['failing', node.isFailing], ['origin', node.isOrigin], ['slow', node.isSlow], ['critical', span.on_critical_path]]) {
      row.classList.toggle(name, Boolean(is));
    }
    return row;
  }

  // Where a moment stands, in percent of the width.
  percent(at) {
    return (100 * (at - this.from)) / (this.to - this.from || 1);
  }

  bar(node) {
    const [left, right] = [this.percent(node.start), this.percent(node.end)];
    const bar = h('span', { class: 'bar' });
    bar.style.left = `${Math.max(0, left)}%`;
    bar.style.width = `${Math.max(0, Math.min(100, right) - Math.max(0, left))}%`;
    const took = h('span', { class: 'took' }, duration(node.span.duration_ns));
    // Beside the bar where there is more room, and within it where there is none.
    if (left < 12 && right > 88) took.classList.add('inside');
    else if (left > 100 - right) took.style.right = `calc(${100 - left}% + 6px)`;
    else took.style.left = `calc(${Math.max(0, Math.min(100, right))}% + 6px)`;
    const marks = node.logs.map((log) => this.mark(log.time, `log ${log.severity ?? ''}`, log.body));
    const events = (node.fact?.events ?? []).map((event) => this.mark(event.time, 'event', event.name));
    const outside = right < 0 || left > 100;
    return outside ? [] : [bar, marks, events, took];
  }

  mark(time, kind, title) {
    if (!time) return null;
    const mark = h('span', { class: `mark ${kind.toLowerCase()}`, title: `${kind}: ${title ?? ''}` });
    const at = this.percent(Number(nanoseconds(time) - this.tree.first));
    if (at < 0 || at > 100) return null;
    mark.style.left = `${at}%`;
    return mark;
  }

  drawTicks() {
    const marks = [0, 0.25, 0.5, 0.75].map((part) => {
      const mark = h('span', {}, duration(this.from + part * (this.to - this.from)));
      mark.style.left = `${part * 100}%`;
      return mark;
    });
    put(this.ticks, marks, h('span', { class: 'end' }, duration(this.to)));
  }

  drawOverview() {
    const { overview } = this;
    overview.width = overview.clientWidth || 600;
    const ink = overview.getContext('2d');
    const [wide, tall] = [overview.width, overview.height];
    const colours = [...Array(8).keys()].map((one) => colour(`hue-${one}`));
    const bad = colour('failing');
    ink.clearRect(0, 0, wide, tall);
    const high = Math.max(1, Math.min(4, tall / this.visible.length));
    const fill = (node, place) => {
      const width = Math.max(1, ((node.end - node.start) / this.tree.span) * wide);
      ink.fillRect((node.start / this.tree.span) * wide, (place / this.visible.length) * tall, width, high);
    };
    this.visible.forEach((node, place) => {
      ink.fillStyle = colours[hue(node.span.service_name)];
      if (!node.isFailing) fill(node, place);
    });
    // Over all others, for they are what is looked for.
    ink.fillStyle = bad;
    this.visible.forEach((node, place) => node.isFailing && fill(node, place));
  }

  // Which part of the overview the rows in view are.
  drawFrame(first, last) {
    const of = Math.max(1, this.visible.length);
    this.frame.hidden = last - first >= of;
    this.frame.style.top = `${(100 * first) / of}%`;
    this.frame.style.height = `${(100 * (last - first)) / of}%`;
  }

  jump(event) {
    const box = this.overview.getBoundingClientRect();
    const part = (event.clientY - box.top) / box.height;
    this.grid.scrollTop = part * this.visible.length * ROW - this.grid.clientHeight / 2;
  }

  click(event) {
    const row = event.target.closest('.span');
    if (!row) return;
    const index = Number(row.dataset.index);
    if (event.target.closest('.twist')) this.turn(index);
    this.select(index);
  }

  // Shows or hides what is below a span.
  turn(index, open = this.tree.collapsed.has(index)) {
    if (this.tree.nodes[index].below === 0) return;
    if (open) this.tree.collapsed.delete(index);
    else this.tree.collapsed.add(index);
    this.refresh();
  }

  select(index) {
    const node = this.tree.nodes[index];
    if (!node) return;
    this.rows.get(this.selected)?.setAttribute('aria-selected', 'false');
    this.selected = index;
    this.reveal(index);
    this.draw();
    this.rows.get(index)?.setAttribute('aria-selected', 'true');
    this.onselect(node);
  }

  // Scrolls a span into view, and opens what hides it.
  reveal(index) {
    if (!this.places.has(index)) {
      for (let node = this.tree.nodes[index]; node; node = this.tree.nodes[node.parent]) this.tree.collapsed.delete(node.parent);
      this.tree.filter = { words: [], onlyFailing: false };
      this.refresh();
      this.onreveal?.();
    }
    const top = this.places.get(index) * ROW;
    const room = this.grid.clientHeight - ROW * 2;
    const { scrollTop } = this.grid;
    // A row next to those in view comes in at the edge, one from afar to the middle.
    if (top < scrollTop - 4 * ROW || top > scrollTop + room + 4 * ROW) this.grid.scrollTop = top - room / 2;
    else if (top < scrollTop) this.grid.scrollTop = top;
    else if (top > scrollTop + room) this.grid.scrollTop = top - room;
  }

  // Moves the choice by some rows.
  move(by) {
    const at = this.places.get(this.selected) ?? (by > 0 ? -1 : this.visible.length);
    const next = this.visible[Math.max(0, Math.min(this.visible.length - 1, at + by))];
    if (next) this.select(next.index);
  }

  // The next place where something failed.
  fail(by) {
    const origins = this.tree.nodes.filter((node) => node.isOrigin || node.failures.length > 0);
    if (origins.length === 0) return;
    const ahead = by > 0 ? origins.find((node) => node.index > this.selected) : origins.findLast((node) => node.index < this.selected);
    this.select((ahead ?? origins.at(by > 0 ? 0 : -1)).index);
  }

  // Takes the time of the chosen span for the whole width; nothing chosen, or again: the whole trace.
  zoom(isWhole) {
    const node = this.tree.nodes[this.selected];
    const wanted = isWhole || !node ? [0, this.tree.span] : [node.start, Math.max(node.end, node.start + 1)];
    [this.from, this.to] = wanted;
    this.refresh();
  }

  key(event) {
    const { key } = event;
    const page = Math.floor(this.grid.clientHeight / ROW) - 2;
    const moves = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
    const node = this.tree.nodes[this.selected];
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (key in moves) this.move(Number.isFinite(moves[key]) ? moves[key] : Math.sign(moves[key]) * this.visible.length);
    else if (key === 'ArrowRight' && node) this.turn(node.index, true);
    else if (key === 'ArrowLeft' && node) {
      if (node.below > 0 && !this.tree.collapsed.has(node.index)) this.turn(node.index, false);
      else if (node.parent >= 0) this.select(node.parent);
    } else return;
    event.preventDefault();
  }
}

// What is at a span, besides its bar.
function badges(node) {
  const kinds = [['failures', '!', 'failure'], ['logs', 'L', 'log'], ['flags', 'F', 'flag'], ['payloads', 'P', 'payload'], ['heaps', 'H', 'heap']];
  const slow = node.isSlow && h('span', { class: 'badge slow', title: 'too slow for its caller', role: 'img', 'aria-label': 'too slow for its caller' }, 'S');
  return [slow, kinds.filter(([kind]) => node[kind].length > 0).map(([kind, letter, name]) => {
    const told = many(node[kind].length, name);
    return h('span', { class: `badge ${kind}`, title: told, role: 'img', 'aria-label': told },
      `${letter}${kind === 'logs' ? node.logs.length : ''}`);
  })];
}

// A colour of the style sheet as a canvas takes it.
function colour(name) {
  const probe = h('span', { class: `probe ${name}` });
  document.body.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}
