//go:build release_1_8_2

package payments

// Current is the release before the incident: strict mode exists, and rounds.
var Current = Release{
	Version:     "1.8.2",
	Commit:      "4f0c2a97d1b86e35af7e0c9d2b4186f3e5a7c901",
	BuildNumber: 507,
}
