//go:build unix

package record_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing/fstest"
	"time"

	"github.com/mlseal/mlseal/attest/record"
)

// ExampleRun records a conversion: here cp stands in for a converter.
func ExampleRun() {
	dir, err := os.MkdirTemp("", "record")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = os.RemoveAll(dir) }()
	out := filepath.Join(dir, "out.bin")
	command := &record.Command{Args: []string{"cp", "doc.go", out}}
	if err := command.Find(); err != nil {
		fmt.Println(err)
		return
	}
	clock := time.Unix(0, 0)
	rec, err := record.Run(context.Background(), record.Plan{
		Step:    "convert",
		Command: command,
		Materials: []record.Material{{
			Artifact: record.Artifact{Role: record.RoleBaseModel, Reference: "doc.go"},
			Tree:     record.Tree{FS: fstest.MapFS{"doc.go": {Data: []byte("weights")}}, File: "doc.go"},
		}},
		Products: []record.Product{{Name: "out.bin", Path: out}},
		Root:     fstest.MapFS{},
		Now:      func() time.Time { clock = clock.Add(time.Second); return clock },
		Open: func(path string) (record.Tree, error) {
			return record.Tree{FS: os.DirFS(filepath.Dir(path)), File: filepath.Base(path)}, nil
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(rec.Provenance().BuildDefinition.BuildType, rec.Materials[0].Role, rec.Finished.Sub(rec.Started))
	// Output: https://mlseal.dev/buildtypes/convert/v1 baseModel 1s
}

func ExampleCheckStep() {
	fmt.Println(record.CheckStep("convert", []string{record.RoleCode}))
	// Output: not a step that can be recorded: convert needs a material of the role baseModel: name it with --material baseModel=PATH|REF
}
