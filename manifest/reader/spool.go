package reader

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
)

// spool is a temporary file for what costs much to read again. It is made when it is needed.
type spool struct {
	dir    string
	mu     sync.Mutex
	file   *os.File
	name   string // when the file could not be removed while it is open
	end    int64
	closed bool
}

// reserve makes room for n bytes and says where they belong.
func (s *spool) reserve(n int64) (at int64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return 0, fmt.Errorf("reader: temporary file: %w", fs.ErrClosed)
	}
	if s.file == nil {
		if s.file, err = os.CreateTemp(s.dir, "mlseal-read-"); err != nil {
			return 0, fmt.Errorf("reader: %w", err)
		}
		if os.Remove(s.file.Name()) != nil {
			s.name = s.file.Name() // Windows removes no open file
		}
	}
	at = s.end
	s.end += n
	return at, nil
}

func (s *spool) write(p []byte, at int64) error {
	if _, err := s.file.WriteAt(p, at); err != nil {
		return fmt.Errorf("reader: temporary file: %w", err)
	}
	return nil
}

func (s *spool) section(at, n int64) io.Reader { return io.NewSectionReader(s.file, at, n) }

func (s *spool) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	if s.file == nil {
		return nil
	}
	err := s.file.Close()
	if s.name != "" {
		_ = os.Remove(s.name)
	}
	return err
}
