package main

import (
	"bufio"
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// What happens before main, every command pays for. The tests below count it, and time nothing.
const (
	// maxInitAllocs bounds what a package of ours allocates before main; an expression that is compiled makes some hundred.
	maxInitAllocs = 100
	// maxBytesBeforeGcpace is less than what starts the collector.
	maxBytesBeforeGcpace = 2 << 20
)

// initialized is a line of GODEBUG=inittrace=1.
type initialized struct {
	name          string
	bytes, allocs int
}

// traced runs the real main with a setting of GODEBUG and returns what the runtime wrote.
func traced(t *testing.T, setting string, args ...string) []byte {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Args = append([]string{"mlseal"}, args...)
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); name != "GODEBUG" && name != "GOGC" && name != "GOMEMLIMIT" {
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Env = append(cmd.Env, "GODEBUG="+setting)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("mlseal %v: %v\n%s", args, err, &stderr)
	}
	return stderr.Bytes()
}

// initialization is what was initialized, in order.
func initialization(t *testing.T) (all []initialized) {
	t.Helper()
	for lines := bufio.NewScanner(bytes.NewReader(traced(t, "inittrace=1", "version"))); lines.Scan(); {
		// init NAME @1.2 ms, 0.3 ms clock, 456 bytes, 7 allocs
		f := strings.Fields(lines.Text())
		if len(f) != 11 || f[0] != "init" {
			t.Fatalf("a line of the trace is %q", lines.Text())
		}
		bytes, err1 := strconv.Atoi(f[7])
		allocs, err2 := strconv.Atoi(f[9])
		if err1 != nil || err2 != nil {
			t.Fatalf("a line of the trace is %q", lines.Text())
		}
		all = append(all, initialized{f[1], bytes, allocs})
	}
	return all
}

func TestStartsWithLittleWork(t *testing.T) {
	before, ours, early := 0, 0, false
	for _, p := range initialization(t) {
		if p.name == module+"internal/gcpace" {
			early = true
			if before > maxBytesBeforeGcpace {
				t.Errorf("%d bytes were allocated before gcpace could put the collector off", before)
			}
		}
		before += p.bytes
		room, isOurs := strings.CutPrefix(p.name, module)
		if !isOurs || matches(forTests, room) || room == "cmd/mlseal" { // with its tests
			continue
		}
		ours++
		if p.allocs > maxInitAllocs {
			t.Errorf("%s makes %d allocations (%d bytes) before main: leave it to the first use, with internal/lazyregexp or sync.OnceValue", p.name, p.allocs, p.bytes)
		}
	}
	if ours < 10 || !early {
		t.Errorf("%d packages of ours were seen, gcpace: %t", ours, early)
	}
}

// TestEndsBeforeTheCollectorStarts: a collection took a third of the time that such a command takes.
func TestEndsBeforeTheCollectorStarts(t *testing.T) {
	for _, args := range [][]string{{"version"}, {"verify", "--help"}, {"schema", "evaluation"}} {
		if trace := traced(t, "gctrace=1", args...); len(trace) > 0 {
			t.Errorf("mlseal %v: %s", args, trace)
		}
	}
}

// TestExpressions: internal/lazyregexp has every expression that a package keeps, and each compiles.
func TestExpressions(t *testing.T) {
	found := 0
	eachSource(t, func(path string, file *ast.File) {
		for _, decl := range file.Decls {
			vars, ok := decl.(*ast.GenDecl)
			if !ok {
				continue
			}
			ast.Inspect(vars, func(n ast.Node) bool {
				if _, inside := n.(*ast.FuncLit); inside {
					return false // which runs later
				}
				call, ok := n.(*ast.CallExpr)
				if !ok || len(call.Args) != 1 {
					return true
				}
				switch calledName(call) {
				case "regexp.MustCompile", "template.Must":
					t.Errorf("%s: %s before main: use internal/lazyregexp or sync.OnceValue", path, calledName(call))
				case "lazyregexp.New":
					if literal, ok := call.Args[0].(*ast.BasicLit); ok { // what is put together is used in the tests of its package
						found++
						if _, err := regexp.Compile(unquoted(t, literal)); err != nil {
							t.Errorf("%s: %v", path, err)
						}
					}
				}
				return true
			})
		}
	})
	if found < 50 {
		t.Errorf("only %d expressions were found", found)
	}
}

// eachSource parses the source files that end up in the program.
func eachSource(t *testing.T, each func(path string, file *ast.File)) {
	t.Helper()
	root := filepath.Join("..", "..")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		if d.IsDir() && rel != "." && (strings.HasPrefix(d.Name(), ".") || matches(forTests, filepath.ToSlash(rel))) {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		each(path, file)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// calledName is PACKAGE.NAME of what is called, as it is written.
func calledName(call *ast.CallExpr) string {
	if sel, ok := call.Fun.(*ast.SelectorExpr); ok {
		if x, ok := sel.X.(*ast.Ident); ok {
			return x.Name + "." + sel.Sel.Name
		}
	}
	return ""
}

func unquoted(t *testing.T, literal *ast.BasicLit) string {
	t.Helper()
	text, err := strconv.Unquote(literal.Value)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
