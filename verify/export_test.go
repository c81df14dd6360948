package verify

// What the tests of package verify_test compare with. They stand outside, for verify/trust imports this package.
const (
	FormatOMS    = formatOMS
	FormatLegacy = formatLegacy
)
