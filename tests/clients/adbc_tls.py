"""Counts spans over Flight SQL with TLS: python adbc_tls.py URI TOKEN FILE_OF_AUTHORITY."""

import sys
import time

import adbc_driver_flightsql.dbapi as flight_sql
from adbc_driver_flightsql import DatabaseOptions
from adbc_driver_manager import Error

# A server knows a new token within a second or two, and later where the machine has other work. One a half second.
ATTEMPTS = 240


def main(uri: str, token: str, authority: str) -> None:
    options = {DatabaseOptions.AUTHORIZATION_HEADER.value: f"Bearer {token}"}
    if uri.startswith("grpc+tls"):
        with open(authority, encoding="ascii") as file:
            options[DatabaseOptions.TLS_ROOT_CERTS.value] = file.read()
    for attempt in range(ATTEMPTS):
        try:
            with flight_sql.connect(uri, db_kwargs=options, autocommit=True) as connection, connection.cursor() as cursor:
                cursor.execute("select count(*) from spans")
                print(cursor.fetchone()[0])
                return
        except Error as error:
            if "this token does not hold" not in str(error) or attempt + 1 == ATTEMPTS:
                raise
            time.sleep(0.5)


main(*sys.argv[1:])
