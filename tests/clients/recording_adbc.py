"""Every span and log record of the recording by ADBC: python recording_adbc.py GRPC_URL HTTP_URL TOKEN TRUTH.

TRUTH is a file with what the recording is known to hold. The same rows come over HTTP as an Arrow stream, and both are the
same, in each column: texts, numbers, times, maps, lists of structs. pandas and polars count and add up alike.
"""

import json
import sys
from pathlib import Path

import adbc_driver_flightsql.dbapi as flight_sql
import polars
import pyarrow
import pyarrow.ipc
import requests
from adbc_driver_flightsql import DatabaseOptions

ORIGIN = "kafka_topic, kafka_partition, kafka_offset"
TABLES = {
    "spans": "trace_id, span_id",
    "logs": f"time, record_hash, {ORIGIN}",
    "heaps": f"captured_at, {ORIGIN}",
    "payloads": "trace_id, span_id, direction",
    "traces": "trace_id",
}
COPIES = 2


class Both:
    """The server by both ways."""

    def __init__(self, grpc: str, url: str, token: str):
        header = DatabaseOptions.AUTHORIZATION_HEADER.value
        self.connection = flight_sql.connect(grpc, db_kwargs={header: f"Bearer {token}"}, autocommit=True)
        self.url = url
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.headers["Authorization"] = f"Bearer {token}"

    def cursor(self, query: str):
        cursor = self.connection.cursor()
        cursor.execute(query)
        return cursor

    def flight(self, query: str) -> pyarrow.Table:
        with self.cursor(query) as cursor:
            return cursor.fetch_arrow_table()

    def http(self, query: str) -> pyarrow.Table:
        accept = {"Accept": "application/vnd.apache.arrow.stream"}
        answer = self.session.post(f"{self.url}/v1/sql", json={"query": query}, headers=accept, timeout=120)
        answer.raise_for_status()
        return pyarrow.ipc.open_stream(answer.content).read_all()


def as_dict(entries):
    """A map as a dictionary: Arrow and pandas have it as pairs, polars as a dictionary, before its version 2 as structures."""
    if entries is None or isinstance(entries, dict):
        return entries
    return dict(tuple(entry.values()) if isinstance(entry, dict) else tuple(entry) for entry in entries)


def tables_are_the_same(server: Both, truth: dict) -> None:
    for table, order in TABLES.items():
        query = f"select * from {table} order by {order}"
        flight, http = server.flight(query), server.http(query)
        assert flight.num_rows == http.num_rows > 0, (table, flight.num_rows, http.num_rows)
        assert table not in truth or flight.num_rows == truth[table], (table, flight.num_rows, truth[table])
        assert flight.column_names == http.column_names, table
        for column in flight.column_names:
            assert flight[column].to_pylist() == http[column].to_pylist(), f"{table}.{column}"


def frames_are_the_same(server: Both, truth: dict) -> None:
    columns = "trace_id, span_id, service_name, duration_ns, start_time, attributes, resource_attributes"
    query = f"select {columns} from spans order by trace_id, span_id"
    table = server.flight(query)
    with server.cursor(query) as cursor:
        pandas = cursor.fetch_df()
    with server.cursor(query) as cursor:
        polar = cursor.fetch_polars()
    assert isinstance(polar, polars.DataFrame)
    assert table.num_rows == len(pandas) == len(polar) == truth["spans"]
    assert pandas["duration_ns"].sum() == polar["duration_ns"].sum() == truth["duration_ns"]
    assert table["start_time"].to_pandas().tolist() == pandas["start_time"].tolist()
    entries = 0
    for column in ["attributes", "resource_attributes"]:
        told = [as_dict(one) for one in table[column].to_pylist()]
        assert told == [as_dict(one) for one in pandas[column]], column
        assert told == [as_dict(one) for one in polar[column].to_list()], column
        entries += sum(len(one) for one in told if one)
    assert entries > truth["spans"], entries


def many_batches_are_the_whole(server: Both, truth: dict) -> None:
    """More rows than a batch has, with all that a span has, as they stream."""
    query = f"select s.* from spans as s, generate_series(1, {COPIES}) as n"
    rows, duration, batches = 0, 0, 0
    with server.cursor(query) as cursor:
        for batch in cursor.fetch_record_batch():
            rows += batch.num_rows
            duration += sum(batch.column(batch.schema.get_field_index("duration_ns")).to_pylist())
            batches += 1
    assert batches > 1 and rows == COPIES * truth["spans"], (batches, rows)
    assert duration == COPIES * truth["duration_ns"]


def requests_are_those_sent(server: Both, truth: dict) -> None:
    table = server.flight(truth["requests_query"])
    found = sorted(zip(table["trace_id"].to_pylist(), table["status"].to_pylist()))
    assert found == sorted(tuple(request) for request in truth["requests"]), len(found)


def main(grpc: str, url: str, token: str, truth: str) -> None:
    known = json.loads(Path(truth).read_text())
    server = Both(grpc, url, token)
    with server.connection:
        tables_are_the_same(server, known)
        frames_are_the_same(server, known)
        many_batches_are_the_whole(server, known)
        requests_are_those_sent(server, known)


main(*sys.argv[1:])
