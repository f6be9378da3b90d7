package payments

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// HeapRules say when a heap is looked at: it stops the program for moments, and nobody wants that at each error.
type HeapRules struct {
	// Services whose errors count; of others nothing is taken.
	Services []string
	// Every: one capture of a service in such a time, whichever instance takes it.
	Every time.Duration
	// Budget is what a capture may take. After one that took longer this instance takes no more.
	Budget time.Duration
	// DumpAbove: the full dump is written only when more than this many bytes are in use.
	DumpAbove int64
	// Folder for records, dumps and the file by which the instances of a service agree whose turn it is.
	Folder string
}

// HeapCapture is a span processor that takes a summary of the heap when a span of the server ends with a failure of its own.
type HeapCapture struct {
	rules    HeapRules
	service  string
	instance string
	commit   string
	log      *slog.Logger
	wanted   chan trace.SpanContext
	done     chan struct{}
}

// heapRecord is a record of the topic heap_summaries.
type heapRecord struct {
	Format         string     `json:"format"`
	CapturedAt     time.Time  `json:"captured_at"`
	TraceID        string     `json:"trace_id"`
	SpanID         string     `json:"span_id"`
	Service        string     `json:"service.name"`
	Instance       string     `json:"service.instance.id"`
	Commit         string     `json:"vcs.ref.head.revision"`
	TopTypes       []HeapType `json:"top_types"`
	TopSites       []HeapSite `json:"top_sites"`
	TotalBytes     int64      `json:"total_bytes"`
	SnapshotURI    string     `json:"snapshot_uri,omitempty"`
	SnapshotSHA256 string     `json:"snapshot_sha256,omitempty"`
	Truncated      bool       `json:"truncated"`
}

// NewHeapCapture begins to wait for failures.
func NewHeapCapture(rules HeapRules, instance, commit string, log *slog.Logger) *HeapCapture {
	capture := &HeapCapture{
		rules: rules, service: "payments", instance: instance, commit: commit, log: log,
		wanted: make(chan trace.SpanContext, 1), done: make(chan struct{}),
	}
	go capture.run()
	return capture
}

// OnStart does nothing.
func (c *HeapCapture) OnStart(context.Context, sdktrace.ReadWriteSpan) {}

// OnEnd asks for a capture where the rules want one. It never waits: the request is answered first.
func (c *HeapCapture) OnEnd(span sdktrace.ReadOnlySpan) {
	if span.Status().Code != codes.Error || span.SpanKind() != trace.SpanKindServer ||
		!slices.Contains(c.rules.Services, c.service) || !internal(span) {
		return
	}
	select {
	case c.wanted <- span.SpanContext():
	default: // One is being taken.
	}
}

// internal tells failures of this process from time-outs and refusals of others, of which its heap says nothing.
func internal(span sdktrace.ReadOnlySpan) bool {
	return slices.Contains(span.Attributes(), attribute.String("rpc.response.status_code", "INTERNAL"))
}

// ForceFlush does nothing: records are written at once.
func (c *HeapCapture) ForceFlush(context.Context) error { return nil }

// Shutdown ends after the capture that runs.
func (c *HeapCapture) Shutdown(ctx context.Context) error {
	close(c.wanted)
	select {
	case <-c.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *HeapCapture) run() {
	defer close(c.done)
	spent := false
	for span := range c.wanted {
		if spent {
			continue
		}
		began := time.Now()
		if mine, err := c.turn(began); err != nil || !mine {
			c.complain(err)
			continue
		}
		c.complain(c.capture(span, began))
		if took := time.Since(began); took > c.rules.Budget {
			spent = true
			c.log.Warn("a heap capture took longer than its budget, this instance takes no more", "took_ms", took.Milliseconds())
		}
	}
}

func (c *HeapCapture) complain(err error) {
	if err != nil {
		c.log.Error("no heap was captured", "error", err.Error())
	}
}

// turn says whether the service may be looked at again, and takes the turn: a locked file holds the time of the last one.
func (c *HeapCapture) turn(at time.Time) (bool, error) {
	file, err := os.OpenFile(filepath.Join(c.rules.Folder, c.service+".turn"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return false, err
	}
	// Closing gives the lock back.
	defer file.Close()
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX); err != nil {
		return false, err
	}
	var last int64
	if err := binary.Read(file, binary.BigEndian, &last); err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	if at.Sub(time.Unix(0, last)) < c.rules.Every {
		return false, nil
	}
	_, err = file.WriteAt(binary.BigEndian.AppendUint64(nil, uint64(at.UnixNano())), 0)
	return err == nil, err
}

// capture takes the summary first; the dump comes only if much is in use, and only if there is time left.
func (c *HeapCapture) capture(span trace.SpanContext, began time.Time) error {
	summary := summarizeHeap()
	record := heapRecord{
		Format: "pprof", CapturedAt: began.UTC(), TraceID: span.TraceID().String(), SpanID: span.SpanID().String(),
		Service: c.service, Instance: c.instance, Commit: c.commit,
		TopTypes: summary.Types, TopSites: summary.Sites, TotalBytes: summary.Total, Truncated: summary.Truncated,
	}
	if summary.Total > c.rules.DumpAbove && time.Since(began) < c.rules.Budget {
		name, digest, err := dumpHeap(c.rules.Folder, began)
		if err != nil {
			return fmt.Errorf("write the dump: %w", err)
		}
		record.SnapshotURI, record.SnapshotSHA256 = "heap-dumps:"+name, digest
	}
	line, err := json.Marshal(record)
	if err != nil {
		return err
	}
	file, err := os.OpenFile(filepath.Join(c.rules.Folder, "heaps.jsonl"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(append(line, '\n'))
	return errors.Join(err, file.Close())
}
