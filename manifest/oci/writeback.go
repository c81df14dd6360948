package oci

import "os"

// writebackBytes is how much is written to a file before the disk gets it.
const writebackBytes = 16 << 20

// writeback writes a file from the offset at on, and lets the disk work meanwhile: a sync at the end has little left to wait for.
type writeback struct {
	file    *os.File
	at      int64
	started int64 // the offset up to which the disk was asked to write
}

// Write implements io.Writer.
func (w *writeback) Write(p []byte) (int, error) {
	n, err := w.file.Write(p)
	w.at += int64(n)
	if w.at-w.started >= writebackBytes {
		startWriteback(w.file, w.started, w.at-w.started)
		w.started = w.at
	}
	return n, err
}
