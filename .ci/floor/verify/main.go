// Command verify is what `mlseal verify` is measured against: it says hello, with the packages of others that verifying a signed directory needs
// imported and nothing of ours. It verifies nothing.
package main

import (
	"fmt"
	"os"

	_ "github.com/digitorus/pkcs7"
	_ "github.com/google/cel-go/cel"
	_ "github.com/in-toto/in-toto-golang/in_toto"
	_ "github.com/open-policy-agent/opa/v1/ast"
	_ "github.com/open-policy-agent/opa/v1/storage/inmem"
	_ "github.com/open-policy-agent/opa/v1/topdown"
	_ "github.com/opencontainers/go-digest"
	_ "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	_ "github.com/sigstore/sigstore-go/pkg/bundle"
	_ "github.com/sigstore/sigstore-go/pkg/root"
	_ "github.com/sigstore/sigstore-go/pkg/tlog"
	_ "github.com/sigstore/sigstore-go/pkg/verify"
	_ "github.com/sigstore/sigstore/pkg/signature"
	"github.com/spf13/cobra"
	_ "go.yaml.in/yaml/v3"
	_ "google.golang.org/protobuf/encoding/protojson"
	_ "lukechampine.com/blake3"
)

func main() {
	root := &cobra.Command{Use: "floor"}
	root.AddCommand(&cobra.Command{Use: "verify", Run: func(*cobra.Command, []string) { fmt.Println("hello") }})
	if root.Execute() != nil {
		os.Exit(1)
	}
}
