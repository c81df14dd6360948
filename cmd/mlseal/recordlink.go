package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/mlseal/mlseal/attest/link"
	"github.com/mlseal/mlseal/attest/record"
	"github.com/mlseal/mlseal/internal/atomicfile"
	"github.com/spf13/cobra"
)

// The formats of --format.
const (
	formatProvenance = "slsa-provenance"
	formatLink       = "link"
)

// recordLinkFlags are about in-toto link metadata.
type recordLinkFlags struct {
	format string
	dir    string
	step   string // as the layout calls it
	keyID  string // as the layout calls the key
	file   string // where the link is written, once the key is known
}

func (f *recordLinkFlags) add(cmd *cobra.Command) {
	f.format = formatProvenance
	flags := cmd.Flags()
	flags.Var(&choice{&f.format, []string{formatProvenance, formatLink}}, "format", "what is signed: SLSA provenance, or in-toto link metadata for a layout (slsa-provenance, link)")
	flags.StringVar(&f.dir, "links", "", "with --format link: the directory that gets the link, STEP.KEYID.link; it is made")
	flags.StringVar(&f.step, "link-step", "", "with --format link: the step's name in the layout (default that of --step)")
	flags.StringVar(&f.keyID, "link-key-id", "", "with --format link: the id that the layout has for the key (default in-toto-golang's)")
}

// given reports whether a link is wanted.
func (f *recordLinkFlags) given() bool { return f.format == formatLink }

// checkLink refuses flags that do not go together.
func (f *recordFlags) checkLink() error {
	switch {
	case !f.link.given() && f.link.dir+f.link.step+f.link.keyID != "":
		return usage(errors.New("attest record: --links, --link-step and --link-key-id go with --format link"))
	case !f.link.given():
	case f.bundle != "" || f.push != "":
		return usage(errors.New("attest record: --format link: a link is a file that a layout has the name of: it goes to --links DIR, not to --bundle or --push"))
	case f.link.dir == "":
		return usage(errors.New("attest record: --format link: name the directory that gets the link, with --links DIR"))
	case f.key.given() && f.key.key == "":
		return usage(errors.New("attest record: --format link: layouts name keys, and no identities: sign with --key"))
	}
	return nil
}

// placeLink says where the link will be, before hours of work: its name holds the key's id.
func (f *recordFlags) placeLink(p *record.Plan, key *signingKey) error {
	l := &f.link
	if !l.given() {
		return nil
	}
	if l.step == "" {
		l.step = f.step
	}
	id, err := link.KeyID(key.PublicKeyPEM())
	if err != nil {
		return usage(fmt.Errorf("attest record: --format link: %w", err))
	}
	if l.keyID == "" {
		l.keyID = id
	}
	name, err := link.FileName(l.step, l.keyID)
	if err != nil {
		return usage(fmt.Errorf("attest record: %w", err))
	}
	l.file = filepath.Join(l.dir, name)
	p.Except = append(p.Except, l.file)
	p.Ready = func(rec *record.Record) error {
		if _, err := rec.Link(l.step); err != nil {
			return usage(fmt.Errorf("attest record: --format link: %w", err))
		}
		return nil
	}
	if err := os.MkdirAll(l.dir, 0o755); err != nil {
		return usage(fmt.Errorf("attest record: --links: %w", err))
	}
	return checkWritable(l.file, "payloadType")
}

// linkRecorded signs and writes the link.
func (a *app) linkRecorded(ctx context.Context, r *recorded) error {
	l, err := r.rec.Link(r.link.step)
	if err != nil {
		return err
	}
	signed, err := l.Sign(ctx, r.signing.key, link.Options{KeyID: r.link.keyID})
	if err != nil {
		return err
	}
	if err := atomicfile.Write(r.link.file, signed.Data, atomicfile.Options{}); err != nil {
		return fmt.Errorf("%s: %w", r.link.file, noSuch(r.link.dir, err))
	}
	r.report.Subjects, r.report.Link = r.rec.Subjects(), r.link.file
	r.report.add("link", r.link.file)
	r.report.add("key id", signed.KeyID)
	r.report.add("materials", strconv.Itoa(len(l.Materials)))
	r.report.add("products", strconv.Itoa(len(l.Products)))
	return nil
}
