package oci

import (
	"os"
	"path/filepath"
	"testing"
)

// BenchmarkPack packs 64 MiB into a new layout, and into nothing.
func BenchmarkPack(b *testing.B) {
	const size = 64 << 20
	dir := b.TempDir()
	for _, name := range []string{"a.bin", "b.bin"} {
		if err := os.WriteFile(filepath.Join(dir, name), make([]byte, size/2+len(name)), 0o644); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("layout", func(b *testing.B) {
		b.SetBytes(size)
		for b.Loop() {
			l, err := CreateLayout(b.Context(), filepath.Join(b.TempDir(), "store"))
			if err != nil {
				b.Fatal(err)
			}
			if _, err := Pack(b.Context(), l, os.DirFS(dir), PackOptions{}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("virtual", func(b *testing.B) {
		b.SetBytes(size)
		for b.Loop() {
			if _, err := NewVirtual(b.Context(), os.DirFS(dir), PackOptions{}); err != nil {
				b.Fatal(err)
			}
		}
	})
}
