// Package format reads what the files of a model say about themselves in their headers: the
// format, the architecture, the precision and the number of parameters.
//
// It reads a bounded prefix of a file, parses it as data and never executes anything. What a
// header does not say, or says in a way that this package does not understand, is left at its
// zero value: a caller writes down only what a file said.
//
//   - safetensors: an unsigned 64-bit little-endian length, then that many bytes of JSON that
//     map each tensor's name to its dtype and shape.
//   - GGUF: the magic "GGUF", a version, and key-value pairs, of which general.architecture is read.
//   - ONNX: a protobuf without a magic number; its extension and first field are looked at.
//   - config.json of Hugging Face: "model_type", else the first of "architectures".
package format

import (
	"errors"
	"io"
	"path"
	"strings"
)

// MaxHeaderBytes bounds what is read of one file. A longer header is not read.
const MaxHeaderBytes = 4 << 20

// Formats that Read recognizes by a header.
const (
	Safetensors = "safetensors"
	GGUF        = "gguf"
	ONNX        = "onnx"
)

// ErrHeader is wrapped by every error about a header that is not what the file's name promises.
var ErrHeader = errors.New("header not understood")

// Info is what a header says. A zero field says that the header did not.
type Info struct {
	Format       string // Safetensors, GGUF or ONNX
	Architecture string // as the file spells it: llama, qwen2, LlamaForCausalLM
	Precision    string // of most parameters: bf16, fp16, fp32, int8, …
	Parameters   int64  // the number of parameters in this file
}

// Known reports whether Read knows a header for a file of this name.
func Known(name string) bool { return reader(name) != nil }

// Read reads the header of the file called name from r, which stands at its start. size is the
// file's size in bytes. The error wraps ErrHeader when the file is not what its name promises;
// other errors come from r. A name that is not Known gives a zero Info.
func Read(name string, size int64, r io.Reader) (Info, error) {
	read := reader(name)
	if read == nil {
		return Info{}, nil
	}
	return read(size, io.LimitReader(r, MaxHeaderBytes+8))
}

func reader(name string) func(int64, io.Reader) (Info, error) {
	base := strings.ToLower(path.Base(name))
	switch {
	case base == "config.json":
		return readConfig
	case strings.HasSuffix(base, ".safetensors"):
		return readSafetensors
	case strings.HasSuffix(base, ".gguf"):
		return readGGUF
	case strings.HasSuffix(base, ".onnx"):
		return readONNX
	}
	return nil
}

// short turns the end of a file that is too short for its header into ErrHeader.
func short(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.Join(ErrHeader, err)
	}
	return err
}
