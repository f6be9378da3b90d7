//go:build !release_1_8_2 && !release_1_9_0

package payments

// Current is the release with the fix: such an amount is a mistake of the caller, and nothing is kept of it.
var Current = Release{
	Version:       "1.9.1",
	Commit:        "c7d9e1f30a5b2846c8e0f1a3b5d7092c4e6f8a1b",
	BuildNumber:   513,
	TooManyDigits: func(amount Decimal) error { return &InvalidAmountError{Digits: amount.Digits()} },
}
