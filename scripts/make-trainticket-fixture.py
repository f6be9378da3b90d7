#!/usr/bin/env python3
"""Cuts the telemetry that many tests read out of one hour of the train-ticket system.

    scripts/make-trainticket-fixture.py FOLDER     FOLDER holds traces.jsonl.zst, logs.jsonl.zst and metrics.jsonl.zst,
                                                   each a file of OTLP/JSON export requests, one a line

Writes tests/fixtures/trainticket/. Needs Python 3.9 and the `zstd` command. The same input gives the same bytes.

Source of the telemetry: the Nezha data set (repository IntelligentDDS/Nezha, MIT licence, (c) 2023
IntelligentDDS) as OTLP/JSON. Spans, logs and points are taken as they are; only whole traces are taken.
"""
import datetime
import json
import os
import subprocess
import sys

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "fixtures", "trainticket")
UTC = datetime.timezone.utc


def ns(text):
    return int(datetime.datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1_000_000_000


# The source was recorded in runs of about four minutes around each fault; these are the first two.
WINDOWS = [
    (ns("2023-01-30T11:50:00"), ns("2023-01-30T11:54:30")),
    (ns("2023-01-30T11:58:00"), ns("2023-01-30T12:02:30")),
]


def inside(time_ns):
    return any(a <= time_ns < b for a, b in WINDOWS)


def read(folder, signal):
    data = subprocess.run(["zstd", "-dc", os.path.join(folder, f"{signal}.jsonl.zst")], capture_output=True, check=True)
    return [json.loads(line) for line in data.stdout.splitlines()]


def write_zst(name, requests):
    text = "".join(json.dumps(r, separators=(",", ":")) + "\n" for r in requests)
    packed = subprocess.run(["zstd", "-19", "-q", "-c"], input=text.encode(), capture_output=True, check=True).stdout
    path = os.path.join(OUT, f"{name}.jsonl.zst")
    with open(path, "wb") as f:
        f.write(packed)
    return len(packed)


def filtered(requests, outer, scopes, inner, keep):
    """The requests with only the records that `keep` accepts; what is empty then is left out."""
    out = []
    for request in requests:
        resources = []
        for resource in request[outer]:
            kept = []
            for scope in resource[scopes]:
                records = [r for r in map(keep, scope[inner]) if r is not None]
                if records:
                    kept.append({**scope, inner: records})
            if kept:
                resources.append({**resource, scopes: kept})
        if resources:
            out.append({outer: resources})
    return out


def spans_of(requests):
    for request in requests:
        for resource in request["resourceSpans"]:
            attributes = {a["key"]: a["value"]["stringValue"] for a in resource["resource"]["attributes"]}
            for scope in resource["scopeSpans"]:
                for span in scope["spans"]:
                    yield attributes, span


def logs_of(requests):
    for request in requests:
        for resource in request["resourceLogs"]:
            attributes = {a["key"]: a["value"]["stringValue"] for a in resource["resource"]["attributes"]}
            for scope in resource["scopeLogs"]:
                for record in scope["logRecords"]:
                    yield attributes, record


def points_in_window(metric):
    gauge = [p for p in metric["gauge"]["dataPoints"] if inside(int(p["timeUnixNano"]))]
    return {**metric, "gauge": {"dataPoints": gauge}} if gauge else None


README = """# Telemetry of a train-ticket system

About nine minutes of a train-ticket booking system of some forty services, around two injected faults
(2023-01-30, 11:50 to 11:54 and 11:58 to 12:02 UTC). Tests read it for what no example of one's own has: another
instrumentation, deep traces, repeats and records as they came.

| file | content |
| --- | --- |
| `traces.jsonl.zst` | {spans} spans sent, {distinct_spans} distinct, in {traces} traces |
| `logs.jsonl.zst` | {logs} log records sent, {distinct_logs} distinct, {errors} of them of severity ERROR |
| `metrics.jsonl.zst` | {points} gauge points |

OTLP/JSON, one export request a line. Source: the Nezha data set, repository `IntelligentDDS/Nezha`, MIT licence,
(c) 2023 IntelligentDDS (full text in [LICENSE-Nezha](LICENSE-Nezha)). Spans, log records and points are as in the
source; only whole traces were taken. Some spans and log records come twice, as when a sender retries; some log records
have no time.

`scripts/make-trainticket-fixture.py` made this folder.
"""


def main():
    folder = sys.argv[1]
    os.makedirs(OUT, exist_ok=True)
    all_traces = read(folder, "traces")
    ends = {}
    for _, span in spans_of(all_traces):
        low, high = ends.get(span["traceId"], (1 << 63, 0))
        ends[span["traceId"]] = (min(low, int(span["startTimeUnixNano"])), max(high, int(span["endTimeUnixNano"])))
    whole = {t for t, (low, high) in ends.items() if any(a <= low and high < b for a, b in WINDOWS)}

    traces = filtered(all_traces, "resourceSpans", "scopeSpans", "spans", lambda s: s if s["traceId"] in whole else None)
    logs = filtered(read(folder, "logs"), "resourceLogs", "scopeLogs", "logRecords", lambda r: r if r.get("traceId") in whole else None)
    metrics = filtered(read(folder, "metrics"), "resourceMetrics", "scopeMetrics", "metrics", points_in_window)

    size = write_zst("traces", traces) + write_zst("logs", logs) + write_zst("metrics", metrics)

    spans = [(s["traceId"], s["spanId"]) for _, s in spans_of(traces)]
    records = [json.dumps(r, sort_keys=True) for _, r in logs_of(logs)]
    facts = dict(
        spans=f"{len(spans):,}", distinct_spans=f"{len(set(spans)):,}", traces=f"{len(whole):,}", logs=f"{len(records):,}",
        distinct_logs=f"{len(set(records)):,}", errors=sum(1 for r in set(records) if json.loads(r).get("severityNumber", 0) >= 17),
        points=f"{sum(len(m['gauge']['dataPoints']) for q in metrics for r in q['resourceMetrics'] for s in r['scopeMetrics'] for m in s['metrics']):,}")
    with open(os.path.join(OUT, "README.md"), "w", encoding="utf-8") as f:
        f.write(README.format(**facts))
    print(f"{size:,} bytes compressed", facts)


main()
