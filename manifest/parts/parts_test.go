package parts

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/mlseal/mlseal/internal/strictjson"
	"github.com/mlseal/mlseal/manifest"
	"github.com/opencontainers/go-digest"
)

// randomTree makes a tree of up to 30 files with up to 200 bytes, some of them empty.
func randomTree(r *rand.Rand) fstest.MapFS {
	fsys := fstest.MapFS{}
	for range 1 + r.IntN(30) {
		data := make([]byte, r.IntN(4)*r.IntN(70))
		for i := range data {
			data[i] = byte(r.Uint32())
		}
		fsys[fmt.Sprintf("d%d/%c:%d", r.IntN(3), 'a'+rune(r.IntN(26)), r.IntN(10))] = &fstest.MapFile{Data: data}
	}
	return fsys
}

// hashAll hashes all parts of a tree, and sends each through its format.
func hashAll(t *testing.T, fsys fs.FS, about About, of int) []*Part {
	t.Helper()
	list := make([]*Part, of)
	for i := range list {
		part, err := Hash(context.Background(), fsys, about, manifest.Options{}, i+1, of)
		if err != nil {
			t.Fatal(err)
		}
		list[i] = again(t, part)
	}
	return list
}

func again(t *testing.T, part *Part) *Part {
	t.Helper()
	text := encode(t, part)
	read, err := ParsePart(text)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if second := encode(t, read); !bytes.Equal(second, text) {
		t.Fatalf("written again it is\n%s\nand was\n%s", second, text)
	}
	return read
}

func encode(t *testing.T, v any) []byte {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func whole(t *testing.T, fsys fs.FS, about About) *Document {
	t.Helper()
	m, err := manifest.Build(context.Background(), fsys, manifest.Options{Serialization: about.Serialization})
	if err != nil {
		t.Fatal(err)
	}
	return &Document{about, m}
}

// ways are ways to hash a tree.
var ways = []manifest.Serialization{
	{}, {Hash: manifest.BLAKE3}, {ShardSize: 1}, {ShardSize: 7}, {ShardSize: 64, Hash: manifest.BLAKE2b}, {ShardSize: 1 << 40},
}

// TestMergeIsTheWhole divides random trees in every way, and wants of the parts what hashing the tree in one gives.
func TestMergeIsTheWhole(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 3 {
		fsys := randomTree(r)
		for _, s := range ways {
			about := About{Name: "tree", Serialization: s}
			want := whole(t, fsys, about)
			for of := 1; of <= 17; of++ {
				list := hashAll(t, fsys, about, of)
				r.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
				got, err := Merge(list)
				if err != nil {
					t.Fatalf("%v in %d parts: %v", s, of, err)
				}
				same(t, want, got)
			}
		}
	}
}

// same wants the same bytes; of trees with shards but for the sha256 of files, which does not follow from several shards.
func same(t *testing.T, want, got *Document) {
	t.Helper()
	for i, f := range got.Tree.Files {
		w := want.Tree.Files[i]
		if f.Digest == "" && got.Serialization.ShardSize > 0 && (f.Size > got.Serialization.ShardSize || got.Serialization.HashType() != manifest.SHA256) {
			w.Digest = ""
		}
		if f != w {
			t.Fatalf("got %v, want %v", f, w)
		}
	}
	if got.Tree.OMSRoot() != want.Tree.OMSRoot() || !slices.Equal(got.Tree.Resources(), want.Tree.Resources()) || len(got.Tree.Files) != len(want.Tree.Files) {
		t.Fatalf("the resources differ: %v and %v", got.Tree.Resources(), want.Tree.Resources())
	}
	if got.Tree.HasDirHash() {
		if a, b := encode(t, got), encode(t, want); !bytes.Equal(a, b) {
			t.Fatalf("merged\n%s\nwhole\n%s", a, b)
		}
	} else if got.Tree.DirHash() != "" || got.Serialization.ShardSize == 0 {
		t.Fatalf("dirHash %q", got.Tree.DirHash())
	}
	if read, err := Parse(encode(t, got)); err != nil || !bytes.Equal(encode(t, read), encode(t, got)) {
		t.Fatalf("read again: %v", err)
	}
}

// TestMergeRefuses makes one fault at a time in parts that make a whole.
func TestMergeRefuses(t *testing.T) {
	fsys := fstest.MapFS{}
	for i := range 12 {
		fsys[fmt.Sprintf("f%02d", i)] = &fstest.MapFile{Data: bytes.Repeat([]byte{byte(i)}, 20+i)}
	}
	fsys["empty"] = &fstest.MapFile{}
	const of = 4
	faults := map[string]func(list []*Part) []*Part{
		"nothing":                 func([]*Part) []*Part { return nil },
		"one of another plan":     func(l []*Part) []*Part { l[2].Plan = digest.FromString("x"); return l },
		"all of another plan":     func(l []*Part) []*Part { each(l, func(p *Part) { p.Plan = digest.FromString("x") }); return l },
		"another number":          func(l []*Part) []*Part { l[0].Of = of + 1; return l },
		"another number, all":     func(l []*Part) []*Part { each(l, func(p *Part) { p.Of = of - 1 }); return l[:of-1] },
		"another name":            func(l []*Part) []*Part { l[0].Name = "other"; return l },
		"another name, all":       func(l []*Part) []*Part { each(l, func(p *Part) { p.Name = "other" }); return l },
		"another total":           func(l []*Part) []*Part { l[0].Total.Bytes++; return l },
		"links, all":              func(l []*Part) []*Part { each(l, func(p *Part) { p.Serialization.AllowSymlinks = true }); return l },
		"git, one":                func(l []*Part) []*Part { l[3].IncludeGit = true; return l },
		"ignored, one":            func(l []*Part) []*Part { l[3].IgnorePaths = []string{"x"}; return l },
		"an index for another":    func(l []*Part) []*Part { l[0].Index, l[1].Index = 2, 1; return l },
		"the first twice":         func(l []*Part) []*Part { return append(l, l[0]) },
		"the first for the last":  func(l []*Part) []*Part { l[of-1] = l[0]; return l },
		"another size":            func(l []*Part) []*Part { l[1].Files[0].Size++; return l },
		"another path":            func(l []*Part) []*Part { l[1].Files[0].Path += "x"; return l },
		"a file less":             func(l []*Part) []*Part { l[1].Files = l[1].Files[1:]; return l },
		"a file more":             func(l []*Part) []*Part { l[1].Files = append(l[1].Files, manifest.File{Path: "zz"}); return l },
		"a file of another":       func(l []*Part) []*Part { l[1].Files = append(l[1].Files, l[2].Files[len(l[2].Files)-1]); return l },
		"a file moved to another": moved,
	}
	shards := map[string]func(list []*Part) []*Part{
		"a shard less":      func(l []*Part) []*Part { l[1].Resources = l[1].Resources[1:]; return l },
		"the last one less": func(l []*Part) []*Part { n := len(l[1].Resources); l[1].Resources = l[1].Resources[:n-1]; return l },
		"one from within":   func(l []*Part) []*Part { l[1].Resources = slices.Delete(l[1].Resources, 2, 3); return l },
		"a shard twice": func(l []*Part) []*Part {
			l[1].Resources = slices.Insert(l[1].Resources, 1, l[1].Resources[1])
			return l
		},
		"a shard of another": func(l []*Part) []*Part {
			l[1].Resources = append(l[1].Resources, l[2].Resources[0])
			return l
		},
		"two shards as one": func(l []*Part) []*Part {
			l[1].Resources[1].End = l[1].Resources[2].End
			l[1].Resources = slices.Delete(l[1].Resources, 2, 3)
			return l
		},
		"shards cut elsewhere": func(l []*Part) []*Part {
			l[1].Resources[1].End--
			l[1].Resources[2].Start--
			return l
		},
		"another shard size, all": func(l []*Part) []*Part { each(l, func(p *Part) { p.Serialization.ShardSize++ }); return l },
	}
	for i := range of {
		faults[fmt.Sprintf("part %d missing", i+1)] = func(l []*Part) []*Part { return slices.Delete(l, i, i+1) }
	}
	for _, s := range []manifest.Serialization{{}, {ShardSize: 5}} {
		about := About{Name: "tree", Serialization: s}
		if _, err := Merge(hashAll(t, fsys, about, of)); err != nil {
			t.Fatal(err)
		}
		for name, make := range faults {
			if s.ShardSize > 0 && name == "a file moved to another" {
				continue // the file of a shard goes with it
			}
			if _, err := Merge(make(hashAll(t, fsys, about, of))); !errors.Is(err, ErrParts) {
				t.Errorf("%v, %s: %v", s, name, err)
			} else if testing.Verbose() {
				t.Logf("%v, %s: %v", s, name, err)
			}
		}
	}
	huge := &Part{About: About{Name: "tree", Serialization: manifest.Serialization{ShardSize: 1}}, Index: 1, Of: 1, Files: []manifest.File{{Path: "a", Size: MaxBytes}}}
	if _, err := Merge([]*Part{huge}); !errors.Is(err, ErrParts) || errors.Is(err, ErrPlan) {
		t.Errorf("more shards than there may be: %v", err)
	}
	about := About{Name: "tree", Serialization: manifest.Serialization{ShardSize: 5}}
	for name, make := range shards {
		if _, err := Merge(make(hashAll(t, fsys, about, of))); !errors.Is(err, ErrParts) {
			t.Errorf("%s: %v", name, err)
		} else if testing.Verbose() {
			t.Logf("%s: %v", name, err)
		}
	}
}

func each(list []*Part, do func(p *Part)) {
	for _, p := range list {
		do(p)
	}
}

// moved gives a file to another part than the plan does; the whole is the same.
func moved(l []*Part) []*Part {
	l[1].Files = append(l[1].Files, l[2].Files[0])
	slices.SortFunc(l[1].Files, func(a, b manifest.File) int { return strings.Compare(a.Path, b.Path) })
	l[2].Files = l[2].Files[1:]
	return l
}

// TestMergeSaysWhat wants each fault to be told as what it is, also where a later check would find it.
func TestMergeSaysWhat(t *testing.T) {
	fsys := fstest.MapFS{"a": {Data: []byte("a")}, "b": {Data: []byte("b")}}
	about := About{Name: "tree"}
	for want, make := range map[string]func(l []*Part) []*Part{
		"missing: part 4, of 4 parts":               func(l []*Part) []*Part { return l[:3] },
		"missing: part 3; given twice: part 4":      func(l []*Part) []*Part { return []*Part{l[0], l[1], l[3], l[3]} },
		"given twice: part 4, of 4 parts":           func(l []*Part) []*Part { return append(l, l[3]) },
		"part 1 is one of 5 parts, part 3 one of 4": func(l []*Part) []*Part { l[0].Of, l[0].Plan = 5, digest.FromString("x"); return l },
		`"a" is in part 1 and in part 3`:            func(l []*Part) []*Part { l[2].Files = l[0].Files; return l },
		`part 1 lists "b", which is not for it`: func(l []*Part) []*Part {
			l[0].Files, l[1].Files = append(l[0].Files, l[1].Files...), nil
			return l
		},
		`part 1 does not list "a"`: func(l []*Part) []*Part { l[2].Files, l[0].Files = l[0].Files, nil; return l },
	} {
		_, err := Merge(make(hashAll(t, fsys, about, 4)))
		if !errors.Is(err, ErrParts) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// TestMergeNamesWhatDiffers: a tree that changed between two machines is named, with the file where that is known.
func TestMergeNamesWhatDiffers(t *testing.T) {
	about := About{Name: "tree", Serialization: manifest.Serialization{ShardSize: 10}}
	before := fstest.MapFS{"a": {Data: make([]byte, 300)}, "b": {}}
	after := fstest.MapFS{"a": {Data: make([]byte, 310)}, "b": {}}
	list := hashAll(t, before, about, 3)
	list[1] = hashAll(t, after, about, 3)[1]
	// FileCost decides which part an opened file is in; only one that several parts list can be named.
	list[1].Files = []manifest.File{{Path: "a", Size: 310}}
	_, err := Merge(list)
	for _, want := range []string{"part 2 saw another tree", "2 files with 310 bytes", `"a" had 300 bytes`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s in it", err, want)
		}
	}
}

// TestMergeOfAsManyFiles: trees of one size that differ are not told apart by that size.
func TestMergeOfAsManyFiles(t *testing.T) {
	about := About{Name: "tree"}
	list := hashAll(t, fstest.MapFS{"a": {Data: make([]byte, 300)}, "b": {}}, about, 3)
	list[1] = hashAll(t, fstest.MapFS{"a": {Data: make([]byte, 300)}, "renamed": {}}, about, 3)[1]
	_, err := Merge(list)
	if want := "2 files with 300 bytes, as many but with other names or sizes: "; err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "and not") {
		t.Errorf("%v, want %s in it", err, want)
	}
}

// TestPlan holds the plan, which is part of the format: machines with different versions must make the same.
func TestPlan(t *testing.T) {
	files := []manifest.File{{Path: "a", Size: 1000_000}, {Path: "b"}, {Path: "c", Size: 400_000}, {Path: "d", Size: 2000_000}, {Path: "e", Size: 999_999}}
	for _, tc := range []struct {
		shard        int64
		want, digest string
	}{
		{0, "[[{d 0 0}] [{a 0 0} {b 0 0}] [{c 0 0} {e 0 0}]]", "sha256:48736fc28aecd96e2e8036850051853aa5c17a9bf1db5afd3ee2fd0d36e51085"},
		{300_000, "[[{a 0 1000000} {b 0 0} {c 0 300000}] [{c 300000 400000} {d 0 1500000}] [{d 1500000 2000000} {e 0 999999}]]", "sha256:e129e88633328ba53b2b4fd7b983d95700e318e4dab1c02499bd49a731d0b45f"},
	} {
		p, err := NewPlan(About{Name: "x", IgnorePaths: []string{"z", "y", "z"}, Serialization: manifest.Serialization{ShardSize: tc.shard}}, files, 3)
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(p.Parts()); got != tc.want {
			t.Errorf("shards of %d: %s, want %s", tc.shard, got, tc.want)
		}
		if got := p.Digest().String(); got != tc.digest {
			t.Errorf("shards of %d: plan %s, want %s", tc.shard, got, tc.digest)
		}
	}
}

// TestPlanIsFair wants no part to have more than its share and one unit, in bytes and for opening files.
func TestPlanIsFair(t *testing.T) {
	small := make([]manifest.File, 100_000)
	for i := range small {
		small[i] = manifest.File{Path: fmt.Sprintf("%06d", i), Size: int64(i % 100)}
	}
	mixed := append(slices.Clone(small[:1000]), manifest.File{Path: "big", Size: 10 << 30}, manifest.File{Path: "huge", Size: 100 << 30})
	for name, tc := range map[string]struct {
		files []manifest.File
		shard int64
		unit  int64
	}{
		"small": {small, 0, 100}, "small, shards": {small, 1 << 20, 100}, "mixed, shards": {mixed, 1 << 30, 1 << 30},
	} {
		p, err := NewPlan(About{Name: "x", Serialization: manifest.Serialization{ShardSize: tc.shard}}, tc.files, 7)
		if err != nil {
			t.Fatal(err)
		}
		size := map[string]int64{}
		for _, f := range tc.files {
			size[f.Path] = f.Size
		}
		share := (p.Bytes() + FileCost*int64(len(tc.files))) / 7
		for i, ranges := range p.Parts() {
			var cost int64
			for _, r := range ranges {
				if r.Start == 0 {
					cost += FileCost
				}
				if r.End == 0 {
					r.End = size[r.Path]
				}
				cost += r.End - r.Start
			}
			if most := share + tc.unit + FileCost; cost > most || cost < share-tc.unit-FileCost {
				t.Errorf("%s: part %d costs %d, its share is %d", name, i+1, cost, share)
			}
		}
	}
}

func TestPlanLimits(t *testing.T) {
	big := []manifest.File{{Path: "a", Size: MaxBytes}, {Path: "b", Size: 1}}
	for name, make := range map[string]func() (*Plan, error){
		"no parts":       func() (*Plan, error) { return NewPlan(About{}, nil, 0) },
		"too many parts": func() (*Plan, error) { return NewPlan(About{}, nil, MaxParts+1) },
		"too many bytes": func() (*Plan, error) { return NewPlan(About{}, big, 1) },
		"too many shards": func() (*Plan, error) {
			return NewPlan(About{Serialization: manifest.Serialization{ShardSize: 1}}, big[:1], 1)
		},
	} {
		if _, err := make(); !errors.Is(err, ErrPlan) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, index := range []int{0, -1, 3} {
		if _, err := Hash(context.Background(), fstest.MapFS{"a": {}}, About{Name: "x"}, manifest.Options{}, index, 2); !errors.Is(err, ErrPlan) {
			t.Errorf("part %d of 2: %v", index, err)
		}
	}
}

// TestParseRefuses changes one thing of a text that is read.
func TestParseRefuses(t *testing.T) {
	fsys := fstest.MapFS{"a": {Data: []byte("twelve bytes")}, "b": {Data: []byte("b")}, "empty": {}}
	about := About{Name: "tree", IgnorePaths: []string{"x", "y"}}
	sharded := About{Name: "tree", Serialization: manifest.Serialization{ShardSize: 5}}
	document, shardDocument := string(encode(t, whole(t, fsys, about))), string(encode(t, whole(t, fsys, sharded)))
	part, shardPart := string(encode(t, hashAll(t, fsys, about, 1)[0])), string(encode(t, hashAll(t, fsys, sharded, 1)[0]))
	blake := string(encode(t, whole(t, fsys, About{Name: "tree", Serialization: manifest.Serialization{Hash: manifest.BLAKE3}})))
	a, b := digest.FromString("twelve bytes"), digest.FromString("b")
	for name, tc := range map[string]struct{ text, from, to string }{
		"another format":     {document, Format, "mlseal.dev/manifest/v2"},
		"unknown field":      {document, `"name"`, `"nam":1,"name"`},
		"other case":         {document, `"dirHash"`, `"DirHash"`},
		"escaped":            {document, `"dirHash"`, `"dir\u0048ash"`},
		"of another object":  {document, `"path":"a"`, `"path":"a","index":1`},
		"blanks":             {document, `"name":`, `"name"` + strings.Repeat(" ", 1000) + `:`},
		"other case, file":   {document, `"path"`, `"Path"`},
		"twice":              {document, `"name"`, `"name":"x","name"`},
		"no name":            {document, `"tree"`, `""`},
		"name of two lines":  {document, `"tree"`, `"a\nb"`},
		"dirHash":            {document, `"dirHash":"`, `"dirHash":"0`},
		"no dirHash":         {document, `"dirHash"`, `"source"`},
		"omsRoot":            {document, `"omsRoot":"`, `"omsRoot":"0`},
		"bytes":              {document, `"bytes":13`, `"bytes":14`},
		"digest":             {document, a.String(), b.String()},
		"short digest":       {document, a.String(), a.String()[:60]},
		"no size":            {document, `"size":12,`, ``},
		"no size of 0":       {document, `"size":0,`, ``},
		"negative size":      {document, `"size":12,`, `"size":-12,`},
		"not sorted":         {document, `"path":"a"`, `"path":"c"`},
		"path":               {document, `"path":"a"`, `"path":"../a"`},
		"ignored and listed": {document, `["x","y"]`, `["a","y"]`},
		"ignore not sorted":  {document, `["x","y"]`, `["y","x"]`},
		"ignore":             {document, `["x","y"]`, `["/x"]`},
		"hash type":          {document, `"hashType":"sha256"`, `"hashType":"md5"`},
		"part in a whole":    {document, `"name"`, `"part":{"index":1,"of":1,"plan":"` + a.String() + `","files":3,"bytes":13},"name"`},
		"one file of three":  {document, `"dirHash"`, `"singleFile":true,"dirHash"`},
		"more behind":        {document, `"bytes":13,"serial`, `"bytes":13}{"serial`},
		"shard size":         {shardDocument, `"shardSize":5`, `"shardSize":6`},
		"negative shard":     {shardDocument, `"shardSize":5`, `"shardSize":-5`},
		"shard name":         {shardDocument, `a:5:10`, `a:5:11`},
		"shard of nothing":   {shardDocument, `b:0:1`, `c:0:1`},
		"shard and file":     {shardDocument, `"b:0:1","digest":"` + b.String(), `"b:0:1","digest":"` + a.String()},
		"resource algorithm": {blake, `"blake3:`, `"sha256:`},
		"resource missing":   {blake, `{"name":"b"`, `{"name":"c"`},
		"part: format":       {part, PartFormat, Format},
		"part: dirHash":      {part, `"bytes":13,"serial`, `"dirHash":"x","bytes":13,"serial`},
		"part: index 0":      {part, `"index":1`, `"index":0`},
		"part: index 2":      {part, `"index":1`, `"index":2`},
		"part: plan":         {part, `"plan":"sha256:`, `"plan":"sha256:0`},
		"part: total":        {part, `"files":3`, `"files":2`},
		"part: total bytes":  {part, `"bytes":13},`, `"bytes":12},`},
		"part: bytes":        {part, `"bytes":13,`, `"bytes":12,`},
		"part: none":         {part, `"part"`, `"source"`},
		"part: digest":       {shardPart, `"path":"b","size":1`, `"path":"b","size":1,"digest":"` + b.String() + `"`},
		"part: file without": {shardPart, `"name":"b:0:1"`, `"name":"bb:0:1"`},
		"part: shard twice":  {shardPart, `"name":"a:5:10"`, `"name":"a:0:5"`},
		"part: backwards":    {shardPart, `"name":"a:5:10"`, `"name":"a:5:4"`},
	} {
		text := strings.Replace(tc.text, tc.from, tc.to, 1)
		if text == tc.text {
			t.Errorf("%s: nothing was replaced in %s", name, tc.text)
		}
		var err error
		if strings.Contains(tc.text, PartFormat) {
			_, err = ParsePart([]byte(text))
		} else {
			_, err = Parse([]byte(text))
		}
		if !errors.Is(err, ErrDocument) {
			t.Errorf("%s: %v", name, err)
		} else if testing.Verbose() {
			t.Logf("%s: %v", name, err)
		}
	}
	if _, err := Parse([]byte(part)); !errors.Is(err, ErrIsPart) {
		t.Errorf("a part as a whole: %v", err)
	}
	if _, err := ParsePart([]byte(document)); !errors.Is(err, ErrDocument) {
		t.Errorf("a whole as a part: %v", err)
	}
	for text, want := range map[string]bool{document: true, part: true, document[:100]: true, "": false, "{": false, "[]": false, `{"format":1}`: false, `{"a":1}`: false, "weights": false} {
		if IsDocument([]byte(text)) != want {
			t.Errorf("IsDocument(%q) is %t", text, !want)
		}
	}
}

func seeds(f *testing.F) {
	fsys := fstest.MapFS{"a": {Data: []byte("twelve bytes")}, "b:1": {Data: []byte("b")}, "empty": {}}
	for _, s := range ways {
		about := About{Name: "tree", Source: "somewhere", IgnorePaths: []string{"x"}, IncludeGit: true, Serialization: s}
		m, err := manifest.Build(context.Background(), fsys, manifest.Options{Serialization: s})
		if err != nil {
			f.Fatal(err)
		}
		m.LeftOut = []string{"x"}
		values := []any{&Document{about, m}}
		for i := range 2 {
			part, err := Hash(context.Background(), fsys, about, manifest.Options{}, i+1, 2)
			if err != nil {
				f.Fatal(err)
			}
			values = append(values, part)
		}
		for _, v := range values {
			text, err := json.Marshal(v)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(text)
		}
	}
}

// FuzzParse wants of what is read that it is written and read again as the same, and of parts that merging one never panics.
func FuzzParse(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, text []byte) {
		var v any
		doc, err := Parse(text)
		part, partErr := ParsePart(text)
		switch {
		case err == nil && partErr == nil:
			t.Fatalf("it is a whole and a part: %s", text)
		case err == nil:
			v = doc
		case partErr == nil:
			v = part
			_, _ = Merge([]*Part{part})
		default:
			return
		}
		first := encode(t, v)
		if !IsDocument(first) {
			t.Fatalf("not recognized: %s", first)
		}
		var again any
		if part == nil {
			again, err = Parse(first)
		} else {
			again, err = ParsePart(first)
		}
		if err != nil {
			t.Fatalf("%v\n%s", err, first)
		}
		if second := encode(t, again); !bytes.Equal(first, second) {
			t.Fatalf("%s\nand\n%s", first, second)
		}
	})
}

func ExampleMerge() {
	tree := fstest.MapFS{"config.json": {Data: []byte("{}\n")}, "model.safetensors": {Data: []byte("weights\n")}}
	var list []*Part
	for i := range 3 { // each on a machine of its own
		part, err := Hash(context.Background(), tree, About{Name: "model"}, manifest.Options{}, i+1, 3)
		if err != nil {
			fmt.Println(err)
			return
		}
		list = append(list, part)
	}
	d, err := Merge(list)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(len(d.Tree.Files), "files, dirHash", d.Tree.DirHash())
	_, err = Merge(list[1:])
	fmt.Println(err)
	// Output:
	// 2 files, dirHash d57aff149b8b59723b5974d27dc86db3478f3c9a59da41687f2fdcd6c8e60b49
	// parts: the parts do not make a whole: missing: part 1, of 3 parts
}

// TestMergeRefusesWhatNobodyHashed merges parts that agree with each other, and with a plan that no walk gives.
func TestMergeRefusesWhatNobodyHashed(t *testing.T) {
	file := func(path string) manifest.File {
		return manifest.File{Path: path, Size: 1, Digest: digest.FromString(path)}
	}
	one := About{Name: "a", SingleFile: true}
	for name, c := range map[string]struct {
		about About
		files []manifest.File
		total Total
	}{
		"no files":                  {About{Name: "tree"}, nil, Total{}},
		"one file that is two":      {one, []manifest.File{file("a"), file("b")}, Total{2, 2}},
		"one file of another name":  {one, []manifest.File{file("x/a")}, Total{1, 1}},
		"fewer files than are said": {About{Name: "tree"}, []manifest.File{file("a")}, Total{2, 1}},
		"fewer bytes than are said": {About{Name: "tree"}, []manifest.File{file("a")}, Total{1, 2}},
	} {
		plan, err := NewPlan(c.about, c.files, 1)
		if err != nil {
			t.Fatal(err)
		}
		part := &Part{About: c.about.normal(), Index: 1, Of: 1, Plan: plan.Digest(), Total: c.total, Files: c.files}
		if _, err := Merge([]*Part{again(t, part)}); !errors.Is(err, ErrParts) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestHashRefusesNames hashes nothing for a part that could not be read.
func TestHashRefusesNames(t *testing.T) {
	fsys := fstest.MapFS{"a": {Data: []byte("a")}}
	for _, name := range []string{"", "a\nb", "a\x1b[31m", "a\xff", strings.Repeat("n", manifest.MaxNameLength+1)} {
		if _, err := Hash(context.Background(), fsys, About{Name: name}, manifest.Options{}, 1, 1); !errors.Is(err, ErrDocument) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// What a stranger sends is counted before it is decoded: each of these would take many times its size in memory.
func TestParseCounts(t *testing.T) {
	const entries, listed = 1000, 10
	many := func(n int, entry string) string { return strings.TrimSuffix(strings.Repeat(entry+",", n), ",") }
	for name, c := range map[string]struct {
		text string
		ok   bool
	}{
		"empty objects":   {`{"files":[` + many(entries+3, `{}`) + `]}`, false},
		"empty strings":   {`{"leftOut":[` + many(listed+100, `""`) + `]}`, false},
		"keys":            {`{` + many(listed+100, `"k":0`) + `}`, false},
		"nulls":           {`{"files":[` + many(listed+100, `null`) + `]}`, false},
		"in a string":     {`{"name":"` + strings.Repeat(`{,\"`, 5000) + `"}`, true},
		"an open string":  {`{"name":"` + strings.Repeat(`{,`, 5000) + `\`, true},
		"as many as go":   {`{"part":{"of":1,"index":1},"serialization":{},"files":[` + many(entries, `{"path":"a","size":1,"digest":"b"}`) + `],"leftOut":[` + many(listed, `""`) + `]}`, true},
		"one path beyond": {`{"files":[` + many(entries, `{"path":"a","size":1,"digest":"b"}`) + `],"leftOut":[` + many(listed+100, `""`) + `]}`, false},
	} {
		err := checkCount([]byte(c.text), entries, listed)
		if c.ok != (err == nil) || !c.ok && !errors.Is(err, strictjson.ErrLimit) {
			t.Errorf("%s: %v", name, err)
		}
	}
	deep := `{"format":"` + PartFormat + `","files":[{"path":[[[[` + "1" + `]]]]}]}`
	for name, text := range map[string]string{
		"entries": `{"format":"` + PartFormat + `","files":[` + many(MaxEntries+4, `{}`) + `]}`,
		"depth":   deep,
	} {
		if _, err := ParsePart([]byte(text)); !errors.Is(err, strictjson.ErrLimit) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
