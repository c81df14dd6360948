package policies

import "github.com/open-policy-agent/opa/v1/ast"

// AskBrokenModule asks a module whose evaluation panics.
func AskBrokenModule() (Code, string) {
	return (&regoModule{query: ast.MustParseBody("denied = data.a.deny")}).ask(ast.NullValue)
}
