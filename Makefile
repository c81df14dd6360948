# make demo   tells the main job's story on the embedded default
# make test   runs every test that needs nothing but Go
# make build TAGS=pkcs11key   builds with keys on PKCS #11 tokens, which needs cgo
# make build TAGS=nokms,noobjectstore   builds for a gate: without key services and object stores
# make build lint bench interop fuzz   for those who work on mlseal
SHELL   := /bin/bash
GO      ?= go
comma   := ,
COMMIT  := $(shell git rev-parse --short HEAD 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X main.commit=$(COMMIT)
TAGS    ?=
# A token's library is loaded at run time, which a static binary cannot do.
CGO     := $(if $(filter pkcs11key,$(subst $(comma), ,$(TAGS))),1,0)
DEMO    ?= $(CURDIR)/demo
FUZZTIME ?= 30s
BIN     := bin/mlseal

.PHONY: build demo test lint vuln bench interop interop-full fuzz clean

build:
	CGO_ENABLED=$(CGO) $(GO) build -trimpath -tags '$(TAGS)' -ldflags '$(LDFLAGS)' -o $(BIN) ./cmd/mlseal
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w' -o bin/mlseal-conformance ./cmd/mlseal-conformance

demo: build
	@testdata/demo/demo.sh $(CURDIR)/$(BIN) $(CURDIR)/testdata $(DEMO)

test:
	$(GO) test -tags nokms,noobjectstore ./attest/signer ./manifest/objectstore
	$(GO) test -timeout 20m ./...

lint:
	@unformatted=$$(gofmt -l cmd attest internal manifest policies verify); \
	  if [ -n "$$unformatted" ]; then echo "not gofmt-ed:"; echo "$$unformatted"; exit 1; fi
	$(GO) vet ./...
	$(GO) tool staticcheck ./...
	$(GO) vet -tags nokms,noobjectstore ./attest/signer ./manifest/objectstore ./cmd/mlseal
	@if [ "$$($(GO) env CGO_ENABLED)" = 1 ]; then set -x; $(GO) vet -tags pkcs11key ./... && $(GO) tool staticcheck -tags pkcs11key ./attest/signer ./cmd/mlseal; \
	  else echo 'lint: no cgo here: the tag pkcs11key was NOT checked'; fi

vuln:
	.ci/vuln

bench:
	$(GO) test -run '^$$' -bench . -benchmem ./manifest/... ./policies/... ./verify/...
	.ci/bench

interop:
	.ci/interop

interop-full:
	.ci/interop --full

fuzz:
	@set -e; for pkg in $$($(GO) list ./...); do \
	  for target in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
	    echo "$$pkg $$target"; $(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$pkg; \
	  done; done

clean:
	rm -rf bin demo
