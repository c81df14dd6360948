package reader

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/mlseal/mlseal/manifest"
)

const benchSize = 256 << 20

// benchFile is a file on disk in the page cache.
func benchFile(b *testing.B) (dir string) {
	b.Helper()
	dir = b.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "f"), some(benchSize), 0o666); err != nil {
		b.Fatal(err)
	}
	return dir
}

// sizes are shards, and 0 for a whole file.
var sizes = []int64{0, 1 << 20, 16 << 20, 64 << 20}

// BenchmarkWhole reads all of a file: plainly, and verified.
func BenchmarkWhole(b *testing.B) {
	dir := benchFile(b)
	b.Run("plain", func(b *testing.B) {
		b.SetBytes(benchSize)
		for b.Loop() {
			f, err := os.Open(filepath.Join(dir, "f"))
			if err != nil {
				b.Fatal(err)
			}
			buf := make([]byte, 1<<20)
			for err == nil {
				_, err = f.Read(buf)
			}
			_ = f.Close()
		}
	})
	eachSize(b, dir, func(b *testing.B, f *File) {
		if _, err := f.WriteTo(io.Discard); err != nil {
			b.Fatal(err)
		}
	}, benchSize)
}

// BenchmarkFirstByte is how long the first byte takes.
func BenchmarkFirstByte(b *testing.B) {
	eachSize(b, benchFile(b), func(b *testing.B, f *File) {
		if _, err := f.ReadAt(make([]byte, 1), 0); err != nil {
			b.Fatal(err)
		}
	}, 0)
}

func eachSize(b *testing.B, dir string, do func(b *testing.B, f *File), bytes int64) {
	for _, size := range sizes {
		m, err := manifest.Build(context.Background(), os.DirFS(dir), manifest.Options{Serialization: manifest.Serialization{ShardSize: size}})
		if err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("shards of %d MiB", size>>20), func(b *testing.B) {
			b.SetBytes(bytes)
			for b.Loop() {
				source, err := FromFS(os.DirFS(dir), "f")
				if err != nil {
					b.Fatal(err)
				}
				f, err := Open(context.Background(), "f", source, m.Resources(), Options{Memory: 1})
				if err != nil {
					b.Fatal(err)
				}
				do(b, f)
				_ = f.Close()
			}
		})
	}
}
