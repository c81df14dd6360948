//go:build interop

package main

import (
	"path/filepath"
	"strings"
	"testing"
)

const kitfile = `manifestVersion: 1.0.0
package: {name: demo, version: 1.0.0}
model:
  name: demo
  path: model.safetensors
  parts: [{path: config.json}]
datasets: [{name: train, path: data}]
code: [{path: src}]
docs: [{path: README.md}]
`

// TestInteropKit pulls what KitOps packs, in each of its forms, and lets it unpack what mlseal packs.
func TestInteropKit(t *testing.T) {
	kit := peer(t, "KIT")
	l := newLab(t)
	t.Setenv("KITOPS_HOME", filepath.Join(l.dir, "kitops"))
	registry := l.registry()
	files := map[string]string{"model.safetensors": strings.Repeat("weights", 1000), "config.json": "{}", "data/train.jsonl": "{}\n", "data/deep/er.jsonl": "[]\n", "src/run.py": "print(1)\n", "README.md": "# x\n"}
	for name, text := range files {
		l.write("tree/"+name, text)
		l.write("kit/"+name, text)
	}
	l.write("kit/Kitfile", kitfile)
	want := l.run(l.mlseal, "hash", "tree", "-o", "digest")
	for i, flags := range [][]string{nil, {"--compression", "gzip"}, {"--compression", "zstd"}, {"--use-model-pack"}, {"--use-model-pack", "--compression", "zstd"}} {
		ref := registry + "/team/kit:v" + string(rune('1'+i))
		l.run(kit, append([]string{"pack", "kit", "-t", ref}, flags...)...)
		l.run(kit, "push", "--plain-http", ref)
		shown := l.run(l.mlseal, "inspect", ref)
		if !strings.Contains(shown, strings.TrimPrefix(strings.TrimSpace(want), "dirHash:")) {
			t.Errorf("%v: inspect shows another dirHash:\n%s", flags, shown)
		}
		out := "out" + string(rune('1'+i))
		l.run(l.mlseal, "pull", ref, out)
		if got := l.run(l.mlseal, "hash", out, "-o", "digest"); got != want {
			t.Errorf("%v: pulled %s instead of %s", flags, got, want)
		}
		l.run("diff", "-r", "tree", out)
	}
	// Its archives are signed and verified like other packages.
	l.run(l.mlseal, "keys", "generate", "--output-key-prefix", "k")
	l.run(l.mlseal, "sign", registry+"/team/kit:v1", "--key", "k.key")
	l.run(l.mlseal, "verify", registry+"/team/kit:v1", "--key", "k.pub")

	ref := registry + "/team/ours:v1"
	l.run(l.mlseal, "pack", "tree", ref)
	l.run(kit, "inspect", "--plain-http", "--remote", ref)
	l.run(kit, "unpack", "--plain-http", ref, "-d", "unpacked")
	for name := range files {
		l.run("cmp", "tree/"+name, "unpacked/"+name)
	}
}
