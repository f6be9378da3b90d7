// The server's HTTP interface, as /openapi.json describes it.

const TOKEN = 'tracerag.token';

// An error as the server tells it (RFC 9457): `code` for programs, `detail` for people.
export class Problem extends Error {
  constructor(status, { code = 'unknown', detail = 'the server gave no reason', wait_seconds: wait } = {}) {
    super(detail);
    Object.assign(this, { status, code, detail, wait });
  }
}

let askForToken = () => Promise.reject(new Problem(401, { detail: 'a token is needed' }));

// Who asks a person for a token, where the server wants one.
export function tokensFrom(source) {
  askForToken = source;
}

// The token is kept for this tab alone, and never stands in an address.
export function forgetToken() {
  sessionStorage.removeItem(TOKEN);
}

export function hasToken() {
  return sessionStorage.getItem(TOKEN) !== null;
}

async function send(method, path, { body, accept = 'application/json', signal } = {}) {
  const headers = { accept };
  const token = sessionStorage.getItem(TOKEN);
  if (token) headers.authorization = `Bearer ${token}`;
  if (body) headers['content-type'] = 'application/json';
  const request = { method, headers, signal, body: body && JSON.stringify(body), credentials: 'omit' };
  let response;
  try {
    response = await fetch(path, request);
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new Problem(0, { code: 'unreachable', detail: 'the server does not answer; is tracerag serve still running?' });
  }
  if (response.ok) return response;
  const problem = new Problem(response.status, await response.json().catch(() => ({})));
  if (problem.status !== 401) throw problem;
  // Other requests of the view may have asked meanwhile, and got one.
  if (sessionStorage.getItem(TOKEN) === token) {
    sessionStorage.setItem(TOKEN, await askForToken(token === null ? '' : problem.detail));
  }
  return send(method, path, { body, accept, signal });
}

// The JSON of an answer, unless the view that asked for it is over.
async function told(answer, signal) {
  const json = await (await answer).json();
  signal?.throwIfAborted();
  return json;
}

const get = (path, signal) => told(send('GET', path, { signal }), signal);
const post = (path, body, signal) => told(send('POST', path, { body, signal }), signal);
const part = encodeURIComponent;

// The pages of a list, up to so many; and whether there are more.
async function pages(name, most, signal) {
  const found = [];
  let cursor = null;
  do {
    const more = cursor ? `&cursor=${part(cursor)}` : '';
    const page = await get(`/v1/${name}?limit=1000${more}`, signal);
    found.push(...page[name]);
    cursor = page.next_cursor;
  } while (cursor && found.length < most);
  return { found, hasMore: cursor !== null };
}

// All incidents that the page can show, the one seen last first.
export const incidents = (signal) => pages('incidents', 5000, signal);

// All fixes that the page can show, newest first.
export const fixes = (signal) => pages('fixes', 20000, signal);

export const incident = (fingerprint, signal) => get(`/v1/incidents/${part(fingerprint)}?appeared_with=true`, signal);
export const status = (signal) => get('/v1/status', signal);
export const trace = (id, signal) => get(`/v1/traces/${part(id)}`, signal);
export const bundle = (id, signal) => get(`/v1/bundles/${part(id)}`, signal);
export const similar = (asked, signal) => post('/v1/similar', asked, signal);
export const compare = (asked, signal) => post('/v1/compare', asked, signal);
export const sql = (query, signal) => post('/v1/sql', { query, format: 'json' }, signal);

export function trends(since, until, bins, signal) {
  return get(`/v1/trends?since=${part(since)}&until=${part(until)}&bins=${bins}`, signal);
}

export async function csv(query) {
  return (await send('POST', '/v1/sql', { body: { query, format: 'csv' }, accept: 'text/csv' })).blob();
}
