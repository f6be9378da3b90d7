package payments

import (
	"context"
	"fmt"

	"github.com/open-feature/go-sdk/openfeature"
	"github.com/open-feature/go-sdk/openfeature/telemetry"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/log"
)

// EvaluationEvents is an OpenFeature hook that emits the event feature_flag.evaluation of OpenTelemetry's semantic
// conventions for each evaluation: a log record of the trace in which the flag was asked for.
type EvaluationEvents struct {
	openfeature.UnimplementedHook
	Logger log.Logger
}

// Finally runs after each evaluation, failed ones included.
func (h EvaluationEvents) Finally(ctx context.Context, hook openfeature.HookContext, details openfeature.InterfaceEvaluationDetails, _ openfeature.HookHints) {
	event := telemetry.CreateEvaluationEvent(hook, details)
	var record log.Record
	record.SetEventName(event.Name)
	record.SetSeverity(log.SeverityInfo)
	for key, value := range event.Attributes {
		if text := fmt.Sprint(value); text != "" {
			record.AddAttributes(attribute.String(key, text))
		}
	}
	h.Logger.Emit(ctx, record)
}
