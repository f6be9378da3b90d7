// Values as people read them. Times are UTC, as everywhere in tracerag.

const SMALL = [[1e9, 's'], [1e6, 'ms'], [1e3, 'µs'], [1, 'ns']];

// Nanoseconds as `4.28 s`, `12.5 ms`, `2 min 3 s`.
export function duration(nanoseconds) {
  const value = Number(nanoseconds);
  if (nanoseconds === null || nanoseconds === undefined || !Number.isFinite(value)) return '–';
  if (value >= 60e9) {
    const seconds = Math.round(value / 1e9);
    const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor((seconds % 3600) / 60)];
    return hours > 0 ? `${hours} h ${minutes} min` : `${minutes} min ${seconds % 60} s`;
  }
  for (const [size, unit] of SMALL) {
    if (value >= size) return `${rounded(value / size)} ${unit}`;
  }
  return '0 ns';
}

function rounded(value) {
  return value >= 100 ? Math.round(value).toString() : Number(value.toPrecision(3)).toString();
}

// RFC 3339 as nanoseconds since 1970: exact, which a `Date` is not.
export function nanoseconds(time) {
  const [whole, fraction = ''] = time.replace(/Z$/, '').split('.');
  return BigInt(Date.parse(`${whole}Z`)) * 1000000n + BigInt(fraction.padEnd(9, '0').slice(0, 9));
}

// `2026-11-29 00:54:43`, with milliseconds where they are wanted.
export function time(text, withMilliseconds = false) {
  if (!text) return '–';
  return text.replace('T', ' ').slice(0, withMilliseconds ? 23 : 19);
}

const STEPS = [[86400, 'd'], [3600, 'h'], [60, 'min'], [1, 's']];

// How long ago: `3 h ago`.
export function ago(text, now = Date.now()) {
  if (!text) return '–';
  const seconds = Math.round((now - Date.parse(text)) / 1000);
  if (seconds < 0) return time(text);
  for (const [size, unit] of STEPS) {
    if (seconds >= size) return `${Math.floor(seconds / size)} ${unit} ago`;
  }
  return 'now';
}

// `1,234`; a number beyond 2^53 comes as text.
export function count(value) {
  if (value === null || value === undefined) return '–';
  return Number(value).toLocaleString('en-US');
}

// `3.4 MiB`.
export function bytes(value) {
  if (value === null || value === undefined) return '–';
  let [size, unit] = [Number(value), 'B'];
  for (const larger of ['KiB', 'MiB', 'GiB', 'TiB']) {
    if (size < 1024) break;
    [size, unit] = [size / 1024, larger];
  }
  return `${rounded(size)} ${unit}`;
}

// One of `1 span`, `2 spans`.
export function many(number, name, plural = `${name}s`) {
  return `${count(number)} ${Number(number) === 1 ? name : plural}`;
}

// A value of any type on one line.
export function plain(value) {
  if (value === null || value === undefined) return '–';
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}

const HUES = 8;
const hues = new Map();

// The number of a service's colour. It follows from its name, unless another that was seen before has the same: two
// services look alike only where there are more of them than colours.
export function hue(service) {
  const name = service ?? '';
  if (!hues.has(name)) {
    let hash = 0;
    for (const letter of name) hash = (hash * 31 + letter.codePointAt(0)) % 65521;
    const taken = new Set(hues.values());
    const free = [...Array(HUES).keys()].map((step) => (hash + step) % HUES).find((one) => !taken.has(one));
    hues.set(name, free ?? hash % HUES);
  }
  return hues.get(name);
}
