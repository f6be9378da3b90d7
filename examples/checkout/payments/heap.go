package payments

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"slices"
	"strings"
	"time"
)

// keptEntries is how many types and sites a summary names; its total covers all.
const keptEntries = 20

// HeapSite is a line that allocated what is still in use.
type HeapSite struct {
	Function string `json:"function"`
	File     string `json:"file"`
	Line     int    `json:"line"`
	Bytes    int64  `json:"bytes"`
	Count    int64  `json:"count"`
}

// HeapType stands in for a type: Go's profile has none, so it is the function that allocated.
type HeapType struct {
	Type  string `json:"type"`
	Bytes int64  `json:"bytes"`
	Count int64  `json:"count"`
}

// HeapSummary is what of a heap may leave the process: names, lines and sizes, never contents.
type HeapSummary struct {
	Types     []HeapType
	Sites     []HeapSite
	Total     int64
	Truncated bool
}

// summarizeHeap reads the profile of the allocations in use, which the runtime samples anyhow: by function, and by the
// first line of this module on the way to it. The same heap gives the same summary.
func summarizeHeap() HeapSummary {
	// The profile is as of the last collection.
	runtime.GC()
	records := profile()
	types, sites := map[string]*HeapType{}, map[HeapSite]*HeapSite{}
	summary := HeapSummary{}
	for i := range records {
		record := &records[i]
		size, count := inUse(record)
		if size <= 0 {
			continue
		}
		summary.Total += size
		allocating, site := places(record.Stack())
		if types[allocating] == nil {
			types[allocating] = &HeapType{Type: allocating}
		}
		types[allocating].Bytes += size
		types[allocating].Count += count
		if sites[site] == nil {
			found := site
			sites[site] = &found
		}
		sites[site].Bytes += size
		sites[site].Count += count
	}
	for _, entry := range types {
		summary.Types = append(summary.Types, *entry)
	}
	for _, entry := range sites {
		summary.Sites = append(summary.Sites, *entry)
	}
	slices.SortFunc(summary.Types, func(a, b HeapType) int {
		return cmp.Or(cmp.Compare(b.Bytes, a.Bytes), cmp.Compare(a.Type, b.Type))
	})
	slices.SortFunc(summary.Sites, func(a, b HeapSite) int {
		return cmp.Or(cmp.Compare(b.Bytes, a.Bytes), cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
	})
	summary.Truncated = len(summary.Types) > keptEntries || len(summary.Sites) > keptEntries
	summary.Types = summary.Types[:min(len(summary.Types), keptEntries)]
	summary.Sites = summary.Sites[:min(len(summary.Sites), keptEntries)]
	return summary
}

// profile is the runtime's list of sampled allocations, by stack.
func profile() []runtime.MemProfileRecord {
	count, _ := runtime.MemProfile(nil, false)
	for {
		// A little more: others allocate meanwhile.
		records := make([]runtime.MemProfileRecord, count+64)
		n, ok := runtime.MemProfile(records, false)
		if ok {
			return records[:n]
		}
		count = n
	}
}

// inUse is what is in use of a stack, scaled from the sample: an allocation of rate bytes is seen with the probability
// 1 - 1/e, a larger one more surely. The large ones that matter here are all but certain, so their count is exact enough.
func inUse(record *runtime.MemProfileRecord) (size, count int64) {
	size, count = record.InUseBytes(), record.InUseObjects()
	if count > 0 && size/count < int64(runtime.MemProfileRate) {
		scale := int64(runtime.MemProfileRate) / max(size/count, 1)
		return size * scale, count * scale
	}
	return size, count
}

// places gives the function that allocated and the first line of this module above it, or the function's own line
// where none of the module's is.
func places(stack []uintptr) (string, HeapSite) {
	frames := runtime.CallersFrames(stack)
	var first, own runtime.Frame
	for {
		frame, more := frames.Next()
		// The allocator itself is at the top of some stacks.
		if first.Function == "" && !strings.HasPrefix(frame.Function, "runtime.") {
			first = frame
		}
		if own.Function == "" && strings.HasPrefix(frame.Function, "payments") {
			own = frame
		}
		if !more {
			break
		}
	}
	if first.Function == "" {
		first.Function = "runtime"
	}
	if own.Function == "" {
		own = first
	}
	return first.Function, HeapSite{Function: own.Function, File: own.File, Line: own.Line}
}

// dumpHeap writes the whole profile below folder and returns its name and digest. It never goes through Kafka.
func dumpHeap(folder string, at time.Time) (name, digest string, err error) {
	var dump bytes.Buffer
	if err := pprof.Lookup("heap").WriteTo(&dump, 0); err != nil {
		return "", "", err
	}
	sum := sha256.Sum256(dump.Bytes())
	name = "payments-" + at.UTC().Format("20060102T150405Z") + ".pb.gz"
	return name, hex.EncodeToString(sum[:]), os.WriteFile(filepath.Join(folder, name), dump.Bytes(), 0o600)
}
