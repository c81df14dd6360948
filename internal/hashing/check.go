package hashing

import (
	"crypto/sha256"
	"fmt"
	"time"
)

// check has a kernel hash messages of different lengths in all its lanes, and compares with crypto/sha256. It checks as well that
// crypto/sha256 goes on where lanes stopped.
func check(k *kernel) error {
	var w lanes
	var messages [maxLanes][]byte
	var streams [maxLanes]stream
	for l := range k.lanes {
		messages[l] = sample(l*61 + l%3)
		streams[l] = stream{state: initial}
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
	timedLane  = 4 << 10  // bytes a lane
)

// timeBoth returns how many bytes a second one core hashes alone, and in full lanes.
func timeBoth(k *kernel) (alone, inLanes float64) {
	data := sample(timedAlone)
	var w lanes
	for l := range w.data {
		w.data[l] = &data[0]
	}
	least := [2]time.Duration{1 << 62, 1 << 62}
	for range timings {
		for way, do := range []func(){
			func() { sha256.Sum256(data) },
			func() { k.blocks(&w.state, &w.data, timedLane/blockSize) },
		} {
			begun := time.Now()
			do()
			least[way] = min(least[way], max(time.Since(begun), 1))
		}
	}
	return timedAlone / least[0].Seconds(), float64(k.lanes*timedLane) / least[1].Seconds()
}
