package hashing

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"
)

// engines are those that this machine can run.
func engines(t testing.TB) map[string]*Engine {
	t.Helper()
	all := map[string]*Engine{}
	for _, name := range names {
		e, err := New(name)
		if errors.Is(err, ErrUnsupported) {
			t.Logf("%s: %v", name, err)
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		all[name] = e
	}
	return all
}

// sumAll hashes messages at the same time, a few at once, and compares.
func sumAll(t testing.TB, e *Engine, messages [][]byte, atOnce int, reader func(n int, b []byte) io.Reader) {
	t.Helper()
	var wg sync.WaitGroup
	limit := make(chan struct{}, atOnce)
	for n, message := range messages {
		limit <- struct{}{}
		wg.Go(func() {
			defer func() { <-limit }()
			sum, size, err := e.Sum(context.Background(), reader(n, message), int64(len(message)), nil)
			if err != nil || size != int64(len(message)) || sum != sha256.Sum256(message) {
				t.Errorf("message %d of %d bytes: %x, %d bytes, %v", n, len(message), sum, size, err)
			}
		})
	}
	wg.Wait()
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.active != 0 || e.waiting != 0 || len(e.queue) != 0 {
		t.Errorf("left: %d active, %d waiting, %d in the queue", e.active, e.waiting, len(e.queue))
	}
}

func whole(_ int, b []byte) io.Reader { return bytes.NewReader(b) }

// TestEveryLength covers each way that a message can end in a block, in every lane.
func TestEveryLength(t *testing.T) {
	var messages [][]byte
	for n := range 300 {
		messages = append(messages, sample(n))
	}
	for _, n := range []int{1015, 1016, 1023, 1024, 1025, 2048, 2104, 4096 + 56, smallChunk - 1, smallChunk, smallChunk + 1, chunk - 64, chunk - 9, chunk - 1, chunk, chunk + 1, chunk + 64, 2*chunk - 1, 2 * chunk, 2*chunk + 1, 3*chunk + 56} {
		messages = append(messages, sample(n))
	}
	for name, e := range engines(t) {
		for _, atOnce := range []int{1, 2, 7, 16, 40} {
			t.Run(fmt.Sprint(name, "/", atOnce), func(t *testing.T) { sumAll(t, e, messages, atOnce, whole) })
		}
	}
}

// TestKnownDigests has the examples of FIPS 180-4 (NIST CAVP short and long messages, and one million times "a").
func TestKnownDigests(t *testing.T) {
	for _, tc := range []struct{ message, want string }{
		{"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
		{"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
		{"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
		{"abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu", "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1"},
		{strings.Repeat("a", 1_000_000), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"},
	} {
		for name, e := range engines(t) {
			sum, n, err := e.Sum(t.Context(), strings.NewReader(tc.message), 0, nil)
			if got := fmt.Sprintf("%x", sum); err != nil || got != tc.want || n != int64(len(tc.message)) {
				t.Errorf("%s: %d bytes: %s, %v, want %s", name, n, got, err, tc.want)
			}
		}
	}
}

// TestReadersOfAllKinds has streams that come in odd pieces, late, and with their end in the same read as their last bytes.
func TestReadersOfAllKinds(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var messages [][]byte
	for range 60 {
		messages = append(messages, sample(rng.IntN(3*chunk)))
	}
	kinds := []func(b []byte) io.Reader{
		func(b []byte) io.Reader { return bytes.NewReader(b) },
		func(b []byte) io.Reader { return iotest.HalfReader(bytes.NewReader(b)) },
		func(b []byte) io.Reader { return iotest.DataErrReader(bytes.NewReader(b)) },
		func(b []byte) io.Reader { return &pieces{b: b, seed: uint64(len(b))} },
		func(b []byte) io.Reader { return &pieces{b: b, seed: uint64(len(b)), slow: time.Millisecond} },
	}
	for name, e := range engines(t) {
		t.Run(name, func(t *testing.T) {
			sumAll(t, e, messages, 24, func(n int, b []byte) io.Reader { return kinds[n%len(kinds)](b) })
		})
	}
}

// pieces reads pieces of random lengths.
type pieces struct {
	b    []byte
	seed uint64
	slow time.Duration
}

func (p *pieces) Read(to []byte) (int, error) {
	if len(p.b) == 0 {
		return 0, io.EOF
	}
	p.seed = p.seed*6364136223846793005 + 1442695040888963407
	n := copy(to[:min(len(to), 1+int(p.seed>>33)%20000)], p.b)
	p.b = p.b[n:]
	time.Sleep(p.slow)
	return n, nil
}

// TestOneStreamThatStops does not hold up the others.
func TestOneStreamThatStops(t *testing.T) {
	for name, e := range engines(t) {
		t.Run(name, func(t *testing.T) {
			blocked, release := io.Pipe()
			ended := make(chan error, 1)
			go func() {
				_, _, err := e.Sum(context.Background(), blocked, 0, nil)
				ended <- err
			}()
			_, _ = release.Write(sample(1000))
			message := sample(5 * chunk)
			for range 3 {
				if sum, _, err := e.Sum(t.Context(), bytes.NewReader(message), 0, nil); err != nil || sum != sha256.Sum256(message) {
					t.Errorf("%x, %v", sum, err)
				}
			}
			_ = release.CloseWithError(errors.New("gone"))
			if err := <-ended; err == nil || err.Error() != "gone" {
				t.Errorf("the reader's error became %v", err)
			}
		})
	}
}

func TestErrorsEndOneStreamOnly(t *testing.T) {
	broken := errors.New("broken")
	for name, e := range engines(t) {
		t.Run(name, func(t *testing.T) {
			var wg sync.WaitGroup
			for n := range 32 {
				message := sample(4*chunk + n)
				wg.Go(func() {
					sum, _, err := e.Sum(context.Background(), bytes.NewReader(message), 0, func(p []byte) error {
						if n%4 == 0 {
							return broken
						}
						return nil
					})
					if n%4 == 0 {
						if !errors.Is(err, broken) {
							t.Errorf("stream %d: %v", n, err)
						}
					} else if err != nil || sum != sha256.Sum256(message) {
						t.Errorf("stream %d: %x, %v", n, sum, err)
					}
				})
			}
			wg.Wait()
		})
	}
}

func TestAlsoSeesAllInOrder(t *testing.T) {
	message := sample(3*chunk + 17)
	for name, e := range engines(t) {
		var seen []byte
		_, _, err := e.Sum(t.Context(), &pieces{b: message}, 0, func(p []byte) error {
			seen = append(seen, p...)
			return nil
		})
		if err != nil || !bytes.Equal(seen, message) {
			t.Errorf("%s: saw %d bytes of %d: %v", name, len(seen), len(message), err)
		}
	}
}

func TestCancel(t *testing.T) {
	for name, e := range engines(t) {
		ctx, cancel := context.WithCancel(t.Context())
		n := 0
		_, _, err := e.Sum(ctx, zeros{}, 0, func([]byte) error {
			if n++; n == 5 {
				cancel()
			}
			return nil
		})
		if !errors.Is(err, context.Canceled) || n != 5 {
			t.Errorf("%s: %v after %d reads", name, err, n)
		}
	}
}

// zeros never ends.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// TestNothingStaysBehind: an engine without work has no goroutines.
func TestNothingStaysBehind(t *testing.T) {
	before := runtime.NumGoroutine()
	for _, e := range engines(t) {
		sumAll(t, e, slices.Repeat([][]byte{sample(2 * chunk)}, 40), 40, whole)
	}
	for range 100 {
		if runtime.NumGoroutine() <= before {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%d goroutines, %d before", runtime.NumGoroutine(), before)
}

// TestSelfCheck breaks a kernel in one lane: it is not used, and the engine says so.
func TestSelfCheck(t *testing.T) {
	for _, k := range kernels() {
		for l := range k.lanes {
			broken := k
			broken.blocks = func(state *[8][maxLanes]uint32, data *[maxLanes]*byte, n int) {
				k.blocks(state, data, n)
				state[7][l] ^= 1
			}
			e := &Engine{cores: 2}
			e.startLanes([]kernel{broken})
			if e.kernel != nil || !strings.Contains(e.String(), fmt.Sprintf("%s failed its self-check in lane %d", k.name, l)) {
				t.Errorf("lane %d of %s is broken, and the engine is %s", l, k.name, e)
			}
			e = &Engine{cores: 2}
			e.startLanes([]kernel{broken, k})
			if e.kernel == nil || !strings.Contains(e.String(), k.name+" failed its self-check") {
				t.Errorf("the next kernel is not taken: the engine is %s", e)
			}
		}
	}
}

// TestSelfCheckOfOneStream breaks each word of the state that the kernel for one stream makes.
func TestSelfCheckOfOneStream(t *testing.T) {
	list := singles()
	if len(list) == 0 {
		t.Skip("this machine has none")
	}
	for _, k := range list {
		for word := range 8 {
			broken := k
			broken.blocks = func(state *[8]uint32, blocks []byte) {
				k.blocks(state, blocks)
				state[word] ^= 1 << word
			}
			e := &Engine{cores: 2}
			e.startSingles([]singleKernel{broken})
			if len(e.singles) > 0 || !strings.Contains(e.String(), "go ("+k.name+" failed its self-check with ") {
				t.Errorf("word %d is broken, and the engine is %s", word, e)
			}
			if err := e.unsupported(k.name); !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), "self-check") {
				t.Errorf("the reason is lost: %v", err)
			}
			e.startSingles([]singleKernel{broken, k})
			if len(e.singles) != 1 {
				t.Errorf("the next kernel is not taken: the engine is %s", e)
			}
		}
	}
}

// TestTheFasterWayAlone is taken, whether that is crypto/sha256 or another.
func TestTheFasterWayAlone(t *testing.T) {
	taking := func(name string, pause time.Duration) singleKernel {
		return singleKernel{name, 16, func(*[8]uint32, []byte) {
			if pause > 0 {
				time.Sleep(pause)
			}
		}}
	}
	fast, slow, slower := taking("fast", 0), taking("slow", time.Millisecond), taking("slower", 2*time.Millisecond)
	for want, list := range map[string][]singleKernel{"fast, alone": {fast}, "": {slow}, "fast, first": {fast, slow}, "fast, last": {slower, slow, fast}} {
		e := &Engine{cores: 2, singles: list}
		e.time()
		got := ""
		if e.single != nil {
			got = e.single.name
		}
		want, _, _ = strings.Cut(want, ",")
		if got != want || e.aloneRate <= 0 || math.IsInf(e.aloneRate, 0) {
			t.Errorf("%q is taken at %g bytes a second, not %q", got, e.aloneRate, want)
		}
	}
}

func TestNames(t *testing.T) {
	if _, err := New("fast"); !errors.Is(err, ErrUnknown) {
		t.Errorf("an unknown engine: %v", err)
	}
	if err := Use("fast"); !errors.Is(err, ErrUnknown) || Default() == nil {
		t.Errorf("an unknown engine: %v", err)
	}
	if e, err := New(Go); err != nil || e.kernel != nil || e.String() != "go" {
		t.Errorf("%v, %v", e, err)
	}
}

// TestChoice holds the choice to the rates.
func TestChoice(t *testing.T) {
	k := &kernel{name: Lanes16, lanes: 16}
	for _, tc := range []struct {
		what         string
		cores        int
		alone, lanes float64
		from         int
	}{
		{"AVX-512 without SHA instructions, 2 cores", 2, 0.36, 3.5, 3},
		{"AVX-512 without SHA instructions, 64 cores", 64, 0.36, 3.5, 96},
		{"AVX-512 and SHA instructions, 2 cores", 2, 1.8, 3.5, 14},
		{"SHA instructions that are faster than the lanes", 2, 2, 1.5, 0},
		{"a timing that others disturbed", 2, 0.1, 3.5, 2},
	} {
		e := &Engine{kernel: k, cores: tc.cores, aloneRate: tc.alone, lanesRate: tc.lanes}
		if got := e.lanesFrom(); got != tc.from {
			t.Errorf("%s: lanes from %d streams on, want %d", tc.what, got, tc.from)
		}
		if n := e.AtOnce(1 << 20); n < 1 || 2*chunk*n > maxMemory {
			t.Errorf("%s: %d streams at once", tc.what, n)
		}
		if e.AtOnce(1) != 1 || e.AtOnce(0) != 1 {
			t.Errorf("%s: one stream is %d", tc.what, e.AtOnce(1))
		}
	}
}

// TestExpect: short streams that come one behind the other are hashed in lanes when more of them are expected.
func TestExpect(t *testing.T) {
	for _, k := range kernels() {
		for _, expect := range []bool{false, true} {
			var blocks, runs int
			counted := k
			counted.blocks = func(state *[8][maxLanes]uint32, data *[maxLanes]*byte, n int) {
				k.blocks(state, data, n)
				blocks, runs = blocks+n, runs+1 // one worker at most
			}
			e := &Engine{kernel: &counted, cores: 1, aloneRate: 0.36e9, lanesRate: 3.5e9}
			messages := slices.Repeat([][]byte{sample(8 << 10)}, 400)
			var x *Expected
			if expect {
				x = e.Expect(len(messages), 20)
			}
			var next atomic.Int64
			var wg sync.WaitGroup
			one := make(chan struct{}, 1) // one at a time runs, as with one core
			for range 20 {
				wg.Go(func() {
					for i := int(next.Add(1)) - 1; i < len(messages); i = int(next.Add(1)) - 1 {
						if !expect {
							one <- struct{}{}
						}
						sum, _, err := e.Sum(t.Context(), bytes.NewReader(messages[i]), 0, nil)
						if !expect {
							<-one
						}
						if err != nil || sum != sha256.Sum256(messages[i]) {
							t.Errorf("%x, %v", sum, err)
						}
						if x != nil {
							x.One()
						}
					}
				})
			}
			wg.Wait()
			if x != nil {
				x.End()
				x.End() // again changes nothing
			}
			if e.expected != 0 || e.active != 0 || e.waiting != 0 {
				t.Errorf("%s: left: %d expected, %d active, %d waiting", k.name, e.expected, e.active, e.waiting)
			}
			all := len(messages) * len(messages[0]) / blockSize
			if !expect && runs != 0 {
				t.Errorf("%s: %d runs of the lanes for one stream at a time", k.name, runs)
			}
			if expect && (runs == 0 || all/blocks < k.lanes/2) {
				t.Errorf("%s: %d blocks in lanes for %d blocks of messages: less than half of the lanes were filled", k.name, blocks, all)
			}
		}
	}
}

// TestExpectedDoNotCome: those who are there go on without them.
func TestExpectedDoNotCome(t *testing.T) {
	for name, e := range engines(t) {
		x := e.Expect(1000, 40)
		sumAll(t, e, [][]byte{sample(3 * chunk), sample(5)}, 2, whole)
		x.End()
		if e.expected != 0 {
			t.Errorf("%s: %d expected", name, e.expected)
		}
	}
}

// FuzzSum has the bytes cut into messages and pieces, hashed at the same time, against crypto/sha256.
func FuzzSum(f *testing.F) {
	f.Add([]byte("abc"), uint64(1), uint16(5))
	f.Add(bytes.Repeat([]byte("0123456789abcdef"), 40), uint64(7), uint16(40))
	f.Add([]byte{}, uint64(0), uint16(0))
	all := engines(f)
	f.Fuzz(func(t *testing.T, data []byte, seed uint64, count uint16) {
		rng := rand.New(rand.NewPCG(seed, 1))
		long := bytes.Repeat(data, 1+rng.IntN(100))
		messages := make([][]byte, 1+int(count)%50)
		for i := range messages {
			a, b := rng.IntN(len(long)+1), rng.IntN(len(long)+1)
			messages[i] = long[min(a, b):max(a, b)]
		}
		for _, e := range all {
			sumAll(t, e, messages, len(messages), func(n int, b []byte) io.Reader { return &pieces{b: b, seed: seed + uint64(n)} })
		}
	})
}

// TestChunks: large ones are for few long streams, small ones for short streams.
func TestChunks(t *testing.T) {
	for _, tc := range []struct {
		size             int64
		active, expected int
		want             int
	}{
		{0, 1, 0, chunk}, {smallChunk - 1, 1, 0, smallChunk}, {smallChunk, 1, 0, chunk}, {1 << 30, 1, 0, largeChunk}, {1 << 30, fewStreams, 0, largeChunk},
		{1 << 30, fewStreams + 1, 0, chunk}, {1 << 30, 1, fewStreams + 1, chunk}, {largeChunk, 1, 0, chunk},
	} {
		e := &Engine{active: tc.active, expected: tc.expected}
		if got := len(*e.poolFor(tc.size).Get().(*[]byte)) - spare; got != tc.want {
			t.Errorf("%d bytes, %d streams, %d expected: chunks of %d, want %d", tc.size, tc.active, tc.expected, got, tc.want)
		}
	}
}
