// The official TypeScript client of MCP asks a server for the evidence of one failing trace, and cites it.
//
// node agent.mjs TRACE_ID URL TOKEN. It ends with status 0 if every answer is as the protocol and the tools' output schemas
// have it (the client checks these itself), and says what it read.

import assert from 'node:assert/strict';

const sdk = (file) => import(`${process.env.NODE_MODULES}/@modelcontextprotocol/sdk/dist/esm/${file}`);
const { Client } = await sdk('client/index.js');
const { StreamableHTTPClientTransport } = await sdk('client/streamableHttp.js');
const [traceId, url, token] = process.argv.slice(2);

function transport(secret) {
  return new StreamableHTTPClientTransport(new URL(url), { requestInit: { headers: { Authorization: `Bearer ${secret}` } } });
}

const client = new Client({ name: 'agent', version: '1' });
await client.connect(transport(token));
assert.equal(client.getServerVersion().name, 'tracerag');

async function told(name, given) {
  const result = await client.callTool({ name, arguments: given });
  assert.ok(!result.isError, JSON.stringify(result));
  assert.deepEqual(JSON.parse(result.content[0].text), result.structuredContent);
  return result.structuredContent;
}

const { tools } = await client.listTools();
assert.equal(tools.length, 10);
const bundle = await told('get_evidence_bundle', { trace_id: traceId, max_tokens: 25_000 });
const { bundle_id: bundleId, failures, failing_path: path } = bundle.data;
assert.ok(failures.length > 0);
const span = path.find((entry) => entry.status === 'ERROR');
const claims = [
  { id: 'c1', text: `${span.service} failed`, anchors: [span.anchor], predicates: [`status(${span.anchor}) = ERROR`] },
];
const report = await told('verify_citations', { bundle_id: bundleId, claims });
assert.equal(report.data.all_hold, true, JSON.stringify(report));
const unknown = await client.callTool({ name: 'get_evidence_bundle', arguments: { trace_id: 'f'.repeat(32) } });
assert.ok(unknown.isError && unknown.content[0].text.startsWith('trace-unknown: '), JSON.stringify(unknown));
const read = await client.readResource({ uri: 'schema://spans' });
assert.ok(read.contents[0].text.includes('duration_ns'));
const prompt = await client.getPrompt({ name: 'root_cause_with_citations', arguments: { trace_id: traceId } });
assert.ok(prompt.messages[0].content.text.includes(traceId));
await client.close();

// Without a token that holds nothing is told.
const stranger = new Client({ name: 'stranger', version: '1' });
await assert.rejects(stranger.connect(transport('tracerag_00')));
console.log(JSON.stringify({ bundle_id: bundleId }));
