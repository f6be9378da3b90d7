"""SQLAlchemy reads what tables a server has, over PostgreSQL's protocol, and asks them.

python postgres_sqlalchemy.py PORT TOKEN TRACE_ID. It ends with status 0 if every check holds.
"""

import sys

import pandas
from sqlalchemy import ARRAY, URL, MetaData, Table, create_engine, func, inspect, select, text
from sqlalchemy.exc import NoSuchTableError

TABLES = {"spans", "metrics", "failures"}
VIEWS = {"logs", "traces", "incidents", "builds", "flags"}


def tables_are_listed(engine):
    """Schemas, tables and views are those of the lake; there is nothing of PostgreSQL's own among them."""
    inspector = inspect(engine)
    assert set(inspector.get_schema_names()) == {"public", "information_schema"}
    for schema in (None, "public"):
        assert TABLES <= set(inspector.get_table_names(schema=schema))
        views = set(inspector.get_view_names(schema=schema))
        assert VIEWS <= views and "key_column_usage" not in views, views
    assert "tables" in inspector.get_view_names(schema="information_schema")
    for nothing in ("get_temp_table_names", "get_temp_view_names", "get_materialized_view_names",
                    "get_sequence_names", "get_enums", "get_domains"):
        assert getattr(inspector, nothing)() == [], nothing
    assert inspector.has_table("spans") and inspector.has_table("traces") and not inspector.has_table("nothing")


def columns_are_reflected(engine):
    """Columns have their types, with and without the schema; there are no keys, indexes and constraints."""
    for schema in (None, "public"):
        inspector = inspect(engine)
        columns = {column["name"]: column for column in inspector.get_columns("spans", schema=schema)}
        types = {name: str(column["type"]) for name, column in columns.items()}
        expected = {"trace_id": "TEXT", "start_time": "TIMESTAMP", "duration_ns": "BIGINT", "attributes": "TEXT"}
        assert {name: types[name] for name in expected} == expected, types
        assert columns["start_time"]["type"].timezone is True
        assert all(column["default"] is None for column in columns.values())
        assert inspector.get_pk_constraint("spans", schema=schema)["constrained_columns"] == []
        for nothing in ("get_foreign_keys", "get_indexes", "get_unique_constraints", "get_check_constraints"):
            assert getattr(inspector, nothing)("spans", schema=schema) == [], nothing
        assert inspector.get_table_comment("spans", schema=schema) == {"text": None}
        assert inspector.get_table_options("spans", schema=schema) == {}
    for asked in ("get_columns", "get_pk_constraint", "get_foreign_keys", "get_indexes"):
        try:
            getattr(inspect(engine), asked)("nothing")
        except NoSuchTableError:
            continue
        raise AssertionError(f"{asked} finds a table that is not there")


def everything_is_reflected(engine):
    """All tables and views at once, and the lists of a view as lists."""
    metadata = MetaData()
    metadata.reflect(engine, views=True)
    assert TABLES | VIEWS <= set(metadata.tables), set(metadata.tables)
    services = metadata.tables["traces"].c.services.type
    assert isinstance(services, ARRAY) and str(services.item_type) == "TEXT", services


def tables_are_read_by_pandas(engine):
    """pandas reads a table that it is told the name of."""
    frame = pandas.read_sql_table("spans", engine, columns=["name", "start_time", "duration_ns"])
    assert list(frame.columns) == ["name", "start_time", "duration_ns"] and len(frame) == 3, frame
    assert frame["duration_ns"].max() == 900_000_000 and str(frame["start_time"].dt.tz) == "UTC", frame.dtypes


def tables_are_asked(engine, trace):
    """A table that was reflected is asked with values bound, and with rows streamed."""
    spans = Table("spans", MetaData(), autoload_with=engine)
    query = select(spans.c.service_name, func.count()).where(spans.c.trace_id == trace)
    query = query.group_by(spans.c.service_name).order_by(spans.c.service_name)
    with engine.connect() as connection:
        assert connection.execute(query).all() == [("checkout", 2), ("payments", 1)]
        streamed = connection.execution_options(stream_results=True, max_row_buffer=100)
        rows = streamed.execute(text("select * from generate_series(1, 1000)"))
        assert sum(1 for _ in rows) == 1000


def main(port, token, trace):
    url = URL.create("postgresql+psycopg", "python", token, "127.0.0.1", int(port), "tracerag")
    engine = create_engine(url)
    tables_are_listed(engine)
    columns_are_reflected(engine)
    everything_is_reflected(engine)
    tables_are_read_by_pandas(engine)
    tables_are_asked(engine, trace)
    engine.dispose()


if __name__ == "__main__":
    main(*sys.argv[1:])
