//go:build release_1_9_0

package payments

// Current is the release with the fault: what does not fit into strict mode's fixed point is a failure of the server.
var Current = Release{
	Version:       "1.9.0",
	Commit:        "a1b2c3d4e5f60718293a4b5c6d7e8f9001122334",
	BuildNumber:   512,
	KeepsExact:    true,
	TooManyDigits: func(amount Decimal) error { return newOverflow(amount) },
}
