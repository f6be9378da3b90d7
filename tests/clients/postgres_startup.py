"""What DBeaver, Metabase, Grafana and the JDBC driver send when they begin, over a connection and by the extended protocol,
in which such tools speak.

python postgres_startup.py PORT TOKEN FOLDER. FOLDER has the recorded statements, a file a tool. It ends with status 0 if
every statement is answered, and the answers hold what the tools show: tables, their kinds, columns, types, times.
"""

import sys
from datetime import datetime, timezone
from pathlib import Path

import psycopg
from psycopg.rows import dict_row

START = datetime(2026, 11, 16, 12, 0, 5, tzinfo=timezone.utc)
TYPES = {
    "trace_id": "text",
    "start_time": "timestamp with time zone",
    "duration_ns": "bigint",
    "http_response_status_code": "integer",
    "attributes": "text",
    "events": "text",
}


def asked(connection, statement):
    """The rows of a statement that is parsed, described, bound and executed; none of one that answers with none."""
    cursor = connection.execute(statement, prepare=True)
    return cursor.fetchall() if cursor.description else []


class Answers:
    """What came back for each statement of a tool, in its order on one connection."""

    def __init__(self, connection, file):
        self.given = []
        for statement in file.read_text().split("\n;\n"):
            statement = statement.strip().removesuffix(";").strip()
            if statement:
                try:
                    self.given.append((statement, asked(connection, statement)))
                except psycopg.Error as error:
                    raise AssertionError(f"{file.name}: {error}\n{statement}") from error
        assert len(self.given) > 1, file

    def to(self, part):
        """The statement that has this in it, and its rows."""
        found = [given for given in self.given if part in given[0]]
        assert len(found) == 1, (part, len(found))
        return found[0]

    def rows(self, part):
        return self.to(part)[1]


def dbeaver(connection, answers):
    assert next(iter(answers.rows("current_schema()")[0].values())) == "public"
    assert answers.rows("SHOW search_path") == [{"search_path": "public"}]
    assert answers.rows("version()")[0]["version"].startswith("PostgreSQL 16")
    namespaces = {row["nspname"]: row["oid"] for row in answers.rows("FROM pg_catalog.pg_namespace n LEFT")}
    assert {"public", "pg_catalog", "information_schema"} <= namespaces.keys(), namespaces
    types = {row["typname"] for row in answers.rows("as base_type_name")}
    assert {"text", "int8", "timestamptz"} <= types, types
    # The tree of a schema is opened by the same statement with the schema's number.
    statement, _ = answers.to("c.relnamespace=11")
    tables = asked(connection, statement.replace("c.relnamespace=11", f"c.relnamespace={namespaces['public']}"))
    kinds = {row["relname"]: row["relkind"] for row in tables}
    assert (kinds["spans"], kinds["incidents"]) == ("r", "v"), kinds


def metabase(connection, answers):
    assert answers.rows("show timezone") == [{"TimeZone": "UTC"}]
    assert answers.rows("SHOW TRANSACTION") == [{"transaction_isolation": "read committed"}]
    schemas = answers.rows('AS "TABLE_SCHEM"')
    assert {"TABLE_SCHEM": "public", "TABLE_CATALOG": "tracerag"} in schemas, schemas
    # Metabase shows the tables that may be read.
    readable = {row["table"] for row in answers.rows("table_privileges") if row["schema"] == "public" and row["select"]}
    tables = {row["name"]: row["type"] for row in answers.rows('AS "estimated_row_count"')}
    assert (tables["spans"], tables["incidents"]) == ("TABLE", "VIEW"), tables
    assert {"spans", "incidents"} <= readable <= tables.keys(), (readable, tables)


def grafana(connection, answers):
    # With or without its schema: Grafana writes down what it gets, and both are read.
    tables = {row["table"].removeprefix("public.") for row in answers.rows("FROM information_schema.tables")}
    assert {"spans", "incidents"} <= tables, tables
    columns = {row["column"]: row["type"] for row in answers.rows("FROM information_schema.columns")}
    assert {name: columns.get(name) for name in TYPES} == TYPES, columns
    grouped = [(float(row["time"]), row["metric"], row["value"]) for row in answers.rows("count(*) AS value")]
    assert sorted(grouped) == [(1794830400.0, "checkout", 2), (1794830400.0, "payments", 1)], grouped
    series = answers.rows("duration_ns / 1e6 AS value")
    assert [float(row["value"]) for row in series] == [900.0, 700.0, 600.0] and series[0]["time"] == START, series
    assert [tuple(row.values()) for row in answers.rows("FROM traces")] == [(1,)]


def jdbc(connection, answers):
    tables = {row["TABLE_NAME"]: (row["TABLE_CAT"], row["TABLE_TYPE"]) for row in answers.rows('AS "TABLE_TYPE"')}
    assert tables["spans"] == ("tracerag", "TABLE") and "incidents" not in tables, tables
    columns = answers.rows("row_number() OVER")
    assert [row["attnum"] for row in columns] == list(range(1, len(columns) + 1)), columns
    selected = connection.execute("select * from spans limit 0").description
    assert [row["attname"] for row in columns] == [column.name for column in selected], columns
    assert [row["atttypid"] for row in columns] == [column.type_code for column in selected], columns


def main(port, token, folder):
    for tool in (dbeaver, metabase, grafana, jdbc):
        target = f"host=127.0.0.1 port={port} user=tools dbname=tracerag"
        with psycopg.connect(target, password=token, autocommit=True, row_factory=dict_row) as connection:
            tool(connection, Answers(connection, Path(folder) / f"{tool.__name__}.sql"))


if __name__ == "__main__":
    main(*sys.argv[1:])
