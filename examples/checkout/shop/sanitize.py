"""What must not leave the process is removed in it: attributes by name, card numbers and tokens by their looks, fields
of payloads by name. What is personal and needs a policy that all services share (e-mail addresses in texts, ids of
customers) is the Collector's part: deploy/collector/redaction.yaml.
"""

import json
import pathlib
import re
import sys

from opentelemetry.sdk._logs import LogRecordProcessor
from opentelemetry.sdk.trace import Event, ReadableSpan, SpanProcessor
from opentelemetry.trace import Status

FORBIDDEN = {"user.email", "http.request.header.authorization"}
PAYLOADS = {"http.request.body.content", "http.response.body.content"}
PERSONAL_FIELDS = {"address", "card", "customer_id", "email", "name"}
# Cards by the first digits of their issuers: any 16 digits would be amounts and order numbers, too.
CARD = re.compile(r"\b(?:4\d{3}|5[1-5]\d{2})[ -]?\d{4}[ -]?\d{4}[ -]?\d{4}\b")
TOKEN = re.compile(r"\beyJ[\w-]+\.[\w-]+\.[\w-]*")
# Paths in stacks are kept below these folders: what is above them names a machine or a person.
FOLDERS = [f"{folder}/" for folder in (pathlib.Path(__file__).resolve().parent.parent, sys.prefix, sys.base_prefix)]


def clean_text(text: str) -> str:
    """The text without card numbers, tokens and folders of this machine."""
    for folder in FOLDERS:
        text = text.replace(folder, "")
    return TOKEN.sub("<token>", CARD.sub("<card>", text))


def clean_payload(text: str) -> str:
    """A JSON payload with the values of personal fields masked; what is no JSON is not handed on."""
    try:
        return clean_text(json.dumps(mask_fields(json.loads(text))))
    except ValueError:
        return "<not json>"


def mask_fields(value):
    """The value with each personal field, however deep, replaced by its name in angle brackets."""
    if isinstance(value, dict):
        return {key: f"<{key}>" if key in PERSONAL_FIELDS else mask_fields(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [mask_fields(inner) for inner in value]
    return value


def clean_value(key: str, value):
    """An attribute's value, cleaned by what it is."""
    if isinstance(value, str):
        return clean_payload(value) if key in PAYLOADS else clean_text(value)
    if isinstance(value, (list, tuple)):
        return [clean_text(inner) if isinstance(inner, str) else inner for inner in value]
    return value


def clean_attributes(attributes) -> dict:
    """The attributes that may leave, cleaned."""
    return {key: clean_value(key, value) for key, value in (attributes or {}).items() if key not in FORBIDDEN}


class SanitizeSpans(SpanProcessor):
    """Hands a cleaned copy of each span to the next processor."""

    def __init__(self, following: SpanProcessor):
        self.following = following

    def on_start(self, span, parent_context=None):
        self.following.on_start(span, parent_context)

    def on_end(self, span: ReadableSpan):
        status = (
            Status(span.status.status_code, clean_text(span.status.description))
            if span.status.description
            else span.status
        )
        cleaned = ReadableSpan(
            name=clean_text(span.name),
            context=span.context,
            parent=span.parent,
            resource=span.resource,
            attributes=clean_attributes(span.attributes),
            events=[Event(event.name, clean_attributes(event.attributes), event.timestamp) for event in span.events],
            links=span.links,
            kind=span.kind,
            status=status,
            start_time=span.start_time,
            end_time=span.end_time,
            instrumentation_scope=span.instrumentation_scope,
        )
        self.following.on_end(cleaned)

    def shutdown(self):
        self.following.shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        return self.following.force_flush(timeout_millis)


class SanitizeLogs(LogRecordProcessor):
    """Cleans each log record before the processors after it take it."""

    def on_emit(self, log_record):
        record = log_record.log_record
        if isinstance(record.body, str):
            record.body = clean_text(record.body)
        for key, value in list(record.attributes.items()):
            if key in FORBIDDEN:
                del record.attributes[key]
            else:
                record.attributes[key] = clean_value(key, value)

    def shutdown(self):
        pass

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        return True
