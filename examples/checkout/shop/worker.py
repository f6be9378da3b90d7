"""The worker: writes the invoices of orders. An order without an address was answered with 200, and fails here, in
another trace: only the link leads from one to the other.
"""

import json
import logging
import os
import pathlib
import signal
import threading

from opentelemetry import trace

from shop import telemetry
from shop.jobs import Job, Queue

telemetry.start("worker")

LOG = logging.getLogger("worker")


def write_invoice(order: dict) -> str:
    """The text of an invoice."""
    if not order.get("address"):
        raise ValueError(f"no address to send the invoice of order {order['order_id']} to")
    return f"Invoice of order {order['order_id']} over {order['charged']} {order['currency']}\n{order['address']}\n"


def work(queue: Queue, job: Job, truth: pathlib.Path) -> None:
    """Works one job off and notes what became of it."""
    outcome = "failed"
    with queue.process(job):
        span = trace.get_current_span().get_span_context()
        try:
            with trace.get_tracer("worker").start_as_current_span("write invoice"):
                write_invoice(job.body)
            outcome = "done"
        except ValueError as error:
            trace.get_current_span().set_status(trace.StatusCode.ERROR, str(error))
            LOG.exception("invoice failed for %s", job.body["email"])
    line = {
        "kind": "job",
        "order_trace_id": trace.format_trace_id(job.context.trace_id),
        "order_span_id": trace.format_span_id(job.context.span_id),
        "job_trace_id": trace.format_trace_id(span.trace_id),
        "job_span_id": trace.format_span_id(span.span_id),
        "outcome": outcome,
    }
    with truth.open("a") as file:
        file.write(json.dumps(line) + "\n")


def main() -> None:
    """Works off batches until a signal, and what is left after it."""
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    queue = Queue(os.environ["QUEUE_FILE"], "invoices")
    truth = pathlib.Path(os.environ["TRUTH_FILE"])
    while True:
        last = stopped.is_set()
        while jobs := queue.take(10):
            with queue.receive(jobs):
                for job in jobs:
                    work(queue, job, truth)
        if last:
            break
        stopped.wait(2)
    telemetry.stop()


if __name__ == "__main__":
    main()
