"""psycopg asks what it is told to: python isolation_postgres.py PORT TOKEN.

A line of the input is a statement and the values for $1, $2 .. as JSON, a line of the output the columns and rows that came
back, or the error with its code. Every statement is prepared, and its values are bound.
"""

import json
import sys

import psycopg


def asked(connection, statement, values):
    try:
        cursor = connection.execute(statement, values or None, prepare=True)
        if cursor.description is None:
            return {"status": cursor.statusmessage}
        return {"columns": [column.name for column in cursor.description], "rows": cursor.fetchall()}
    except psycopg.Error as error:
        return {"error": f"{error.sqlstate} {error}"}


def main(port, token):
    target = f"host=127.0.0.1 port={port} user=isolation dbname=tracerag"
    with psycopg.connect(target, password=token, autocommit=True, cursor_factory=psycopg.RawCursor) as connection:
        for line in sys.stdin:
            print(json.dumps(asked(connection, *json.loads(line)), default=str), flush=True)


main(*sys.argv[1:])
