package format

import (
	"encoding/binary"
	"fmt"
	"io"

	"github.com/mlseal/mlseal/internal/strictjson"
)

// Bounds of a GGUF header; larger ones are not read.
const (
	maxGGUFKeys   = 4096
	maxGGUFString = 64 << 10
)

// readGGUF reads magic, version and the key-value pairs up to general.architecture, which
// writers put first. The specification is docs/gguf.md of ggml, versions 2 and 3.
func readGGUF(_ int64, r io.Reader) (Info, error) {
	var head struct {
		Magic         [4]byte
		Version       uint32
		Tensors, Keys uint64
	}
	if err := binary.Read(r, binary.LittleEndian, &head); err != nil {
		return Info{}, short(err)
	}
	if string(head.Magic[:]) != "GGUF" || head.Version < 2 || head.Version > 3 {
		return Info{}, fmt.Errorf("%w: magic %q, version %d", ErrHeader, head.Magic, head.Version)
	}
	info := Info{Format: GGUF}
	for range min(head.Keys, maxGGUFKeys) {
		key, err := ggufString(r)
		if err != nil {
			return Info{}, err
		}
		value, more, err := ggufValue(r)
		if err != nil {
			return Info{}, err
		}
		if key == "general.architecture" {
			info.Architecture = value
			return info, nil
		}
		if !more {
			break
		}
	}
	return info, nil
}

func ggufString(r io.Reader) (string, error) {
	var n uint64
	if err := binary.Read(r, binary.LittleEndian, &n); err != nil {
		return "", short(err)
	}
	if n > maxGGUFString {
		return "", fmt.Errorf("%w: a string of %d bytes", ErrHeader, n)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		return "", short(err)
	}
	return string(b), nil
}

// ggufSizes holds the bytes of each scalar type of "enum gguf_metadata_value_type".
var ggufSizes = map[uint32]int64{0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}

// ggufValue reads a string and skips a scalar. At an array it stops: arrays hold the vocabulary,
// which is long, and the architecture stands before it.
func ggufValue(r io.Reader) (value string, more bool, err error) {
	var kind uint32
	if err := binary.Read(r, binary.LittleEndian, &kind); err != nil {
		return "", false, short(err)
	}
	const stringType, arrayType = 8, 9
	switch size, scalar := ggufSizes[kind]; {
	case kind == stringType:
		value, err = ggufString(r)
		return value, true, err
	case kind == arrayType:
		return "", false, nil
	case scalar:
		_, err = io.CopyN(io.Discard, r, size)
		return "", true, short(err)
	}
	return "", false, fmt.Errorf("%w: value type %d", ErrHeader, kind)
}

// readONNX looks at the first field of the protobuf ModelProto: ir_version (field 1, a varint),
// which onnx writes first.
func readONNX(_ int64, r io.Reader) (Info, error) {
	var head [2]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return Info{}, short(err)
	}
	const irVersionTag, maxIRVersion = 0x08, 64
	if head[0] != irVersionTag || head[1] == 0 || head[1] > maxIRVersion {
		return Info{}, fmt.Errorf("%w: starts with %x", ErrHeader, head)
	}
	return Info{Format: ONNX}, nil
}

// readConfig reads the architecture from a config.json.
func readConfig(size int64, r io.Reader) (Info, error) {
	if size > MaxHeaderBytes {
		return Info{}, fmt.Errorf("%w: config.json of %d bytes", ErrHeader, size)
	}
	data, err := io.ReadAll(r)
	if err != nil {
		return Info{}, err
	}
	var config struct {
		ModelType     string   `json:"model_type"`
		Architectures []string `json:"architectures"`
	}
	if err := strictjson.Unmarshal(data, &config, strictjson.Limits{MaxBytes: MaxHeaderBytes}); err != nil {
		return Info{}, fmt.Errorf("%w: %w", ErrHeader, err)
	}
	if config.ModelType == "" && len(config.Architectures) > 0 {
		config.ModelType = config.Architectures[0]
	}
	return Info{Architecture: config.ModelType}, nil
}
