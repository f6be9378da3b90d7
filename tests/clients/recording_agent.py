"""An agent reads the recording page by page: python recording_agent.py URL TOKEN TRUTH TRACE_ID...

URL is the server's. The pages of a bundle, of a trace, of its logs, of a search and of a query, small and large, are the same
entries, each once, and those that HTTP tells. It ends with status 0 if every check holds.
"""

import asyncio
import json
import sys
from collections import Counter
from pathlib import Path

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

# An entry that is larger than a page is shortened; none is so large.
SMALL, LARGE = 6_000, 25_000
# Traces of a search are small.
FEW = 1_000
# Sections of a bundle with anchors, besides its spans.
FIXED = ["failures", "flags", "builds", "logs", "heaps", "payloads", "metrics", "linked"]
# Sections that change with what is seen of other traces.
CHANGING = ["similar", "baseline", "late"]


async def pages(client, tool, arguments, tokens):
    """All pages of an answer: their number, and the entries of each section."""
    cursor, count, entries = None, 0, {}
    while True:
        given = {**arguments, "max_tokens": tokens, **({"cursor": cursor} if cursor else {})}
        result = await client.call_tool(tool, given)
        assert not result.is_error, (tool, result.content)
        page = result.structured_content
        count += 1
        for section, values in page["data"].items():
            if isinstance(values, list):
                assert values or not cursor, (tool, section)
                entries.setdefault(section, []).extend(values)
        cursor = page.get("next_cursor")
        if cursor is None:
            return count, entries


async def both(client, tool, arguments):
    """The entries in small pages, which are those in large ones."""
    count, entries = await pages(client, tool, arguments, SMALL)
    fewer, large = await pages(client, tool, arguments, LARGE)
    assert count >= fewer, (tool, count, fewer)
    for section in (entries.keys() | large.keys()) - set(CHANGING):
        assert entries.get(section) == large.get(section), (tool, section)
    return count, entries


def ids(entries, name="span_id"):
    return Counter(entry[name] for entry in entries)


class Http:
    def __init__(self, client, url):
        self.client, self.url = client, url

    async def get(self, path):
        answer = await self.client.get(f"{self.url}{path}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def sql(self, query):
        answer = await self.client.post(f"{self.url}/v1/sql", json={"query": query})
        assert answer.status_code == 200, answer.text
        return answer.json()


async def a_bundle_is_whole(client, http, trace_id):
    whole = await http.get(f"/v1/bundles/{trace_id}")
    evidence = whole["evidence"]
    count, entries = await both(client, "get_evidence_bundle", {"bundle_id": whole["bundle_id"]})
    spans = entries.get("failing_path", []) + entries.get("other_spans", [])
    assert count > 1 and ids(spans) == ids(evidence["spans"]), (trace_id, count)
    for section in FIXED:
        told = ids(entries.get(section, []), "anchor")
        assert told == ids(evidence[section], "anchor"), (trace_id, section, told)
    assert len(entries.get("resources", [])) == len(evidence["resources"]), trace_id


async def a_trace_is_whole(client, http, trace_id):
    _, entries = await both(client, "get_trace", {"trace_id": trace_id})
    spans = sum((entries.get(section, []) for section in ["failing_path", "critical_path", "other_spans"]), [])
    where = f"where trace_id = '{trace_id}'"
    assert ids(spans) == ids(await http.sql(f"select span_id from spans {where}")), trace_id
    failures = await http.sql(f"select count(*) as n from failures {where}")
    assert len(entries.get("failures", [])) == failures[0]["n"], trace_id
    _, entries = await both(client, "get_logs", {"trace_id": trace_id})
    logs = await http.sql(f"select body from logs {where}")
    assert len(entries.get("logs", [])) == len(logs), (trace_id, len(logs))


async def everything_is_found(client, http, truth):
    count, entries = await pages(client, "search_traces", {"status": "ERROR"}, FEW)
    failed = await http.sql("select trace_id from traces where status = 'ERROR'")
    assert count > 1 and ids(entries["traces"], "trace_id") == ids(failed, "trace_id"), (count, len(failed))
    query = "select trace_id, span_id from spans order by trace_id, span_id"
    count, entries = await pages(client, "run_sql", {"query": query}, LARGE)
    rows = Counter(tuple(row) for row in entries["rows"])
    assert count > 1 and len(rows) == rows.total() == truth["spans"], (count, len(rows), rows.total())


async def main(url, token, file, *traces):
    truth = json.loads(Path(file).read_text())
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx2.AsyncClient(headers=headers, timeout=120, trust_env=False) as client:
        http = Http(client, url)
        async with Client(streamable_http_client(f"{url}/mcp", http_client=client), mode="legacy") as agent:
            for trace_id in traces:
                await a_bundle_is_whole(agent, http, trace_id)
                await a_trace_is_whole(agent, http, trace_id)
            await everything_is_found(agent, http, truth)


asyncio.run(main(*sys.argv[1:]))
