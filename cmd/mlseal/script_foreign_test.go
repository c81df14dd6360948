package main

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"slices"

	"github.com/mlseal/mlseal/manifest/oci"
	"github.com/opencontainers/go-digest"
	specs "github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/rogpeppe/go-internal/testscript"
)

// packForeign serves the command `foreign kitops|modctl|raw|docker DIR LAYOUT TAG [PREFIX]`: the files of DIR as another tool packs
// them, the names behind PREFIX. Docker's files have none.
func packForeign(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 4 {
		ts.Fatalf("usage: foreign kitops|modctl|raw|docker DIR LAYOUT TAG [PREFIX]")
	}
	prefix := ""
	if len(args) > 4 {
		prefix = args[4]
	}
	ctx := context.Background()
	layout, err := oci.CreateLayout(ctx, ts.MkAbs(args[2]))
	ts.Check(err)
	put := func(mediaType string, data []byte) ocispec.Descriptor {
		desc := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(data), Size: int64(len(data))}
		if there, err := layout.Exists(ctx, desc); err != nil || !there {
			ts.Check(err)
			ts.Check(layout.Push(ctx, desc, bytes.NewReader(data)))
		}
		return desc
	}
	im := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest}
	files := readAll(ts, args[1])
	for _, name := range slices.Sorted(maps.Keys(files)) {
		switch args[0] {
		case "kitops":
			im.Layers = append(im.Layers, put("application/vnd.kitops.modelkit.model.v1.tar", archived(ts, prefix+name, files[name])))
		case "modctl":
			im.Layers = append(im.Layers, put("application/vnd.cncf.model.weight.v1.tar", archived(ts, prefix+name, files[name])))
		case "raw":
			layer := put("application/vnd.cncf.model.weight.v1.raw", []byte(files[name]))
			layer.Annotations = map[string]string{oci.AnnotationPath: prefix + name, ocispec.AnnotationTitle: prefix + name}
			im.Layers = append(im.Layers, layer)
		case "docker":
			im.Layers = append(im.Layers, put("application/vnd.docker.ai.gguf.v3", []byte(files[name])))
		}
	}
	config := map[string]string{"kitops": "application/vnd.kitops.modelkit.config.v1+json", "modctl": oci.MediaTypeConfig, "raw": oci.MediaTypeConfig, "docker": "application/vnd.docker.ai.model.config.v0.1+json"}[args[0]]
	im.ArtifactType = map[string]string{"kitops": "application/vnd.kitops.modelkit.manifest.v1+json", "modctl": oci.ArtifactType, "raw": oci.ArtifactType}[args[0]]
	im.Config = put(config, []byte("{}"))
	data, err := json.Marshal(im)
	ts.Check(err)
	ts.Check(layout.Tag(ctx, put(ocispec.MediaTypeImageManifest, data), args[3]))
}

func archived(ts *testscript.TestScript, name, data string) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	ts.Check(w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(data))}))
	_, err := w.Write([]byte(data))
	ts.Check(err)
	ts.Check(w.Close())
	return b.Bytes()
}
