// Command transit serves the transit engine of HashiCorp Vault 1.14, the last one under the MPL, on loopback: its keys are in
// memory, and DEV_TOKEN is the one token that may use them. It prints its address.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strings"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/vault/builtin/logical/transit"
	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"
)

const mount = "/v1/transit/"

// engine is the transit engine with the storage that Vault would lend it.
type engine struct {
	backend logical.Backend
	storage logical.Storage
}

func main() {
	e, err := newEngine(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("http://" + listener.Addr().String())
	http.Handle(mount, e)
	log.Fatal(http.Serve(listener, nil))
}

func newEngine(ctx context.Context) (*engine, error) {
	storage := &logical.InmemStorage{}
	config := &logical.BackendConfig{
		StorageView: storage, System: logical.TestSystemView(),
		Logger: hclog.New(&hclog.LoggerOptions{Output: os.Stderr, Level: hclog.Warn}),
	}
	backend, err := transit.Backend(ctx, config)
	if err != nil {
		return nil, err
	}
	// The framework wants an existence check of every path that creates; only Vault itself uses the answer.
	for _, path := range backend.Paths {
		_, creates := path.Operations[logical.CreateOperation]
		if (creates || path.Callbacks[logical.CreateOperation] != nil) && path.ExistenceCheck == nil {
			path.ExistenceCheck = func(context.Context, *logical.Request, *framework.FieldData) (bool, error) { return true, nil }
		}
	}
	return &engine{backend, storage}, backend.Setup(ctx, config)
}

func (e *engine) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("X-Vault-Token") != os.Getenv("DEV_TOKEN") {
		answer(w, http.StatusForbidden, failure("permission denied"))
		return
	}
	data, err := body(r)
	if err != nil {
		answer(w, http.StatusBadRequest, failure(err.Error()))
		return
	}
	operation := map[string]logical.Operation{"POST": logical.UpdateOperation, "PUT": logical.UpdateOperation, "DELETE": logical.DeleteOperation, "LIST": logical.ListOperation}[r.Method]
	if operation == "" {
		operation = logical.ReadOperation
	}
	response, err := e.backend.HandleRequest(r.Context(), &logical.Request{Operation: operation, Path: strings.TrimPrefix(r.URL.Path, mount), Data: data, Storage: e.storage, MountPoint: "transit/"})
	switch {
	case response != nil && response.IsError():
		answer(w, http.StatusBadRequest, failure(response.Error().Error()))
	case err != nil:
		answer(w, http.StatusBadRequest, failure(err.Error()))
	case response != nil:
		answer(w, http.StatusOK, map[string]any{"data": response.Data})
	case operation == logical.ReadOperation:
		answer(w, http.StatusNotFound, failure())
	default:
		w.WriteHeader(http.StatusNoContent)
	}
}

func body(r *http.Request) (map[string]any, error) {
	text, err := io.ReadAll(r.Body)
	data := map[string]any{}
	if err != nil || len(text) == 0 {
		return data, err
	}
	return data, json.Unmarshal(text, &data)
}

func failure(messages ...string) map[string]any {
	return map[string]any{"errors": append([]string{}, messages...)}
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(body); err != nil {
		log.Print(err)
	}
}
