//go:build interop

package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"

	"github.com/mlseal/mlseal/internal/testenv"
)

// TestInteropPython runs the tests of docs/pipelines/python: with transformers' own callback handler and MLflow's client, and, where
// MLSEAL_PEER_TRAINER names a Python with transformers and torch, with a real Trainer. Torch is 5 GB from the package index, which is too much to install for this.
func TestInteropPython(t *testing.T) {
	t.Run("hooks", func(t *testing.T) {
		runPython(t, peer(t, "HOOKS"), 10, "test_mlseal_callback", "test_mlseal_mlflow")
	})
	t.Run("trainer", func(t *testing.T) {
		python := os.Getenv("MLSEAL_PEER_TRAINER")
		if python == "" {
			t.Skipf("peer TRAINER is not here: name a Python with transformers, accelerate and torch with MLSEAL_PEER_TRAINER; %s did NOT run", t.Name())
		}
		runPython(t, python, 1, "test_mlseal_callback.CallbackTest.test_a_real_trainer")
	})
}

var pythonRan = regexp.MustCompile(`(?s)\nRan (\d+) tests? .*\nOK(?: \(skipped=(\d+)\))?\s*$`)

// runPython wants at least so many tests to pass: unittest is content with none.
func runPython(t *testing.T, python string, least int, tests ...string) {
	t.Helper()
	l := newLab(t)
	cmd := l.command(python, append([]string{"-B", "-W", "ignore", "-m", "unittest", "-v"}, tests...)...)
	cmd.Dir = filepath.Join(testenv.Root(t), "docs", "pipelines", "python")
	cmd.Env = append(cmd.Env, "MLSEAL="+l.mlseal)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v\n%s", tests, err, out)
	}
	m := pythonRan.FindStringSubmatch(string(out))
	if m == nil {
		t.Fatalf("it does not say how many tests ran:\n%s", out)
	}
	ran, _ := strconv.Atoi(m[1])
	skipped, _ := strconv.Atoi(m[2])
	if ran-skipped < least {
		t.Errorf("%d tests passed, want %d\n%s", ran-skipped, least, out)
	}
}
