package manifest

// A tree that is larger than a part of the memory would push everything else out of the page cache, and could not stay there itself. So of such a
// tree each file that was not in memory before is forgotten behind the reading.
const (
	passingPart  = 2       // a tree of more than one half of the memory passes by
	passingBytes = 8 << 20 // how many bytes of a file are forgotten at a time
	usedPart     = 8       // a file of which more than an eighth was in memory is left there; less may be what was read ahead
)

// passes reports whether a tree of so many bytes leaves no pages behind.
func passes(bytes int64) bool {
	memory := machineMemory()
	return memory > 0 && bytes > memory/passingPart
}

// passBy has what is read from start to end forgotten behind the reading.
func (s *StableFile) passBy(start, end int64) {
	s.forget, s.forgotten = forgetter(s.f, start, end), start
}

// forgetRead forgets what was read, once there is a good piece of it or all was read.
func (s *StableFile) forgetRead(all bool) {
	if s.forget != nil && s.read > s.forgotten && (all || s.read-s.forgotten >= passingBytes) {
		s.forget(s.forgotten, s.read)
		s.forgotten = s.read
	}
}
