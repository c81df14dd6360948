package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/mlseal/mlseal/attest"
	"github.com/mlseal/mlseal/internal/atomicfile"
	"github.com/mlseal/mlseal/manifest"
	"github.com/mlseal/mlseal/manifest/hub"
	"github.com/mlseal/mlseal/manifest/oci"
	"github.com/mlseal/mlseal/manifest/origin"
	"github.com/mlseal/mlseal/verify"
	"github.com/opencontainers/go-digest"
	"github.com/spf13/cobra"
)

// importFlags are those of pack that are for a repository of a hub.
type importFlags struct {
	trust      trustFlags // whom to trust for the publisher's signature
	signature  string     // of the publisher, in the repository
	provenance string     // file for the provenance
}

const omsPrefix = "oms-"

func (f *importFlags) add(cmd *cobra.Command) {
	f.trust.addAs(cmd, omsPrefix)
	cmd.Flags().StringVar(&f.signature, omsPrefix+"signature", "model.sig", "the publisher's bundle in the repository; it is verified and left out of the package")
	cmd.Flags().StringVar(&f.provenance, "provenance-out", "", "write the predicate that says where it came from to this file")
}

// refuseImportFlags refuses flags that would silently do nothing.
func refuseImportFlags(cmd *cobra.Command) error {
	if cmd.Flags().Changed("provenance-out") {
		return usage(errors.New("pack: --provenance-out is for hf://ORG/NAME: of a tree on disk nothing is known; attach a statement with `mlseal attest REF --type slsa-provenance`"))
	}
	for _, name := range []string{"key", "certificate-chain", "ca", "certificate-identity", "certificate-oidc-issuer", "trusted-root", "timestamp-certificate-chain", "signature"} {
		if cmd.Flags().Changed(omsPrefix + name) {
			return usage(fmt.Errorf("pack: --%s%s is for hf://ORG/NAME; verify a directory with `mlseal verify PATH --signature FILE`", omsPrefix, name))
		}
	}
	return nil
}

// imported is a tree that is to be packed, and what is known of where it comes from.
type imported struct {
	tree    *tree
	options manifest.Options
	began   time.Time

	snapshot  *hub.Snapshot      // nil for a tree on disk
	publisher *verify.SignedTree // nil when no signature of the publisher was asked for
	predicate json.RawMessage    // that says where the files come from; nil before check, and for a tree on disk
	flags     importFlags
}

// openImport opens what pack was told to pack.
func (a *app) openImport(ctx context.Context, arg string, store storeFlags, flags importFlags) (*imported, error) {
	in := &imported{flags: flags}
	if hub.IsReference(arg) {
		return in, a.openHub(ctx, arg, store, in)
	}
	var err error
	if in.tree, err = a.open(ctx, arg, store); err != nil {
		return nil, err
	}
	in.tree.fsys = origin.Pointers(in.tree.fsys, func(string) error { return origin.ErrPointer })
	return in, nil
}

// openHub resolves the repository, and verifies the publisher's signature, before anything else is fetched.
func (a *app) openHub(ctx context.Context, arg string, store storeFlags, in *imported) error {
	in.began = a.now()
	ref, err := hub.ParseReference(arg)
	if err != nil {
		return err
	}
	client, err := a.hubClient(store)
	if err != nil {
		return err
	}
	anchor, err := in.flags.anchor(ctx, a)
	if err != nil {
		return err
	}
	if in.snapshot, err = client.Snapshot(ctx, ref); err != nil {
		return err
	}
	in.tree = &tree{fsys: in.snapshot.FS(ctx), name: path.Base(ref.Repository), source: "hf://" + in.snapshot.Source.String()}
	if anchor == nil {
		return nil
	}
	return a.openPublisher(anchor, in)
}

// anchor is who must have signed; nil when nobody is named.
func (f *importFlags) anchor(ctx context.Context, a *app) (verify.Anchor, error) {
	if !f.trust.none() {
		return f.trust.anchor(ctx, a)
	}
	if f.trust.root != "" || f.trust.timestamp != "" {
		return nil, usage(errors.New("pack: --oms-trusted-root and --oms-timestamp-certificate-chain need --oms-key, --oms-certificate-chain or --oms-certificate-identity"))
	}
	return nil, nil
}

// openPublisher verifies the publisher's bundle. It is no part of the tree, as in the directory that was signed.
func (a *app) openPublisher(anchor verify.Anchor, in *imported) error {
	name := in.flags.signature
	f, err := in.tree.fsys.Open(name)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrInvalid) {
		return fmt.Errorf("%s: %w: the publisher's signature %s is not in the repository", in.tree.source, verify.ErrFailed, name)
	}
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, attest.MaxBundleBytes+1))
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if len(data) > attest.MaxBundleBytes {
		return fmt.Errorf("%s: %w: more than %d bytes", name, errTooLarge, attest.MaxBundleBytes)
	}
	if in.publisher, err = verify.OpenBundle(data, anchor, verify.TreeOptions{Now: a.now(), AllowSymlinks: true}); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	in.options = manifest.Options{Ignore: []string{name}, Serialization: in.publisher.Serialization()}
	return in.publisher.CheckListing(in.published(name))
}

// published is what the hub lists, without the publisher's bundle. A sha1 of git's says nothing about a sha256.
func (in *imported) published(bundle string) map[string]digest.Digest {
	files := map[string]digest.Digest{}
	for _, f := range in.snapshot.Files {
		if f.Path == bundle {
			continue
		}
		files[f.Path] = ""
		if f.OID.Algorithm() == digest.SHA256.String() {
			files[f.Path] = digest.NewDigestFromEncoded(digest.SHA256, f.OID.String())
		}
	}
	return files
}

// build is how the tree is read. With a publisher's signature the files are hashed as it says, and a bundle of ours lists them so too.
func (in *imported) build(f signFlags) (manifest.Options, error) {
	own := f.serialization()
	if in.publisher == nil {
		return manifest.Options{Serialization: own}, nil
	}
	if !own.NamesFiles() && own != in.options.Serialization {
		return manifest.Options{}, usage(errors.New("pack: --hash and --shards are not as in the publisher's signature, which says how the files are hashed: leave them out"))
	}
	return in.options, nil
}

// check holds the files to the publisher's signature, if one was asked for, and says where they come from.
func (in *imported) check(m *manifest.Manifest, now func() time.Time) error {
	if in.publisher != nil {
		if err := in.publisher.Check(m); err != nil {
			return err
		}
	}
	if in.snapshot == nil {
		return in.tree.checkStated(m)
	}
	var err error
	in.predicate, err = in.provenance(m, now())
	return err
}

// writeProvenance writes the predicate where the command line says.
func (in *imported) writeProvenance() error {
	name := in.flags.provenance
	if name == "" || in.predicate == nil {
		return nil
	}
	if err := atomicfile.Write(name, in.predicate, atomicfile.Options{}); err != nil {
		return fmt.Errorf("%s: %w", name, noSuch(filepath.Dir(name), err))
	}
	return nil
}

// publishedBy is who signed what the repository holds; empty when that was not verified.
func (in *imported) publishedBy() string {
	if in.publisher == nil {
		return ""
	}
	return in.publisher.Result.Signer
}

// setType is what the hub says, unless the command line says otherwise.
func (in *imported) setType(opts *oci.PackOptions) {
	if opts.Type == "" {
		opts.Type = oci.TypeModel
		if in.snapshot != nil && in.snapshot.Source.Kind == "dataset" {
			opts.Type = oci.TypeDataset
		}
	}
}

// hubClient is a client of the hub that the environment names, in the words of huggingface_hub.
func (a *app) hubClient(store storeFlags) (*hub.Client, error) {
	if a.isSet("HF_HUB_OFFLINE") {
		return nil, errors.New("HF_HUB_OFFLINE is set, so nothing is asked of a hub: pack a snapshot of the cache instead, .../models--ORG--NAME/snapshots/COMMIT")
	}
	endpoint, _ := a.lookupEnv("HF_ENDPOINT")
	token, err := a.hubToken()
	if err != nil {
		return nil, err
	}
	return hub.New(hub.Options{Endpoint: endpoint, Token: token, PlainHTTP: store.plainHTTP, UserAgent: "mlseal/" + version, Note: a.note})
}

// isSet reads a switch as huggingface_hub does.
func (a *app) isSet(name string) bool {
	value, _ := a.lookupEnv(name)
	return slices.Contains([]string{"1", "ON", "YES", "TRUE"}, strings.ToUpper(value))
}

// hubToken is HF_TOKEN, or what `hf auth login` wrote.
func (a *app) hubToken() (string, error) {
	if a.isSet("HF_HUB_DISABLE_IMPLICIT_TOKEN") {
		return "", nil
	}
	for _, name := range []string{"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"} {
		if value, ok := a.lookupEnv(name); ok && strings.TrimSpace(value) != "" {
			return checkToken(name, value)
		}
	}
	file := a.hubTokenFile()
	if file == "" || !exists(file) {
		return "", nil
	}
	text, err := readInput("token", file, 4<<10)
	if err != nil {
		return "", err
	}
	return checkToken(file, string(text))
}

// checkToken refuses what cannot stand in a header, without showing it.
func checkToken(where, text string) (string, error) {
	token := strings.TrimSpace(text)
	for _, c := range []byte(token) {
		if c <= ' ' || c > '~' {
			return "", usage(fmt.Errorf("the token in %s holds white space or other characters that no token has", where))
		}
	}
	return token, nil
}

func (a *app) hubTokenFile() string {
	for _, place := range []struct{ name, below string }{{"HF_TOKEN_PATH", ""}, {"HF_HOME", "token"}, {"XDG_CACHE_HOME", "huggingface/token"}, {"HOME", ".cache/huggingface/token"}} {
		if dir, ok := a.lookupEnv(place.name); ok && dir != "" {
			return filepath.Join(dir, filepath.FromSlash(place.below))
		}
	}
	return ""
}

// notePointers looks for git-lfs pointers among the files that are read from now on; what it returns tells of them.
func (a *app) notePointers(t *tree) func() {
	found := make(chan string, 1000)
	t.fsys = origin.Pointers(t.fsys, func(name string) error {
		select {
		case found <- name:
		default: // enough to tell
		}
		return nil
	})
	return func() {
		close(found)
		var names []string
		for name := range found {
			names = append(names, name)
		}
		if len(names) > 0 {
			slices.Sort(names)
			a.note(fmt.Sprintf("%d git-lfs pointers stand in place of files, which `git lfs pull` fetches: %s", len(names), few(names)))
		}
	}
}

// What a provenance statement of an import says of itself.
const (
	importBuildType  = "https://mlseal.dev/buildtypes/import/v1"
	ingestBuildType  = "https://mlseal.dev/buildtypes/dataset-ingest/v1"
	importBuilder    = "https://mlseal.dev/builders/import/v1"
	maxListedImports = 5000 // files that are listed one by one, in about a megabyte
)

// slsaResource is a ResourceDescriptor of in-toto, as SLSA provenance lists them.
type slsaResource struct {
	Name   string            `json:"name,omitempty"`
	URI    string            `json:"uri"`
	Digest map[string]string `json:"digest"`
}

type slsaProvenance struct {
	BuildDefinition struct {
		BuildType            string            `json:"buildType"`
		ExternalParameters   map[string]string `json:"externalParameters"`
		ResolvedDependencies []slsaResource    `json:"resolvedDependencies"`
	} `json:"buildDefinition"`
	RunDetails struct {
		Builder struct {
			ID      string            `json:"id"`
			Version map[string]string `json:"version"`
		} `json:"builder"`
		Metadata struct {
			StartedOn  string `json:"startedOn"`
			FinishedOn string `json:"finishedOn"`
		} `json:"metadata"`
	} `json:"runDetails"`
}

// provenance says where the files came from: the commit, and what the hub published of each file that was taken.
func (in *imported) provenance(m *manifest.Manifest, now time.Time) ([]byte, error) {
	var p slsaProvenance
	d := &p.BuildDefinition
	d.BuildType = importBuildType
	if in.snapshot.Source.Kind == "dataset" {
		d.BuildType = ingestBuildType
	}
	uri := in.snapshot.URI()
	d.ExternalParameters = map[string]string{"source": "hf://" + in.snapshot.Source.Path(), "revision": in.snapshot.Revision}
	d.ResolvedDependencies = []slsaResource{{Name: "source", URI: uri, Digest: map[string]string{"gitCommit": in.snapshot.Source.Commit}}}
	for _, f := range in.snapshot.Taken(m) {
		if len(m.Files) > maxListedImports {
			break
		}
		d.ResolvedDependencies = append(d.ResolvedDependencies, slsaResource{Name: "file", URI: uri + "#" + f.Path, Digest: map[string]string{f.OID.Algorithm(): f.OID.String()}})
	}
	p.RunDetails.Builder.ID = importBuilder
	p.RunDetails.Builder.Version = map[string]string{"mlseal": version}
	p.RunDetails.Metadata.StartedOn = in.began.UTC().Format(time.RFC3339)
	p.RunDetails.Metadata.FinishedOn = now.UTC().Format(time.RFC3339)
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(p); err != nil {
		return nil, err
	}
	return b.Bytes(), attest.CheckPredicate(attest.ProvenancePredicateType, b.Bytes())
}
