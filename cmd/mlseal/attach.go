package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/mlseal/mlseal/attest"
	"github.com/mlseal/mlseal/internal/strictjson"
	"github.com/mlseal/mlseal/manifest/oci"
	"github.com/mlseal/mlseal/verify"
	"github.com/mlseal/mlseal/verify/trust"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/spf13/cobra"
)

func replaceFlag(cmd *cobra.Command) *bool {
	var replace bool
	addReplaceFlag(cmd, &replace)
	return &replace
}

func addReplaceFlag(cmd *cobra.Command, replace *bool) {
	cmd.Flags().BoolVar(replace, "replace", false, "remove earlier statements of the type that the same signer made about the package, once the new one is attached")
}

// attach signs a statement about the package ref and attaches it as a referrer.
func (a *app) attach(ctx context.Context, ref string, what attachment, flags storeFlags) error {
	key, err := a.loadSigner(ctx, what.key)
	if err != nil {
		return err
	}
	p, err := a.openPackage(ctx, ref, flags)
	if err != nil {
		return err
	}
	return a.attachTo(ctx, p, key, what)
}

// attachTo does so with a package that is open.
func (a *app) attachTo(ctx context.Context, p *openedPackage, key *signingKey, what attachment) error {
	family, note, err := p.family(ctx)
	if err != nil {
		return err
	}
	if note != "" {
		a.note(note)
	}
	bundle, err := what.sign(ctx, key, familySubjects(family))
	if err != nil {
		return err
	}
	fields := []field{{"subject", p.name + "@" + p.pkg.Descriptor.Digest.String()}, {"dirHash", p.pkg.Tree.DirHash()}, {"statement", what.predicateType}}
	now := a.now()
	for i, member := range family {
		done, err := member.attachOnce(ctx, key, bundle, what, now)
		if err != nil {
			return err
		}
		where := "attached"
		if i > 0 {
			where = "attached there"
			fields = append(fields, field{"also about", member.pkg.Descriptor.Digest.String()})
		}
		fields = append(fields, field{where, done.digest})
		if i == 0 {
			fields = append(fields, field{"status", done.status}, field{"replaced", strings.Join(done.replaced, ", ")})
		}
	}
	return a.printFields(what.output, append(fields, key.signedBy(bundle))...)
}

// attachedOnce is how attachOnce ended.
type attachedOnce struct {
	digest   string   // of the referrer
	status   string   // empty when it is new
	replaced []string // the referrers that were removed
}

// told says so to the operator.
func (done attachedOnce) told(what string) string {
	text := "attached " + what + " " + done.digest
	if done.status != "" {
		text = what + " is attached already: " + done.digest
	}
	if len(done.replaced) > 0 {
		text += "; replaced " + strings.Join(done.replaced, ", ")
	}
	return text
}

// attachOnce attaches a statement, unless the same signer has attached the same one before.
func (p *openedPackage) attachOnce(ctx context.Context, key *signingKey, bundle *attest.Bundle, what attachment, now time.Time) (done attachedOnce, err error) {
	earlier, err := p.earlier(ctx, key, bundle, what.predicateType)
	if err != nil {
		return done, err
	}
	if same := identical(earlier, bundle, what.undated); same != nil && !what.replace {
		return attachedOnce{digest: same.desc.Digest.String(), status: "already attached"}, nil
	}
	referrer, err := oci.AttachBundle(ctx, p.target, p.pkg.Descriptor, bundle.JSON(), what.predicateType, now)
	if err != nil {
		return done, err
	}
	done.digest = referrer.Digest.String()
	if what.replace {
		done.replaced, err = p.replace(ctx, referrer, earlier)
	}
	return done, err
}

// earlierStatement is a statement of the same type by the same signer, which was verified.
type earlierStatement struct {
	desc   ocispec.Descriptor
	bundle *attest.Bundle
}

// earlier finds the statements of the type that are attached to the package and that whoever made bundle has signed. The
// signatures are verified: what only looks like the signer's own must not stand in its way, nor be removed in its name.
func (p *openedPackage) earlier(ctx context.Context, key *signingKey, bundle *attest.Bundle, predicateType string) ([]earlierStatement, error) {
	found, err := oci.Bundles(ctx, p.target, p.pkg.Descriptor)
	if err != nil {
		return nil, err
	}
	var all []earlierStatement
	for _, f := range found {
		if errors.Is(f.Err, oci.ErrUnavailable) {
			return nil, f.Err
		}
		if f.Err != nil || f.Carried != "" {
			continue // not this signer's, whatever it is, or not about the package
		}
		other, err := attest.Parse(f.Bundle)
		if err != nil || !key.made(other, bundle) {
			continue
		}
		statement, err := other.UnverifiedStatement(attest.StatementType, attest.StatementTypeV01)
		if err == nil && statement.PredicateType == predicateType {
			all = append(all, earlierStatement{f.Descriptor, other})
		}
	}
	return all, nil
}

// made reports whether the signer of own signed the other bundle too. Without a trusted root nobody knows that of a
// keyless one.
func (k *signingKey) made(other, own *attest.Bundle) bool {
	if k.public != nil {
		return k.public.Verify(other) == nil
	}
	if k.check == nil {
		return false
	}
	who, result := trust.UnverifiedIdentity(own), k.check(other, verify.Options{})
	return result.Err() == nil && result.Signer == who.Subject && result.Issuer == who.Issuer
}

// identical finds the statement that says what bundle says, byte for byte or but for when it was made, and is witnessed as well.
func identical(earlier []earlierStatement, bundle *attest.Bundle, undated bool) *earlierStatement {
	for _, e := range earlier {
		if saysTheSame(e.bundle.Envelope.Payload, bundle.Envelope.Payload, undated) && e.bundle.Envelope.PayloadType == bundle.Envelope.PayloadType &&
			len(e.bundle.Material.TlogEntries) >= len(bundle.Material.TlogEntries) && len(e.bundle.Material.Timestamps) >= len(bundle.Material.Timestamps) {
			return &e
		}
	}
	return nil
}

// saysTheSame compares the payloads of two statements.
func saysTheSame(one, other []byte, undated bool) bool {
	if !undated {
		return bytes.Equal(one, other)
	}
	a, errA := withoutTimestamp(one)
	b, errB := withoutTimestamp(other)
	return errA == nil && errB == nil && reflect.DeepEqual(a, b)
}

func withoutTimestamp(payload []byte) (map[string]any, error) {
	var statement map[string]any
	if err := strictjson.Unmarshal(payload, &statement, strictjson.Limits{MaxBytes: attest.MaxStatementBytes}); err != nil {
		return nil, err
	}
	if predicate, ok := statement["predicate"].(map[string]any); ok {
		delete(predicate, "timestamp")
	}
	return statement, nil
}

// replace removes the earlier statements, and what is attached to them.
func (p *openedPackage) replace(ctx context.Context, now ocispec.Descriptor, earlier []earlierStatement) (removed []string, err error) {
	for _, e := range earlier {
		if e.desc.Digest == now.Digest {
			continue
		}
		if _, err := oci.Remove(ctx, p.target, e.desc, oci.RemoveOptions{Referrers: true}); err != nil {
			return removed, fmt.Errorf("the new statement %s is attached, and an earlier one stays: %w", now.Digest, err)
		}
		removed = append(removed, e.desc.Digest.String())
	}
	return removed, nil
}
