package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	// The go command caches a test's result until something that it imports changes; these imports make
	// every guarded package one of those things.
	_ "github.com/mlseal/mlseal/attest"
	_ "github.com/mlseal/mlseal/attest/compose"
	_ "github.com/mlseal/mlseal/attest/documents"
	_ "github.com/mlseal/mlseal/attest/evaluation"
	_ "github.com/mlseal/mlseal/attest/link"
	_ "github.com/mlseal/mlseal/attest/record"
	_ "github.com/mlseal/mlseal/attest/signer"
	_ "github.com/mlseal/mlseal/internal/httpread"
	_ "github.com/mlseal/mlseal/internal/hubtest"
	_ "github.com/mlseal/mlseal/internal/objecttest"
	_ "github.com/mlseal/mlseal/internal/registrytest"
	_ "github.com/mlseal/mlseal/internal/sigstoretest"
	_ "github.com/mlseal/mlseal/manifest"
	_ "github.com/mlseal/mlseal/manifest/cache"
	_ "github.com/mlseal/mlseal/manifest/format"
	_ "github.com/mlseal/mlseal/manifest/hfcache"
	_ "github.com/mlseal/mlseal/manifest/hub"
	_ "github.com/mlseal/mlseal/manifest/mount"
	_ "github.com/mlseal/mlseal/manifest/objectstore"
	_ "github.com/mlseal/mlseal/manifest/oci"
	_ "github.com/mlseal/mlseal/manifest/origin"
	_ "github.com/mlseal/mlseal/manifest/parts"
	_ "github.com/mlseal/mlseal/manifest/reader"
	_ "github.com/mlseal/mlseal/manifest/rootfs"
	_ "github.com/mlseal/mlseal/policies"
	_ "github.com/mlseal/mlseal/policies/library"
	_ "github.com/mlseal/mlseal/policies/memory"
	_ "github.com/mlseal/mlseal/policies/policytest"
	_ "github.com/mlseal/mlseal/policies/review"
	_ "github.com/mlseal/mlseal/policies/starter"
	_ "github.com/mlseal/mlseal/verify"
	_ "github.com/mlseal/mlseal/verify/aibom"
	_ "github.com/mlseal/mlseal/verify/layout"
	_ "github.com/mlseal/mlseal/verify/report"
	_ "github.com/mlseal/mlseal/verify/trust"
)

const module = "github.com/mlseal/mlseal/"

// mayImport says which rooms a room may import: the exact packages, or everything below a path that
// ends in "/". Every room may import internal/ and what is listed here, and nothing else of ours.
var mayImport = map[string][]string{
	"internal/":            {},
	"manifest":             {},
	"manifest/cache":       {"manifest"},
	"manifest/format":      {},
	"manifest/origin":      {"manifest"},
	"manifest/parts":       {"manifest"},
	"manifest/hfcache":     {"manifest", "manifest/origin"},
	"manifest/hub":         {"manifest", "manifest/origin"},
	"manifest/objectstore": {"manifest", "manifest/origin"},
	"manifest/reader":      {"manifest"},
	"manifest/mount":       {"manifest/reader"},
	"manifest/rootfs":      {},
	"manifest/oci":         {"manifest", "manifest/format"},
	"attest":               {"manifest"},
	"attest/compose":       {"attest"},
	"attest/link":          {"attest"},
	"attest/documents":     {"attest"},
	"attest/evaluation":    {"attest"},
	"attest/signer":        {"attest"},
	"attest/record":        {"attest", "attest/link", "manifest"},
	"policies":             {},
	"policies/library":     {},
	"policies/memory":      {},
	"policies/policytest":  {"policies"},
	"policies/starter":     {"policies", "policies/policytest"},
	"policies/review":      {"policies"},
	"verify":               {"attest", "manifest", "policies"},
	"verify/aibom":         {"attest", "manifest", "policies", "verify/report"},
	"verify/layout":        {"attest", "attest/link", "manifest", "verify"},
	"verify/trust":         {"attest", "verify"},
	"verify/report":        {"attest", "manifest", "policies", "verify"},
	"cmd/":                 {"attest", "attest/", "manifest", "manifest/", "policies", "policies/", "verify", "verify/"},
	"testdata/":            {},
}

// doors are the packages that alone may import a heavy dependency.
var doors = map[string][]string{
	"github.com/in-toto/in-toto-golang/":             {"attest", "attest/link", "verify/layout"}, // attest uses two names of it
	"github.com/open-policy-agent/opa":               {"policies"},
	"github.com/CycloneDX/":                          {"verify/aibom"},
	"oras.land/oras-go/":                             {"manifest/oci"},
	"github.com/sigstore/cosign/":                    {"attest/signer"},
	"github.com/sigstore/sigstore-go/pkg/sign":       {"attest/signer"},
	"github.com/sigstore/sigstore-go/pkg/verify":     {"verify/trust"},
	"github.com/sigstore/sigstore-go/pkg/tuf":        {"internal/tufclient"},
	"github.com/sigstore/sigstore-go/":               {"attest/signer", "internal/sigstoretest", "internal/tufclient", "verify/trust"},
	"github.com/google/cel-go/":                      {"policies"},
	"github.com/sigstore/sigstore/pkg/signature/kms": {"attest/signer"},
	"github.com/hashicorp/vault/":                    {"attest/signer"},
	"gocloud.dev/":                                   {"manifest/objectstore"},
	"google.golang.org/api/":                         {"manifest/objectstore"},
	"github.com/Azure/azure-sdk-for-go/":             {"attest/signer", "manifest/objectstore"},
	"github.com/aws/":                                {"attest/signer", "manifest/objectstore"},
	"cloud.google.com/go/":                           {"attest/signer"},
	"github.com/google/jsonschema-go/":               {"internal/jsonschema"},
	"github.com/santhosh-tekuri/jsonschema/":         {}, // it takes 5 ms at start; tests have it as a judge
	"github.com/hanwen/go-fuse/":                     {"manifest/mount"},
	"github.com/spf13/cobra":                         {"cmd/mlseal"},
	"go.yaml.in/yaml/":                               {"policies", "internal/strictyaml"},
	"net/http":                                       {"attest/signer", "internal/httpread", "internal/hubtest", "internal/objecttest", "internal/registrytest", "internal/sigstoretest", "manifest/hub", "manifest/objectstore", "manifest/oci"},
	"github.com/ThalesIgnite/":                       {"attest/signer"},
	"github.com/miekg/pkcs11":                        {"attest/signer"},
	module + "manifest/cache":                        {"cmd/mlseal"}, // what judges a claim reads the files
}

// costly are packages that do so much before main that what is needed of them is taken from elsewhere (docs/size.md).
var costly = map[string]string{
	"oras.land/oras-go/v2": "its content and registry packages have what is needed",
}

// forTests are the packages that only tests import: they bring servers and testing into whatever does.
var forTests = []string{"internal/hubtest", "internal/objecttest", "internal/registrytest", "internal/sigstoretest", "internal/testenv"}

// TestImportsRunDownward reads the imports of every source file that is not a test.
func TestImportsRunDownward(t *testing.T) {
	files := 0
	root := filepath.Join("..", "..")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && strings.HasPrefix(d.Name(), ".") && path != root && d.Name() != ".." {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		files++
		rel, err := filepath.Rel(root, filepath.Dir(path))
		if err != nil {
			return err
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range parsed.Imports {
			name, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			if msg := forbidden(filepath.ToSlash(rel), name); msg != "" {
				t.Errorf("%s: %s", path, msg)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files < 20 {
		t.Fatalf("read %d source files, the project has more", files)
	}
}

// forbidden says why a package of ours may not import name; empty when it may.
func forbidden(pkg, name string) string {
	for prefix, only := range doors {
		if strings.HasPrefix(name, prefix) && !matches(only, pkg) {
			return pkg + " imports " + name + ", whose only doors are " + strings.Join(only, ", ")
		}
	}
	if instead := costly[name]; instead != "" {
		return pkg + " imports " + name + ", which delays every command: " + instead
	}
	ours, ok := strings.CutPrefix(name, module)
	if ok && matches(forTests, ours) {
		return pkg + " imports " + ours + ", which is for tests"
	}
	if !ok || strings.HasPrefix(ours, "internal/") && !strings.HasPrefix(pkg, "internal/") {
		return ""
	}
	for room, allowed := range mayImport {
		if !matches([]string{room}, pkg) {
			continue
		}
		if matches(allowed, ours) {
			return ""
		}
		return pkg + " imports " + ours + ", which is not below it"
	}
	return pkg + " is no room that this test knows"
}

func matches(list []string, pkg string) bool {
	for _, entry := range list {
		if entry == pkg || strings.HasSuffix(entry, "/") && strings.HasPrefix(pkg, entry) {
			return true
		}
	}
	return false
}

// cosignNames are what mlseal may use of cosign. Its verification is affected by GO-2026-4529 (expired
// intermediate certificates are accepted), for which .ci/vuln-exceptions relies on this list.
var cosignNames = map[string]bool{
	"cosign.GenerateKeyPairWithAlgorithm": true, "cosign.LoadPrivateKey": true,
	"cosign.CosignPrivateKeyPemType": true, "cosign.SigstorePrivateKeyPemType": true, "cosign.PrivateKeyPemType": true,
	"cosign.ECPrivateKeyPemType": true, "cosign.RSAPrivateKeyPemType": true,
	"pkcs11key.NewPkcs11UriConfig": true, "pkcs11key.Pkcs11UriConfig": true,
}

// cosignPackages are the packages of cosign that mlseal may import, by their names.
var cosignPackages = map[string]string{
	"cosign":    "github.com/sigstore/cosign/v2/pkg/cosign",
	"pkcs11key": "github.com/sigstore/cosign/v2/pkg/cosign/pkcs11key",
}

func TestCosignIsUsedForKeysOnly(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("..", "..", "attest", "signer", "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	used := 0
	for _, file := range files {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, spec := range parsed.Imports {
			name, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasPrefix(name, "github.com/sigstore/cosign/") && (cosignPackages[path.Base(name)] != name || spec.Name != nil) {
				t.Errorf("%s imports %s", file, name)
			}
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			if sel, ok := n.(*ast.SelectorExpr); ok {
				if x, ok := sel.X.(*ast.Ident); ok && cosignPackages[x.Name] != "" {
					used++
					if name := x.Name + "." + sel.Sel.Name; !cosignNames[name] {
						t.Errorf("%s uses %s", file, name)
					}
				}
			}
			return true
		})
	}
	if used == 0 {
		t.Error("no use of cosign was found: the test looks in the wrong place")
	}
}

// TestForbiddenImports breaks the guard on purpose.
func TestForbiddenImports(t *testing.T) {
	for _, tc := range []struct {
		pkg, imports string
		want         bool
	}{
		{"manifest", module + "manifest/oci", true},
		{"manifest", module + "attest", true},
		{"attest", module + "verify", true},
		{"policies", module + "attest", true},
		{"policies", module + "policies/policytest", true},
		{"policies/policytest", module + "attest", true},
		{"policies/policytest", "go.yaml.in/yaml/v3", true},
		{"internal/strictjson", module + "internal/escape", true},
		{"verify", module + "manifest/oci", true},
		{"verify", module + "verify/layout", true},
		{"verify", "github.com/in-toto/in-toto-golang/in_toto", true},
		{"verify/layout", module + "verify/trust", true},
		{"verify", module + "manifest/cache", true},
		{"manifest/oci", module + "manifest/cache", true},
		{"verify", module + "verify/trust", true},
		{"verify", "oras.land/oras-go/v2", true},
		{"verify", "net/http", true},
		{"cmd/mlseal", "gocloud.dev/blob", true},
		{"manifest/objectstore", "cloud.google.com/go/storage", true},
		{"manifest/objectstore", "gocloud.dev/blob/s3blob", false},
		{"manifest/reader", "github.com/hanwen/go-fuse/v2/fs", true},
		{"manifest/reader", module + "manifest/oci", true},
		{"attest", "github.com/sigstore/cosign/v2/pkg/cosign", true},
		{"newroom", module + "manifest", true},
		{"attest/record", module + "manifest/oci", true},
		{"attest/record", module + "manifest/cache", true},
		{"attest/record", module + "manifest", false},
		{"manifest/oci", "oras.land/oras-go/v2", true},
		{"cmd/mlseal", module + "internal/sigstoretest", true},
		{"verify/trust", module + "internal/testenv", true},
		{"manifest/hub", module + "internal/hubtest", true},
		{"manifest/hfcache", "net/http", true},
		{"manifest", module + "manifest/origin", true},
		{"internal/strictjson", "net/http", true},
		{"internal/sigstoretest", "net/http", false},
		{"internal/sigstoretest", "github.com/sigstore/sigstore-go/pkg/root", false},
		{"attest", module + "manifest", false},
		{"attest", module + "internal/strictjson", false},
		{"cmd/mlseal", module + "verify/report", false},
		{"verify/trust", module + "verify", false},
		{"manifest/oci", "oras.land/oras-go/v2/content", false},
	} {
		if got := forbidden(tc.pkg, tc.imports) != ""; got != tc.want {
			t.Errorf("%s imports %s: forbidden %t, want %t", tc.pkg, tc.imports, got, tc.want)
		}
	}
}
