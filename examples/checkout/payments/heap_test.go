package payments

import (
	"log/slog"
	"runtime"
	"strings"
	"testing"
	"time"
)

// What the ledger keeps is found in the summary under the line that allocates it, which the documents name:
// rounding.go:117. Whoever moves that line sees it here.
func TestTheSummaryNamesTheLine(t *testing.T) {
	// Every allocation is in the profile, so that the figures are exact.
	defer func(rate int) { runtime.MemProfileRate = rate }(runtime.MemProfileRate)
	runtime.MemProfileRate = 1
	var ledger Ledger
	amount, _ := ParseDecimal("1.5")
	for range 8 {
		ledger.Keep(amount)
	}
	summary := summarizeHeap()
	runtime.KeepAlive(&ledger)
	site := summary.Sites[0]
	if !strings.HasSuffix(site.File, "rounding.go") || site.Line != 117 || site.Bytes < 8*8*pageDigits {
		t.Errorf("the largest site is %+v", site)
	}
	if summary.Total < site.Bytes {
		t.Errorf("the total, %d, is less than one of its parts", summary.Total)
	}
}

// One capture in the time that is set, whichever instance of the service asks.
func TestInstancesTakeTurns(t *testing.T) {
	rules := HeapRules{Every: time.Minute, Folder: t.TempDir()}
	a, b := NewHeapCapture(rules, "a", "", slog.Default()), NewHeapCapture(rules, "b", "", slog.Default())
	began := time.Now()
	for _, asked := range []struct {
		who    *HeapCapture
		after  time.Duration
		wanted bool
	}{{a, 0, true}, {b, time.Second, false}, {a, 59 * time.Second, false}, {b, 61 * time.Second, true}, {a, 62 * time.Second, false}} {
		if mine, err := asked.who.turn(began.Add(asked.after)); err != nil || mine != asked.wanted {
			t.Errorf("after %s: %v, %v", asked.after, mine, err)
		}
	}
}
