package hashing

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"time"
)

// check has a kernel hash messages of different lengths in all its lanes, and compares with crypto/sha256. It checks as well that
// crypto/sha256 goes on where lanes stopped.
func check(k *kernel) error {
	var w lanes
	var messages [maxLanes][]byte
	var streams [maxLanes]stream
	withSHA256 := &Engine{}
	for l := range k.lanes {
		messages[l] = sample(l*61 + l%3)
		streams[l] = stream{e: withSHA256, state: initial}
		padded := pad(append([]byte(nil), messages[l]...), int64(len(messages[l])))
		streams[l].data = padded
		w.put(l, &streams[l])
	}
	for w.loaded > k.lanes/2 {
		w.run(k)
		for l, s := range w.streams {
			if s != nil && len(s.data) == 0 {
				w.take(l)
			}
		}
	}
	for l, s := range w.streams { // the longer ones are ended alone
		if s != nil {
			w.take(l)
			s.alone(s.data)
		}
	}
	for l := range k.lanes {
		if streams[l].err != nil || encode(&streams[l].state) != sha256.Sum256(messages[l]) {
			return fmt.Errorf("%s failed its self-check in lane %d", k.name, l)
		}
	}
	return nil
}

// checkSingle has a kernel hash messages, some of which end within a group of blocks, and compares with crypto/sha256, which goes on where it stopped.
func checkSingle(k *singleKernel) error {
	e := &Engine{single: k}
	group := k.group * blockSize
	for _, n := range []int{group, 2*group + 1, 3*group - 9, 4*group + 5*blockSize + 3} {
		message := sample(n)
		s := stream{e: e, state: initial}
		s.alone(pad(slices.Clone(message), int64(n)))
		if s.err != nil || encode(&s.state) != sha256.Sum256(message) {
			return fmt.Errorf("%s failed its self-check with %d bytes", k.name, n)
		}
	}
	return nil
}

func sample(n int) []byte {
	data := make([]byte, n)
	for i := range data {
		data[i] = byte(i*i + 7*i + n)
	}
	return data
}

// Each way is timed for as long as one of a busy machine's time slices does not cover, in turn with the other, and its best time counts:
// when all times of one way fall into a moment in which somebody else had the processor, the other way is taken for good.
const (
	timings    = 16
	timedAlone = 16 << 10 // bytes
	timedAhead = 4 << 10
	timedLane  = 4 << 10 // a lane
)

// worthAhead is how much faster than what is taken another way to hash one stream must be: crypto/sha256 stands before the others.
const worthAhead = 1.05

// time finds out how many bytes a second one core hashes alone and in full lanes, and takes the faster way to hash alone.
func (e *Engine) time() {
	if e.kernel == nil && len(e.singles) == 0 {
		return
	}
	data := sample(timedAlone)
	ways := []func(){func() { sha256.Sum256(data) }}
	for _, k := range e.singles {
		var state [8]uint32
		ways = append(ways, func() { k.blocks(&state, data[:timedAhead]) })
	}
	if e.kernel != nil {
		var w lanes
		for l := range w.data {
			w.data[l] = &data[0]
		}
		ways = append(ways, func() { e.kernel.blocks(&w.state, &w.data, timedLane/blockSize) })
	}
	least := fastest(ways)
	e.aloneRate = timedAlone / least[0]
	for i := range e.singles {
		if rate := timedAhead / least[1+i]; rate > worthAhead*e.aloneRate {
			e.aloneRate, e.single = rate, &e.singles[i]
		}
	}
	if e.kernel != nil {
		e.lanesRate = float64(e.kernel.lanes*timedLane) / least[len(least)-1]
	}
}

// fastest does things in turn and returns the least seconds that each took.
func fastest(ways []func()) []float64 {
	least := make([]float64, len(ways))
	for n := range timings {
		for way, do := range ways {
			begun := time.Now()
			do()
			if took := max(time.Since(begun).Seconds(), 1e-9); n == 0 || took < least[way] {
				least[way] = took
			}
		}
	}
	return least
}
