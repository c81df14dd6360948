package record

import (
	"fmt"
	"maps"
	"path"
	"time"

	"github.com/mlseal/mlseal/attest"
	"github.com/mlseal/mlseal/attest/link"
)

// Link is the record as an in-toto link of the layout's step, for Link.Sign. Files are named by the path that the user gave and their own
// below it; those of a package, which has no path, stand below its role. The error wraps link.ErrLink when two files have one path.
func (rec *Record) Link(step string) (*link.Link, error) {
	l := &link.Link{Step: step, Command: rec.Command, Materials: link.Artifacts{}, Products: link.Artifacts{},
		Byproducts:  map[string]any{"return-value": 0}, // of others there is no record
		Environment: map[string]any{"mlseal_started": rec.Started.Format(time.RFC3339Nano), "mlseal_finished": rec.Finished.Format(time.RFC3339Nano)}}
	maps.Copy(l.Environment, rec.internal())
	delete(l.Environment, "mlseal_command") // the link has it already
	if rec.Code != nil {
		l.Environment["mlseal_gitCommit"] = rec.Code.Commit
	}
	for _, m := range rec.Materials {
		if m.Files == nil { // the list of packages, which came after the command
			l.Environment["mlseal_"+m.Role] = m.Digest
		}
		if err := m.addTo(l.Materials); err != nil {
			return nil, err
		}
	}
	for _, p := range rec.Products {
		if err := p.addTo(l.Products); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// addTo names each file of the artifact.
func (a Artifact) addTo(all link.Artifacts) error {
	for _, f := range a.Files {
		name, digests := path.Join(a.folder, f.Path), attest.DigestSet{"sha256": f.Digest.Encoded()}
		if other, there := all[name]; there && !maps.Equal(other, digests) {
			return fmt.Errorf("record: %w: two files would be called %s: give one of them in a directory of another name", link.ErrLink, name)
		}
		all[name] = digests
	}
	return nil
}
