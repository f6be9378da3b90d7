package payments

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/runtime"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploggrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetricgrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/propagation"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// Telemetry is the SDK of the process.
type Telemetry struct {
	Logs *sdklog.LoggerProvider
	stop []func(context.Context) error
}

// StartTelemetry sends spans, logs and metrics to the Collector that OTEL_EXPORTER_OTLP_ENDPOINT names. Every resource
// says which build of which service it is, and which instance. watchers see each span as it is, before it is cleaned.
func StartTelemetry(ctx context.Context, release Release, instance string, watchers ...sdktrace.SpanProcessor) (*Telemetry, error) {
	described, err := resource.New(ctx, resource.WithTelemetrySDK(), resource.WithFromEnv(), resource.WithAttributes(
		attribute.String("service.name", "payments"),
		attribute.String("service.version", release.Version),
		attribute.String("service.instance.id", instance),
		attribute.String("vcs.ref.head.revision", release.Commit),
	))
	if err != nil {
		return nil, fmt.Errorf("describe the resource: %w", err)
	}
	spans, err := otlptracegrpc.New(ctx)
	if err != nil {
		return nil, fmt.Errorf("export spans: %w", err)
	}
	logs, err := otlploggrpc.New(ctx)
	if err != nil {
		return nil, fmt.Errorf("export logs: %w", err)
	}
	metrics, err := otlpmetricgrpc.New(ctx)
	if err != nil {
		return nil, fmt.Errorf("export metrics: %w", err)
	}

	batch := SanitizeSpans{sdktrace.NewBatchSpanProcessor(spans, sdktrace.WithBatchTimeout(500*time.Millisecond))}
	options := []sdktrace.TracerProviderOption{sdktrace.WithResource(described), sdktrace.WithSpanProcessor(batch)}
	for _, watcher := range watchers {
		options = append(options, sdktrace.WithSpanProcessor(watcher))
	}
	tracers := sdktrace.NewTracerProvider(options...)
	loggers := sdklog.NewLoggerProvider(sdklog.WithResource(described),
		sdklog.WithProcessor(SanitizeLogs{sdklog.NewBatchProcessor(logs, sdklog.WithExportInterval(500*time.Millisecond))}))
	meters := sdkmetric.NewMeterProvider(sdkmetric.WithResource(described),
		sdkmetric.WithReader(sdkmetric.NewPeriodicReader(metrics, sdkmetric.WithInterval(5*time.Second))))

	otel.SetTracerProvider(tracers)
	otel.SetMeterProvider(meters)
	otel.SetTextMapPropagator(propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{}))
	if err := runtime.Start(); err != nil {
		return nil, fmt.Errorf("watch the runtime: %w", err)
	}
	stop := []func(context.Context) error{tracers.Shutdown, loggers.Shutdown, meters.Shutdown}
	return &Telemetry{Logs: loggers, stop: stop}, nil
}

// Stop sends what waits.
func (t *Telemetry) Stop(ctx context.Context) error {
	var failures []error
	for _, stop := range t.stop {
		failures = append(failures, stop(ctx))
	}
	return errors.Join(failures...)
}
