package oci

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/mlseal/mlseal/manifest"
)

// writeTar returns the tar of files in one of the forms.
func writeTar(t *testing.T, form tarForm, files map[string]string) []byte {
	t.Helper()
	ball, err := newTarball(form, build(t, mapFS(files)).Files)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := ball.write(t.Context(), &b, opened(files), nil); err != nil {
		t.Fatal(err)
	}
	if int64(b.Len()) != ball.size {
		t.Fatalf("%d bytes instead of %d", b.Len(), ball.size)
	}
	for _, f := range ball.files {
		if got := b.String()[f.offset : f.offset+f.Size]; got != files[f.Path] {
			t.Errorf("%s: %q at its offset", f.Path, got)
		}
	}
	return b.Bytes()
}

// opened opens files in memory as what they are.
func opened(files map[string]string) opener {
	verified := filesBelow(mapFS(files))
	return func(f manifest.File, offset int64) (io.ReadCloser, error) {
		f.Digest = digest.FromString(files[f.Path])
		return verified(f, offset)
	}
}

// long is a path that needs a pax header.
var long = strings.Repeat("directory/", 12) + "файл.json"

// TestTarGolden holds the form: another digest here is another digest of every car and shard.
func TestTarGolden(t *testing.T) {
	files := map[string]string{"config.json": "{}", "a/b/c.txt": "abc", "a/d.txt": strings.Repeat("x", 512), "a-b.txt": "", long: "long"}
	for want, form := range map[string]tarForm{
		"ab81e37457b7fe6967b42fbb97fb3caab6a22d6d18d35f0be7faa31c06718539": carForm,
		"c3b656a0281dd769b63a077a3eb93fcfa48e2a035040a6899309db448de6b20d": {},
	} {
		sum := sha256.Sum256(writeTar(t, form, files))
		if got := hex.EncodeToString(sum[:]); got != want {
			t.Errorf("%v: %s, want %s", form, got, want)
		}
	}
	header, err := entryHeader("large", 9<<30, false)
	if err != nil || len(header) != 3*tarBlock || !bytes.Contains(header, []byte("19 size=9663676416\n")) {
		t.Errorf("9 GiB: %v, %q", err, header)
	}
}

// TestTarIsOrdinary reads both forms with archive/tar.
func TestTarIsOrdinary(t *testing.T) {
	files := map[string]string{"config.json": "{}", "a/b/c.txt": "abc", long: "long", "empty": ""}
	var names []string
	r := tar.NewReader(bytes.NewReader(writeTar(t, carForm, files)))
	for {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, h.Name)
		data, err := io.ReadAll(r)
		if err != nil || h.Uid != 0 || h.Gid != 0 || h.Uname != "" || !h.ModTime.Equal(time.Unix(0, 0)) {
			t.Errorf("%v: %+v", err, h)
		}
		path := strings.TrimPrefix(h.Name, "models/")
		if h.Typeflag == tar.TypeReg && (string(data) != files[path] || h.Mode != 0o644) || h.Typeflag == tar.TypeDir && h.Mode != 0o755 {
			t.Errorf("%+v: %q", h, data)
		}
	}
	want := []string{"models/", "models/a/", "models/a/b/", "models/a/b/c.txt", "models/config.json"}
	if !slices.Equal(names[:len(want)], want) || names[len(names)-1] != "models/empty" {
		t.Errorf("%q", names)
	}
}

// readAll reads a tar as a layer, with its digests as they are.
func readAll(t *testing.T, form tarForm, data []byte) ([]manifest.File, error) {
	t.Helper()
	l := newLayout(t)
	desc := push(t, l, "application/octet-stream", data)
	var files []manifest.File
	err := readTar(t.Context(), l, desc, form, nil, func(f tarFile, r io.Reader) error {
		data, err := io.ReadAll(r)
		f.Digest = digest.FromBytes(data)
		files = append(files, f.File)
		return err
	})
	return files, err
}

// madeEntry is one of a tar that somebody else wrote.
type madeEntry struct {
	tar.Header
	data string
}

func plainFile(name, data string) madeEntry {
	return madeEntry{tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(data)), ModTime: time.Unix(0, 0), Format: tar.FormatPAX}, data}
}

func plainDir(name string) madeEntry {
	return madeEntry{Header: tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: 0o755, ModTime: time.Unix(0, 0), Format: tar.FormatPAX}}
}

func edited(e madeEntry, edit func(*tar.Header)) madeEntry {
	edit(&e.Header)
	return e
}

func handmade(t *testing.T, entries ...madeEntry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		if err := w.WriteHeader(&e.Header); err != nil {
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

// splice replaces bytes, and mends the checksum of the header that begins at the given offset.
func splice(data []byte, header, at int, with string) []byte {
	data = slices.Clone(data)
	copy(data[at:], with)
	block := data[header : header+tarBlock]
	copy(block[148:156], "        ")
	sum := 0
	for _, b := range block {
		sum += int(b)
	}
	copy(block[148:156], fmt.Sprintf("%06o\x00 ", sum))
	return data
}

// hostileTars are tars with one file too many, or something else that two readers could take for two things (cases 45, 57, 58 and 60).
func hostileTars(t *testing.T) map[string][]byte {
	good := []madeEntry{plainDir("models/"), plainFile("models/a.txt", "a")}
	ok := handmade(t, good...)
	with := func(more ...madeEntry) []byte { return handmade(t, append(slices.Clone(good), more...)...) }
	link := func(kind byte, to string) madeEntry {
		return edited(plainFile("models/b.txt", ""), func(h *tar.Header) { h.Typeflag, h.Linkname = kind, to })
	}
	file := 2 * tarBlock // offset of the contents of a.txt
	return map[string][]byte{
		"symbolic link":           with(link(tar.TypeSymlink, "/etc/passwd")),
		"symbolic link inside":    with(link(tar.TypeSymlink, "a.txt")),
		"hard link":               with(link(tar.TypeLink, "models/a.txt")),
		"character device":        with(link(tar.TypeChar, "")),
		"block device":            with(link(tar.TypeBlock, "")),
		"pipe":                    with(link(tar.TypeFifo, "")),
		"contiguous file":         splice(ok, tarBlock, tarBlock+156, "7"),
		"old file type":           splice(ok, tarBlock, tarBlock+156, "\x00"),
		"unknown type":            splice(ok, tarBlock, tarBlock+156, "Z"),
		"sparse type":             splice(ok, tarBlock, tarBlock+156, "S"),
		"duplicate":               with(plainFile("models/a.txt", "b")),
		"duplicate directory":     with(plainDir("models/"), plainFile("models/b.txt", "b")),
		"out of order":            with(plainFile("models/Z.txt", "b")),
		"..":                      with(plainFile("models/../b.txt", "b")),
		".. out of the root":      with(plainFile("../b.txt", "b")),
		"dot":                     with(plainFile("models/./b.txt", "b")),
		"absolute":                with(plainFile("/models/b.txt", "b")),
		"beside the root":         with(plainFile("modelsb.txt", "b")),
		"another root":            with(plainDir("etc/"), plainFile("etc/passwd", "b")),
		"backslash":               with(plainFile(`models/b\c`, "b")),
		"control character":       with(plainFile("models/b\x1bc", "b")),
		"bidi":                    with(plainFile("models/b\u202ec", "b")),
		"missing directory":       with(plainFile("models/b/c.txt", "b")),
		"no root":                 handmade(t, plainFile("models/a.txt", "a")),
		"directory without files": with(plainDir("models/b/")),
		"empty":                   handmade(t),
		"only a directory":        handmade(t, plainDir("models/")),
		"executable":              with(edited(plainFile("models/b.txt", "b"), func(h *tar.Header) { h.Mode = 0o755 })),
		"setuid":                  with(edited(plainFile("models/b.txt", "b"), func(h *tar.Header) { h.Mode = 0o4644 })),
		"owner":                   with(edited(plainFile("models/b.txt", "b"), func(h *tar.Header) { h.Uid = 1 })),
		"owner's name":            with(edited(plainFile("models/b.txt", "b"), func(h *tar.Header) { h.Uname = "root" })),
		"time":                    with(edited(plainFile("models/b.txt", "b"), func(h *tar.Header) { h.ModTime = time.Unix(1, 0) })),
		"link name":               with(edited(plainFile("models/b.txt", "b"), func(h *tar.Header) { h.Linkname = "x" })),
		"attribute": with(edited(plainFile("models/b.txt", "b"), func(h *tar.Header) {
			h.PAXRecords = map[string]string{"SCHILY.xattr.security.capability": "x"}
		})),
		"unknown pax record":   with(edited(plainFile("models/b.txt", "b"), func(h *tar.Header) { h.PAXRecords = map[string]string{"MLSEAL.x": "1"} })),
		"pax path override":    paxPath(t, "models/a.txt", "models/b.txt", good...),
		"pax size override":    paxSize(t, good...),
		"global pax header":    handmade(t, append([]madeEntry{{Header: tar.Header{Typeflag: tar.TypeXGlobalHeader, PAXRecords: map[string]string{"path": "models/x"}}}}, good...)...),
		"gnu format":           with(edited(plainFile("models/b.txt", "b"), func(h *tar.Header) { h.Format = tar.FormatGNU })),
		"gnu long name":        with(edited(plainFile("models/"+strings.Repeat("b", 200), "b"), func(h *tar.Header) { h.Format = tar.FormatGNU })),
		"ustar split name":     with(edited(plainFile("models/"+strings.Repeat("b", 99)+"/c", "b"), func(h *tar.Header) { h.Format = tar.FormatUSTAR })),
		"bytes in the padding": splice(ok, 0, file+tarBlock+1, "x"),
		"bytes behind the end": append(slices.Clone(ok), 'x'),
		"block behind the end": append(slices.Clone(ok), make([]byte, tarBlock)...),
		"tar behind the end":   append(slices.Clone(ok), ok...),
		"more behind the end":  append(slices.Clone(ok), handmade(t, plainFile("models/b.txt", "b"))...),
		"one block at the end": ok[:len(ok)-tarBlock],
		"no end":               ok[:len(ok)-2*tarBlock],
		"half an end":          ok[:len(ok)-1],
		"ends in the contents": ok[:file+tarBlock],
		"ends in a header":     ok[:tarBlock+7],
		"bytes in the end":     splice(ok, 0, len(ok)-1, "x"),
		"huge size":            splice(ok, tarBlock, tarBlock+124, "77777777777"),
		"base-256 size":        splice(ok, tarBlock, tarBlock+124, "\x80\x00\x00\x00\x7f\xff\xff\xff\xff\xff\xff\xff"),
		"negative size":        splice(ok, tarBlock, tarBlock+124, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"),
		"wrong checksum":       append(append(slices.Clone(ok[:tarBlock+148]), "000000\x00 "...), ok[tarBlock+156:]...),
		"rubbish":              bytes.Repeat([]byte("x"), 4*tarBlock),
		"gzip":                 append([]byte("\x1f\x8b\x08"), make([]byte, 2*tarBlock)...),
		"huge pax records":     hugePAX(t),
	}
}

// paxPath makes a tar whose last header has one name in its block and another one in an extended header.
func paxPath(t *testing.T, inBlock, inRecord string, good ...madeEntry) []byte {
	// archive/tar writes none that is not needed, so the record is made of one that is.
	long := "models/" + strings.Repeat("b", 150)
	data := handmade(t, append(slices.Clone(good), plainFile(long, "b"))...)
	record := fmt.Sprintf("%d path=%s\n", len(long)+len("167 path=\n"), long)
	i := bytes.Index(data, []byte(record))
	if i < 0 {
		t.Fatal("no record")
	}
	short := inRecord + strings.Repeat("b", len(long)-len(inRecord))
	copy(data[i:], fmt.Sprintf("%d path=%s\n", len(record), short))
	header := i + tarBlock
	return splice(data, header, header, inBlock+"\x00")
}

// paxSize makes a tar with a size in an extended header that hides what follows.
func paxSize(t *testing.T, good ...madeEntry) []byte {
	long := "models/" + strings.Repeat("b", 150)
	data := handmade(t, append(slices.Clone(good), plainFile(long, "b"))...)
	i := bytes.Index(data, []byte("167 path="))
	if i < 0 {
		t.Fatal("no record")
	}
	copy(data[i:], "13 size=8192\n154 path=models/"+strings.Repeat("b", 137)+"\n")
	return data
}

// hugePAX has an extended header that says it has gigabytes of records.
func hugePAX(t *testing.T) []byte {
	data := handmade(t, plainDir("models/"), plainFile("models/"+strings.Repeat("b", 150), "b"))
	return splice(data, tarBlock, tarBlock+124, "77777777777")
}

// tarReasons are what errors say where they could come from something less exact, or too late.
var tarReasons = map[string]string{
	"symbolic link":       "is a symbolic link",
	"hard link":           "is a hard link",
	"block device":        "is a device",
	"huge pax records":    "an extended header of more than",
	"more behind the end": "bytes behind its end",
}

func TestHostileTars(t *testing.T) {
	files, err := readAll(t, carForm, handmade(t, plainDir("models/"), plainFile("models/a.txt", "a"), plainFile("models/b.txt", "")))
	if err != nil || len(files) != 2 {
		t.Fatalf("the good one: %v, %v", files, err)
	}
	for name, data := range hostileTars(t) {
		t.Run(name, func(t *testing.T) {
			if files, err := readAll(t, carForm, data); !errors.Is(err, ErrContent) || errors.Is(err, ErrUnavailable) {
				t.Errorf("%v, %v", err, files)
			} else if strings.ContainsAny(err.Error(), "\n\x1b") || !strings.Contains(err.Error(), tarReasons[name]) {
				t.Errorf("%q, want %q", err, tarReasons[name])
			}
		})
	}
}

// TestTarDigest refuses a layer that is a good tar with other bytes than its digest says.
func TestTarDigest(t *testing.T) {
	l := newLayout(t)
	a, b := writeTar(t, carForm, map[string]string{"a.txt": "a"}), writeTar(t, carForm, map[string]string{"a.txt": "b"})
	desc := push(t, l, "application/octet-stream", a)
	damage(t, l, desc.Digest, string(b))
	err := readTar(t.Context(), l, desc, carForm, nil, func(tarFile, io.Reader) error { return nil })
	if !errors.Is(err, ErrContent) || !strings.Contains(err.Error(), digest.FromBytes(b).String()) {
		t.Errorf("%v", err)
	}
}

// FuzzTar: what is read as a tar is the one that would be written of its files.
func FuzzTar(f *testing.F) {
	files := []manifest.File{{Path: "a.txt", Size: 1}, {Path: long, Size: 600}}
	for _, form := range []tarForm{carForm, {}} {
		var b bytes.Buffer
		seq := tarSequence{form: form}
		for _, file := range files {
			header, err := seq.next(file.Path, file.Size)
			if err != nil {
				f.Fatal(err)
			}
			b.Write(header)
			b.Write(append(bytes.Repeat([]byte("x"), int(file.Size)), make([]byte, padding(file.Size))...))
		}
		b.Write(make([]byte, 2*tarBlock))
		f.Add(b.Bytes(), form.dirs)
	}
	f.Add([]byte{}, true)
	f.Fuzz(func(t *testing.T, data []byte, dirs bool) {
		form := tarForm{}
		if dirs {
			form = carForm
		}
		contents := map[string]string{}
		desc := ocispec.Descriptor{Digest: digest.FromBytes(data), Size: int64(len(data))}
		err := readTar(t.Context(), fixedTarget{data: data}, desc, form, nil, func(f tarFile, r io.Reader) error {
			text, err := io.ReadAll(r)
			contents[f.Path] = string(text)
			// A file may be cut short: then it is an error behind it.
			if !bytes.HasPrefix(data[min(f.offset, desc.Size):], text) {
				t.Errorf("%s: not at its offset", f.Path)
			}
			return err
		})
		if err != nil {
			if !errors.Is(err, ErrContent) && !errors.Is(err, ErrLimit) {
				t.Errorf("%v", err)
			}
			return
		}
		var list []manifest.File
		for name, text := range contents {
			list = append(list, manifest.File{Path: name, Size: int64(len(text)), Digest: digest.FromString(text)})
		}
		m, err := newTree(list)
		if err != nil {
			return // a file where another one needs a directory
		}
		ball, err := newTarball(form, m.Files)
		if err != nil {
			t.Fatal(err)
		}
		var again bytes.Buffer
		if err := ball.write(t.Context(), &again, opened(contents), nil); err != nil || !bytes.Equal(again.Bytes(), data) {
			t.Errorf("%v: written again it is another tar", err)
		}
	})
}
