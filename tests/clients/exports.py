"""Exports and the lake in other engines: python exports.py PARQUET PARQUET_JSON DELTA LAKE EXPECTED.

EXPECTED is a JSON object of counts and sums that SQL gave. Each engine has to find the same in every form. It prints
"equal". DuckDB's Lance extension comes from a package of Python, so that nothing is downloaded.
"""

import glob
import json
import sys

import deltalake
import duckdb
import duckdb_extensions
import lance
import pandas
import pyarrow.compute as compute

MAPS, TEXTS, DELTA, LAKE = sys.argv[1:5]
EXPECTED = json.loads(sys.argv[5])


def check(engine: str, found: dict) -> None:
    for name, value in found.items():
        assert int(value) == int(EXPECTED[name]), f"{engine}: {name} is {value}, and SQL gave {EXPECTED[name]}"


def in_pandas() -> None:
    spans = pandas.read_parquet(f"{MAPS}/spans")
    routes = spans["attributes"].map(lambda pairs: "http.route" in dict(pairs)).sum()
    check("pandas", {"spans": len(spans), "duration_ns": spans["duration_ns"].sum(), "routes": routes})
    check("pandas", {"logs": len(pandas.read_parquet(f"{MAPS}/logs"))})
    spans = pandas.read_parquet(f"{TEXTS}/spans")
    routes = spans["attributes"].map(lambda text: "http.route" in json.loads(text)).sum()
    check("pandas, JSON", {"spans": len(spans), "duration_ns": spans["duration_ns"].sum(), "routes": routes})


def in_duckdb() -> None:
    for form, route in [
        (MAPS, "attributes['http.route']"),
        (TEXTS, "attributes::json ->> '$.\"http.route\"'"),
    ]:
        spans = duckdb.sql(
            f"select count(*), sum(duration_ns), count({route}), count(distinct day) "
            f"from read_parquet('{form}/spans/*/*.parquet', hive_partitioning = true)"
        ).fetchone()
        check("duckdb", {"spans": spans[0], "duration_ns": spans[1], "routes": spans[2]})
        assert spans[3] == len(glob.glob(f"{form}/spans/day=*")), "duckdb sees each day"
        metrics = duckdb.sql(f"select count(*) from read_parquet('{form}/metrics/*/*.parquet')").fetchone()
        check("duckdb", {"metrics": metrics[0]})


def in_delta() -> None:
    table = deltalake.DeltaTable(f"{DELTA}/spans")
    assert table.metadata().partition_columns == ["day"]
    spans = table.to_pyarrow_table()
    routes = sum("http.route" in dict(pairs or []) for pairs in spans["attributes"].to_pylist())
    found = {"spans": spans.num_rows, "duration_ns": compute.sum(spans["duration_ns"]).as_py(), "routes": routes}
    check("deltalake", found)
    for name in ["logs", "metrics"]:
        check("deltalake", {name: deltalake.DeltaTable(f"{DELTA}/{name}").to_pyarrow_table().num_rows})


def in_lance() -> None:
    """Every day is a dataset of its own; the newest versions are those of the newest head while nobody writes."""
    days = glob.glob(f"{LAKE}/spans/*.lance")
    tables = [lance.dataset(day).to_table(columns=["duration_ns"]) for day in days]
    total = sum(compute.sum(table["duration_ns"]).as_py() or 0 for table in tables)
    check("pylance", {"spans": sum(table.num_rows for table in tables), "duration_ns": total})


def in_duckdb_lance() -> None:
    connection = duckdb.connect()
    duckdb_extensions.import_extension("lance", con=connection)
    connection.sql("load lance")
    # Lance 6, which this release of the extension has inside, fails at lists of structs with constant parts: spans,
    # traces and metrics have such.
    days = glob.glob(f"{LAKE}/logs/*.lance")
    bodies = [connection.sql(f"select body from '{day}'").fetchall() for day in days]
    check("duckdb and lance", {"logs": sum(len(rows) for rows in bodies)})


in_pandas()
in_duckdb()
in_delta()
in_lance()
in_duckdb_lance()
print("equal")
