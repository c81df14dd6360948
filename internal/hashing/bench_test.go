package hashing

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// BenchmarkLimit is what one core can hash of what is in its cache: one stream with crypto/sha256 and ahead, and each kernel with all lanes full.
func BenchmarkLimit(b *testing.B) {
	b.Run("engine=go", func(b *testing.B) {
		data := sample(64 << 10)
		b.SetBytes(int64(len(data)))
		for b.Loop() {
			sha256.Sum256(data)
		}
	})
	for _, k := range singles() {
		b.Run("engine="+k.name, func(b *testing.B) {
			data, state := sample(64<<10), initial
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				k.blocks(&state, data)
			}
		})
	}
	for _, k := range kernels() {
		b.Run("engine="+k.name, func(b *testing.B) {
			const bytes = 256 << 10
			do := limit(&k, bytes)
			b.SetBytes(bytes)
			for b.Loop() {
				do()
			}
		})
	}
}

// sumFiles hashes files, as many at once as the engine likes.
func sumFiles(b *testing.B, e *Engine, names []string) {
	queue := make(chan string)
	var wg sync.WaitGroup
	atOnce := e.AtOnce(len(names))
	expected := e.Expect(len(names), atOnce)
	defer expected.End()
	for range atOnce {
		wg.Go(func() {
			for name := range queue {
				if err := sumFile(e, name); err != nil {
					b.Error(err)
				}
				expected.One()
			}
		})
	}
	for _, name := range names {
		queue <- name
	}
	close(queue)
	wg.Wait()
}

func sumFile(e *Engine, name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	_, _, err = e.Sum(context.Background(), f, info.Size(), nil)
	return err
}

// BenchmarkFiles hashes files in the page cache. "simple" is crypto/sha256 over one file a core, as much at once as there are cores.
func BenchmarkFiles(b *testing.B) {
	for _, tc := range []struct {
		files, size int
	}{{1, 1 << 30}, {2, 512 << 20}, {4, 256 << 20}, {8, 128 << 20}, {16, 64 << 20}, {32, 32 << 20}, {64, 16 << 20}, {20_000, 4 << 10}} {
		if testing.Short() {
			tc.size = min(tc.size, 1<<20)
			tc.files = min(tc.files, 2000)
		}
		names := write(b, tc.files, tc.size)
		run := func(name string, do func()) {
			b.Run(fmt.Sprintf("files=%dx%dKiB/engine=%s", tc.files, tc.size>>10, name), func(b *testing.B) {
				b.SetBytes(int64(tc.files) * int64(tc.size))
				for b.Loop() {
					do()
				}
			})
		}
		run("simple", func() { simple(b, names) })
		for name, e := range engines(b) {
			run(name, func() { sumFiles(b, e, names) })
		}
		for _, name := range names {
			_ = os.Remove(name)
		}
	}
}

// BenchmarkShort hashes many short streams, which end before as many as there are lanes have begun.
func BenchmarkShort(b *testing.B) {
	const streams, atOnce = 2000, 40
	for _, size := range []int{4 << 10, 8 << 10, 16 << 10, 32 << 10, 100 << 10} {
		data := sample(size)
		for name, e := range engines(b) {
			b.Run(fmt.Sprintf("%dKiB/%s", size>>10, name), func(b *testing.B) {
				b.SetBytes(streams * int64(size))
				for b.Loop() {
					expected := e.Expect(streams, atOnce)
					var wg sync.WaitGroup
					for range atOnce {
						wg.Go(func() {
							for range streams / atOnce {
								if _, _, err := e.Sum(b.Context(), bytes.NewReader(data), int64(size), nil); err != nil {
									b.Error(err)
								}
								expected.One()
							}
						})
					}
					wg.Wait()
					expected.End()
				}
			})
		}
	}
}

// BenchmarkRatios runs what is to be compared in turn, and reports the medians as ratios: what else the machine does meets all of them.
// The limit is what one core hashes of data in its cache in full lanes.
func BenchmarkRatios(b *testing.B) {
	const files = 16
	size := 64 << 20
	if testing.Short() {
		size = 1 << 20
	}
	names := write(b, files, size)
	ways := map[string]func(){"simple": func() { simple(b, names) }}
	for name, e := range engines(b) {
		ways[name] = func() { sumFiles(b, e, names) }
	}
	for _, k := range kernels() {
		ways["limit of "+k.name] = limit(&k, files*size)
	}
	took := map[string][]float64{}
	for b.Loop() {
		for name, do := range ways {
			begun := time.Now()
			do()
			took[name] = append(took[name], time.Since(begun).Seconds())
		}
	}
	rate := func(name string) float64 {
		slices.Sort(took[name])
		return float64(files*size) / took[name][len(took[name])/2]
	}
	for name := range ways {
		b.ReportMetric(rate(name)/rate("simple"), strings.ReplaceAll(name, " ", "-")+"/simple")
	}
	if list := kernels(); len(list) > 0 {
		b.ReportMetric(rate(Auto)/rate("limit of "+list[0].name), "auto/limit")
	}
}

// limit hashes so many bytes in full lanes, always the same ones.
func limit(k *kernel, bytes int) func() {
	const each = 16 << 10
	data := sample(maxLanes * each)
	var w lanes
	for l := range w.data {
		w.data[l] = &data[l*each]
	}
	return func() {
		for done := 0; done < bytes; done += k.lanes * each {
			k.blocks(&w.state, &w.data, each/blockSize)
		}
	}
}

// write makes files of different contents.
func write(b *testing.B, files, size int) []string {
	dir := b.TempDir()
	piece := bytes.Repeat(sample(4<<10), 1+min(size, 1<<20)>>12)
	var names []string
	for n := range files {
		name := filepath.Join(dir, fmt.Sprint(n))
		f, err := os.Create(name)
		if err != nil {
			b.Fatal(err)
		}
		for left := size; left > 0; {
			m, err := f.Write(piece[n%64 : n%64+min(left, len(piece)-64)])
			if err != nil {
				b.Fatal(err)
			}
			left -= m
		}
		if err := f.Close(); err != nil {
			b.Fatal(err)
		}
		names = append(names, name)
	}
	return names
}

func simple(b *testing.B, names []string) {
	var wg sync.WaitGroup
	queue := make(chan string)
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			buf := make([]byte, 1<<20)
			for name := range queue {
				f, err := os.Open(name)
				if err != nil {
					b.Error(err)
					continue
				}
				h := sha256.New()
				if _, err := io.CopyBuffer(h, struct{ io.Reader }{f}, buf); err != nil {
					b.Error(err)
				}
				h.Sum(nil)
				_ = f.Close()
			}
		})
	}
	for _, name := range names {
		queue <- name
	}
	close(queue)
	wg.Wait()
}
