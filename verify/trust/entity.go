package trust

import (
	"fmt"
	"io"

	"github.com/mlseal/mlseal/attest"
	"github.com/mlseal/mlseal/verify"
	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	protodsse "github.com/sigstore/protobuf-specs/gen/pb-go/dsse"
	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/tlog"
	sigstore "github.com/sigstore/sigstore-go/pkg/verify"
	"google.golang.org/protobuf/encoding/protojson"
)

// part is a piece of a bundle that a check looks at beside its signature.
type part int

const (
	withTimestamps part = 1 << iota
	withLog
	withChain // the certificates as the bundle lists them, not only the first
)

// newEntity shows the named parts of a bundle to sigstore-go: what attest.Parse read, and not the text
// again, so that no two parsers can disagree about it. The error wraps verify.ErrBundle, or those of bounded.
func newEntity(b *attest.Bundle, parts part) (*bundle.Bundle, error) {
	if err := bounded(b, parts); err != nil {
		return nil, err
	}
	material, err := protoMaterial(b, parts)
	if err != nil {
		return nil, err
	}
	pb := &protobundle.Bundle{MediaType: b.MediaType, VerificationMaterial: material}
	if parts&withChain == 0 {
		pb.MediaType = attest.BundleMediaType // a lone certificate is the form of v0.3
	}
	if b.Message == nil {
		pb.Content = &protobundle.Bundle_DsseEnvelope{DsseEnvelope: protoEnvelope(b)}
	} else {
		pb.Content = &protobundle.Bundle_MessageSignature{MessageSignature: &protocommon.MessageSignature{
			MessageDigest: &protocommon.HashOutput{
				Algorithm: protocommon.HashAlgorithm(protocommon.HashAlgorithm_value[b.Message.Algorithm]), Digest: b.Message.Digest},
			Signature: b.Message.Sig}}
	}
	entity, err := bundle.NewBundle(pb)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", verify.ErrBundle, err)
	}
	return entity, nil
}

func protoMaterial(b *attest.Bundle, parts part) (*protobundle.VerificationMaterial, error) {
	m := &protobundle.VerificationMaterial{}
	switch {
	case b.Material.PublicKey != nil:
		m.Content = &protobundle.VerificationMaterial_PublicKey{PublicKey: &protocommon.PublicKeyIdentifier{Hint: b.Material.PublicKey.Hint}}
	case len(b.Material.Chain) > 0 && parts&withChain != 0:
		chain := &protocommon.X509CertificateChain{}
		for _, der := range b.Material.Chain {
			chain.Certificates = append(chain.Certificates, &protocommon.X509Certificate{RawBytes: der})
		}
		m.Content = &protobundle.VerificationMaterial_X509CertificateChain{X509CertificateChain: chain}
	default:
		m.Content = &protobundle.VerificationMaterial_Certificate{Certificate: &protocommon.X509Certificate{RawBytes: b.Material.Leaf()}}
	}
	if parts&withTimestamps != 0 && len(b.Material.Timestamps) > 0 {
		m.TimestampVerificationData = &protobundle.TimestampVerificationData{}
		for _, t := range b.Material.Timestamps {
			m.TimestampVerificationData.Rfc3161Timestamps = append(m.TimestampVerificationData.Rfc3161Timestamps, &protocommon.RFC3161SignedTimestamp{SignedTimestamp: t})
		}
	}
	if parts&withLog != 0 {
		for i, text := range b.Material.TlogEntries {
			entry := &protorekor.TransparencyLogEntry{}
			if err := protojson.Unmarshal(text, entry); err != nil {
				return nil, fmt.Errorf("%w: tlogEntries[%d]: %w", verify.ErrBundle, i, err)
			}
			if err := boundedEntry(entry.CanonicalizedBody); err != nil {
				return nil, fmt.Errorf("%w: tlogEntries[%d]: %w", verify.ErrBundle, i, err)
			}
			m.TlogEntries = append(m.TlogEntries, entry)
		}
	}
	return m, nil
}

func protoEnvelope(b *attest.Bundle) *protodsse.Envelope {
	e := &protodsse.Envelope{Payload: b.Envelope.Payload, PayloadType: b.Envelope.PayloadType}
	for _, s := range b.Envelope.Signatures {
		// DSSE v1.0: "keyid ... MUST NOT be used for security decisions"; so it is not even shown to the verifier.
		e.Signatures = append(e.Signatures, &protodsse.Signature{Sig: s.Sig})
	}
	return e
}

// oneEntry is a bundle with a single one of its log entries.
type oneEntry struct {
	*bundle.Bundle
	entry *tlog.Entry
}

func (e oneEntry) TlogEntries() ([]*tlog.Entry, error) { return []*tlog.Entry{e.entry}, nil }

// artifactPolicy says what must have been signed.
func artifactPolicy(a *verify.Artifact) (sigstore.ArtifactPolicyOption, error) {
	switch {
	case a == nil:
		return sigstore.WithoutArtifactUnsafe(), nil // the statement's subject is the caller's to check
	case a.Content == nil:
		return sigstore.WithArtifactDigest(a.Algorithm, a.Digest), nil
	}
	_, err := a.Content.Seek(0, io.SeekStart)
	return sigstore.WithArtifact(a.Content), err
}

// verifySignature checks the signature alone, with the certificate or key of the bundle's material.
func (x *examination) verifySignature() error {
	a := x.artifact
	sig, err := x.entity.SignatureContent()
	if err != nil {
		return err
	}
	content, err := x.entity.VerificationContent()
	if err != nil {
		return err
	}
	switch {
	case a == nil:
		return sigstore.VerifySignature(sig, content, x.material)
	case a.Content == nil:
		return sigstore.VerifySignatureWithArtifactDigests(sig, content, x.material, []sigstore.ArtifactDigest{{Algorithm: a.Algorithm, Digest: a.Digest}})
	}
	if _, err := a.Content.Seek(0, io.SeekStart); err != nil {
		return err
	}
	return sigstore.VerifySignatureWithArtifacts(sig, content, x.material, []io.Reader{a.Content})
}
