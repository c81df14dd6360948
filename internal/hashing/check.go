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

// The timing takes the best of a few, which others on the machine disturb least.
const timings = 3

func best(bytes int, do func()) float64 {
	least := time.Duration(1 << 62)
	for range timings {
		begun := time.Now()
		do()
		least = min(least, max(time.Since(begun), 1))
	}
	return float64(bytes) / least.Seconds()
}

func timeAlone() float64 {
	data := sample(64 << 10)
	return best(len(data), func() { sha256.Sum256(data) })
}

func timeLanes(k *kernel) float64 {
	const each = 8 << 10
	data := sample(each)
	var w lanes
	for l := range w.data {
		w.data[l] = &data[0]
	}
	return best(k.lanes*each, func() { k.blocks(&w.state, &w.data, each/blockSize) })
}
