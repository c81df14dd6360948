//go:build !noobjectstore

package objectstore

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/mlseal/mlseal/internal/objecttest"
	"github.com/mlseal/mlseal/manifest"
	"github.com/mlseal/mlseal/manifest/origin"
	"gocloud.dev/blob"
	"gocloud.dev/blob/fileblob"
	"gocloud.dev/blob/memblob"
)

// TestMain keeps the SDKs from looking for credentials elsewhere.
func TestMain(m *testing.M) {
	for name, value := range map[string]string{"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull} {
		_ = os.Setenv(name, value)
	}
	os.Exit(m.Run())
}

// noise is n bytes that do not repeat.
func noise(n int) string {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{1})
	_, _ = r.Read(b)
	return string(b)
}

func startStore(t *testing.T, objects map[string]string) *objecttest.Store {
	s := objecttest.Start(t.Cleanup)
	s.Objects = objects
	return s
}

// opened opens a prefix, without waiting between attempts.
func opened(t *testing.T, address string) *Tree {
	t.Helper()
	tree, err := Open(t.Context(), address, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tree.Close() })
	tree.retry.Wait = func(context.Context, time.Duration) error { return nil }
	return tree
}

func build(t *testing.T, fsys fs.FS) (*manifest.Manifest, error) {
	t.Helper()
	return manifest.Build(t.Context(), fsys, manifest.Options{Concurrency: Concurrency})
}

// model is a tree with an empty file, a tiny one, one of several ranges, and folders.
func model() map[string]string {
	return map[string]string{"a.json": "{}", "empty": "", "sub/deep/w.bin": noise(5*pieceBytes + 17), "sub/x": noise(pieceBytes), "sub-y": noise(2000)}
}

func inMemory(files map[string]string) fs.FS {
	m := fstest.MapFS{}
	for name, contents := range files {
		m[name] = &fstest.MapFile{Data: []byte(contents)}
	}
	return m
}

func below(prefix string, files map[string]string) map[string]string {
	out := map[string]string{}
	for name, contents := range files {
		out[prefix+name] = contents
	}
	return out
}

func sameDigest(t *testing.T, got, want fs.FS) {
	t.Helper()
	a, err := build(t, got)
	if err != nil {
		t.Fatal(err)
	}
	b, err := build(t, want)
	if err != nil {
		t.Fatal(err)
	}
	if a.DirHash() != b.DirHash() {
		t.Errorf("dirHash %s, want %s", a.DirHash(), b.DirHash())
	}
}

// TestDigest: the tree has the digest that the same files have anywhere, also over connections that break off and a server that is busy.
func TestDigest(t *testing.T) {
	objects := below("team/llm/", model())
	objects["team/llm2/other"], objects["other"] = "x", "y"
	objects["team/llm/"], objects["team/llm/sub/"], objects["team/llm/sub"] = "", "", "" // marks of folders
	s := startStore(t, objects)
	s.Page = 2
	want := inMemory(model())
	sameDigest(t, opened(t, s.Address("team/llm")), want)
	sameDigest(t, opened(t, s.Address("team/llm/")), want)
	if n := s.Unpinned(); n != 0 {
		t.Errorf("%d requests without If-Match", n)
	}
	for _, times := range s.Asked() {
		if times > 2*6 {
			t.Errorf("an object was asked for %d times", times)
		}
	}
	s.Cut = 1 << 20
	one := opened(t, s.Address("team/llm"))
	sameDigest(t, one, want)
	if n := one.connections(); n != 0 || len(one.buffers) != piecesAhead {
		t.Errorf("%d connections are left, and %d of %d buffers are free", n, len(one.buffers), piecesAhead)
	}
	s.Cut, s.Busy = 0, 2
	sameDigest(t, opened(t, s.Address("team/llm")), want)
	if err := fstest.TestFS(opened(t, s.Address("team/llm")), "a.json", "sub/deep/w.bin"); err != nil {
		t.Error(err)
	}
}

// TestBuckets: the same adapter over gocloud.dev's buckets in memory and on disk.
func TestBuckets(t *testing.T) {
	onDisk, err := fileblob.OpenBucket(t.TempDir(), &fileblob.Options{NoTempDir: true})
	if err != nil {
		t.Fatal(err)
	}
	for name, bucket := range map[string]*blob.Bucket{"memblob": memblob.OpenBucket(nil), "fileblob": onDisk} {
		t.Run(name, func(t *testing.T) {
			for key, contents := range below("m/", model()) {
				if err := bucket.WriteAll(t.Context(), key, []byte(contents), nil); err != nil {
					t.Fatal(err)
				}
			}
			where := location{&url.URL{Scheme: "mem", Host: "b"}, "m"}
			tree, err := newTree(t.Context(), &blobStore{bucket: bucket}, where, Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = tree.Close() }()
			sameDigest(t, tree, inMemory(model()))
			if err := bucket.WriteAll(t.Context(), "m/sub/x", []byte("other"), nil); err != nil {
				t.Fatal(err)
			}
			if _, err := build(t, tree); !errors.Is(err, manifest.ErrChanged) || !strings.Contains(err.Error(), "mem://b/m/sub/x") {
				t.Errorf("replaced: %v", err)
			}
			if err := bucket.Delete(t.Context(), "m/sub/x"); err != nil {
				t.Fatal(err)
			}
			if _, err := build(t, tree); !errors.Is(err, manifest.ErrChanged) {
				t.Errorf("removed: %v", err)
			}
		})
	}
}

// TestChanged: an object that is replaced between two ranges, by a server that knows If-Match and by one that does not, and also by one of
// the same size.
func TestChanged(t *testing.T) {
	for _, unconditional := range []bool{false, true} {
		objects := model()
		s := startStore(t, below("m/", objects))
		s.Unconditional = unconditional
		s.Replaced["m/sub/deep/w.bin"] = objects["sub/deep/w.bin"][1:] + "x"
		_, err := build(t, opened(t, s.Address("m")))
		if !errors.Is(err, manifest.ErrChanged) || !strings.Contains(err.Error(), "sub/deep/w.bin") {
			t.Errorf("unconditional %t: %v", unconditional, err)
		}
		s.Change(func() { s.Replaced = nil })
		tree := opened(t, s.Address("m"))
		s.Change(func() { delete(s.Objects, "m/a.json") })
		if _, err := build(t, tree); !errors.Is(err, manifest.ErrChanged) || !strings.Contains(err.Error(), "a.json") {
			t.Errorf("removed: %v", err)
		}
	}
}

// TestStated: what the store says of contents can only say no.
func TestStated(t *testing.T) {
	objects := model()
	for _, name := range []string{"a.json", "sub/deep/w.bin", "sub-y"} {
		t.Run(name, func(t *testing.T) {
			s := startStore(t, below("m/", objects))
			s.CRC32C = true
			sum := sha256.Sum256([]byte(objects[name]))
			s.SHA256["m/"+name] = hex.EncodeToString(sum[:])
			tree := opened(t, s.Address("m"))
			m, err := build(t, tree)
			if err != nil {
				t.Fatal(err)
			}
			if err := tree.Check(m); err != nil {
				t.Error(err)
			}
			if tree.stated[name] == "" {
				t.Error("the statement of the store was not looked at")
			}
			sum[0]++
			s.Change(func() { s.SHA256["m/"+name] = hex.EncodeToString(sum[:]) })
			tree = opened(t, s.Address("m"))
			if m, err = build(t, tree); err != nil {
				t.Fatal(err)
			}
			if err := tree.Check(m); !errors.Is(err, origin.ErrMismatch) || !strings.Contains(err.Error(), name) {
				t.Errorf("sha256: %v", err)
			}
			s.Change(func() { s.Wrong["m/"+name] = true })
			if _, err := build(t, opened(t, s.Address("m"))); !errors.Is(err, origin.ErrMismatch) || !strings.Contains(err.Error(), name) {
				t.Errorf("crc32c: %v", err)
			}
		})
	}
}

// TestNames: keys that no tree can hold.
func TestNames(t *testing.T) {
	for _, keys := range [][]string{{"m/a//b"}, {"m//b"}, {"m/../b"}, {"m/a\nb"}, {`m/a\b`}, {"m/./b"}, {"m/a/b", "m/a"}, {"m/full/"}, {"m/a__0x2f__b"}, {"m/\u202eb"}} {
		s := startStore(t, map[string]string{"m/ok": "x"})
		for _, key := range keys {
			s.Objects[key] = "contents"
		}
		if _, err := Open(t.Context(), s.Address("m"), Options{}); !errors.Is(err, manifest.ErrName) {
			t.Errorf("%q: %v", keys, err)
		}
	}
}

// TestOpenErrors: what is missing or denied, and addresses that are none.
func TestOpenErrors(t *testing.T) {
	s := startStore(t, map[string]string{"m/a": "x", "m/b": "y", "n/model.gguf": "z", "n/model.gguf.bak": "w"})
	for address, want := range map[string]error{
		s.Address("none"): ErrNothing, s.Address("m/"): nil, s.Address("n/model"): ErrNothing,
		strings.Replace(s.Address("m"), "bucket", "none", 1):             ErrBucket,
		strings.Replace(s.Address("m"), "127.0.0.1", "192.0.2.1", 1):     ErrPlainHTTP,
		strings.Replace(s.Address("m"), "s3://", "s3://user:sesame@", 1): ErrURL,
		"s3://": ErrURL, "s3:///m": ErrURL, "ftp://b/m": ErrURL, "s3://user:sesame@b/m": ErrURL, "s3://b/m?key=sesame": ErrURL,
		"s3://b/m?region=a&region=sesame": ErrURL, "s3://b//m": ErrURL, "s3://b/../m": ErrURL, "s3://b/m#sesame": ErrURL,
		"s3://b/m?use_path_style=sesame": ErrURL, "gs://b/m?anonymous=sesame": ErrURL, "gs://b/m?x=sesame": ErrURL, "azblob://c/m?x=sesame": ErrURL,
		"azblob://c/m": ErrURL, "s3://b:1/m": ErrURL, "s3://b/m?%zz=sesame": ErrURL,
	} {
		tree, err := Open(t.Context(), address, Options{})
		if !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", address, err, want)
		}
		if err == nil {
			_ = tree.Close()
		} else if strings.Contains(err.Error(), "sesame") {
			t.Errorf("a parameter is shown: %v", err)
		}
	}
	one := opened(t, s.Address("n/model.gguf"))
	if one.File != "model.gguf" || len(one.all.Files) != 1 {
		t.Errorf("one file: %q, %v", one.File, one.all.Files)
	}
	tree := opened(t, s.Address("m"))
	s.Change(func() { s.Hidden = "m/b" })
	if _, err := build(t, tree); !errors.Is(err, ErrDenied) || !strings.Contains(err.Error(), "m/b") {
		t.Error(err)
	}
	s.Change(func() { s.Denied = true })
	if _, err := Open(t.Context(), s.Address("m"), Options{}); !errors.Is(err, ErrDenied) {
		t.Error(err)
	}
}

// TestPlainHTTP: an endpoint without TLS is refused wherever it comes from, before anything is sent to it.
func TestPlainHTTP(t *testing.T) {
	environment := map[string]string{"AZURE_STORAGE_KEY": "c2VzYW1l", "AZURE_STORAGE_ACCOUNT": "a", "STORAGE_EMULATOR_HOST": "192.0.2.1"}
	t.Setenv("AWS_ENDPOINT_URL", "http://192.0.2.1")
	for _, address := range []string{"s3://b/m?region=x", "gs://b/m", "azblob://c/m?protocol=http&domain=192.0.2.1"} {
		_, err := Open(t.Context(), address, Options{Getenv: func(name string) string { return environment[name] }})
		if !errors.Is(err, ErrPlainHTTP) {
			t.Errorf("%s: %v", address, err)
		}
	}
}

// TestAzureSAS: an address on the command line does not send the token of the environment elsewhere.
func TestAzureSAS(t *testing.T) {
	environment := map[string]string{"AZURE_STORAGE_SAS_TOKEN": "sig=sesame", "AZURE_STORAGE_ACCOUNT": "a"}
	for _, query := range []string{"domain=evil.example", "protocol=http", "cdn=true", "localemu=true"} {
		_, err := Open(t.Context(), "azblob://c/m?"+query, Options{Getenv: func(name string) string { return environment[name] }})
		if !errors.Is(err, ErrURL) || strings.Contains(err.Error(), "sesame") {
			t.Errorf("%s: %v", query, err)
		}
	}
}

// TestIgnoredRange: a server that gives the beginning whatever part is asked for.
func TestIgnoredRange(t *testing.T) {
	s := startStore(t, below("m/", model()))
	s.IgnoreRange = true
	if _, err := build(t, opened(t, s.Address("m"))); !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "w.bin") || !strings.Contains(err.Error(), "instead of") {
		t.Error(err)
	}
}

// TestGivesUp: a store that gives no byte more is not asked without end.
func TestGivesUp(t *testing.T) {
	s := startStore(t, map[string]string{"m/a": noise(5000)})
	tree := opened(t, s.Address("m"))
	var waits []time.Duration
	tree.retry.Wait = func(_ context.Context, d time.Duration) error {
		s.Change(func() { s.Busy = 100 }) // also for what the SDK tries again by itself
		waits = append(waits, d)
		return nil
	}
	s.Change(func() { s.Cut = 1000 })
	if _, err := build(t, tree); !errors.Is(err, ErrUnavailable) {
		t.Error(err)
	}
	if len(waits) != MaxAttempts-1 || slices.Max(waits) > MaxWait {
		t.Errorf("waited %v", waits)
	}
}

// TestListingsThatCannotBeTrue: they are refused, as contents that are not as stated, and none is read without end.
func TestListingsThatCannotBeTrue(t *testing.T) {
	object := func(key string, size int) string {
		return fmt.Sprintf("<Contents><Key>%s</Key><LastModified>2026-01-02T03:04:05.000Z</LastModified><ETag>e</ETag><Size>%d</Size></Contents>", key, size)
	}
	list := func(next string, contents ...string) string {
		more := ""
		if next != "" {
			more = "<IsTruncated>true</IsTruncated><NextContinuationToken>" + next + "</NextContinuationToken>"
		}
		return "<ListBucketResult>" + more + strings.Join(contents, "") + "</ListBucketResult>"
	}
	for name, tc := range map[string]struct {
		list func(url.Values) string
		says string
	}{
		"twice":             {func(url.Values) string { return list("", object("m/a", 1), object("m/a", 1)) }, `it has "a" twice`},
		"outside":           {func(url.Values) string { return list("", object("m/a", 1), object("n/b", 1)) }, `it has "n/b", which is not below "m/"`},
		"negative":          {func(url.Values) string { return list("", object("m/a", -1)) }, `"m/a" has -1 bytes`},
		"the same page":     {func(url.Values) string { return list("more", object("m/a", 1), object("m/b", 1)) }, `it comes back to "m/a"`},
		"another token too": {func(q url.Values) string { return list("x"+q.Get("continuation-token"), object("m/a", 1)) }, `it comes back to "m/a"`},
	} {
		s := startStore(t, nil)
		s.List = tc.list
		if _, err := Open(t.Context(), s.Address("m"), Options{}); !errors.Is(err, ErrListing) || errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Folders' marks without end, each page with another one, count as well.
	bound := maxObjects
	maxObjects = 100
	t.Cleanup(func() { maxObjects = bound })
	s := startStore(t, nil)
	pages := 0
	s.List = func(url.Values) string {
		pages++
		mark := fmt.Sprintf("m/%06d/", pages)
		return list(mark, object(mark, 0))
	}
	if _, err := Open(t.Context(), s.Address("m"), Options{}); !errors.Is(err, manifest.ErrTooMany) || pages > maxObjects+2 {
		t.Errorf("%d pages: %v", pages, err)
	}
	// Pages that move on are taken.
	s = startStore(t, nil)
	s.List = func(q url.Values) string {
		if q.Get("continuation-token") == "" {
			return list("more", object("m/a", 1), object("m/b", 1))
		}
		return list("", object("m/c", 1))
	}
	if tree, err := Open(t.Context(), s.Address("m"), Options{}); err != nil || len(tree.all.Files) != 3 {
		t.Errorf("%v, %v", tree, err)
	}
}

// TestListEnds: a list that goes on and names no object is not asked for without end.
func TestListEnds(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	s := startStore(t, map[string]string{"m/a": "a"})
	s.Endless = true
	if _, err := Open(ctx, s.Address("m"), Options{}); !errors.Is(err, ErrUnavailable) || ctx.Err() != nil {
		t.Error(err)
	}
	google := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"nextPageToken":"more"}`))
	}))
	defer google.Close()
	t.Setenv("STORAGE_EMULATOR_HOST", google.URL)
	if _, err := Open(ctx, "gs://bucket/m?anonymous=true", Options{}); !errors.Is(err, ErrUnavailable) || ctx.Err() != nil {
		t.Error(err)
	}
}

// TestEnds: the end of the context ends the reading, and nothing is left behind.
func TestEnds(t *testing.T) {
	s := startStore(t, below("m/", model()))
	ctx, cancel := context.WithCancel(t.Context())
	tree, err := Open(ctx, s.Address("m"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	f, err := tree.Open("sub/deep/w.bin")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(io.Discard, f, 100); err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := io.Copy(io.Discard, f); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if err := errors.Join(f.Close(), tree.Close()); err != nil {
		t.Error(err)
	}
	if len(tree.buffers) != piecesAhead {
		t.Errorf("%d of %d buffers are back", len(tree.buffers), piecesAhead)
	}
}

// TestSeek reads again and on from elsewhere.
func TestSeek(t *testing.T) {
	files := model()
	tree := opened(t, startStore(t, below("m/", files)).Address("m"))
	for name, contents := range files {
		f, err := tree.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, offset := range []int64{0, int64(len(contents)) / 3, 0} {
			if _, err := f.(io.Seeker).Seek(offset, io.SeekStart); err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(f)
			if err != nil || !bytes.Equal(got, []byte(contents[offset:])) {
				t.Errorf("%s from %d: %d bytes, %v", name, offset, len(got), err)
			}
		}
		_ = f.Close()
	}
	if len(tree.buffers) != piecesAhead {
		t.Errorf("%d of %d buffers are back", len(tree.buffers), piecesAhead)
	}
}

// TestSeekFirst reads from every offset of an object of which nothing was read before. A tiny one comes as a whole also then.
func TestSeekFirst(t *testing.T) {
	contents := noise(161)
	tree := opened(t, startStore(t, map[string]string{"m/f": contents}).Address("m"))
	for offset := range len(contents) + 1 {
		f, err := tree.Open("f")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.(io.Seeker).Seek(int64(offset), io.SeekStart); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(contents)-offset)
		for n := 0; n < len(got); { // io.ReadFull waits forever for a reader that gives nothing and no error
			more, err := f.Read(got[n:])
			if err != nil || more == 0 {
				t.Fatalf("from %d: %d bytes of %d, then %d, %v", offset, n, len(got), more, err)
			}
			n += more
		}
		if string(got) != contents[offset:] {
			t.Errorf("from %d: other bytes", offset)
		}
		if n, err := f.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			t.Errorf("from %d: at the end %d, %v", offset, n, err)
		}
		_ = f.Close()
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"s3://b/m", "gs://b", "azblob://c/a/b?x=y", "s3://u:p@b/m", "s3://b//m", "s3://b/%2e%2e/m", "s3://b/m?a=b;c", "://"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		where, err := parse(text)
		if err != nil {
			if !errors.Is(err, ErrURL) {
				t.Error(err)
			}
			return
		}
		if where.prefix != "" && !fs.ValidPath(where.prefix) && manifest.CheckName(where.prefix) == nil {
			t.Errorf("%q has the prefix %q", text, where.prefix)
		}
		again, err := parse((&url.URL{Scheme: where.url.Scheme, Host: where.url.Host, Path: "/" + where.prefix}).String())
		if err != nil || again.prefix != where.prefix {
			t.Errorf("%q: %q, then %q: %v", text, where.prefix, again.prefix, err)
		}
	})
}

// TestBound: who reads a part of an object fetches no more than that part, and what is behind it when it is read all the same.
func TestBound(t *testing.T) {
	files := model()
	s := startStore(t, below("m/", files))
	tree := opened(t, s.Address("m"))
	for _, name := range []string{"sub/deep/w.bin", "sub-y", "a.json"} {
		f, err := tree.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		part := int64(len(files[name])+2) / 3
		manifest.Bound(f, part)
		got, err := io.ReadAll(io.LimitReader(f, part))
		if err != nil || string(got) != files[name][:part] {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
		if n, want := s.Asked()["m/"+name], int(part/pieceBytes)+1; n != want {
			t.Errorf("%s: asked for %d times, want %d", name, n, want)
		}
		rest, err := io.ReadAll(f)
		if err != nil || string(got)+string(rest) != files[name] {
			t.Errorf("%s: %d more bytes, %v", name, len(rest), err)
		}
		_ = f.Close()
	}
	const shard = pieceBytes / 8 // too small to be a stream of its own
	opts := manifest.Options{Serialization: manifest.Serialization{ShardSize: shard}}
	s.Asked()
	hashed, err := manifest.BuildRanges(t.Context(), tree, opts, func([]manifest.File) ([]manifest.Range, error) {
		return []manifest.Range{{Path: "sub/deep/w.bin", Start: shard, End: pieceBytes + 2*shard}}, nil
	})
	if err != nil || len(hashed.Resources) != 9 {
		t.Fatalf("%v, %v", hashed, err)
	}
	if n := s.Asked()["m/sub/deep/w.bin"]; n != 2 {
		t.Errorf("a range of one piece and an eighth was asked for in %d requests", n)
	}
}
