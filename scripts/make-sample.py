#!/usr/bin/env python3
"""Cuts the sample telemetry of `tracerag demo` out of one hour of the train-ticket system, and makes the change
events and the heap record that go with it.

    scripts/make-sample.py FOLDER        FOLDER holds traces.jsonl.zst, logs.jsonl.zst and metrics.jsonl.zst, each a
                                         file of OTLP/JSON export requests, one a line

Writes examples/sample/. Needs Python 3.9 and the `zstd` command. The same input gives the same bytes.

Source of the telemetry: the Nezha data set (repository IntelligentDDS/Nezha, MIT licence, (c) 2023
IntelligentDDS) as OTLP/JSON. Spans, logs and points are taken as they are; only whole traces are taken.
"""
import datetime
import json
import os
import subprocess
import sys

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "examples", "sample")
UTC = datetime.timezone.utc


def ns(text):
    return int(datetime.datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1_000_000_000


def rfc3339(time_ns):
    whole = datetime.datetime.fromtimestamp(time_ns // 1_000_000_000, UTC)
    return whole.strftime("%Y-%m-%dT%H:%M:%S") + f".{time_ns // 1_000_000 % 1000:03d}Z"


# The source was recorded in runs of about four minutes around each fault; these are the first two.
WINDOWS = [
    (ns("2023-01-30T11:50:00"), ns("2023-01-30T11:54:30")),
    (ns("2023-01-30T11:58:00"), ns("2023-01-30T12:02:30")),
]
# The service that loses its neighbour in the second run, and the neighbour.
FAILING, MISSING = "ts-seat-service", "ts-config-service"
GOOD_SHA = "5f0c7b1e9a2d4c6388b1f0a47d3e5c9261b8a7f4"
BAD_SHA = "c41d2e7f8b903a65d17e4f2c0b9a8d6e35f71a92"
ENVIRONMENT = "production"


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


def write_jsonl(name, records):
    with open(os.path.join(OUT, f"{name}.jsonl"), "w", encoding="utf-8") as f:
        for record in records:
            f.write(json.dumps(record, separators=(",", ":")) + "\n")


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


def choose(logs):
    """The first trace in which FAILING reports that MISSING has no instances: (trace id, span id, pod, time)."""
    found = []
    for attributes, record in logs_of(logs):
        body = record["body"].get("stringValue", "")
        if attributes["service.name"] == FAILING and f"No instances available for {MISSING}" in body and record.get("severityNumber", 0) >= 17:
            found.append((int(record["timeUnixNano"]), record["traceId"], record["spanId"], attributes["k8s.pod.name"]))
    time_ns, trace_id, span_id, pod = min(found)
    return trace_id, span_id, pod, time_ns


def deployment(kind, service, version, sha, number, time_ns, extra=None):
    """One CDEvent. `made_for_demo` says in the record itself that nobody recorded it."""
    custom = {"made_for_demo": True, "vcs.ref.head.revision": sha, "build_number": str(number)}
    custom.update(extra or {})
    return {
        "context": {
            "version": "0.4.1",
            "id": f"made-for-demo-{service}-{number}",
            "source": "/demo/delivery",
            "type": f"dev.cdevents.service.{kind}.0.2.0",
            "timestamp": rfc3339(time_ns),
        },
        "subject": {
            "id": f"/demo/services/{service}",
            "source": "/demo/delivery",
            "type": "service",
            "content": {
                "environment": {"id": ENVIRONMENT, "source": "/demo/delivery"},
                "artifactId": f"pkg:oci/{service}@sha256%3A{sha}{sha[:24]}?tag={version}",
            },
        },
        "customData": custom,
        "customDataContentType": "application/json",
    }


def deployments(services, fault_ns):
    start = WINDOWS[0][0]
    records = []
    for i, service in enumerate(services):
        sha = GOOD_SHA if service == FAILING else f"{i + 1:02x}" * 3 + GOOD_SHA[6:]
        extra = {"lockfile_digests": {"pom.xml": "sha256:" + GOOD_SHA[:40] + GOOD_SHA[:24]}} if service == FAILING else None
        records.append(deployment("deployed", service, "1.0.0", sha, 100 + i, start - (40 - i) * 60_000_000_000, extra))
    extra = {"lockfile_digests": {"pom.xml": "sha256:" + BAD_SHA[:40] + BAD_SHA[:24]}, "schema_migrations": []}
    records.append(deployment("upgraded", FAILING, "1.1.0", BAD_SHA, 200, fault_ns - 25_000_000_000, extra))
    return records


def flags(fault_ns):
    def change(time_ns, key, variant, value, service):
        return {"time": rfc3339(time_ns), "feature_flag.key": key, "feature_flag.result.variant": variant, "feature_flag.result.value": value,
                "service.name": service, "feature_flag.provider.name": "demo", "made_for_demo": True}

    def config(time_ns, key, value, service):
        return {"time": rfc3339(time_ns), "config.key": key, "config.value": value, "service.name": service, "made_for_demo": True}

    start = WINDOWS[0][0]
    return [
        change(start - 1_800_000_000_000, "seat.config_lookup", "static", "static", FAILING),
        change(start - 1_790_000_000_000, "preserve.insurance", "on", "true", "ts-preserve-service"),
        config(start - 1_780_000_000_000, "seat.client.read_timeout_ms", "2000", FAILING),
        config(start + 120_000_000_000, "food.stores.cache_seconds", "30", "ts-food-service"),
        change(fault_ns - 10_000_000_000, "seat.config_lookup", "discovery", "discovery", FAILING),
        config(fault_ns - 9_000_000_000, "seat.client.read_timeout_ms", "500", FAILING),
    ]


def heap(trace_id, span_id, fault_ns):
    return {
        "format": "summary", "captured_at": rfc3339(fault_ns), "trace_id": trace_id, "span_id": span_id,
        "service.name": FAILING, "vcs.ref.head.revision": BAD_SHA,
        "top_types": [
            {"type": "com.netflix.loadbalancer.ServerList", "bytes": 41943040, "count": 5120},
            {"type": "byte[]", "bytes": 18874368, "count": 96211},
            {"type": "java.lang.String", "bytes": 6291456, "count": 131072},
        ],
        "top_sites": [
            {"function": "seat.service.SeatServiceImpl.getLeftTicketOfInterval", "file": f"{FAILING}/SeatServiceImpl.java", "line": 117,
             "bytes": 41943040, "count": 5120},
            {"function": "seat.config.DiscoveryClient.refresh", "file": f"{FAILING}/DiscoveryClient.java", "line": 64, "bytes": 12582912, "count": 2048},
        ],
        "retained_paths": [["thread http-nio-18898-exec-7", "seat.service.SeatServiceImpl", "seat.config.DiscoveryClient",
                            "com.netflix.loadbalancer.ServerList"]],
        "total_bytes": 73400320, "truncated": False, "made_for_demo": True,
    }


README = """# Sample telemetry of `tracerag demo`

About nine minutes of a train-ticket booking system of some forty services, around two injected faults
(2023-01-30, 11:50 to 11:54 and 11:58 to 12:02 UTC).

| file | content | |
| --- | --- | --- |
| `traces.jsonl.zst` | {spans} spans sent, {distinct_spans} distinct, in {traces} traces | recorded |
| `logs.jsonl.zst` | {logs} log records sent, {distinct_logs} distinct, {errors} of them of severity ERROR | recorded |
| `metrics.jsonl.zst` | {points} gauge points | recorded |
| `flags.jsonl` | {flags} changes of flags and configuration | **made** |
| `deployments.jsonl` | {deployments} CDEvents: a first deployment of each service, one upgrade | **made** |
| `heaps.jsonl` | one heap record | **made** |

**Recorded**: OTLP/JSON, one export request a line. Source: the Nezha data set, repository `IntelligentDDS/Nezha`,
MIT licence, (c) 2023 IntelligentDDS (full text in [LICENSE-Nezha](LICENSE-Nezha)). Spans, log records and points are
as in the source; only whole traces were taken. Some spans and log records come twice, as when a sender retries; some
log records have no time.

**Made**: the data set records no flags, no deployments and no heaps. The three files were written for the
demonstration, fit the recorded services and times, and carry `"made_for_demo": true` in every record. They tell this story: at
{upgraded} `{failing}` is upgraded from 1.0.0 (`{good}`) to 1.1.0 (`{bad}`), at {flagged} the flag
`seat.config_lookup` goes from `static` to `discovery`, and at {time} the service reports that it finds no instance of
`{missing}`. The recorded failure is real; its cause here is invented.

The trace to look at: `{trace_id}` (span `{span_id}`, service `{failing}`, pod `{pod}`). Its heap
record names `{failing}/SeatServiceImpl.java:117`.

`scripts/make-sample.py` made this folder.
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

    trace_id, span_id, pod, fault_ns = choose(logs)
    services = sorted({a["service.name"] for a, _ in spans_of(traces)})
    changes, builds, heaps = flags(fault_ns), deployments(services, fault_ns), [heap(trace_id, span_id, fault_ns)]
    size = write_zst("traces", traces) + write_zst("logs", logs) + write_zst("metrics", metrics)
    write_jsonl("flags", changes)
    write_jsonl("deployments", builds)
    write_jsonl("heaps", heaps)

    spans = [(s["traceId"], s["spanId"]) for _, s in spans_of(traces)]
    records = [json.dumps(r, sort_keys=True) for _, r in logs_of(logs)]
    facts = dict(
        spans=f"{len(spans):,}", distinct_spans=f"{len(set(spans)):,}", traces=f"{len(whole):,}", logs=f"{len(records):,}",
        distinct_logs=f"{len(set(records)):,}", errors=sum(1 for r in set(records) if json.loads(r).get("severityNumber", 0) >= 17),
        points=f"{sum(len(m['gauge']['dataPoints']) for q in metrics for r in q['resourceMetrics'] for s in r['scopeMetrics'] for m in s['metrics']):,}",
        flags=len(changes), deployments=len(builds), trace_id=trace_id, span_id=span_id, pod=pod, failing=FAILING, missing=MISSING,
        time=rfc3339(fault_ns), good=GOOD_SHA[:7], bad=BAD_SHA[:7], upgraded=builds[-1]["context"]["timestamp"], flagged=changes[-2]["time"])
    with open(os.path.join(OUT, "README.md"), "w", encoding="utf-8") as f:
        f.write(README.format(**facts))
    print(f"{size:,} bytes compressed", facts)


main()
