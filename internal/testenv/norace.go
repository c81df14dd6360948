//go:build !race

package testenv

// Race says that the tests run under the race detector, which takes several times the time and memory.
const Race = false
