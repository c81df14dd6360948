package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mlseal/mlseal/internal/testenv"
	"github.com/rogpeppe/go-internal/testscript"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// checkSchema gives the command `schema report|sarif|junit FILE`: the file must satisfy the schema. Of JUnit's XML,
// and of SARIF without OASIS's schema at hand, all of which verify/report holds to their schemas, it must be well-formed.
func checkSchema(t *testing.T) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		if neg || len(args) != 2 {
			ts.Fatalf("usage: schema report|sarif|junit FILE")
		}
		text := []byte(ts.ReadFile(args[1]))
		switch args[0] {
		case "report":
			ts.Check(validates(filepath.Join(testenv.Root(t), "docs", "schemas", "report-v1.json"), text))
		case "sarif":
			schema := filepath.Join(cmp.Or(os.Getenv("MLSEAL_SCHEMAS"), filepath.Join(testenv.Root(t), "..", "shared", "schemas")), "sarif-2.1.0.schema.json")
			if exists(schema) {
				ts.Check(validates(schema, text))
			} else if !json.Valid(text) {
				ts.Fatalf("%s is not JSON", args[1])
			}
		case "junit":
			ts.Check(wellFormed(text))
		default:
			ts.Fatalf("no schema %s", args[0])
		}
	}
}

func validates(schema string, text []byte) error {
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	compiled, err := c.Compile(schema)
	if err != nil {
		return err
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return err
	}
	return compiled.Validate(value)
}

func wellFormed(text []byte) error {
	for d := xml.NewDecoder(bytes.NewReader(text)); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// startReadOnly gives the command `readonly NAME REGISTRY`: a registry with the same contents that takes nothing.
func startReadOnly(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: readonly NAME REGISTRY")
	}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(&url.URL{Scheme: "http", Host: args[1]})
	}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	ts.Defer(server.Close)
	ts.Setenv(args[0], strings.TrimPrefix(server.URL, "http://"))
}
