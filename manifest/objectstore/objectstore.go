// Package objectstore reads models and datasets where they lie in an object store, without a copy on disk: it lists the objects below
// a prefix once, and gives them as a file system whose files are fetched in ranges, several at once.
//
//	s3://BUCKET[/PREFIX][?region=…&endpoint=…]              Amazon S3 and what speaks its protocol
//	gs://BUCKET[/PREFIX][?anonymous=true]                   Google Cloud Storage, over its JSON API
//	azblob://CONTAINER[/PREFIX][?storage_account=…]         Azure Blob Storage
//
// The parameters are those of gocloud.dev/blob. A prefix is a folder: s3://b/llm holds s3://b/llm/config.json and not
// s3://b/llm2/config.json. Where nothing is below it and an object has that very key, the tree is that one file.
//
// What a key may be. A file's name is its key without the prefix, and is held to manifest.CheckName, so that `a//b`, `../b` or a key with
// a line break end the listing with an error. A key that ends in a slash, and an empty object beside others below the same name, are how
// tools mark folders: they are no files. Such a key with contents is refused, since no directory can hold it. gocloud.dev writes
// some characters of a key in another way; a key that it would not read back is refused too.
//
// What is read is what was listed. Each listed object has a version: the ETag, or the generation of Google's. Every range is asked for
// under the condition that the object still has it (If-Match, or the generation in the request), and the answer is held to it as well, since not every
// server knows the condition. An object that was replaced or removed meanwhile ends the reading with manifest.ErrChanged, so that
// no digest is ever made of two versions.
//
// What a store says of contents is a hint and no proof: every byte is hashed here. A crc32c that differs from the bytes that came, or a
// sha256 that differs from the one that was computed (Tree.Check), is an error, since then somebody is wrong; one that agrees is worth nothing.
package objectstore

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/mlseal/mlseal/manifest"
)

// Errors that callers branch on. An object that is not what was listed wraps manifest.ErrChanged, contents that are not as the store
// states wrap origin.ErrMismatch, and a key that cannot be a file's name wraps manifest.ErrName.
var (
	// ErrURL says that a text is no address in an object store, or that it and the environment do not say enough to ask there.
	ErrURL = errors.New("not a usable address in an object store")
	// ErrNothing says that no object lies below a prefix.
	ErrNothing = errors.New("no such object, nor any below it")
	// ErrBucket says that there is no such bucket or container, or not for whom asks.
	ErrBucket = errors.New("no such bucket")
	// ErrDenied says that the store does not let whoever asks read, or wants to know who asks.
	ErrDenied = errors.New("the object store does not give access")
	// ErrUnavailable says that the store failed or was not reached, so that nothing is known.
	ErrUnavailable = errors.New("object store unavailable")
	// ErrListing says that a store's list of objects cannot be true.
	ErrListing = errors.New("the object store's list cannot be true")
	// ErrBuiltWithout says that the program was built without the clients of object stores.
	ErrBuiltWithout = errors.New("this mlseal was built without object stores")
	// ErrPlainHTTP says that an address would be asked without TLS.
	ErrPlainHTTP = errors.New("http is taken for this machine only, unless it is asked for")
)

// Options of Open. The zero value asks over TLS, with the system's authorities.
type Options struct {
	PlainHTTP      bool   // take http for an endpoint that is not on this machine too
	CACertificates []byte // PEM, trusted beside the system's
	UserAgent      string // added to that of the service's own client
	// Getenv reads the environment variables that gocloud.dev names for Azure and Google; nil for none.
	Getenv func(name string) string
	// Note is told what is tried again and why; may be nil.
	Note func(text string)
}

// opener connects to the bucket that u names.
type opener func(ctx context.Context, u *url.URL, opts Options) (store, error)

// openers are the stores by the scheme of their addresses. Each is a file of this package that registers itself.
var openers = map[string]opener{}

// IsURL reports whether a text is written like an address in an object store.
func IsURL(text string) bool {
	scheme, _, ok := strings.Cut(text, "://")
	return ok && openers[scheme] != nil
}

// location is a parsed address.
type location struct {
	url    *url.URL
	prefix string // without slashes at its ends; empty for the whole bucket
}

// parse reads an address. No error shows its parameters, which may hold a secret by mistake.
func parse(text string) (location, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.Port() != "" || u.Fragment != "" || openers[u.Scheme] == nil:
		return location{}, fmt.Errorf("objectstore: %s: %w", Redact(text), ErrURL)
	case u.User != nil:
		return location{}, fmt.Errorf("objectstore: %s: %w: credentials come from the environment, not from an address", Redact(text), ErrURL)
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return location{}, fmt.Errorf("objectstore: %s: %w: its parameters cannot be read", Redact(text), ErrURL)
	}
	for name, values := range query {
		if len(values) > 1 {
			return location{}, fmt.Errorf("objectstore: %s: %w: the parameter %s is there twice", Redact(text), ErrURL, name)
		}
	}
	prefix := strings.Trim(u.Path, "/")
	if strings.HasPrefix(u.Path, "//") || prefix != "" && manifest.CheckName(prefix) != nil {
		return location{}, fmt.Errorf("objectstore: %s: %w: its path has empty elements, `.` or `..`, or characters that no file's name may have", Redact(text), ErrURL)
	}
	return location{u, prefix}, nil
}

// String is the address without its parameters.
func (l location) String() string {
	if l.prefix == "" {
		return l.url.Scheme + "://" + l.url.Host
	}
	return l.url.Scheme + "://" + l.url.Host + "/" + l.prefix
}

// Redact returns an address without what may be a secret: who asks, and the parameters.
func Redact(text string) string {
	text, _, _ = strings.Cut(text, "?")
	text, _, _ = strings.Cut(text, "#")
	scheme, rest, ok := strings.Cut(text, "://")
	if !ok {
		return text
	}
	host, below, _ := strings.Cut(rest, "/")
	if i := strings.LastIndex(host, "@"); i >= 0 {
		host = host[i+1:]
	}
	if below != "" {
		host += "/" + below
	}
	return scheme + "://" + host
}

// unknown refuses parameters that would silently do nothing.
func unknown(query url.Values, known ...string) error {
	for name := range query {
		if !slices.Contains(known, name) {
			return fmt.Errorf("%w: the parameter %s is not known; there are %s", ErrURL, name, strings.Join(known, ", "))
		}
	}
	return nil
}

func (o Options) getenv(name string) string {
	if o.Getenv == nil {
		return ""
	}
	return o.Getenv(name)
}
