package policies

import (
	"crypto/sha256"
	"fmt"

	"go.yaml.in/yaml/v3"

	"github.com/mlseal/mlseal/internal/lazyregexp"
)

var regoPackage = lazyregexp.New(`^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*){0,9}$`)

// rego reads the modules. Each is compiled by itself, so that none can undo what another one says.
func (l *loader) rego(n *yaml.Node) {
	seen := map[string]bool{}
	for _, c := range l.list(n, "rego") {
		f := l.mapping(c, "a Rego module", "file", "package")
		file, name := l.str(l.need(f, "file"), "file"), l.str(l.need(f, "package"), "package")
		switch {
		case l.err != nil:
			return
		case !regoPackage.MatchString(name):
			l.failf(f.at["package"], "package is %q; write its path, such as acme.extra", name)
		case seen[name]:
			l.failf(f.at["package"], "package %s stands there twice; one file is one package", name)
		}
		seen[name] = true
		text := l.file(f.at["file"], "Rego module", file, MaxRegoBytes)
		if l.err != nil {
			return
		}
		m, err := compileRego(file, name, text)
		if err != nil {
			l.failf(f.at["file"], "Rego module %q: %v", file, err)
			return
		}
		m.digest = fmt.Sprintf("sha256:%x", sha256.Sum256(text))
		l.policy.rego = append(l.policy.rego, m)
	}
}
