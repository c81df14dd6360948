package oci

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
)

// flow is one request that sends the bytes from start to stop of a blob while they are read for the first time. What was read
// before the request began, and what has to be sent again in it, is read again.
type flow struct {
	start, stop int64
	reread      func(offset int64) (io.ReadCloser, error)
	cancel      context.CancelFunc // ends the request

	mu     sync.Mutex
	moved  sync.Cond
	base   int64     // everything before it can be read again only
	live   []byte    // the bytes from base on, while feed waits for them to be taken
	body   *flowBody // the body that is being sent: an HTTP client may begin again with another one
	ended  bool
	resp   *http.Response // the answer, once ended
	err    error          // or why there is none
	source error          // of reading again
}

// startFlow begins to send a chunk: "PATCH <location>".
func (r *repository) startFlow(ctx context.Context, to *url.URL, start, stop int64, reread func(int64) (io.ReadCloser, error)) *flow {
	ctx, cancel := context.WithCancel(ctx)
	f := &flow{start: start, stop: stop, reread: reread}
	f.moved.L = &f.mu
	f.cancel = func() {
		cancel()
		f.end(nil, context.Canceled)
	}
	go func() {
		f.end(r.send(ctx, http.MethodPatch, to, &payload{stop - start, f.open}, http.Header{
			"Content-Type": {"application/octet-stream"}, "Content-Range": {fmt.Sprintf("%d-%d", start, stop-1)}}))
	}()
	return f
}

// end keeps the outcome; the first one counts.
func (f *flow) end(resp *http.Response, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ended {
		if resp != nil {
			_ = resp.Body.Close()
		}
		return
	}
	f.ended, f.resp, f.err = true, resp, err
	f.moved.Broadcast()
}

// feed waits until the request took all of p that it sends, and reports whether it did; p begins at the offset base, and can be read again
// from then on. When it did not, the request has ended.
func (f *flow) feed(base int64, p []byte) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	end := min(base+int64(len(p)), f.stop)
	f.base, f.live = base, p
	f.moved.Broadcast()
	for !f.ended && (f.body == nil || f.body.at < end) {
		f.moved.Wait()
	}
	f.base, f.live = base+int64(len(p)), nil
	return f.body != nil && f.body.at >= end
}

// wait returns the answer.
func (f *flow) wait() (*http.Response, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for !f.ended {
		f.moved.Wait()
	}
	if f.source != nil && f.err != nil {
		return nil, f.source
	}
	return f.resp, f.err
}

// open makes a body that takes the place of the one before.
func (f *flow) open() (io.ReadCloser, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.body = &flowBody{flow: f, at: f.start}
	return f.body, nil
}

// flowBody is the body of a request. An HTTP client may go on to read it when the request has ended; it gives nothing then.
type flowBody struct {
	flow   *flow
	at     int64
	again  io.ReadCloser // at the offset at; nil unless bytes are read again
	busy   bool          // reading again
	closed bool
}

// Read implements io.Reader.
func (b *flowBody) Read(p []byte) (int, error) {
	f := b.flow
	f.mu.Lock()
	defer f.mu.Unlock()
	for {
		switch {
		case b.closed || f.ended || f.body != b:
			return 0, io.ErrClosedPipe
		case b.at == f.stop:
			return 0, io.EOF
		case b.at < f.base:
			return b.readAgain(p[:min(int64(len(p)), f.base-b.at, f.stop-b.at)])
		case b.at < f.base+int64(len(f.live)):
			n := copy(p[:min(int64(len(p)), f.stop-b.at)], f.live[b.at-f.base:])
			b.took(n)
			return n, nil
		}
		f.moved.Wait()
	}
}

// took moves on by n bytes.
func (b *flowBody) took(n int) {
	b.at += int64(n)
	if b.at == b.flow.stop || b.at >= b.flow.base+int64(len(b.flow.live)) {
		b.flow.moved.Broadcast()
	}
}

// readAgain reads what was read before. The lock is not held while it does: the source may be slow.
func (b *flowBody) readAgain(p []byte) (n int, err error) {
	f := b.flow
	b.busy = true
	f.mu.Unlock()
	if b.again == nil {
		b.again, err = f.reread(b.at)
	}
	if err == nil {
		n, err = io.ReadFull(b.again, p)
	}
	f.mu.Lock()
	b.busy = false
	if err != nil {
		f.source = fmt.Errorf("read again from byte %d: %w", b.at, err)
		return 0, f.source
	}
	if b.took(n); b.at >= f.base || b.closed {
		b.closeAgain()
	}
	return n, nil
}

func (b *flowBody) closeAgain() {
	if b.again != nil && !b.busy {
		_ = b.again.Close()
		b.again = nil
	}
}

// Close implements io.Closer.
func (b *flowBody) Close() error {
	b.flow.mu.Lock()
	defer b.flow.mu.Unlock()
	b.closed = true
	b.closeAgain()
	b.flow.moved.Broadcast()
	return nil
}
