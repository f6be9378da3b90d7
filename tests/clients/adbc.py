"""Flight SQL by the driver of ADBC, in a notebook's own tools: python adbc.py URI TOKEN TOKEN_OF_ANOTHER_TENANT.

Rows come into Arrow, pandas and polars with their types, values are bound, the server tells what there is, and whoever
may not is told so. It prints the number of rows.
"""

import sys

import adbc_driver_flightsql.dbapi as flight_sql
import pandas
import polars
import pyarrow
from adbc_driver_flightsql import DatabaseOptions
from adbc_driver_manager import Error

SPANS = "select span_id, name, duration_ns, start_time, attributes from spans order by start_time, span_id"


def by_token(uri: str, token: str) -> flight_sql.Connection:
    header = DatabaseOptions.AUTHORIZATION_HEADER.value
    return flight_sql.connect(uri, db_kwargs={header: f"Bearer {token}"}, autocommit=True)


def by_password(uri: str, token: str) -> flight_sql.Connection:
    return flight_sql.connect(uri, db_kwargs={"username": "anyone", "password": token}, autocommit=True)


def rows(connection: flight_sql.Connection, query: str, parameters=None) -> list:
    with connection.cursor() as cursor:
        cursor.execute(query, parameters)
        return cursor.fetchall()


def fails(work, part: str) -> None:
    try:
        work()
    except Error as error:
        assert part in str(error), f"{error} does not say {part!r}"
        return
    raise AssertionError(f"nothing says {part!r}")


def rows_come_into_frames(connection: flight_sql.Connection) -> int:
    with connection.cursor() as cursor:
        cursor.execute(SPANS)
        table = cursor.fetch_arrow_table()
        cursor.execute(SPANS)
        frame = cursor.fetch_df()
        cursor.execute(SPANS)
        polar = cursor.fetch_polars()
    assert table.num_rows == len(frame) == len(polar) > 0
    assert table.schema.field("start_time").type == pyarrow.timestamp("ns", "UTC"), table.schema
    assert table["name"].to_pylist() == frame["name"].tolist() == polar["name"].to_list()
    assert table["start_time"].to_pandas().tolist() == frame["start_time"].tolist()
    assert isinstance(table["attributes"].to_pylist()[0], list), "a map is a map"
    query = "select service_name, count(*) as spans from spans group by 1 order by 1"
    one, other = pandas.read_sql(query, connection), polars.read_database(query, connection)
    assert one["spans"].tolist() == other["spans"].to_list() and sum(one["spans"]) == table.num_rows
    return table.num_rows


def values_are_bound(connection: flight_sql.Connection) -> None:
    trace, least = rows(connection, "select trace_id, min(duration_ns) from spans group by 1")[0]
    counted = "select count(*) from spans where trace_id = {} and duration_ns > {}"
    everything = rows(connection, counted.format("?", "?"), (trace, 0))
    assert rows(connection, counted.format("$1", "$2"), [trace, 0]) == everything
    assert rows(connection, counted.format("?", "?"), (trace, least))[0][0] == everything[0][0] - 1
    assert rows(connection, counted.format("?", "?"), ("none", 0)) == [(0,)]
    named = pyarrow.record_batch({"trace": [trace], "least": [0]})
    assert rows(connection, counted.format("$trace", "$least"), named) == everything
    assert rows(connection, "select ? is null, cast(? as double), ?", (None, 0.5, "it's ü")) == [(True, 0.5, "it's ü")]
    frame = polars.DataFrame({"text": ["decimal overflow"]}).to_arrow()
    assert rows(connection, "select title from similar_incidents(?, 3)", frame)
    fails(lambda: rows(connection, counted.format("?", "?")), "$1")
    two = pyarrow.record_batch({"trace": [trace, trace], "least": [0, 0]})
    fails(lambda: rows(connection, counted.format("?", "?"), two), "one row")


def schemas_are_known_before(connection: flight_sql.Connection) -> None:
    with connection.cursor() as cursor:
        schema = cursor.adbc_execute_schema(SPANS)
        cursor.execute(SPANS)
        assert cursor.fetch_arrow_table().schema.equals(schema), schema
        wanted = cursor.adbc_prepare("select name from spans where trace_id = ? and duration_ns > ? limit ?")
        assert [field.type for field in wanted] == [pyarrow.string(), pyarrow.int64(), pyarrow.int64()], wanted


def the_server_tells_what_there_is(connection: flight_sql.Connection) -> None:
    info = connection.adbc_get_info()
    assert info["vendor_name"] == "tracerag", info
    assert (connection.adbc_current_catalog, connection.adbc_current_db_schema) == ("tracerag", "public")
    assert connection.adbc_get_table_types() == ["TABLE", "VIEW"]
    objects = connection.adbc_get_objects(depth="columns").read_all().to_pylist()
    assert [one["catalog_name"] for one in objects] == ["tracerag"], objects
    [schema] = objects[0]["catalog_db_schemas"]
    assert schema["db_schema_name"] == "public"
    columns = {
        table["table_name"]: [column["column_name"] for column in table["table_columns"]]
        for table in schema["db_schema_tables"]
    }
    for table in ["spans", "logs", "incidents"]:
        told = connection.adbc_get_table_schema(table)
        with connection.cursor() as cursor:
            cursor.execute(f"select * from {table} limit 1")
            selected = cursor.fetch_arrow_table().schema
        assert told.names == columns[table] == selected.names, table
        assert told.types == selected.types, table
    some = connection.adbc_get_objects(depth="tables", table_name_filter="inc%ents").read_all().to_pylist()
    [schema] = some[0]["catalog_db_schemas"]
    assert [table["table_name"] for table in schema["db_schema_tables"]] == ["incidents"], some


def a_query_can_be_cancelled(connection: flight_sql.Connection) -> None:
    endless = "select a.value from generate_series(1, 1000000) as a, generate_series(1, 1000000) as b"
    with connection.cursor() as cursor:
        cursor.execute(endless)
        reader = cursor.fetch_record_batch()
        assert reader.read_next_batch().num_rows > 0
        cursor.adbc_cancel()
        try:
            while True:
                reader.read_next_batch()
        except StopIteration:
            raise AssertionError("a cancelled query looks like a whole one")
        except (Error, pyarrow.ArrowException, OSError) as error:
            assert "cancel" in str(error).lower(), error
    assert rows(connection, "select 1") == [(1,)]


def refusals_say_what_to_do(uri: str, token: str) -> None:
    with by_token(uri, token) as connection:
        fails(lambda: rows(connection, "drop table spans"), "ask with SELECT")
        fails(lambda: rows(connection, "select no_such from spans"), "no_such")
        fails(lambda: rows(connection, "select * from evidence_bundle('xyz')"), "32 hex digits")
    fails(lambda: rows(by_token(uri, "tracerag_00"), "select 1"), "this token does not hold")
    fails(lambda: rows(by_password(uri, "tracerag_00"), "select 1"), "this token does not hold")
    fails(lambda: rows(flight_sql.connect(uri, autocommit=True), "select 1"), "a token is needed")


def main(uri: str, token: str, other: str) -> None:
    with by_token(uri, token) as connection:
        count = rows_come_into_frames(connection)
        values_are_bound(connection)
        schemas_are_known_before(connection)
        the_server_tells_what_there_is(connection)
        a_query_can_be_cancelled(connection)
    with by_password(uri, token) as connection:
        assert rows(connection, "select count(*) from spans") == [(count,)]
    with by_token(uri, other) as connection:
        assert rows(connection, "select count(*) from spans") == [(0,)]
    refusals_say_what_to_do(uri, token)
    print(count)


main(*sys.argv[1:])
