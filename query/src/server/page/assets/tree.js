// The spans of a trace as a tree, and what of it is to be seen.

import { nanoseconds } from './format.js';

export class Tree {
  // `spans` in tree order, each with its depth, as the server gives them; `slow` are the ids of those that somebody waited
  // for in vain.
  constructor(spans, slow = []) {
    const begins = spans.map((span) => nanoseconds(span.start_time));
    const first = begins.reduce((least, one) => (one < least ? one : least), begins[0] ?? 0n);
    const places = new Map(spans.map((span, index) => [span.span_id, index]));
    this.first = first;
    this.nodes = spans.map((span, index) => {
      const start = Number(begins[index] - first);
      const end = start + Math.max(0, Number(span.duration_ns ?? 0));
      // A parent stands before its child. Spans that name each other, or themselves, have none: nothing would end.
      const place = places.get(span.parent_span_id) ?? -1;
      const parent = place < index ? place : -1;
      return {
        index, span, start, end, parent, below: 0, isError: span.status_code === 'ERROR', isFailing: false, isOrigin: false,
        isSlow: slow.includes(span.span_id),
        logs: [], failures: [], flags: [], payloads: [], heaps: [],
        text: [span.name, span.service_name, span.service_version, span.kind, span.span_id, span.status_message].join(' ').toLowerCase(),
      };
    });
    for (const node of this.nodes) if (node.parent >= 0) this.nodes[node.parent].below += 1;
    this.places = places;
    this.span = this.nodes.reduce((most, node) => Math.max(most, node.end), 1);
    this.collapsed = new Set();
    this.filter = { words: [], onlyFailing: false };
    // What is of the trace and of none of its spans.
    this.apart = { logs: [], failures: [], flags: [], payloads: [], heaps: [] };
    this.mark();
  }

  at(spanId) {
    return this.nodes[this.places.get(spanId) ?? -1];
  }

  // Hangs the evidence of a bundle on the spans that it is of. What was joined by the trace or by time has none.
  hang(evidence) {
    for (const kind of Object.keys(this.apart)) {
      for (const fact of evidence[kind] ?? []) (this.at(fact.span_id) ?? this.apart)[kind].push(fact);
    }
    for (const fact of evidence.spans ?? []) {
      const node = this.at(fact.span_id);
      if (node) node.fact = fact;
    }
    for (const node of this.nodes) {
      const said = [...node.logs.map((log) => log.body), ...node.failures.flatMap((one) => [one.exception_type, one.message])];
      node.text = [node.text, ...said].join(' ').toLowerCase();
    }
    this.mark();
  }

  // The failing path: from each failure up to its root, and from who was too slow for somebody above. Without failures of its
  // own a trace has its spans with an error.
  mark() {
    const failed = this.nodes.filter((node) => node.failures.length > 0);
    const origins = [...(failed.length > 0 ? failed : this.nodes.filter((node) => node.isError)), ...this.nodes.filter((node) => node.isSlow)];
    for (const node of this.nodes) node.isFailing = node.isOrigin = false;
    for (const origin of origins) {
      for (let node = origin; node && !node.isFailing; node = this.nodes[node.parent]) node.isFailing = true;
    }
    // Where the failing path ends, it began.
    const passed = new Set(this.nodes.filter((node) => node.isFailing).map((node) => node.parent));
    for (const node of this.nodes) node.isOrigin = node.isFailing && !passed.has(node.index);
  }

  // The nodes to show, in order: without those below a collapsed one, or those that a filter finds with their ancestors.
  visible() {
    const { words, onlyFailing } = this.filter;
    if (words.length > 0 || onlyFailing) {
      const kept = new Set();
      this.matches = 0;
      for (const node of this.nodes) {
        if (onlyFailing && !node.isFailing && !node.isError) continue;
        if (!words.every((word) => node.text.includes(word))) continue;
        this.matches += 1;
        for (let one = node; one && !kept.has(one.index); one = this.nodes[one.parent]) kept.add(one.index);
      }
      return this.nodes.filter((node) => kept.has(node.index));
    }
    this.matches = null;
    const hidden = new Set();
    return this.nodes.filter((node) => {
      const isHidden = hidden.has(node.parent) || this.collapsed.has(node.parent);
      if (isHidden) hidden.add(node.index);
      return !isHidden;
    });
  }
}
