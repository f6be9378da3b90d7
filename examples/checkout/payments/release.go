package payments

// Release says which version a binary is, and what was changed in it. The three releases are three build tags of one
// source, so that a reader sees what each changed: release_1_8_2.go, release_1_9_0.go, release_1_9_1.go.
type Release struct {
	Version     string `json:"version"`
	Commit      string `json:"commit"`
	BuildNumber int    `json:"build_number"`
	// KeepsExact: in strict mode the exact amounts are kept for the reconciliation.
	KeepsExact bool `json:"-"`
	// TooManyDigits is the answer of strict mode to an amount with more than maxDigits fractional digits; nil: it is
	// rounded as in lenient mode.
	TooManyDigits func(Decimal) error `json:"-"`
}
