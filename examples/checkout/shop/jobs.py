"""A queue of jobs in an SQLite file, with the spans and links of OpenTelemetry's messaging conventions.

A job carries the context in which it was sent. Whoever works it off is in a trace of its own: the links say which
orders it belongs to.
"""

import json
import sqlite3
from dataclasses import dataclass

from opentelemetry import propagate, trace

TRACER = trace.get_tracer("shop.jobs")


@dataclass
class Job:
    """A job as it was sent."""

    id: int
    body: dict
    context: trace.SpanContext


class Queue:
    """One queue of an SQLite file, for several processes."""

    def __init__(self, path: str, name: str):
        self.name = name
        self.path = path
        with self.connect() as connection:
            connection.execute("CREATE TABLE IF NOT EXISTS jobs (id INTEGER PRIMARY KEY, body TEXT, carrier TEXT)")

    def connect(self) -> sqlite3.Connection:
        # Connection.execute is not traced, cursors are: polling makes no spans.
        return sqlite3.connect(self.path, timeout=30)

    def attributes(self, kind: str, operation: str) -> dict:
        """What every span of the queue says."""
        return {
            "messaging.system": "sqlite",
            "messaging.destination.name": self.name,
            "messaging.operation.type": kind,
            "messaging.operation.name": operation,
        }

    def send(self, body: dict) -> int:
        """Puts a job in and returns its id."""
        attributes = self.attributes("send", "publish")
        with TRACER.start_as_current_span(
            f"publish {self.name}", kind=trace.SpanKind.PRODUCER, attributes=attributes
        ) as span:
            carrier: dict = {}
            propagate.inject(carrier)
            with self.connect() as connection:
                row = connection.execute(
                    "INSERT INTO jobs (body, carrier) VALUES (?, ?)", (json.dumps(body), json.dumps(carrier))
                )
                span.set_attribute("messaging.message.id", str(row.lastrowid))
                return row.lastrowid

    def take(self, most: int) -> list[Job]:
        """Takes up to `most` jobs out, the oldest first."""
        with self.connect() as connection:
            rows = connection.execute(
                "DELETE FROM jobs WHERE id IN (SELECT id FROM jobs ORDER BY id LIMIT ?) RETURNING id, body, carrier",
                (most,),
            ).fetchall()
        jobs = []
        for identifier, body, carrier in sorted(rows):
            context = propagate.extract(json.loads(carrier))
            jobs.append(Job(identifier, json.loads(body), trace.get_current_span(context).get_span_context()))
        return jobs

    def receive(self, jobs: list[Job]):
        """The span in which a batch is worked off, linked to all its orders."""
        attributes = self.attributes("receive", "poll") | {"messaging.batch.message_count": len(jobs)}
        links = [trace.Link(job.context) for job in jobs]
        return TRACER.start_as_current_span(
            f"poll {self.name}", kind=trace.SpanKind.CONSUMER, attributes=attributes, links=links
        )

    def process(self, job: Job):
        """The span of one job, linked to its order."""
        attributes = self.attributes("process", "process") | {"messaging.message.id": str(job.id)}
        links = [trace.Link(job.context)]
        return TRACER.start_as_current_span(
            f"process {self.name}", kind=trace.SpanKind.CONSUMER, attributes=attributes, links=links
        )
