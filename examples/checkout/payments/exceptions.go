package payments

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// recordException writes an error into the current span, with the stack of where it was made if it has one.
// span.RecordError(err, trace.WithStackTrace(true)) would give the stack of the call to RecordError instead.
func recordException(ctx context.Context, err error) {
	attributes := []attribute.KeyValue{
		attribute.String("exception.type", fmt.Sprintf("%T", err)),
		attribute.String("exception.message", err.Error()),
	}
	if traced, ok := err.(interface{ Stack() string }); ok {
		attributes = append(attributes, attribute.String("exception.stacktrace", traced.Stack()))
	}
	trace.SpanFromContext(ctx).AddEvent("exception", trace.WithAttributes(attributes...))
}

// Recover turns a panic of a handler into an exception of its span, a log record and the status INTERNAL. Without it
// one request would take the process with it.
func Recover(log *slog.Logger) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, request any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (reply any, err error) {
		defer func() {
			cause := recover()
			if cause == nil {
				return
			}
			stack := string(debug.Stack())
			trace.SpanFromContext(ctx).AddEvent("exception", trace.WithAttributes(
				attribute.String("exception.type", fmt.Sprintf("%T", cause)),
				attribute.String("exception.message", fmt.Sprint(cause)),
				attribute.String("exception.stacktrace", stack),
				attribute.Bool("exception.escaped", true),
			))
			log.ErrorContext(ctx, "panic in a handler", "error", fmt.Sprint(cause), "stack", stack)
			err = status.Error(codes.Internal, "panic")
		}()
		return handler(ctx, request)
	}
}
