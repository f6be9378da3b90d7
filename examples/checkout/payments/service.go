// Package payments takes money for orders: amounts are rounded as a flag says, and inventory confirms the article first.
package payments

import (
	"context"
	"errors"
	"log/slog"
	"math/big"

	"github.com/open-feature/go-sdk/openfeature"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"payments/paymentsv1"
)

// Service is the gRPC service.
type Service struct {
	paymentsv1.UnimplementedPaymentsServer
	Instance  string
	Inventory *Inventory
	Flags     openfeature.IClient
	Log       *slog.Logger
	rounder   Rounder
}

// NewService takes money as release says.
func NewService(release Release, instance string, inventory *Inventory, flags openfeature.IClient, log *slog.Logger) *Service {
	return &Service{Instance: instance, Inventory: inventory, Flags: flags, Log: log, rounder: Rounder{release: release}}
}

// Charge takes the amount of an order, in instalments.
func (s *Service) Charge(ctx context.Context, request *paymentsv1.ChargeRequest) (*paymentsv1.ChargeReply, error) {
	mode := s.decimalMode(ctx, request.GetCustomerId())
	// Sent before anything can fail or take too long: whoever called knows who had it in hand, whatever comes.
	header := metadata.Pairs("x-payments-instance", s.Instance, "x-payments-version", s.rounder.release.Version, "x-decimal-mode", mode)
	if err := grpc.SendHeader(ctx, header); err != nil {
		return nil, err
	}
	s.Log.InfoContext(ctx, "charging", "order.id", request.GetOrderId(), "customer.email", request.GetEmail(), "decimal.mode", mode)

	if err := s.Inventory.Confirm(ctx, request.GetSku(), request.GetOrderId()); err != nil {
		return nil, s.refuse(ctx, request, err)
	}
	amount, err := ParseDecimal(request.GetAmount())
	if err != nil {
		return nil, s.refuse(ctx, request, err)
	}
	rounded, err := s.rounder.Round(amount, mode)
	if err != nil {
		return nil, s.refuse(ctx, request, err)
	}
	return &paymentsv1.ChargeReply{
		PaymentId: "pay-" + request.GetOrderId(),
		Charged:   rounded.String(),
		FirstRate: firstRate(rounded, int64(request.GetInstallments())).String(),
	}, nil
}

func (s *Service) decimalMode(ctx context.Context, customer string) string {
	evaluation := openfeature.NewEvaluationContext(customer, map[string]any{"service.instance.id": s.Instance})
	mode, err := s.Flags.StringValue(ctx, "payments.decimal_mode", "lenient", evaluation)
	if err != nil {
		s.Log.WarnContext(ctx, "the flag cannot be evaluated, lenient holds", "error", err.Error())
	}
	return mode
}

// firstRate is the first of equal instalments, with the remainder. Nobody has thought of none: a panic.
func firstRate(amount Decimal, installments int64) Decimal {
	cents := amount.Cents()
	rate := cents / installments
	return Decimal{unscaled: big.NewInt(rate + cents%installments), scale: currencyDigits}
}

// refuse logs an error and turns it into the status that the caller sees. What the span and the log say of it may name
// the customer, so it goes through the sanitizer; the status does not.
func (s *Service) refuse(ctx context.Context, request *paymentsv1.ChargeRequest, err error) error {
	var overflow *OverflowError
	var invalid *InvalidAmountError
	var inventory *InventoryError
	answer := status.New(codes.InvalidArgument, err.Error())
	switch {
	case errors.As(err, &overflow):
		answer = status.New(codes.Internal, "decimal overflow")
	case errors.As(err, &invalid):
		s.Log.WarnContext(ctx, "amount refused", "order.id", request.GetOrderId(), "amount.digits", invalid.Digits)
		return answer.Err()
	case errors.As(err, &inventory):
		answer = status.New(codes.Unavailable, "inventory is not available")
	case ctx.Err() != nil, errors.Is(err, context.DeadlineExceeded):
		answer = status.FromContextError(err)
	}
	recordException(ctx, err)
	s.Log.ErrorContext(ctx, err.Error()+" (order "+request.GetOrderId()+" of "+request.GetEmail()+")",
		"order.id", request.GetOrderId(), "error", err.Error())
	return answer.Err()
}
