package hashing

import (
	"crypto/sha256"
	"encoding"
	"encoding/binary"
	"errors"
	"hash"
)

const (
	blockSize = sha256.BlockSize
	maxLanes  = 16
)

// initial is FIPS 180-4 section 5.3.3.
var initial = [8]uint32{0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19}

// kernel hashes blocks of as many messages as it has lanes at the same time.
type kernel struct {
	name  string
	lanes int
	// blocks adds n > 0 blocks of 64 bytes of each message to its state. state is by word, then by lane; lanes that the kernel has not
	// are not looked at, all others must have data.
	blocks func(state *[8][maxLanes]uint32, data *[maxLanes]*byte, n int)
}

// singleKernel hashes blocks of one message.
type singleKernel struct {
	name  string
	group int // how many blocks it takes at a time
	// blocks adds groups of blocks to the state.
	blocks func(state *[8]uint32, blocks []byte)
}

// hash adds blocks to a state, and returns those that are too few for it.
func (k *singleKernel) hash(state *[8]uint32, blocks []byte) (rest []byte) {
	if k == nil {
		return blocks
	}
	n := len(blocks) / (k.group * blockSize) * (k.group * blockSize)
	k.blocks(state, blocks[:n])
	return blocks[n:]
}

// alone adds blocks of one message to its state with crypto/sha256, which can be begun and ended in the middle of a message.
func alone(h hash.Hash, state *[8]uint32, blocks []byte) error {
	var saved [savedSize]byte
	copy(saved[:], savedMagic)
	for i, w := range state {
		binary.BigEndian.PutUint32(saved[4+4*i:], w)
	}
	if err := h.(encoding.BinaryUnmarshaler).UnmarshalBinary(saved[:]); err != nil {
		return err
	}
	_, _ = h.Write(blocks)
	after, err := h.(encoding.BinaryAppender).AppendBinary(saved[:0])
	if err != nil {
		return err
	}
	if len(after) != savedSize || string(after[:4]) != savedMagic {
		return errSaved
	}
	for i := range state {
		state[i] = binary.BigEndian.Uint32(after[4+4*i:])
	}
	return nil
}

// What crypto/sha256 saves is its magic, the state, a block that is not full and the length, which no block depends on.
// The self-check finds out when that is no longer so.
const (
	savedMagic = "sha\x03"
	savedSize  = 4 + 32 + blockSize + 8
)

var errSaved = errors.New("crypto/sha256 saves its state in another form")

// pad appends to the last bytes of a message of n bytes what FIPS 180-4 section 5.1.1 wants.
func pad(tail []byte, n int64) []byte {
	tail = append(tail, 0x80)
	for len(tail)%blockSize != blockSize-8 {
		tail = append(tail, 0)
	}
	return binary.BigEndian.AppendUint64(tail, uint64(n)<<3)
}

// encode is the digest that a state is.
func encode(state *[8]uint32) (sum [sha256.Size]byte) {
	for i, w := range state {
		binary.BigEndian.PutUint32(sum[4*i:], w)
	}
	return sum
}
