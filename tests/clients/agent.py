"""The official Python client of MCP does what an agent does with one failing trace.

python agent.py VERSION TRACE_ID URL TOKEN      over HTTP
python agent.py VERSION TRACE_ID -- COMMAND ..  over standard input and output of a program that it starts

VERSION is `legacy` for the handshake of 2025-11-25, or the version of a later protocol. It ends with status 0 if every
answer is as the protocol and the tools' output schemas have it (the client checks these itself), and says what it read.
"""

import asyncio
import json
import sys

import httpx2
from mcp import Client, MCPError, StdioServerParameters
from mcp.client import stdio
from mcp.client.streamable_http import streamable_http_client

# How long, in seconds, a program may take to end once its input has. It writes down what it was asked before that, and a
# busy machine takes longer than the two seconds after which the client would kill it.
stdio.PROCESS_TERMINATION_TIMEOUT = stdio.FORCE_KILL_TIMEOUT = 300

TOOLS = [
    "find_similar_incidents",
    "get_evidence_bundle",
    "compare_to_baseline",
    "search_traces",
    "get_trace",
    "get_logs",
    "run_sql",
    "describe_schema",
    "record_fix",
    "verify_citations",
]


async def told(client, tool, arguments):
    """The answer of a tool that did what it was asked for; its text is the same document."""
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, (tool, result.content)
    document = result.structured_content
    assert json.loads(result.content[0].text) == document, tool
    return document


async def pages(client, tool, arguments):
    """All pages of an answer."""
    cursor = None
    while True:
        given = arguments if cursor is None else {**arguments, "cursor": cursor}
        page = await told(client, tool, given)
        yield page
        cursor = page.get("next_cursor")
        if cursor is None:
            return


async def work(client, trace_id):
    listed = await client.list_tools()
    assert [tool.name for tool in listed.tools] == TOOLS, listed.tools
    assert all(tool.output_schema and tool.annotations for tool in listed.tools)

    # The whole bundle, in small pages; the failure stands on the first.
    bundle_id, entries = None, {}
    async for page in pages(client, "get_evidence_bundle", {"trace_id": trace_id, "max_tokens": 1_000}):
        data = page["data"]
        if bundle_id is None:
            bundle_id = data["bundle_id"]
            assert data["failures"], data
        assert data["bundle_id"] == bundle_id
        for section, values in data.items():
            if isinstance(values, list):
                entries.setdefault(section, []).extend(values)
    whole = await told(client, "get_evidence_bundle", {"bundle_id": bundle_id, "max_tokens": 25_000})
    assert "next_cursor" not in whole
    for section, values in entries.items():
        assert len(values) == len(whole["data"][section]), section

    # Claims that hold, and one that does not.
    failed = [span for span in entries["failing_path"] if span["status"] == "ERROR"][0]
    anchor, service = failed["anchor"], failed["service"]
    claim = {"id": "c1", "text": f"{service} failed", "anchors": [anchor], "predicates": [f"status({anchor}) = ERROR"]}
    report = await told(client, "verify_citations", {"bundle_id": bundle_id, "claims": [claim]})
    assert report["data"]["all_hold"], report
    wrong = {**claim, "predicates": [f"status({anchor}) = OK"]}
    report = await told(client, "verify_citations", {"bundle_id": bundle_id, "claims": [wrong]})
    assert not report["data"]["all_hold"] and report["data"]["claims"][0]["reasons"], report

    # The other tools on the same trace.
    fingerprint = entries["failures"][0]["fingerprint"]
    similar = await told(client, "find_similar_incidents", {"trace_id": trace_id, "k": 3})
    assert fingerprint in [incident["fingerprint"] for incident in similar["data"]["incidents"]], similar
    traces = await told(client, "search_traces", {"status": "ERROR"})
    assert trace_id in [trace["trace_id"] for trace in traces["data"]["traces"]], traces
    trace = await told(client, "get_trace", {"trace_id": trace_id})
    assert trace["data"]["failing_path"], trace
    assert (await told(client, "get_logs", {"trace_id": trace_id}))["data"]["logs"]
    query = {"query": "select span_id from spans order by span_id"}
    rows = [row async for page in pages(client, "run_sql", query) for row in page["data"]["rows"]]
    schema = await told(client, "describe_schema", {"table": "spans"})
    assert "duration_ns" in [column["column_name"] for column in schema["data"]["columns"]]
    fix = await told(client, "record_fix", {"fingerprint": fingerprint, "summary": "round before the ledger"})
    assert fix["fix_id"]

    # What goes wrong is a result that says what to do; what is no tool is an error.
    unknown = await client.call_tool("get_trace", {"trace_id": "f" * 32})
    assert unknown.is_error and unknown.content[0].text.startswith("trace-unknown: "), unknown
    try:
        await client.call_tool("guess", {})
        raise AssertionError("there is no such tool")
    except MCPError:
        pass

    resources = await client.list_resources()
    assert "schema://spans" in [str(resource.uri) for resource in resources.resources]
    read = await client.read_resource(f"bundle://{bundle_id}")
    assert json.loads(read.contents[0].text)["data"]["bundle_id"] == bundle_id
    prompt = await client.get_prompt("root_cause_with_citations", {"trace_id": trace_id})
    assert trace_id in prompt.messages[0].content.text
    print(json.dumps({"version": client.protocol_version, "bundle_id": bundle_id, "spans": len(rows)}))


async def main(version, trace_id, place, *rest):
    if place == "--":
        async with Client(StdioServerParameters(command=rest[0], args=list(rest[1:])), mode=version) as client:
            return await work(client, trace_id)
    headers = {"Authorization": f"Bearer {rest[0]}"}
    async with httpx2.AsyncClient(headers=headers, timeout=120, trust_env=False) as http:
        async with Client(streamable_http_client(place, http_client=http), mode=version) as client:
            await work(client, trace_id)


asyncio.run(main(*sys.argv[1:]))
