# make demo   tells the main job's story on the embedded default
# make test   runs every test that needs nothing but Go
# make build lint bench interop fuzz   for those who work on mlseal
SHELL   := /bin/bash
GO      ?= go
COMMIT  := $(shell git rev-parse --short HEAD 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X main.commit=$(COMMIT)
DEMO    ?= $(CURDIR)/demo
FUZZTIME ?= 30s
BIN     := bin/mlseal

.PHONY: build demo test lint vuln bench interop interop-full fuzz clean

build:
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN) ./cmd/mlseal
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w' -o bin/mlseal-conformance ./cmd/mlseal-conformance

demo: build
	@testdata/demo/demo.sh $(CURDIR)/$(BIN) $(CURDIR)/testdata $(DEMO)

test:
	$(GO) test ./...

lint:
	@unformatted=$$(gofmt -l cmd attest internal manifest policies verify); \
	  if [ -n "$$unformatted" ]; then echo "not gofmt-ed:"; echo "$$unformatted"; exit 1; fi
	$(GO) vet ./...
	$(GO) tool staticcheck ./...

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
