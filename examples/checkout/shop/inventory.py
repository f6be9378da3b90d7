"""Inventory: reserves articles, a database for each warehouse. A stock-taking locks its warehouse's; the line to
warehouse W9 is slow.
"""

import logging
import os
import sqlite3
import time

from fastapi import FastAPI
from fastapi.responses import JSONResponse
from opentelemetry import trace

from shop import telemetry

telemetry.start("inventory")

FOLDER = os.environ["STOCK_FOLDER"]
# Longer than the deadline of whoever asks.
SLOW_LINE_SECONDS = 4.0
LOG = logging.getLogger("inventory")
app = FastAPI()
stocktakings: dict[str, sqlite3.Connection] = {}


def open_stock(warehouse: str) -> sqlite3.Connection:
    """The database of a warehouse. It waits a twentieth of a second for a stock-taking, for others to their end."""
    place = f"{FOLDER}/{warehouse}.db"
    patience = 0.05 if warehouse in stocktakings else 10
    connection = sqlite3.connect(place, timeout=patience, check_same_thread=False, isolation_level=None)
    connection.execute("CREATE TABLE IF NOT EXISTS reservations (sku TEXT, order_id TEXT)")
    return connection


@app.post("/reservations/{sku}")
def reserve(sku: str, order: str):
    """Reserves an article, named WAREHOUSE-NUMBER, for an order."""
    warehouse = sku.split("-")[0]
    if warehouse == "W9":
        LOG.warning("the line to warehouse %s is slow", warehouse)
        time.sleep(SLOW_LINE_SECONDS)
    try:
        stock = open_stock(warehouse)
        try:
            stock.cursor().execute("INSERT INTO reservations VALUES (?, ?)", (sku, order))
        finally:
            stock.close()
    except sqlite3.OperationalError as error:
        LOG.exception("no reservation of %s", sku)
        trace.get_current_span().record_exception(error)
        return JSONResponse({"error": str(error)}, status_code=503)
    return {"reserved": sku}


@app.post("/stocktakings/{warehouse}")
def begin_stocktaking(warehouse: str):
    """Locks the database of a warehouse until the stock-taking ends."""
    connection = open_stock(warehouse)
    connection.cursor().execute("BEGIN EXCLUSIVE")
    stocktakings[warehouse] = connection
    LOG.info("stock-taking begins in %s", warehouse)
    return {"counting": warehouse}


@app.delete("/stocktakings/{warehouse}")
def end_stocktaking(warehouse: str):
    """Ends a stock-taking."""
    connection = stocktakings.pop(warehouse)
    connection.cursor().execute("COMMIT")
    connection.close()
    LOG.info("stock-taking ends in %s", warehouse)
    return {"counted": warehouse}


if __name__ == "__main__":
    telemetry.serve(app, int(os.environ["PORT"]))
