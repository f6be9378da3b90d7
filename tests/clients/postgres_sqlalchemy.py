"""SQLAlchemy reads what tables a server has, over PostgreSQL's protocol, and asks them.

python postgres_sqlalchemy.py PORT TOKEN TRACE_ID. It ends with status 0 if every check holds.
"""

import sys

from sqlalchemy import URL, MetaData, Table, create_engine, func, inspect, select, text


def tables_are_reflected(engine):
    """Tables, views and columns with their types; there are no keys."""
    inspector = inspect(engine)
    assert "public" in inspector.get_schema_names()
    assert {"spans", "logs", "traces"} <= set(inspector.get_table_names())
    assert "incidents" in inspector.get_view_names()
    columns = {column["name"]: str(column["type"]) for column in inspector.get_columns("spans")}
    expected = {"trace_id": "TEXT", "start_time": "TIMESTAMP", "duration_ns": "BIGINT", "attributes": "TEXT"}
    assert {name: columns[name] for name in expected} == expected, columns
    assert inspector.get_pk_constraint("spans")["constrained_columns"] == []
    assert inspector.get_foreign_keys("spans") == [] and inspector.get_indexes("spans") == []


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
    tables_are_reflected(engine)
    tables_are_asked(engine, trace)
    engine.dispose()


if __name__ == "__main__":
    main(*sys.argv[1:])
