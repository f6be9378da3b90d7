"""psycopg asks a server over PostgreSQL's protocol.

python postgres_psycopg.py PORT TOKEN TRACE_ID. It ends with status 0 if every check holds.
"""

import json
import sys
import threading
import time
import uuid
from datetime import datetime, timedelta, timezone
from decimal import Decimal

import psycopg
from psycopg import errors

START = datetime(2026, 11, 16, 12, 0, 5, tzinfo=timezone.utc)
ENDLESS = "select count(*) from generate_series(1, 1000000000000)"
MOST_CONNECTIONS = 256


def refused(connection, statement, error):
    """A statement ends with an error of this class."""
    try:
        connection.execute(statement)
    except error:
        return
    raise AssertionError(f"{statement} is answered")


def results_are_typed(connection, trace):
    """The same values arrive as text and as binary, in Python's types; maps and structs are JSON."""
    query = """select trace_id, start_time, duration_ns, status, services, complete, flags_in_effect, closed_at is null,
               duration_ns / 1e9 from traces where trace_id = %s"""
    answers = []
    for binary in (False, True):
        row = connection.cursor(binary=binary).execute(query, [trace]).fetchone()
        assert row[:6] == (trace, START, 900_000_000, "ERROR", ["checkout", "payments"], True), row
        assert isinstance(json.loads(row[6]), list) and row[7] is False and row[8] == 0.9, row
        answers.append(row)
    assert answers[0] == answers[1], answers


def parameters_are_bound(connection, trace):
    """Texts, numbers, times and nothing as values; the same statement many times, which psycopg then prepares."""
    query = "select count(*) from spans where start_time >= %s and duration_ns > %s and trace_id = %s"
    for _ in range(8):
        assert connection.execute(query, [START, 1, trace]).fetchone() == (3,)
    assert connection.execute("select %s::bigint + 1, %s::text", [41, None]).fetchone() == (42, None)
    assert connection.execute("select name from trace_tree(%s) limit 1", [trace]).fetchone() == ("POST /checkout",)
    # What the client declares holds, where it is compared with something else.
    for condition, value in [
        ("start_time > %s - interval '1 day'", START),
        ("start_time - %s < timestamp '2026-11-16 12:00:06'", timedelta(days=1)),
        ("duration_ns > %s", 1000000.5),
        ("duration_ns > %s", Decimal("1000000.5")),
        ("duration_ns < %s", float("inf")),
        ("duration_ns / 1000000 > %s", 1.5),
        ("coalesce(http_response_status_code, 0) < %s", 3_000_000_000),
    ]:
        found = connection.execute(f"select count(*) from spans where {condition}", [value]).fetchone()[0]
        assert found == 3, (condition, value, found)
    for condition, value in [("start_time > %s", 1_795_910_400_000), ("trace_id = %s", uuid.uuid4())]:
        try:
            connection.execute(f"select count(*) from spans where {condition}", [value]).fetchone()
        except psycopg.Error as error:
            assert error.sqlstate not in (None, "XX000"), (condition, error.sqlstate, error)
    # Nothing tells the types of these.
    assert connection.execute("select %s, %s, %s", [None, "a", "b"]).fetchone() == (None, "a", "b")
    hostile = "'; drop table spans; --"
    assert connection.execute("select count(*) from spans where name = %s", [hostile]).fetchone() == (0,)


def transactions_read(connection):
    """A transaction that has failed refuses what follows, and reads again after its end."""
    with connection.transaction():
        assert connection.execute("select count(*) from spans").fetchone() == (3,)
    connection.execute("begin")
    for statement, error in [("select nothing from spans", errors.UndefinedColumn), ("select 1", errors.InFailedSqlTransaction)]:
        refused(connection, statement, error)
    connection.execute("rollback")
    assert connection.execute("select 1").fetchone() == (1,)


def settings_go_back_to_savepoints(connection):
    """A transaction within another, which is a savepoint, takes back what was set in it, and keeps what was set before;
    one that is not there is an error of its class."""
    with connection.transaction():
        connection.execute("set timezone = 'Europe/Berlin'")
        try:
            with connection.transaction():
                connection.execute("set timezone = 'Asia/Tokyo'")
                connection.execute("select nothing from spans")
        except errors.UndefinedColumn:
            pass
        assert connection.info.parameter_status("TimeZone") == "Europe/Berlin"
        with connection.transaction():
            connection.execute("set local timezone = 'Asia/Tokyo'")
        assert connection.execute("show timezone").fetchone() == ("Asia/Tokyo",)
    assert connection.execute("show timezone").fetchone() == ("Europe/Berlin",)
    connection.execute("reset timezone")
    for statement, error in [
        ("savepoint alone", errors.NoActiveSqlTransaction),
        ("begin; rollback to nowhere", errors.InvalidSavepointSpecification),
    ]:
        refused(connection, statement, error)
    connection.execute("rollback")


def rows_come_in_parts(connection):
    """A cursor of the server is read part by part, as text or binary, and is listed until it is closed; one of which
    nothing was read is closed as well. In other formats than its first part no part is given."""
    for binary in (False, True):
        with connection.transaction(), connection.cursor(name="parts", binary=binary) as cursor:
            cursor.execute("select value, value * 0.5, 'v' || value from generate_series(1, 5) order by 1")
            assert [len(cursor.fetchmany(2)) for _ in range(3)] == [2, 2, 1]
            listed = connection.execute("select name, statement, is_binary from pg_cursors").fetchall()
            assert [(name, is_binary) for name, _, is_binary in listed] == [("parts", False)], listed
            assert "generate_series" in listed[0][1], listed
            assert cursor.fetchmany(2) == []
        assert connection.execute("select count(*) from pg_cursors").fetchone() == (0,)
    with connection.transaction(), connection.cursor(name="parts", binary=True) as cursor:
        cursor.execute("select value, value * 0.5, 'v' || value from generate_series(7, 9) order by 1")
        assert cursor.fetchall() == [(7, 3.5, "v7"), (8, 4.0, "v8"), (9, 4.5, "v9")]
    with connection.transaction(), connection.cursor(name="unread"):
        pass
    connection.execute("begin")
    connection.execute("declare c cursor for select * from generate_series(1, 5)")
    assert len(connection.execute("fetch forward 2 from c", binary=True).fetchall()) == 2
    refused(connection, "fetch forward 2 from c", errors.FeatureNotSupported)
    connection.execute("rollback")
    refused(connection, "declare c binary cursor for select 1", errors.FeatureNotSupported)
    with connection.cursor() as cursor:
        assert sum(1 for _ in cursor.stream("select * from generate_series(1, 20000)")) == 20_000


def errors_are_known(connection):
    """Errors are of the classes that PostgreSQL's are."""
    for statement, error in [
        ("delete from spans", errors.ReadOnlySqlTransaction),
        ("select * from nothing", errors.UndefinedTable),
        ("selec 1", errors.SyntaxError),
        ("select nofunction(1)", errors.UndefinedFunction),
        ("select name, count(*) from spans", errors.GroupingError),
        ("select 1 / 0", errors.DivisionByZero),
        ("select 'x'::int", errors.InvalidTextRepresentation),
        ("select 'a' ~ '('", errors.InvalidRegularExpression),
        ("set statement_timeout = 'soon'", errors.InvalidParameterValue),
    ]:
        refused(connection, statement, error)


def until_cancelled(connection, work):
    """Does work that does not end before it is cancelled, from another thread."""
    ended = threading.Event()

    def cancel():
        while not ended.wait(0.1):
            connection.cancel()

    canceller = threading.Thread(target=cancel)
    canceller.start()
    try:
        work()
        raise AssertionError("endless work has ended")
    except errors.QueryCanceled as error:
        assert "user request" in str(error), error
    finally:
        ended.set()
        canceller.join()


def statements_are_cancelled(connection):
    """A statement that would run for long ends when it is cancelled, and the connection goes on; a bound of the client
    ends it, too."""
    until_cancelled(connection, lambda: connection.execute(ENDLESS))
    connection.execute("set statement_timeout = '300ms'")
    try:
        connection.execute(ENDLESS)
        raise AssertionError("an endless statement has ended")
    except errors.QueryCanceled as error:
        assert "stopped after" in str(error), error
    connection.execute("set statement_timeout = 0")
    assert connection.execute("select 1").fetchone() == (1,)


def fetching_is_cancelled(connection):
    """A request to cancel ends the fetch from a cursor that was declared before other statements, and with it the
    transaction."""
    connection.execute("begin")
    # Its first row never comes, and declaring it does not wait for it.
    connection.execute(f"declare slow cursor for {ENDLESS}")
    assert connection.execute("select 1").fetchone() == (1,)
    until_cancelled(connection, lambda: connection.execute("fetch 1 from slow"))
    connection.execute("rollback")
    assert connection.execute("select 1").fetchone() == (1,)


def settings_are_told(target, token):
    """The client is told of settings that change: when one is set, when all go back, which is to what the client asked
    for when it connected."""
    options = "-c timezone=Europe/Berlin"
    with psycopg.connect(target, password=token, autocommit=True, options=options) as connection:
        def told():
            return connection.info.parameter_status("TimeZone"), connection.info.parameter_status("application_name")

        assert told() == ("Europe/Berlin", ""), told()
        connection.execute("set timezone to 'Asia/Tokyo'")
        connection.execute("set application_name to 'notebook'")
        assert told() == ("Asia/Tokyo", "notebook"), told()
        connection.execute("reset timezone")
        assert told() == ("Europe/Berlin", "notebook"), told()
        connection.execute("reset all")
        assert told() == ("Europe/Berlin", ""), told()
        connection.execute("set timezone to 'Asia/Tokyo'")
        connection.execute("discard all")
        assert told() == ("Europe/Berlin", ""), told()


def let_in(target, token):
    """A connection, as soon as there is a place: the server notices a little later that a client has left."""
    until = time.monotonic() + 60
    while True:
        try:
            return psycopg.connect(target, password=token, autocommit=True)
        except psycopg.OperationalError as error:
            assert "too many connections" in str(error) and time.monotonic() < until, error
            time.sleep(0.1)


def connections_are_counted(target, token):
    """There are so many connections at once: one more is told so, and comes in when others have left."""
    connections = [let_in(target, token) for _ in range(MOST_CONNECTIONS)]
    try:
        psycopg.connect(target, password=token).close()
        raise AssertionError("one more comes in")
    except psycopg.OperationalError as error:
        assert "too many connections" in str(error), error
    for connection in connections:
        connection.close()
    let_in(target, token).close()


def main(port, token, trace):
    target = f"host=127.0.0.1 port={port} user=python dbname=tracerag"
    with psycopg.connect(target, password=token, autocommit=True) as connection:
        results_are_typed(connection, trace)
        parameters_are_bound(connection, trace)
        transactions_read(connection)
        settings_go_back_to_savepoints(connection)
        rows_come_in_parts(connection)
        errors_are_known(connection)
        statements_are_cancelled(connection)
        fetching_is_cancelled(connection)
    settings_are_told(target, token)
    connections_are_counted(target, token)
    try:
        psycopg.connect(target, password="tracerag_00").close()
        raise AssertionError("a wrong password comes in")
    except psycopg.OperationalError as error:
        assert "token" in str(error), error


if __name__ == "__main__":
    main(*sys.argv[1:])
