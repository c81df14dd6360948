package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/mlseal/mlseal/internal/testenv"
)

// adversarialCases is how many cases the list has.
const adversarialCases = 72

var (
	caseRow    = regexp.MustCompile(`(?m)^\| *(\d+) *\| ([^|]+) \| ([^|]+) \|$`)
	scriptTest = regexp.MustCompile("^script `([a-z_]+\\.txtar)`$")
	goTest     = regexp.MustCompile("^`([a-z/-]+): (Test[A-Za-z0-9]+)(?:/(.+))?`$")
	caseWords  = regexp.MustCompile(`\b[Cc]ases? ((?:\d+|,|and|to|\s|\([a-z, ]+\))+)`)
	caseRange  = regexp.MustCompile(`(\d+)(?: to (\d+))?`)
)

// TestAdversarialTable holds docs/adversarial.md to the tests that it names: each case has one at least, each is there, and each says for itself
// which case it is.
func TestAdversarialTable(t *testing.T) {
	root := testenv.Root(t)
	text, err := os.ReadFile(filepath.Join(root, "docs", "adversarial.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, problem := range adversarialProblems(t, root, string(text)) {
		t.Error(problem)
	}
}

// TestAdversarialTableIsHeld breaks the table in each way, and wants it named.
func TestAdversarialTableIsHeld(t *testing.T) {
	root := testenv.Root(t)
	data, err := os.ReadFile(filepath.Join(root, "docs", "adversarial.md"))
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	row := func(n int) string {
		for _, m := range caseRow.FindAllStringSubmatch(text, -1) {
			if m[1] == strconv.Itoa(n) {
				return m[0]
			}
		}
		t.Fatalf("no row %d", n)
		return ""
	}
	for name, c := range map[string]struct{ old, new, want string }{
		"a case without a row":     {row(7) + "\n", "", "case 7 has no row"},
		"a case twice":             {row(7), row(7) + "\n" + row(7), "case 7 has two rows"},
		"no test":                  {row(7), "| 7 | nothing | none |", "case 7: \"none\" names no test"},
		"an unknown test":          {row(7), "| 7 | x | `verify: TestNothing` |", "case 7: there is no TestNothing in verify"},
		"an unknown subtest":       {row(7), "| 7 | x | `verify: TestAdversarial/07 nothing` |", "case 7: TestAdversarial in verify does not hold \"07 nothing\""},
		"a subtest of another":     {row(7), "| 7 | x | `verify: TestAdversarial/13 unknown key` |", "case 7: \"13 unknown key\" is of another case"},
		"a test of another case":   {row(7), "| 7 | x | `policies: TestRegoPanic` |", "case 7: TestRegoPanic in policies does not say that it is this case"},
		"an unknown package":       {row(7), "| 7 | x | `nowhere: TestRegoPanic` |", "case 7: there is no TestRegoPanic in nowhere"},
		"an unknown script":        {row(7), "| 7 | x | script `nothing.txtar` |", "case 7: nothing.txtar"},
		"a script without the row": {row(7), "| 7 | x | script `params.txtar` |", "case 7: params.txtar has no line `# 07 …` or `# 7 …`"},
		"a test that is to come":   {row(7), "| 7 | x | pending |", "case 7: \"pending\" names no test"},
	} {
		if !strings.Contains(text, c.old) {
			t.Fatalf("%s: the table does not hold %q", name, c.old)
		}
		problems := strings.Join(adversarialProblems(t, root, strings.Replace(text, c.old, c.new, 1)), "\n")
		if !strings.Contains(problems, c.want) {
			t.Errorf("%s: %q, want %q", name, problems, c.want)
		}
	}
}

// adversarialProblems is what is wrong with the table.
func adversarialProblems(t *testing.T, root, table string) []string {
	var problems []string
	seen := map[int]bool{}
	for _, row := range caseRow.FindAllStringSubmatch(table, -1) {
		n, _ := strconv.Atoi(row[1])
		problem := func(text string) { problems = append(problems, "case "+row[1]+": "+text) }
		if seen[n] {
			problems = append(problems, "case "+row[1]+" has two rows")
		}
		seen[n] = true
		for _, entry := range strings.Split(row[3], "; ") {
			entry = strings.TrimSpace(entry)
			if m := scriptTest.FindStringSubmatch(entry); m != nil {
				text, err := os.ReadFile(filepath.Join(root, "cmd", "mlseal", "testdata", "script", m[1]))
				if err != nil {
					problem(m[1] + ": " + err.Error())
				} else if !regexp.MustCompile(`(?m)^# 0?` + row[1] + ` \S`).Match(text) {
					problem(m[1] + " has no line `# 0" + row[1] + " …` or `# " + row[1] + " …`")
				}
			} else if m := goTest.FindStringSubmatch(entry); m != nil {
				if text := checkGoTest(t, root, n, m[1], m[2], m[3]); text != "" {
					problem(text)
				}
			} else {
				problem(strconv.Quote(entry) + " names no test")
			}
		}
	}
	for n := 1; n <= adversarialCases; n++ {
		if !seen[n] {
			problems = append(problems, "case "+strconv.Itoa(n)+" has no row")
		}
	}
	return problems
}

// checkGoTest says what is wrong with a test that stands for case n; "" when nothing is.
func checkGoTest(t *testing.T, root string, n int, pkg, name, subtest string) string {
	f := testFunctions(t, filepath.Join(root, filepath.FromSlash(pkg)))[name]
	if f == nil {
		return "there is no " + name + " in " + pkg
	}
	if subtest == "" {
		if !f.cases[n] {
			return name + " in " + pkg + " does not say that it is this case"
		}
		return ""
	}
	number, _, _ := strings.Cut(subtest, " ")
	if got, err := strconv.Atoi(number); err != nil || got != n {
		return strconv.Quote(subtest) + " is of another case"
	}
	if !f.literals[subtest] {
		return name + " in " + pkg + " does not hold " + strconv.Quote(subtest)
	}
	return ""
}

// testFunction is a test: the cases that its comment names, and its string literals.
type testFunction struct {
	cases    map[int]bool
	literals map[string]bool
}

var parsedTests = map[string]map[string]*testFunction{}

// testFunctions reads the tests of the package in dir, of all systems.
func testFunctions(t *testing.T, dir string) map[string]*testFunction {
	t.Helper()
	if parsedTests[dir] != nil {
		return parsedTests[dir]
	}
	out := map[string]*testFunction{}
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range file.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok && f.Recv == nil && strings.HasPrefix(f.Name.Name, "Test") {
				out[f.Name.Name] = readTest(f)
			}
		}
	}
	parsedTests[dir] = out
	return out
}

func readTest(f *ast.FuncDecl) *testFunction {
	out := &testFunction{cases: map[int]bool{}, literals: map[string]bool{}}
	for _, words := range caseWords.FindAllStringSubmatch(f.Doc.Text(), -1) {
		for _, r := range caseRange.FindAllStringSubmatch(words[1], -1) {
			from, _ := strconv.Atoi(r[1])
			to, err := strconv.Atoi(r[2])
			if err != nil {
				to = from
			}
			for n := from; n <= to; n++ {
				out.cases[n] = true
			}
		}
	}
	ast.Inspect(f, func(n ast.Node) bool {
		if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			if s, err := strconv.Unquote(lit.Value); err == nil {
				out.literals[s] = true
			}
		}
		return true
	})
	return out
}
