package payments

import (
	"errors"
	"strings"
	"testing"
)

// Amounts are rounded half to even, with what is written and nothing lost on the way: text in, text out.
func TestRoundsHalfToEven(t *testing.T) {
	for text, wanted := range map[string]string{
		"1.005": "1.00", "1.015": "1.02", "1.0050000000000000000001": "1.01", "-1.015": "-1.02", "0.004": "0.00", "7": "7", "12.5": "12.5",
	} {
		amount, err := ParseDecimal(text)
		if err != nil {
			t.Fatal(text, err)
		}
		if got := amount.Round(currencyDigits).String(); got != wanted {
			t.Errorf("%s is rounded to %s, not %s", text, got, wanted)
		}
	}
}

// What is not a decimal number is refused, not taken for another one.
func TestRefusesWhatIsNoNumber(t *testing.T) {
	for _, text := range []string{"", ".5", "1e3", "1.-5", "1.5.5", "twelve"} {
		if _, err := ParseDecimal(text); err == nil {
			t.Errorf("%q is taken for a number", text)
		}
	}
}

// Cents do not depend on how many digits an amount is written with.
func TestCents(t *testing.T) {
	for text, wanted := range map[string]int64{"12": 1200, "12.5": 1250, "12.345": 1234} {
		amount, err := ParseDecimal(text)
		if err != nil {
			t.Fatal(text, err)
		}
		if got := amount.Cents(); got != wanted {
			t.Errorf("%s is %d cents, not %d", text, got, wanted)
		}
	}
}

// A release with the fault fails only in strict mode, and only for more digits than fit; the error knows where it was made.
func TestOnlyStrictModeOverflows(t *testing.T) {
	rounder := Rounder{release: Release{KeepsExact: true, TooManyDigits: func(amount Decimal) error { return newOverflow(amount) }}}
	long, _ := ParseDecimal("1.1234567890123456789")
	short, _ := ParseDecimal("1.123456789012345678")
	for _, fine := range []struct {
		amount Decimal
		mode   string
	}{{long, "lenient"}, {short, strict}} {
		if _, err := rounder.Round(fine.amount, fine.mode); err != nil {
			t.Error(fine.mode, fine.amount, err)
		}
	}
	var overflow *OverflowError
	if _, err := rounder.Round(long, strict); !errors.As(err, &overflow) || overflow.Digits != 19 {
		t.Fatal("no overflow:", err)
	}
	if !strings.Contains(overflow.Stack(), "rounding.go") {
		t.Error("the stack is not that of the rounding:", overflow.Stack())
	}
}
