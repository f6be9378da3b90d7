"""OpenTelemetry's SDK for the Python services: spans, logs and metrics to the Collector that
OTEL_EXPORTER_OTLP_ENDPOINT names.

The instrumentations are those of `opentelemetry-instrument`; they are switched on here by hand because that command has
no place for the sanitizer between the SDK and its exporters.
"""

import logging
import os
import signal

import uvicorn
from opentelemetry import metrics, trace
from opentelemetry._logs import get_logger_provider, set_logger_provider
from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from opentelemetry.instrumentation.grpc import GrpcInstrumentorClient
from opentelemetry.instrumentation.logging import LoggingInstrumentor
from opentelemetry.instrumentation.propagators import ResponsePropagator, set_global_response_propagator
from opentelemetry.instrumentation.sqlite3 import SQLite3Instrumentor
from opentelemetry.instrumentation.system_metrics import SystemMetricsInstrumentor
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from shop.sanitize import SanitizeLogs, SanitizeSpans

# What shows the course of a process; the instrumentation's own list is of the whole machine.
PROCESS_METRICS = {"process.memory.usage": None, "process.cpu.utilization": None, "process.thread.count": None}


class TraceIdHeader(ResponsePropagator):
    """Writes the trace id into each answer, the failed ones included: whoever sees an error can name it."""

    def inject(self, carrier, context=None, setter=None):
        span = trace.get_current_span(context).get_span_context()
        if span.is_valid:
            setter.set(carrier, "x-trace-id", trace.format_trace_id(span.trace_id))


def start(service: str) -> None:
    """Starts the SDK of this process; SERVICE_VERSION, SERVICE_COMMIT and SERVICE_INSTANCE_ID say which build it is."""
    resource = Resource.create(
        {
            "service.name": service,
            "service.version": os.environ["SERVICE_VERSION"],
            "service.instance.id": os.environ["SERVICE_INSTANCE_ID"],
            "vcs.ref.head.revision": os.environ["SERVICE_COMMIT"],
        }
    )
    tracers = TracerProvider(resource=resource)
    tracers.add_span_processor(SanitizeSpans(BatchSpanProcessor(OTLPSpanExporter(), schedule_delay_millis=500)))
    trace.set_tracer_provider(tracers)

    loggers = LoggerProvider(resource=resource)
    loggers.add_log_record_processor(SanitizeLogs())
    loggers.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter(), schedule_delay_millis=500))
    set_logger_provider(loggers)

    reader = PeriodicExportingMetricReader(OTLPMetricExporter(), export_interval_millis=5000)
    metrics.set_meter_provider(MeterProvider(resource=resource, metric_readers=[reader]))

    set_global_response_propagator(TraceIdHeader())
    logging.getLogger().setLevel(logging.INFO)
    LoggingInstrumentor().instrument()
    GrpcInstrumentorClient().instrument()
    SQLite3Instrumentor().instrument()
    SystemMetricsInstrumentor(config=PROCESS_METRICS).instrument()


def serve(app, port: int) -> None:
    """Serves a FastAPI application on the loopback address until a signal."""
    FastAPIInstrumentor.instrument_app(
        app,
        http_capture_headers_server_request=["authorization", "content-type"],
        exclude_spans=["receive", "send"],
    )
    # uvicorn raises the signal again when it is done, which would end the process with telemetry unsent.
    signal.signal(signal.SIGTERM, lambda *_: None)
    # Without its own configuration uvicorn's loggers hand up to the root, and so to the Collector.
    uvicorn.run(app, host="127.0.0.1", port=port, log_config=None, access_log=False)
    stop()


def stop() -> None:
    """Sends what waits."""
    trace.get_tracer_provider().shutdown()
    get_logger_provider().shutdown()
    metrics.get_meter_provider().shutdown()
