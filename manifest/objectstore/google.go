//go:build !noobjectstore

package objectstore

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/mlseal/mlseal/manifest"
	"google.golang.org/api/option"
	"google.golang.org/api/storage/v1"
	htransport "google.golang.org/api/transport/http"
)

func init() { openers["gs"] = openGoogle }

// googleStore asks Google's JSON API. gocloud.dev's own driver does so by way of a client that brings gRPC's xDS and
// OpenTelemetry with it, some two hundred packages of which reading needs none.
type googleStore struct {
	objects *storage.ObjectsService
	bucket  string
}

// openGoogle opens a bucket with Application Default Credentials, with none where anonymous=true, or on the emulator that
// STORAGE_EMULATOR_HOST names, as Google's own client does.
func openGoogle(ctx context.Context, u *url.URL, opts Options) (store, error) {
	query := u.Query()
	if err := unknown(query, "anonymous"); err != nil {
		return nil, err
	}
	client, err := newHTTP(opts)
	if err != nil {
		return nil, err
	}
	client.Transport = asStored{client.Transport}
	anonymous, err := strconv.ParseBool(query.Get("anonymous"))
	if err != nil && query.Has("anonymous") {
		return nil, fmt.Errorf("%w: anonymous is true or false", ErrURL)
	}
	options := []option.ClientOption{option.WithHTTPClient(client)}
	emulator := opts.getenv("STORAGE_EMULATOR_HOST")
	switch {
	case emulator != "":
		if !strings.Contains(emulator, "://") {
			emulator = "http://" + emulator
		}
		options = append(options, option.WithEndpoint(strings.TrimRight(emulator, "/")+"/storage/v1/"))
	case !anonymous:
		if client.Transport, err = htransport.NewTransport(ctx, client.Transport, option.WithScopes(storage.DevstorageReadOnlyScope)); err != nil {
			return nil, fmt.Errorf("%w: %s", ErrDenied, line(err.Error()))
		}
	}
	service, err := storage.NewService(ctx, options...)
	if err != nil {
		return nil, fmt.Errorf("%w: %s", ErrURL, line(err.Error()))
	}
	service.UserAgent = opts.UserAgent
	return &googleStore{service.Objects, u.Host}, nil
}

// asStored asks for contents as they are stored, also for those that are stored compressed: the service would decompress them.
type asStored struct{ next http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (t asStored) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Query().Get("alt") == "media" {
		req = req.Clone(req.Context())
		req.Header.Set("Accept-Encoding", "gzip")
	}
	return t.next.RoundTrip(req)
}

func (s *googleStore) list(ctx context.Context, prefix string, visit func(object) error) error {
	call := s.objects.List(s.bucket).Prefix(prefix).MaxResults(1000).Fields("nextPageToken", "items(name,size,updated,generation,crc32c)")
	var seen pages
	for {
		if err := seen.another(); err != nil {
			return err
		}
		page, err := call.Context(ctx).Do()
		if err != nil {
			return failure(ctx, "list", err)
		}
		for _, item := range page.Items {
			if err := seen.object(item.Name); err != nil {
				return err
			}
			o := object{key: item.Name, size: int64(min(item.Size, 1<<62)), version: strconv.FormatInt(item.Generation, 10), sums: checksums{crc32c: parseCRC32C(item.Crc32c)}}
			o.modified, _ = time.Parse(time.RFC3339, item.Updated)
			if err := visit(o); err != nil {
				return err
			}
		}
		if page.NextPageToken == "" {
			return nil
		}
		call = call.PageToken(page.NextPageToken)
	}
}

func (s *googleStore) open(ctx context.Context, o object, offset, length int64) (*answer, error) {
	generation, err := strconv.ParseInt(o.version, 10, 64)
	if err != nil {
		return nil, err
	}
	call := s.objects.Get(s.bucket, o.key).Generation(generation).Context(ctx)
	if length < o.size {
		call.Header().Set("Range", fmt.Sprintf("bytes=%d-%d", offset, offset+length-1))
	}
	resp, err := call.Download()
	if err != nil {
		return nil, failure(ctx, "read", err)
	}
	a := &answer{body: resp.Body, bytes: resp.Header.Get("Content-Range")}
	if err := checkGoogle(resp, a, o, offset, length); err != nil {
		_ = resp.Body.Close()
		return nil, err
	}
	return a, nil
}

// check holds an answer to what was asked.
func checkGoogle(resp *http.Response, a *answer, o object, offset, length int64) error {
	if got := resp.Header.Get("X-Goog-Generation"); got != "" && got != o.version {
		return fmt.Errorf("%w: generation %s instead of %s", manifest.ErrChanged, line(got), o.version)
	}
	if length == o.size && resp.ContentLength >= 0 && resp.ContentLength != length {
		return fmt.Errorf("%w: %d bytes instead of %d", manifest.ErrChanged, resp.ContentLength, length)
	}
	return a.checkRange(o, offset, length)
}

// stated says nothing more: the list has the crc32c.
func (s *googleStore) stated(context.Context, object) (checksums, error) { return checksums{}, nil }

func (s *googleStore) close() error { return nil }
