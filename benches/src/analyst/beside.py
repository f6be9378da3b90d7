"""DuckDB on Parquet files of the same rows, for the bench `analyst`.

  beside.py write FILE   takes rows as an Arrow IPC stream from standard input and writes them as Parquet with zstd
  beside.py ask FOLDER   answers statements, one JSON object a line, on the folder's files; each is a view of its name
"""

import json
import pathlib
import sys
import time

import duckdb
import pyarrow


def write(file):
    with duckdb.connect() as connection:
        connection.register("rows", pyarrow.ipc.open_stream(sys.stdin.buffer))
        connection.execute(f"copy (select * from rows) to '{file}' (format parquet, compression zstd)")


def ask(folder):
    connection = duckdb.connect()
    connection.execute("set TimeZone = 'UTC'")
    for file in sorted(pathlib.Path(folder).glob("*.parquet")):
        connection.execute(f"create view {file.stem} as select * from read_parquet('{file}')")
    print(json.dumps({"version": duckdb.__version__}), flush=True)
    for line in sys.stdin:
        begun = time.perf_counter_ns()
        answer = connection.sql(json.loads(line)["sql"]).to_arrow_table()
        taken = time.perf_counter_ns() - begun
        count = sum(value or 0 for value in answer.column("n").to_pylist())
        print(json.dumps({"ns": taken, "rows": answer.num_rows, "sum": int(count)}), flush=True)


if __name__ == "__main__":
    {"write": write, "ask": ask}[sys.argv[1]](sys.argv[2])
