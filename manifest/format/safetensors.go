package format

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"

	"github.com/mlseal/mlseal/internal/strictjson"
)

// precisions maps the dtypes of safetensors to the words of the ModelPack specification
// (docs/config.md: "bf16", "fp16", "int8"). Other dtypes have no word there and count as unknown.
var precisions = map[string]string{
	"F64": "fp64", "F32": "fp32", "F16": "fp16", "BF16": "bf16",
	"F8_E4M3": "fp8", "F8_E5M2": "fp8",
	"I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8", "U8": "uint8",
}

// readSafetensors reads the header of a safetensors file: "8 bytes: N, an unsigned little-endian
// 64-bit integer, containing the size of the header. N bytes: a JSON UTF-8 string".
func readSafetensors(size int64, r io.Reader) (Info, error) {
	var length uint64
	if err := binary.Read(r, binary.LittleEndian, &length); err != nil {
		return Info{}, short(err)
	}
	if length > MaxHeaderBytes || int64(length) > size-8 {
		return Info{}, fmt.Errorf("%w: safetensors header of %d bytes in a file of %d", ErrHeader, length, size)
	}
	header := make([]byte, length)
	if _, err := io.ReadFull(r, header); err != nil {
		return Info{}, short(err)
	}
	var tensors map[string]json.RawMessage
	if err := strictjson.Unmarshal(header, &tensors, strictjson.Limits{MaxBytes: MaxHeaderBytes}); err != nil {
		// Tensors may have names that differ only by case or underscores; the number is then left out.
		return Info{}, fmt.Errorf("%w: %w", ErrHeader, err)
	}
	return sumTensors(tensors)
}

// sumTensors counts the parameters and finds the dtype that most of them have.
func sumTensors(tensors map[string]json.RawMessage) (Info, error) {
	info := Info{Format: Safetensors}
	byType := map[string]int64{}
	for name, raw := range tensors {
		if name == "__metadata__" {
			continue
		}
		var tensor struct {
			DType string  `json:"dtype"`
			Shape []int64 `json:"shape"`
		}
		if err := json.Unmarshal(raw, &tensor); err != nil {
			return Info{}, fmt.Errorf("%w: tensor %q: %w", ErrHeader, name, err)
		}
		n, ok := product(tensor.Shape)
		if !ok || n > math.MaxInt64-info.Parameters {
			return Info{}, fmt.Errorf("%w: tensor %q has an impossible shape", ErrHeader, name)
		}
		info.Parameters += n
		byType[precisions[tensor.DType]] += n
	}
	info.Precision = Most(byType)
	return info, nil
}

func product(shape []int64) (int64, bool) {
	n := int64(1)
	for _, d := range shape {
		if d < 0 || d > 0 && n > math.MaxInt64/d {
			return 0, false
		}
		n *= d
	}
	return n, true
}

// Most returns the key with the largest count, the first in byte order among equals, so that the
// answer is the same on every run. It is "" for an empty map.
func Most(counts map[string]int64) string {
	best, most := "", int64(-1)
	for key, n := range counts {
		if n > most || n == most && key < best {
			best, most = key, n
		}
	}
	return best
}
