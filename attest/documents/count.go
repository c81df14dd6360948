package documents

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
)

// MaxRecordBytes bounds a line of a .jsonl file: the records of one that has a longer line are not counted.
const MaxRecordBytes = 16 << 20

// CountRecords counts the JSON values of a .jsonl file, one a line; blank lines are none. It is -1 when anything else stands in it, since no count
// would be exact then.
func CountRecords(ctx context.Context, r io.Reader) (n int64, err error) {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 64<<10), MaxRecordBytes)
	for lines.Scan() {
		if err := ctx.Err(); err != nil {
			return -1, err
		}
		line := bytes.TrimSpace(lines.Bytes())
		if len(line) == 0 {
			continue
		}
		if !json.Valid(line) {
			return -1, nil
		}
		n++
	}
	if errors.Is(lines.Err(), bufio.ErrTooLong) {
		return -1, nil
	}
	if lines.Err() != nil {
		return -1, lines.Err()
	}
	return n, nil
}
