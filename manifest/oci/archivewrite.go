package oci

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/mlseal/mlseal/internal/atomicfile"
)

// ArchiveOptions of WriteArchive. The zero value writes the artifact alone, without a tag.
type ArchiveOptions struct {
	Tag       string       // of the artifact in the archive; may be empty
	Referrers bool         // write what is attached to it too, and what is attached to that
	Evidence  [][]byte     // Sigstore bundles about what the artifact descends from; see MediaTypeEvidence
	Policy    *PolicyFiles // a policy to take along; may be nil
	Planned   func(int64)  // told once how many bytes of blobs there are; may be nil
	Progress  func(n int)  // told the bytes written; may be nil
}

// ArchiveReport says what WriteArchive wrote.
type ArchiveReport struct {
	CopyReport
	Policy digest.Digest // of the manifest of the policy; empty when there is none
}

// WriteArchive writes the artifact desc, an image manifest or an index of whatever kind, from src into the tar file name, as an OCI
// image layout that OpenArchive reads. The same content gives the same bytes. Blobs are read once and verified while they are
// written. The file appears under its name when it is whole; after a failure there is nothing, or what was there before.
//
// A file that is there is replaced when it is an archive, and fails with ErrNotLayout otherwise. Bytes that are not what their
// descriptors say fail with ErrContent, more than the bounds of this package with ErrLimit, a registry that fails with ErrUnavailable.
func WriteArchive(ctx context.Context, src Target, desc ocispec.Descriptor, name string, opts ArchiveOptions) (ArchiveReport, error) {
	var report ArchiveReport
	if opts.Tag != "" && !tagGrammar.MatchString(opts.Tag) {
		return report, fmt.Errorf("oci: %q: %w: not a tag", opts.Tag, ErrReference)
	}
	if err := replaceable(name); err != nil {
		return report, err
	}
	p, err := newPlan(ctx, src, desc, opts.Referrers)
	if err != nil {
		return report, err
	}
	w := &archiveWriter{plan: p, opts: opts, made: map[digest.Digest][]byte{}}
	if err := w.addMade(&report); err != nil {
		return report, err
	}
	err = atomicfile.WriteFunc(name, atomicfile.Options{}, func(file io.Writer) error { return w.write(ctx, file) })
	if err != nil {
		return ArchiveReport{}, fmt.Errorf("oci: %s: %w", name, err)
	}
	report.CopyReport = w.report
	return report, nil
}

// replaceable refuses to write over what is no archive: a slip in the command line must not cost the weights.
func replaceable(name string) error {
	info, err := os.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("oci: %w", err)
	}
	if info.Mode().IsRegular() {
		if _, err = OpenArchive(name); err == nil {
			return nil
		}
	}
	return fmt.Errorf("oci: %s: %w: it is there and is not overwritten, since it is no archive of a layout", name, ErrNotLayout)
}

// archiveWriter carries out a plan into a tar.
type archiveWriter struct {
	*plan
	opts   ArchiveOptions
	made   map[digest.Digest][]byte // blobs that are held in memory
	index  *ocispec.Index
	report CopyReport
}

// addMade adds what is not copied but made here: the evidence, attached to the artifact, and the policy beside it.
func (w *archiveWriter) addMade(report *ArchiveReport) error {
	w.index = emptyIndex()
	w.list()
	if len(w.opts.Evidence) > 0 {
		desc, err := w.addImage(evidenceImage(w.root.desc, w.opts.Evidence))
		if err != nil {
			return err
		}
		markSubject(w.index, w.root.desc.Digest)
		if w.known[desc.Digest] == nil { // the source may have the same
			w.report.Referrers++
		}
	}
	if w.opts.Policy != nil {
		desc, err := w.addImage(w.opts.Policy.image())
		if err != nil {
			return err
		}
		report.Policy = desc.Digest
	}
	slices.SortStableFunc(w.index.Manifests, byTagThenDigest)
	return nil
}

// list lists the artifact and its referrers as a layout does.
func (w *archiveWriter) list() {
	addTo(w.index, entryOf(w.root.desc, w.root.node), w.opts.Tag)
	for _, part := range w.parts {
		if part.subject == nil {
			continue
		}
		addTo(w.index, entryOf(part.desc, part.node), "")
		markSubject(w.index, part.subject.Digest)
		w.report.Referrers++
	}
}

// addImage lists an image manifest with its blobs.
func (w *archiveWriter) addImage(im ocispec.Manifest, blobs [][]byte) (ocispec.Descriptor, error) {
	data, err := json.Marshal(im)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	if len(data) > MaxManifestBytes {
		return ocispec.Descriptor{}, fmt.Errorf("oci: %s: %w: an image manifest of %d bytes", im.ArtifactType, ErrLimit, len(data))
	}
	desc := describeBytes(ocispec.MediaTypeImageManifest, data)
	for _, blob := range append(slices.Clone(blobs), data, ocispec.DescriptorEmptyJSON.Data) {
		w.made[digest.FromBytes(blob)] = blob
	}
	addTo(w.index, entryOf(desc, &node{ArtifactType: im.ArtifactType}), "")
	return desc, nil
}

func (w *archiveWriter) write(ctx context.Context, file io.Writer) error {
	if w.opts.Planned != nil {
		w.opts.Planned(w.size())
	}
	version, err := json.Marshal(ocispec.ImageLayout{Version: ocispec.ImageLayoutVersion})
	if err != nil {
		return err
	}
	index, err := json.Marshal(w.index)
	if err != nil {
		return err
	}
	if len(index) > MaxIndexBytes {
		return fmt.Errorf("%w: index.json of %d bytes, at most %d", ErrLimit, len(index), MaxIndexBytes)
	}
	tw := tar.NewWriter(file)
	if err := writeEntry(tw, ocispec.ImageLayoutFile, version); err != nil {
		return err
	}
	if err := writeEntry(tw, ocispec.ImageIndexFile, index); err != nil {
		return err
	}
	if err := w.writeBlobs(ctx, tw); err != nil {
		return err
	}
	return tw.Close()
}

// writeBlobs writes every blob once, in the order of the digests.
func (w *archiveWriter) writeBlobs(ctx context.Context, tw *tar.Writer) error {
	all := map[digest.Digest]ocispec.Descriptor{}
	for _, blob := range w.blobs {
		all[blob.Digest] = blob
	}
	for _, part := range w.parts {
		w.made[part.desc.Digest] = part.data
	}
	for d, data := range w.made {
		all[d] = ocispec.Descriptor{Digest: d, Size: int64(len(data))}
	}
	if len(all)+2 > MaxArchiveEntries {
		return fmt.Errorf("%w: %d blobs, at most %d entries are read", ErrLimit, len(all), MaxArchiveEntries)
	}
	for _, d := range slices.Sorted(maps.Keys(all)) {
		if err := w.writeBlob(ctx, tw, all[d]); err != nil {
			return fmt.Errorf("blob %s: %w", d, err)
		}
		w.report.add(copied, all[d].Size)
	}
	return nil
}

// writeBlob writes one blob. One that is not what its descriptor says ends the writing: its header stands in the tar already.
func (w *archiveWriter) writeBlob(ctx context.Context, tw *tar.Writer, desc ocispec.Descriptor) error {
	if data, ok := w.made[desc.Digest]; ok {
		return writeEntry(tw, blobName(desc.Digest), data)
	}
	if err := tw.WriteHeader(tarHeader(blobName(desc.Digest), desc.Size)); err != nil {
		return err
	}
	err := copyBlob(ctx, w.src, desc, tw, w.opts.Progress)
	if errors.Is(err, tar.ErrWriteTooLong) {
		return &mismatchError{want: desc, gotSize: desc.Size + 1}
	}
	return err
}

func writeEntry(tw *tar.Writer, name string, data []byte) error {
	if err := tw.WriteHeader(tarHeader(name, int64(len(data)))); err != nil {
		return err
	}
	_, err := tw.Write(data)
	return err
}

// tarHeader says nothing of the clock or the user. The writer chooses ustar, and pax for files from 8 GiB on.
func tarHeader(name string, size int64) *tar.Header {
	return &tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o644, ModTime: time.Unix(0, 0)}
}
