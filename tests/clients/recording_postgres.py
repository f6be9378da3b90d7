"""Every span of the recording over PostgreSQL's protocol: python recording_postgres.py PORT TOKEN TRUTH.

psycopg reads a cursor of the server part by part, as text and as binary, and SQLAlchemy streams chunks into pandas. TRUTH is
a file with what the recording is known to hold. It ends with status 0 if every check holds.
"""

import json
import sys
from pathlib import Path

import pandas
import psycopg
from sqlalchemy import URL, create_engine, text

SPANS = "select trace_id, span_id, start_time, duration_ns, attributes, resource_attributes, events from spans"
PART = 500


def parts_are_the_whole(connection, truth):
    """The same rows in either format, each once, with maps and lists of structs as JSON."""
    read = []
    for binary in (False, True):
        rows = {}
        with connection.transaction(), connection.cursor(name="parts", binary=binary) as cursor:
            cursor.itersize = PART
            cursor.execute(SPANS)
            for trace_id, span_id, start, duration, *documents in cursor:
                attributes, resource, events = (json.loads(one) if one else None for one in documents)
                assert isinstance(resource, dict) and (events is None or isinstance(events, list)), (resource, events)
                rows[trace_id, span_id] = (start, duration, attributes, resource, events)
        assert len(rows) == truth["spans"], len(rows)
        assert sum(duration for _, duration, *_ in rows.values()) == truth["duration_ns"]
        read.append(rows)
    assert read[0] == read[1]
    assert any(attributes for _, _, attributes, *_ in read[0].values())


def what_streams_is_the_whole(connection, truth):
    """Rows that come one by one, and the truth's own question."""
    with connection.cursor() as cursor:
        assert sum(1 for _ in cursor.stream("select * from logs")) == truth["logs"]
    found = connection.execute(truth["requests_query"]).fetchall()
    assert sorted(found) == sorted(tuple(request) for request in truth["requests"]), len(found)
    heaps = connection.execute("select top_sites from heaps").fetchall()
    assert len(heaps) == truth["heaps"] and all(json.loads(sites) for sites, in heaps), heaps


def chunks_are_the_whole(url, truth):
    engine = create_engine(url)
    with engine.connect() as connection:
        streamed = connection.execution_options(stream_results=True, max_row_buffer=PART)
        chunks = list(pandas.read_sql_query(text(SPANS), streamed, chunksize=PART))
    engine.dispose()
    assert len(chunks) > 1 and sum(len(chunk) for chunk in chunks) == truth["spans"]
    assert sum(int(chunk["duration_ns"].sum()) for chunk in chunks) == truth["duration_ns"]


def main(port, token, file):
    truth = json.loads(Path(file).read_text())
    target = f"host=127.0.0.1 port={port} user=python dbname=tracerag"
    with psycopg.connect(target, password=token, autocommit=True) as connection:
        parts_are_the_whole(connection, truth)
        what_streams_is_the_whole(connection, truth)
    chunks_are_the_whole(URL.create("postgresql+psycopg", "python", token, "127.0.0.1", int(port), "tracerag"), truth)


if __name__ == "__main__":
    main(*sys.argv[1:])
