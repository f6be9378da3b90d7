package payments

import (
	"errors"
	"fmt"
	"math/big"
	"runtime/debug"
	"strings"
	"sync"
)

// maxDigits is how many fractional digits the fixed point of strict mode has.
const maxDigits = 18

// currencyDigits is what amounts are rounded to: cents.
const currencyDigits = 2

// maxKept bounds the exact amounts that the ledger keeps; the oldest goes first.
const maxKept = 48

// pageDigits is the width of a page of the ledger. Release 1.9.0 took it for the widest amount that any currency might
// ever have, and this is what the heap shows.
const pageDigits = 64 * 1024

// Decimal is an exact decimal number: unscaled / 10^scale.
type Decimal struct {
	unscaled *big.Int
	scale    int
}

// ParseDecimal reads a decimal number such as 12.345, without exponent.
func ParseDecimal(text string) (Decimal, error) {
	whole, fraction, _ := strings.Cut(text, ".")
	unscaled, ok := new(big.Int).SetString(whole+fraction, 10)
	if !ok || whole == "" || strings.ContainsAny(fraction, "+-_") {
		return Decimal{}, errors.New("not a decimal number")
	}
	return Decimal{unscaled: unscaled, scale: len(fraction)}, nil
}

// Digits is how many fractional digits the number was written with.
func (d Decimal) Digits() int { return d.scale }

// String writes the number with all its fractional digits.
func (d Decimal) String() string {
	if d.scale == 0 {
		return d.unscaled.String()
	}
	digits := fmt.Sprintf("%0*s", d.scale+1, new(big.Int).Abs(d.unscaled).String())
	sign := ""
	if d.unscaled.Sign() < 0 {
		sign = "-"
	}
	return sign + digits[:len(digits)-d.scale] + "." + digits[len(digits)-d.scale:]
}

// Round gives the number with fewer digits, half to even as banks do.
func (d Decimal) Round(digits int) Decimal {
	if d.scale <= digits {
		return d
	}
	divisor := powerOfTen(d.scale - digits)
	quotient, rest := new(big.Int).QuoRem(d.unscaled, divisor, new(big.Int))
	twice := new(big.Int).Abs(new(big.Int).Lsh(rest, 1))
	up := twice.Cmp(divisor)
	if up > 0 || (up == 0 && quotient.Bit(0) == 1) {
		quotient.Add(quotient, big.NewInt(int64(d.unscaled.Sign())))
	}
	return Decimal{unscaled: quotient, scale: digits}
}

// Cents gives a rounded amount in the smallest unit of its currency.
func (d Decimal) Cents() int64 {
	d = d.Round(currencyDigits)
	return new(big.Int).Mul(d.unscaled, powerOfTen(currencyDigits-d.scale)).Int64()
}

// OverflowError is what strict mode of release 1.9.0 says of an amount that does not fit. It keeps the stack of where
// it was made: Go's errors have none.
type OverflowError struct {
	Digits int
	stack  string
}

func newOverflow(amount Decimal) *OverflowError {
	return &OverflowError{Digits: amount.Digits(), stack: string(debug.Stack())}
}

func (e *OverflowError) Error() string {
	return fmt.Sprintf("decimal overflow: the amount has %d fractional digits", e.Digits)
}

// Stack is where the error was made.
func (e *OverflowError) Stack() string { return e.stack }

// InvalidAmountError is what release 1.9.1 says instead: the caller's mistake, with what is permitted.
type InvalidAmountError struct{ Digits int }

func (e *InvalidAmountError) Error() string {
	return fmt.Sprintf("the amount has %d fractional digits, at most %d are permitted", e.Digits, maxDigits)
}

// Rounder rounds amounts as the release and the flag say.
type Rounder struct {
	release Release
	ledger  Ledger
}

// Ledger keeps exact amounts for the reconciliation at the end of the day.
type Ledger struct {
	mu    sync.Mutex
	pages [][]uint64
}

// Keep writes an amount into a page of its own, a digit a cell, the least significant first.
func (l *Ledger) Keep(amount Decimal) {
	page := make([]uint64, pageDigits)
	digits := new(big.Int).Abs(amount.unscaled).String()
	for i := range digits {
		page[i%pageDigits] = uint64(digits[len(digits)-1-i] - '0')
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.pages) == maxKept {
		l.pages = l.pages[1:]
	}
	l.pages = append(l.pages, page)
}

// Round gives an amount in what the currency has. In strict mode it may refuse, by the release.
func (r *Rounder) Round(amount Decimal, mode string) (Decimal, error) {
	if mode == strict {
		if r.release.KeepsExact {
			r.ledger.Keep(amount)
		}
		if amount.Digits() > maxDigits && r.release.TooManyDigits != nil {
			return Decimal{}, r.release.TooManyDigits(amount)
		}
	}
	return amount.Round(currencyDigits), nil
}

func powerOfTen(exponent int) *big.Int {
	return new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(exponent)), nil)
}
