package format

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"
)

func safetensors(header string) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(b, header...)
}

func gguf(version uint32, kv ...any) []byte {
	var b bytes.Buffer
	b.WriteString("GGUF")
	put := func(v any) { _ = binary.Write(&b, binary.LittleEndian, v) }
	str := func(s string) { put(uint64(len(s))); b.WriteString(s) }
	put(version)
	put(uint64(0))
	put(uint64(len(kv) / 2))
	for i := 0; i < len(kv); i += 2 {
		str(kv[i].(string))
		switch v := kv[i+1].(type) {
		case string:
			put(uint32(8))
			str(v)
		case uint32:
			put(uint32(4))
			put(v)
		case []string:
			put(uint32(9))
		}
	}
	return b.Bytes()
}

func TestRead(t *testing.T) {
	tests := []struct {
		file string
		data []byte
		want Info
	}{
		{"a/model.safetensors", safetensors(`{"__metadata__":{"format":"pt"},"w":{"dtype":"BF16","shape":[3,4],"data_offsets":[0,24]},"b":{"dtype":"F32","shape":[2]}}`), Info{Safetensors, "", "bf16", 14}},
		{"MODEL.SafeTensors", safetensors(`{}`), Info{Format: Safetensors}},
		{"scalar.safetensors", safetensors(`{"s":{"dtype":"F16","shape":[]}}`), Info{Safetensors, "", "fp16", 1}},
		{"odd.safetensors", safetensors(`{"s":{"dtype":"Q9","shape":[2]}}`), Info{Safetensors, "", "", 2}},
		{"m.gguf", gguf(3, "general.architecture", "llama"), Info{Format: GGUF, Architecture: "llama"}},
		{"m.gguf", gguf(2, "general.alignment", uint32(32), "general.name", "x", "general.architecture", "qwen2"), Info{Format: GGUF, Architecture: "qwen2"}},
		{"m.gguf", gguf(3, "tokens", []string{"a"}, "general.architecture", "late"), Info{Format: GGUF}},
		{"m.onnx", []byte{8, 9, 0x12, 0}, Info{Format: ONNX}},
		{"config.json", []byte(`{"model_type":"llama","architectures":["LlamaForCausalLM"]}`), Info{Architecture: "llama"}},
		{"config.json", []byte(`{"architectures":["LlamaForCausalLM"]}`), Info{Architecture: "LlamaForCausalLM"}},
		{"notes.txt", []byte("GGUF"), Info{}},
	}
	for _, tt := range tests {
		got, err := Read(tt.file, int64(len(tt.data)), bytes.NewReader(tt.data))
		if err != nil || got != tt.want {
			t.Errorf("Read(%s) = %+v, %v, want %+v", tt.file, got, err, tt.want)
		}
	}
}

func TestReadRefuses(t *testing.T) {
	huge := binary.LittleEndian.AppendUint64(nil, 1<<62)
	tests := map[string]struct {
		file string
		data []byte
	}{
		"empty":                {"m.safetensors", nil},
		"header longer":        {"m.safetensors", append(binary.LittleEndian.AppendUint64(nil, 100), "{}"...)},
		"header huge":          {"m.safetensors", huge},
		"no JSON":              {"m.safetensors", safetensors(`not json`)},
		"overflow":             {"m.safetensors", safetensors(`{"w":{"dtype":"F16","shape":[9223372036854775807,2]}}`)},
		"overflow of the sum":  {"m.safetensors", safetensors(`{"v":{"dtype":"F16","shape":[9223372036854775807]},"w":{"dtype":"F16","shape":[1]}}`)},
		"negative":             {"m.safetensors", safetensors(`{"w":{"dtype":"F16","shape":[-1]}}`)},
		"duplicate tensor":     {"m.safetensors", safetensors(`{"w":{"dtype":"F16","shape":[1]},"w":{"dtype":"F16","shape":[2]}}`)},
		"gguf magic":           {"m.gguf", []byte(strings.Repeat("x", 64))},
		"gguf version":         {"m.gguf", gguf(99)},
		"gguf short":           {"m.gguf", gguf(3, "general.architecture", "llama")[:40]},
		"gguf string too long": {"m.gguf", append(append(gguf(3)[:16], 1, 0, 0, 0, 0, 0, 0, 0), huge...)},
		"onnx":                 {"m.onnx", []byte("<html>")},
		"config no JSON":       {"config.json", []byte(`{"model_type":`)},
		"config twice":         {"config.json", []byte(`{"model_type":"a","model_type":"b"}`)},
	}
	for name, tt := range tests {
		got, err := Read(tt.file, int64(len(tt.data)), bytes.NewReader(tt.data))
		if !errors.Is(err, ErrHeader) || got != (Info{}) {
			t.Errorf("%s: %+v, %v, want ErrHeader", name, got, err)
		}
	}
}

// endless gives bytes for ever and counts them.
type endless struct{ n int }

func (e *endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 1
	}
	e.n += len(p)
	return len(p), nil
}

func TestReadIsBounded(t *testing.T) {
	for _, file := range []string{"m.safetensors", "m.gguf", "m.onnx", "config.json"} {
		e := &endless{}
		_, _ = Read(file, MaxHeaderBytes, e)
		if e.n > 2*MaxHeaderBytes {
			t.Errorf("%s: %d bytes read", file, e.n)
		}
	}
}

func TestReadPassesErrorsOn(t *testing.T) {
	broken := errors.New("disk on fire")
	for _, file := range []string{"m.safetensors", "m.gguf", "m.onnx", "config.json"} {
		if _, err := Read(file, 100, io.MultiReader(errReader{broken})); !errors.Is(err, broken) || errors.Is(err, ErrHeader) {
			t.Errorf("%s: %v", file, err)
		}
	}
}

type errReader struct{ error }

func (e errReader) Read([]byte) (int, error) { return 0, e.error }

func FuzzRead(f *testing.F) {
	f.Add("m.safetensors", safetensors(`{"w":{"dtype":"F16","shape":[2]}}`))
	f.Add("m.gguf", gguf(3, "general.architecture", "llama"))
	f.Add("m.onnx", []byte{8, 9})
	f.Add("config.json", []byte(`{"model_type":"a"}`))
	f.Fuzz(func(t *testing.T, name string, data []byte) {
		info, err := Read(name, int64(len(data)), bytes.NewReader(data))
		if err != nil && info != (Info{}) {
			t.Errorf("a value beside an error: %+v, %v", info, err)
		}
		if info.Parameters < 0 {
			t.Errorf("%d parameters", info.Parameters)
		}
	})
}
