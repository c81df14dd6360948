// Package attest builds and reads signed statements: in-toto Statement v1 inside a DSSE
// envelope inside a Sigstore bundle. It is pure: bytes in, values out. It verifies nothing;
// what Parse returns is what a stranger wrote until verify/trust says who signed it.
//
// # The wire format
//
// A bundle is JSON of media type application/vnd.dev.sigstore.bundle.v0.3+json (Sigstore
// bundle specification; protobuf-specs sigstore_bundle.proto) with verificationMaterial (one of
// publicKey, certificate, x509CertificateChain; tlogEntries and RFC 3161 timestamps beside it) and
// dsseEnvelope; versions 0.1 and 0.2 of that format are read too. A bundle with a messageSignature instead
// is read, and holds no statement. The envelope (DSSE v1.0)
// holds payloadType application/vnd.in-toto+json, the payload in base64, and signatures over
// PAE("DSSEv1", payloadType, payload). The payload is a Statement v1 (in-toto attestation
// framework): _type, subject, predicateType, predicate.
//
// # OpenSSF Model Signing
//
// An OMS v1.0 statement has one subject, whose digest is the root digest of the resources that its predicate lists: the files of a tree
// or shards of them, with their SHA-256, BLAKE2b-512 or BLAKE3. NewOMSStatement writes the form of the specification's schemas; ParseOMS
// also reads what releases of the reference implementation wrote otherwise: another order, shard sizes with a fraction of zeros, the algorithm
// `sha256-sharded-N`, a bare file named ".", and the statements of version 0.2 (OMSLegacyPredicateType), whose signatures are over
// LegacyPAE. Shards are written in the order of path and start, as the reference does; the specification's order by name would put
// 16 before 8.
//
// # Strictness
//
// Every text is checked by internal/strictjson before it is read, so that no two parsers can
// disagree about it. In a bundle unknown keys are refused, base64 must be canonical. In a
// statement unknown keys are ignored, as the framework demands, unless they are spelled like a
// known one.
package attest

import (
	"errors"

	intoto "github.com/in-toto/in-toto-golang/in_toto"
	"github.com/in-toto/in-toto-golang/in_toto/slsa_provenance/common"
)

// The types that mlseal writes and expects.
const (
	// BundleMediaType is that of a Sigstore bundle v0.3.
	BundleMediaType = "application/vnd.dev.sigstore.bundle.v0.3+json"
	// PayloadType is the DSSE payload type of in-toto statements.
	PayloadType = intoto.PayloadType
	// StatementType is the _type of in-toto Statement v1.
	StatementType = "https://in-toto.io/Statement/v1"
	// StatementTypeV01 is the _type of the version before, which cosign attest still writes.
	StatementTypeV01 = "https://in-toto.io/Statement/v0.1"
)

// Limits of what is read.
const (
	MaxBundleBytes       = 128 << 20 // an OMS bundle lists every file of a tree
	MaxBundleDepth       = 32        // the deepest known bundles have 8 levels
	MaxStatementBytes    = 96 << 20
	MaxSubjects          = 1024    // sigstore-go refuses more
	MaxLegacySubjects    = 100_000 // model-signing 0.2 made each file of a tree a subject
	MaxDigestsPerSubject = 32      // sigstore-go refuses more
	MaxAnnotations       = 500_000 // values in the annotations of all subjects together
	MaxIgnorePaths       = 100_000
	MaxStatementDepth    = 64
	MaxTlogEntries       = 32 // sigstore-go refuses more
	MaxTimestamps        = 32 // sigstore-go refuses more
	MaxChain             = 16
)

// Errors that callers branch on. Errors about the JSON itself wrap those of internal/strictjson.
var (
	// ErrBundle says that a text is not a bundle that is understood.
	ErrBundle = errors.New("not a usable Sigstore bundle")
	// ErrStatement says that a payload is not a statement that is understood.
	ErrStatement = errors.New("not a usable in-toto statement")
	// ErrPredicate says that a predicate does not satisfy the schema of its type.
	ErrPredicate = errors.New("predicate does not satisfy its schema")
)

// DigestSet maps an algorithm's name to a digest in hexadecimal (in-toto DigestSet v1).
type DigestSet = common.DigestSet
