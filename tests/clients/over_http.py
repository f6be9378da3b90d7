"""Rows over HTTP in a notebook's own tools: python over_http.py URL TOKEN.

The same rows come as JSON, CSV and Arrow into pandas and polars, whole and in pages; values bound by place and by name
arrive as they are; an answer that a limit breaks off is an error in each of them, never a short table. It prints the
number of rows.
"""

import io
import sys

import pandas
import polars
import pyarrow
import pyarrow.ipc
import requests

SPANS = "select span_id, name, duration_ns, start_time, attributes from spans order by start_time, span_id"


class Server:
    def __init__(self, url: str, token: str):
        self.url = url
        self.session = requests.Session()
        self.session.headers["Authorization"] = f"Bearer {token}"

    def sql(self, query: str, accept: str = "application/json", **more) -> requests.Response:
        answer = self.session.post(
            f"{self.url}/v1/sql", json={"query": query, **more}, headers={"Accept": accept}, timeout=120
        )
        answer.raise_for_status()
        return answer

    def arrow(self, query: str, **more) -> pyarrow.Table:
        answer = self.sql(query, "application/vnd.apache.arrow.stream", **more)
        return pyarrow.ipc.open_stream(answer.content).read_all()


def same_rows_in_every_form(server: Server) -> int:
    rows = server.sql(SPANS).json()
    table = server.arrow(SPANS)
    csv = pandas.read_csv(io.StringIO(server.sql(SPANS, "text/csv").text), dtype={"span_id": str})
    assert table.num_rows == len(rows) == len(csv) > 0, (table.num_rows, len(rows), len(csv))
    frame = table.to_pandas()
    for column in ["span_id", "name", "duration_ns"]:
        told = [row[column] for row in rows]
        assert told == frame[column].tolist() == csv[column].tolist(), column
        assert told == polars.from_arrow(table)[column].to_list(), column
    # JSON and CSV have times as text, to the nanosecond; Arrow has them as times.
    assert table.schema.field("start_time").type == pyarrow.timestamp("ns", "UTC"), table.schema
    for text in ([row["start_time"] for row in rows], csv["start_time"]):
        assert [pandas.Timestamp(one) for one in text] == frame["start_time"].tolist(), text
    # Maps are objects in JSON, and maps in Arrow.
    assert [row["attributes"] for row in rows] == [dict(one) for one in table["attributes"].to_pylist()]
    return len(rows)


def pages_are_the_whole(server: Server) -> None:
    whole = server.arrow(SPANS)
    pages, cursor = [], None
    while True:
        answer = server.sql(SPANS, "application/vnd.apache.arrow.stream", page_size=2, cursor=cursor)
        pages.append(pyarrow.ipc.open_stream(answer.content).read_all())
        assert pages[-1].num_rows <= 2
        cursor = answer.headers.get("tracerag-next-cursor")
        if cursor is None:
            break
    assert len(pages) > 1 and pyarrow.concat_tables(pages).equals(whole)


def values_are_bound(server: Server) -> None:
    values = ["it's \"quoted\" \\ ü 例 \u0000", 9007199254740993, -1, 0.5, True, None]
    query = "select $1 as a, $2 as b, $3 as c, $4 as d, $5 as e, $6 as f"
    assert list(server.arrow(query, params=values).to_pylist()[0].values()) == values
    named = server.arrow("select name from spans where name = $name", params={"name": "POST /checkout"})
    assert set(named["name"].to_pylist()) == {"POST /checkout"}, named


def broken_off_answers_are_errors(server: Server) -> None:
    endless = "select value, repeat('x', 100) as filler from generate_series(1, 100000000)"
    for accept in ["application/json", "text/csv", "application/vnd.apache.arrow.stream"]:
        try:
            answer = server.sql(endless, accept)
        except requests.exceptions.ChunkedEncodingError:
            continue
        raise AssertionError(f"{len(answer.content)} bytes of {accept} look like a whole answer")


def main(url: str, token: str) -> None:
    server = Server(url, token)
    count = same_rows_in_every_form(server)
    pages_are_the_whole(server)
    values_are_bound(server)
    broken_off_answers_are_errors(server)
    print(count)


main(*sys.argv[1:])
