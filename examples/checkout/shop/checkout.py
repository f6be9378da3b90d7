"""Checkout: takes an order, has it paid by payments, stores it, and leaves its invoice to the worker."""

import itertools
import json
import logging
import os
import pathlib
import sqlite3
import uuid

import grpc
from fastapi import Body, FastAPI
from fastapi.responses import JSONResponse
from opentelemetry import trace

from shop import flags, telemetry
from shop.jobs import Queue
from shop.rpc.payments_pb2 import ChargeRequest
from shop.rpc.payments_pb2_grpc import PaymentsStub

telemetry.start("checkout")

DEADLINE_SECONDS = float(os.environ["PAYMENTS_DEADLINE_SECONDS"])
# Every fourth payload is kept, and that of each order that was not answered with 200.
PAYLOAD_SAMPLE = 4
HTTP_STATUS = {
    grpc.StatusCode.INTERNAL: 502,
    grpc.StatusCode.INVALID_ARGUMENT: 422,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
    grpc.StatusCode.CANCELLED: 504,
}
LOG = logging.getLogger("checkout")
app = FastAPI()
flag_client = flags.client(os.environ["FLAGS_FILE"])
invoices = Queue(os.environ["QUEUE_FILE"], "invoices")
turns = itertools.count()
stubs: dict[str, PaymentsStub] = {}


def open_orders() -> sqlite3.Connection:
    """The database of orders."""
    return sqlite3.connect(os.environ["ORDERS_FILE"], timeout=30, isolation_level=None)


with open_orders() as connection:
    connection.execute("CREATE TABLE IF NOT EXISTS orders (id TEXT, charged TEXT, currency TEXT)")


def payments() -> PaymentsStub:
    """A client of the instance whose turn it is. The file of the instances is service discovery's."""
    addresses = json.loads(pathlib.Path(os.environ["PAYMENTS_FILE"]).read_text())
    address = addresses[next(turns) % len(addresses)]
    if address not in stubs:
        stubs[address] = PaymentsStub(grpc.insecure_channel(address))
    return stubs[address]


def keep_payload(order: dict) -> None:
    """Makes the body of the request an attribute of its span. The sanitizer masks personal fields before it leaves."""
    span = trace.get_current_span()
    span.set_attribute("http.request.body.content", json.dumps(order))
    # With a hyphen, as the conventions write it; the instrumentation of this version writes an underscore.
    span.set_attribute("http.request.header.content-type", "application/json")


@app.post("/checkout")
def checkout(order: dict = Body()):
    """Takes an order: amount, currency, installments, sku, customer_id, email, card, name, address (optional)."""
    span = trace.get_current_span()
    span.set_attributes({"user.id": order["customer_id"], "user.email": order["email"]})
    sampled = span.get_span_context().trace_id % PAYLOAD_SAMPLE == 0
    if sampled:
        keep_payload(order)
    order_id = uuid.uuid4().hex[:12]
    LOG.info("order %s of %s (%s)", order_id, order["email"], order["customer_id"])
    try:
        request = ChargeRequest(
            order_id=order_id,
            amount=order["amount"],
            currency=order["currency"],
            customer_id=order["customer_id"],
            email=order["email"],
            installments=order["installments"],
            sku=order["sku"],
        )
    except KeyError:
        # Nobody has thought of an order without one of these: the server's own handler answers 500.
        if not sampled:
            keep_payload(order)
        raise
    headers = {"x-order-id": order_id, "x-payload-kept": "1" if sampled else "0"}
    try:
        reply, call = payments().Charge.with_call(request, timeout=DEADLINE_SECONDS)
    except grpc.RpcError as error:
        if not sampled:
            keep_payload(order)
        headers |= {"x-payload-kept": "1"} | instance_headers(error)
        status = HTTP_STATUS.get(error.code(), 500)
        if status >= 500:
            LOG.exception("payment of order %s failed for %s, card %s", order_id, order["email"], order["card"])
        return JSONResponse({"error": error.details()}, status_code=status, headers=headers)
    headers |= instance_headers(call)

    express = flag_client.get_boolean_value("checkout.express_invoice", False)
    orders = open_orders()
    orders.cursor().execute("INSERT INTO orders VALUES (?, ?, ?)", (order_id, reply.charged, order["currency"]))
    orders.close()
    body = {key: order.get(key) for key in ("email", "address", "currency")}
    job = invoices.send(body | {"order_id": order_id, "charged": reply.charged, "express": express})
    headers |= {"x-job-id": str(job), "x-express-invoice": "on" if express else "off"}
    return JSONResponse(
        {"order_id": order_id, "payment_id": reply.payment_id, "charged": reply.charged}, headers=headers
    )


def instance_headers(call: grpc.Call) -> dict[str, str]:
    """What payments says of itself in its answer, for whoever compares: instance, version, mode."""
    wanted = ("x-payments-instance", "x-payments-version", "x-decimal-mode")
    return {key: value for key, value in call.initial_metadata() or () if key in wanted}


if __name__ == "__main__":
    telemetry.serve(app, int(os.environ["PORT"]))
