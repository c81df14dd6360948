package verify

// What the tests of package verify_test compare with. They stand outside, for verify/trust imports this package.
const (
	FormatOMS    = formatOMS
	FormatLegacy = formatLegacy
)

// BoundDescent makes a Descent remember less until the test ends.
func BoundDescent(t interface{ Cleanup(func()) }, edges int) {
	descentEdges = edges
	t.Cleanup(func() { descentEdges = MaxDescentEdges })
}
