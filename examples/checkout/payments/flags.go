package payments

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/open-feature/go-sdk/openfeature"
)

// strict is the variant of payments.decimal_mode that the story is about.
const strict = "strict"

// FlagFile is an OpenFeature provider that reads a flag configuration in flagd's format, anew for each evaluation: a
// change holds at once. Of targeting it knows what this example needs, a rule by the beginning of one attribute:
//
//	{"if": [{"starts_with": [{"var": "service.instance.id"}, "payments-b"]}, "strict", "lenient"]}
//
// In production flagd's own provider stands here.
type FlagFile struct{ Path string }

type flagSet struct {
	Flags map[string]struct {
		Variants       map[string]any             `json:"variants"`
		DefaultVariant string                     `json:"defaultVariant"`
		Targeting      map[string]json.RawMessage `json:"targeting"`
	} `json:"flags"`
	Metadata struct {
		SetID   string `json:"flagSetId"`
		Version string `json:"version"`
	} `json:"metadata"`
}

// resolve gives the value of a flag, or the error in the details.
func (f *FlagFile) resolve(key string, evaluation openfeature.FlattenedContext) (any, openfeature.ProviderResolutionDetail) {
	content, err := os.ReadFile(f.Path)
	if err != nil {
		return nil, failed(openfeature.NewProviderNotReadyResolutionError(err.Error()))
	}
	var set flagSet
	if err := json.Unmarshal(content, &set); err != nil {
		return nil, failed(openfeature.NewParseErrorResolutionError(err.Error()))
	}
	flag, ok := set.Flags[key]
	if !ok {
		return nil, failed(openfeature.NewFlagNotFoundResolutionError(fmt.Sprintf("no flag %q in %s", key, f.Path)))
	}
	variant, reason := flag.DefaultVariant, openfeature.StaticReason
	if rule, ok := flag.Targeting["if"]; ok {
		target, matched, err := branch(rule, evaluation)
		if err != nil {
			return nil, failed(openfeature.NewParseErrorResolutionError(err.Error()))
		}
		variant, reason = target, openfeature.DefaultReason
		if matched {
			reason = openfeature.TargetingMatchReason
		}
	}
	return flag.Variants[variant], openfeature.ProviderResolutionDetail{
		Variant: variant,
		Reason:  reason,
		FlagMetadata: openfeature.FlagMetadata{
			"flagSetId": set.Metadata.SetID,
			"version":   set.Metadata.Version,
		},
	}
}

// branch reads [condition, variant, else] and says which variant holds, and whether the condition did.
func branch(rule json.RawMessage, evaluation openfeature.FlattenedContext) (string, bool, error) {
	var parts []json.RawMessage
	var condition struct {
		StartsWith []json.RawMessage `json:"starts_with"`
	}
	var variable struct {
		Var string `json:"var"`
	}
	var prefix, then, otherwise string
	wrong := fmt.Errorf("this provider knows one rule only, starts_with: %s", rule)
	if json.Unmarshal(rule, &parts) != nil || len(parts) != 3 || json.Unmarshal(parts[0], &condition) != nil ||
		len(condition.StartsWith) != 2 || json.Unmarshal(condition.StartsWith[0], &variable) != nil ||
		json.Unmarshal(condition.StartsWith[1], &prefix) != nil ||
		json.Unmarshal(parts[1], &then) != nil || json.Unmarshal(parts[2], &otherwise) != nil {
		return "", false, wrong
	}
	value, _ := evaluation[variable.Var].(string)
	if strings.HasPrefix(value, prefix) {
		return then, true, nil
	}
	return otherwise, false, nil
}

func failed(err openfeature.ResolutionError) openfeature.ProviderResolutionDetail {
	return openfeature.ProviderResolutionDetail{ResolutionError: err, Reason: openfeature.ErrorReason}
}

func typed[T any](f *FlagFile, key string, fallback T, evaluation openfeature.FlattenedContext) openfeature.GenericResolutionDetail[T] {
	value, detail := f.resolve(key, evaluation)
	if detail.Error() != nil {
		return openfeature.GenericResolutionDetail[T]{Value: fallback, ProviderResolutionDetail: detail}
	}
	if value, ok := value.(T); ok {
		return openfeature.GenericResolutionDetail[T]{Value: value, ProviderResolutionDetail: detail}
	}
	detail = failed(openfeature.NewTypeMismatchResolutionError(fmt.Sprintf("%s is a %T", key, value)))
	return openfeature.GenericResolutionDetail[T]{Value: fallback, ProviderResolutionDetail: detail}
}

// Metadata names the provider in the evaluation events.
func (f *FlagFile) Metadata() openfeature.Metadata { return openfeature.Metadata{Name: "flagd"} }

// Hooks are none.
func (f *FlagFile) Hooks() []openfeature.Hook { return nil }

// BooleanEvaluation reads a flag with values true and false.
func (f *FlagFile) BooleanEvaluation(_ context.Context, key string, fallback bool, evaluation openfeature.FlattenedContext) openfeature.BoolResolutionDetail {
	return typed(f, key, fallback, evaluation)
}

// StringEvaluation reads a flag with texts.
func (f *FlagFile) StringEvaluation(_ context.Context, key string, fallback string, evaluation openfeature.FlattenedContext) openfeature.StringResolutionDetail {
	return typed(f, key, fallback, evaluation)
}

// FloatEvaluation reads a flag with numbers.
func (f *FlagFile) FloatEvaluation(_ context.Context, key string, fallback float64, evaluation openfeature.FlattenedContext) openfeature.FloatResolutionDetail {
	return typed(f, key, fallback, evaluation)
}

// IntEvaluation reads a flag with integers, which are doubles in JSON.
func (f *FlagFile) IntEvaluation(_ context.Context, key string, fallback int64, evaluation openfeature.FlattenedContext) openfeature.IntResolutionDetail {
	found := typed(f, key, float64(fallback), evaluation)
	return openfeature.IntResolutionDetail{Value: int64(found.Value), ProviderResolutionDetail: found.ProviderResolutionDetail}
}

// ObjectEvaluation reads a flag with any value.
func (f *FlagFile) ObjectEvaluation(_ context.Context, key string, fallback any, evaluation openfeature.FlattenedContext) openfeature.InterfaceResolutionDetail {
	return typed(f, key, fallback, evaluation)
}
