package oci

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/mlseal/mlseal/internal/registrytest"
)

// writeArchive writes desc from src and opens what was written.
func writeArchive(t *testing.T, src Target, desc ocispec.Descriptor, name string, opts ArchiveOptions) (*Archive, ArchiveReport) {
	t.Helper()
	report, err := WriteArchive(t.Context(), src, desc, name, opts)
	if err != nil {
		t.Fatal(err)
	}
	a, err := OpenArchive(name)
	if err != nil {
		t.Fatal(err)
	}
	return a, report
}

func TestArchiveHoldsWhatALayoutHolds(t *testing.T) {
	src, layout := newLayout(t), newLayout(t)
	registry := openAt(t, serve(t, &registrytest.Registry{})+"/team/model")
	desc := pack(t, src, sampleTree, PackOptions{Tag: "v1"})
	first := statement(t, src, desc, "one")
	statement(t, src, first, "about the first")
	mustCopy(t, src, desc, layout, CopyOptions{Tag: "v1", Referrers: true})
	mustCopy(t, src, desc, registry, CopyOptions{Tag: "v1", Referrers: true})

	file := filepath.Join(t.TempDir(), "a.tar")
	var planned, done int64
	a, report := writeArchive(t, src, desc, file, ArchiveOptions{Tag: "v1", Referrers: true, Planned: func(n int64) { planned = n }, Progress: func(n int) { done += int64(n) }})
	if report.Referrers != 2 || planned != done || planned == 0 {
		t.Errorf("%+v, %d bytes planned, %d told", report, planned, done)
	}
	wholeCopy(t, a, desc, "v1", 1)
	want, err := layout.read(ocispec.ImageIndexFile, MaxIndexBytes)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := a.read(ocispec.ImageIndexFile, MaxIndexBytes); err != nil || !bytes.Equal(got, want) {
		t.Errorf("index.json is %s, in a layout %s: %v", got, want, err)
	}
	if got, err := Resolve(t.Context(), a, Reference{Archive: file}); err != nil || got.Digest != desc.Digest {
		t.Errorf("without a tag: %v %v", got, err)
	}
	dir := filepath.Join(t.TempDir(), "out")
	if err := Pull(t.Context(), a, fetch(t, a, desc), dir, PullOptions{}); err != nil {
		t.Error(err)
	}

	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for name, other := range map[string]Target{"registry": registry, "archive": a} {
		writeArchive(t, other, desc, file, ArchiveOptions{Tag: "v1", Referrers: true})
		if after, err := os.ReadFile(file); err != nil || !bytes.Equal(before, after) {
			t.Errorf("from a %s other bytes are written: %v", name, err)
		}
	}
	noLeftovers(t, filepath.Dir(file))
}

func TestArchiveIsReadOnly(t *testing.T) {
	src := newLayout(t)
	desc := pack(t, src, sampleTree, PackOptions{Tag: "v1"})
	a, _ := writeArchive(t, src, desc, filepath.Join(t.TempDir(), "a.tar"), ArchiveOptions{Tag: "v1"})
	_, attachError := AttachBundle(t.Context(), a, desc, []byte(bundleOf("x")), "https://example.test/x", time.Now())
	_, removeError := Remove(t.Context(), a, desc, RemoveOptions{Tag: "v1"})
	_, openError := Open(t.Context(), Reference{Archive: "a.tar"}, OpenOptions{Create: true})
	for name, err := range map[string]error{
		"push": a.Push(t.Context(), desc, strings.NewReader("")), "tag": Tag(t.Context(), a, desc, "v2"), "untag": Untag(t.Context(), a, "v1"),
		"attach": attachError, "remove": removeError, "create": openError,
	} {
		if !errors.Is(err, ErrReadOnly) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// entry is a tar entry of a test.
type entry struct {
	header tar.Header
	data   string
}

func regular(name, data string) entry {
	return entry{tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644}, data}
}

const (
	layoutText = `{"imageLayoutVersion":"1.0.0"}`
	indexText  = `{"schemaVersion":2,"manifests":[]}`
)

// tarOf writes entries, behind those of an empty layout.
func tarOf(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range append([]entry{regular("oci-layout", layoutText), regular("index.json", indexText)}, entries...) {
		e.header.Size = int64(len(e.data))
		if err := w.WriteHeader(&e.header); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, e.data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func openTar(data []byte) (*Archive, error) {
	return newArchive("a.tar", bytes.NewReader(data), int64(len(data)))
}

func TestArchivesOfOthers(t *testing.T) {
	long := digest.SHA512.FromString("x")
	for name, data := range map[string][]byte{
		"plain":           tarOf(t),
		"padded":          append(tarOf(t), make([]byte, 8<<10)...),
		"directories":     tarOf(t, entry{header: tar.Header{Typeflag: tar.TypeDir, Name: "blobs/"}}, entry{header: tar.Header{Typeflag: tar.TypeDir, Name: "./blobs/sha256/"}}, entry{header: tar.Header{Typeflag: tar.TypeDir, Name: "./"}}),
		"other files":     tarOf(t, regular("manifest.json", "[]"), regular("repositories", "{}")),
		"pax times":       tarOf(t, entry{tar.Header{Typeflag: tar.TypeReg, Name: "x", Format: tar.FormatPAX, ModTime: time.Unix(1, 5), PAXRecords: map[string]string{"VENDOR.x": "y"}}, "x"}),
		"pax long name":   tarOf(t, regular(blobName(long), "x")),
		"gnu long name":   tarOf(t, entry{tar.Header{Typeflag: tar.TypeReg, Name: blobName(long), Format: tar.FormatGNU}, "x"}),
		"an empty entry":  tarOf(t, regular("empty", "")),
		"a whole block":   tarOf(t, regular("block", strings.Repeat("x", 512))),
		"three blocks -1": tarOf(t, regular("block", strings.Repeat("x", 3*512-1))),
	} {
		a, err := openTar(data)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if strings.HasSuffix(name, "long name") {
			if ok, err := a.Exists(t.Context(), ocispec.Descriptor{Digest: long, Size: 1}); !ok || err != nil {
				t.Errorf("%s: the blob is not found: %v", name, err)
			}
		}
	}
	// any order, and "./" before the names
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, name := range []string{"./blobs/sha256/" + digest.FromString("x").Encoded(), "./index.json", "./oci-layout"} {
		text := map[string]string{"./index.json": indexText, "./oci-layout": layoutText}[name]
		if text == "" {
			text = "x"
		}
		_ = w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: int64(len(text))})
		_, _ = io.WriteString(w, text)
	}
	_ = w.Close()
	a, err := openTar(b.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if data, err := fetchBytes(t.Context(), a, describeBytes("", []byte("x")), 1); err != nil || string(data) != "x" {
		t.Errorf("%q %v", data, err)
	}
}

func TestHostileArchives(t *testing.T) {
	whole := tarOf(t, regular("a", "a"))
	bare := func(entries ...entry) []byte { return tarOf(t, entries...)[2048:] } // without the layout's own files
	huge := tarOf(t, regular("huge", "x"))
	setSize(huge[4*512:], "77777777777")
	tests := map[string]struct {
		data []byte
		want string
	}{
		"empty":              {nil, "cut off"},
		"text":               {[]byte("a text and no tar\n"), "no whole tar"},
		"noise":              {bytes.Repeat([]byte("noise"), 1000), "no whole tar"},
		"gzip":               {append([]byte("\x1f\x8b"), whole...), "gunzip"},
		"zstd":               {append([]byte("\x28\xb5\x2f\xfd"), whole...), "zstd -d"},
		"without its end":    {whole[:len(whole)-1024], "cut off"},
		"with half an end":   {whole[:len(whole)-512], "cut off"},
		"cut in a header":    {whole[:2048+100], "no whole tar"},
		"cut in a file":      {tarOf(t, regular("b", strings.Repeat("b", 5000)))[:2048+512+1000], `cut off in "b"`},
		"absurd size":        {huge, `cut off in "huge"`},
		"garbage behind":     {append(bytes.Clone(whole), "garbage"...), "behind its end"},
		"a tar behind":       {append(bytes.Clone(whole), whole...), "behind its end"},
		"too much padding":   {append(bytes.Clone(whole), make([]byte, maxArchivePadding)...), "behind its last entry"},
		"twice":              {tarOf(t, regular("index.json", `{}`)), `"index.json" twice`},
		"twice, with ./":     {tarOf(t, regular("./index.json", `{}`)), `"index.json" twice`},
		"symbolic link":      {tarOf(t, entry{header: tar.Header{Typeflag: tar.TypeSymlink, Name: "blobs", Linkname: "/etc"}}), "neither a plain file"},
		"hard link":          {tarOf(t, entry{header: tar.Header{Typeflag: tar.TypeLink, Name: "x", Linkname: "index.json"}}), "neither a plain file"},
		"device":             {tarOf(t, entry{header: tar.Header{Typeflag: tar.TypeBlock, Name: "x"}}), "neither a plain file"},
		"pipe":               {tarOf(t, entry{header: tar.Header{Typeflag: tar.TypeFifo, Name: "x"}}), "neither a plain file"},
		"global pax header":  {tarOf(t, entry{header: tar.Header{Typeflag: tar.TypeXGlobalHeader, PAXRecords: map[string]string{"path": "index.json"}}}), "neither a plain file"},
		"absolute":           {tarOf(t, regular("/etc/x", "x")), "no name of a file"},
		"outside":            {tarOf(t, regular("../x", "x")), "no name of a file"},
		"inside out":         {tarOf(t, regular("blobs/../x", "x")), "no name of a file"},
		"two slashes":        {tarOf(t, regular("blobs//x", "x")), "no name of a file"},
		"backslash":          {tarOf(t, regular(`blobs\x`, "x")), "no name of a file"},
		"directory outside":  {tarOf(t, entry{header: tar.Header{Typeflag: tar.TypeDir, Name: "../"}}), "no name of a directory"},
		"without oci-layout": {bare(regular("index.json", indexText)), "no file oci-layout"},
		"another version":    {bare(regular("oci-layout", `{"imageLayoutVersion":"2"}`)), "version"},
		"large oci-layout":   {bare(regular("oci-layout", strings.Repeat(" ", maxLayoutFile+1))), "limit exceeded"},
		"sparse":             {sparse(t), "neither a plain file"},
	}
	for name, test := range tests {
		_, err := openTar(test.data)
		if !errors.Is(err, ErrNotLayout) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}
}

// setSize overwrites the size field of a header and mends its checksum.
func setSize(header []byte, octal string) {
	copy(header[124:136], octal+"\x00")
	copy(header[148:156], "        ")
	sum := 0
	for _, c := range header[:512] {
		sum += int(c)
	}
	for i := 5; i >= 0; i-- {
		header[148+i] = byte('0' + sum%8)
		sum /= 8
	}
	header[154], header[155] = 0, ' '
}

// sparse is a tar with a sparse file in GNU's pax form, which Go's writer does not make.
func sparse(t *testing.T) []byte {
	records := "22 GNU.sparse.major=0\n22 GNU.sparse.minor=1\n26 GNU.sparse.numblocks=1\n24 GNU.sparse.map=0,100\n" + "24 GNU.sparse.size=1000\n"
	data := tarOf(t, regular("PaxHeaders/x", records), regular("x", strings.Repeat("s", 100)))
	data[4*512+156] = 'x'
	setSize(data[4*512:], string(data[4*512+124:4*512+135]))
	return data
}

func TestArchiveLimits(t *testing.T) {
	a, err := openTar(tarOf(t)[:1024+1024+1024])
	if err != nil {
		t.Fatal(err)
	}
	files := a.files.(*tarFiles)
	files.entries["index.json"] = tarEntry{0, MaxIndexBytes + 1}
	if _, err := a.Resolve(t.Context(), "v1"); !errors.Is(err, ErrLimit) {
		t.Errorf("a large index.json: %v", err)
	}
	// Headers alone, at sizes of nothing.
	one := tarOf(t, regular("blobs/x", ""))[4*512 : 5*512]
	many := bytes.Repeat(one, MaxArchiveEntries+1)
	if _, err := openTar(append(many, make([]byte, 1024)...)); !errors.Is(err, ErrNotLayout) {
		t.Errorf("the same name many times: %v", err)
	}
	dir := bytes.Repeat(tarOf(t, entry{header: tar.Header{Typeflag: tar.TypeDir, Name: "blobs/"}})[4*512:5*512], MaxArchiveEntries+1)
	if _, err := openTar(append(dir, make([]byte, 1024)...)); !errors.Is(err, ErrLimit) {
		t.Errorf("too many entries: %v", err)
	}
}

func TestOpenArchiveRefuses(t *testing.T) {
	dir := t.TempDir()
	if _, err := OpenArchive(filepath.Join(dir, "none.tar")); !errors.Is(err, ErrNotFound) {
		t.Errorf("missing: %v", err)
	}
	if _, err := OpenArchive(dir); !errors.Is(err, ErrNotLayout) {
		t.Errorf("a directory: %v", err)
	}
}

// lying hands out other bytes than it is asked for.
type lying struct {
	*Layout
	of   digest.Digest
	says string
}

func (l *lying) Fetch(ctx context.Context, desc ocispec.Descriptor) (io.ReadCloser, error) {
	if desc.Digest == l.of {
		return io.NopCloser(strings.NewReader(l.says)), nil
	}
	return l.Layout.Fetch(ctx, desc)
}

func TestWriteArchiveThatFailsLeavesNothing(t *testing.T) {
	src := newLayout(t)
	desc := pack(t, src, map[string]string{"a": "four"}, PackOptions{Tag: "v1"})
	old := newLayout(t)
	oldDesc := pack(t, old, map[string]string{"a": "old"}, PackOptions{Tag: "v1"})
	blob := digest.FromString("four")
	for name, says := range map[string]string{"short": "fou", "long": "four and more", "other": "FOUR"} {
		dir := t.TempDir()
		file := filepath.Join(dir, "a.tar")
		_, err := WriteArchive(t.Context(), &lying{src, blob, says}, desc, file, ArchiveOptions{})
		if !errors.Is(err, ErrContent) {
			t.Errorf("%s: %v", name, err)
		}
		if entries, _ := os.ReadDir(dir); len(entries) != 0 {
			t.Errorf("%s: left behind: %v", name, entries)
		}
		writeArchive(t, old, oldDesc, file, ArchiveOptions{})
		before, _ := os.ReadFile(file)
		if _, err := WriteArchive(t.Context(), &lying{src, blob, says}, desc, file, ArchiveOptions{}); !errors.Is(err, ErrContent) {
			t.Errorf("%s: %v", name, err)
		}
		if after, _ := os.ReadFile(file); !bytes.Equal(before, after) {
			t.Errorf("%s: what was there is damaged", name)
		}
		noLeftovers(t, dir)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := WriteArchive(ctx, src, desc, filepath.Join(t.TempDir(), "a.tar"), ArchiveOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestWriteArchiveOverwritesArchivesOnly(t *testing.T) {
	src := newLayout(t)
	desc := pack(t, src, sampleTree, PackOptions{Tag: "v1"})
	dir := t.TempDir()
	writeTree(t, dir, map[string]string{"weights.bin": "weights", "dir/x": "x"})
	writeArchive(t, src, desc, filepath.Join(dir, "a.tar"), ArchiveOptions{})
	if err := os.Symlink("a.tar", filepath.Join(dir, "link.tar")); err != nil {
		t.Fatal(err)
	}
	before := tree(t, dir)
	for _, name := range []string{"weights.bin", "dir", "link.tar"} {
		if _, err := WriteArchive(t.Context(), src, desc, filepath.Join(dir, name), ArchiveOptions{}); !errors.Is(err, ErrNotLayout) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, data := range tree(t, dir) {
		if before[name] != data {
			t.Errorf("%s changed", name)
		}
	}
	if _, err := WriteArchive(t.Context(), src, desc, filepath.Join(dir, "b.tar"), ArchiveOptions{Tag: "-x"}); !errors.Is(err, ErrReference) {
		t.Errorf("a tag that is none: %v", err)
	}
}

func FuzzIndexTar(f *testing.F) {
	f.Add(tarOf(f))
	f.Add(tarOf(f, regular("blobs/sha256/"+digest.FromString("x").Encoded(), "x"), entry{header: tar.Header{Typeflag: tar.TypeDir, Name: "./blobs/"}}))
	f.Add(tarOf(f, entry{tar.Header{Typeflag: tar.TypeReg, Name: blobName(digest.SHA512.FromString("x")), Format: tar.FormatGNU}, "x"}))
	f.Add(tarOf(f, entry{header: tar.Header{Typeflag: tar.TypeSymlink, Name: "x", Linkname: "y"}}))
	f.Add(tarOf(f, entry{tar.Header{Typeflag: tar.TypeReg, Name: "x", PAXRecords: map[string]string{"VENDOR.x": "y"}}, "x"}))
	f.Add([]byte("\x1f\x8b"))
	f.Fuzz(func(t *testing.T, data []byte) {
		files, err := indexTar(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			if !errors.Is(err, ErrNotLayout) && !errors.Is(err, ErrLimit) {
				t.Fatalf("%v has no class", err)
			}
			return
		}
		for name, e := range files.entries {
			if e.offset < 0 || e.size < 0 || e.offset > int64(len(data))-e.size || e.offset%tarBlock != 0 || !fs.ValidPath(name) {
				t.Fatalf("%q: %+v of %d", name, e, len(data))
			}
		}
		// Another reader that goes through the tar finds the same.
		r := tar.NewReader(struct{ io.Reader }{bytes.NewReader(data)})
		for {
			header, err := r.Next()
			if err != nil {
				return
			}
			if header.Typeflag != tar.TypeReg {
				continue
			}
			want, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			file, _, err := files.open(strings.TrimPrefix(header.Name, "./"))
			if err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(file); err != nil || !bytes.Equal(got, want) {
				t.Fatalf("%q: %q, not %q: %v", header.Name, got, want, err)
			}
		}
	})
}
