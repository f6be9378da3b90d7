// The payments service. It is configured by the environment: LISTEN, INVENTORY_URL, SERVICE_INSTANCE_ID, FLAGS_FILE,
// HEAP_FOLDER, HEAP_EVERY (a minute unless it is set), and what OpenTelemetry's SDK reads, OTEL_EXPORTER_OTLP_ENDPOINT first. With -version it prints which build it is, and ends.
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"github.com/open-feature/go-sdk/openfeature"
	"go.opentelemetry.io/contrib/bridges/otelslog"
	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"google.golang.org/grpc"

	"payments"
	"payments/paymentsv1"
)

func main() {
	// A finer sample than usual, so that a small heap has a profile. It costs little.
	runtime.MemProfileRate = 64 * 1024
	if len(os.Args) == 2 && os.Args[1] == "-version" {
		_ = json.NewEncoder(os.Stdout).Encode(payments.Current)
		return
	}
	if err := serve(); err != nil {
		fmt.Fprintln(os.Stderr, "payments:", err)
		os.Exit(1)
	}
}

func serve() error {
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer cancel()
	release, instance := payments.Current, os.Getenv("SERVICE_INSTANCE_ID")

	every, err := time.ParseDuration(cmp.Or(os.Getenv("HEAP_EVERY"), "1m"))
	if err != nil {
		return fmt.Errorf("HEAP_EVERY: %w", err)
	}
	rules := payments.HeapRules{
		Services: []string{"payments"}, Every: every, Budget: 250 * time.Millisecond,
		DumpAbove: 8 << 20, Folder: os.Getenv("HEAP_FOLDER"),
	}
	heaps := payments.NewHeapCapture(rules, instance, release.Commit, slog.Default())
	telemetry, err := payments.StartTelemetry(ctx, release, instance, heaps)
	if err != nil {
		return err
	}
	log := otelslog.NewLogger("payments", otelslog.WithLoggerProvider(telemetry.Logs), otelslog.WithSource(true))

	if err := openfeature.SetProviderAndWait(&payments.FlagFile{Path: os.Getenv("FLAGS_FILE")}); err != nil {
		return err
	}
	openfeature.AddHooks(payments.EvaluationEvents{Logger: telemetry.Logs.Logger("openfeature")})
	flags := openfeature.NewClient("payments")

	server := grpc.NewServer(
		grpc.StatsHandler(otelgrpc.NewServerHandler()),
		grpc.UnaryInterceptor(payments.Recover(log)),
	)
	inventory := payments.NewInventory(os.Getenv("INVENTORY_URL"))
	paymentsv1.RegisterPaymentsServer(server, payments.NewService(release, instance, inventory, flags, log))
	listener, err := net.Listen("tcp", os.Getenv("LISTEN"))
	if err != nil {
		return err
	}
	log.InfoContext(ctx, "payments serves", "version", release.Version)
	go func() {
		<-ctx.Done()
		server.GracefulStop()
	}()
	if err := server.Serve(listener); err != nil {
		return err
	}
	// What is still to be sent has ten seconds.
	last, done := context.WithTimeout(context.Background(), 10*time.Second)
	defer done()
	return telemetry.Stop(last)
}
