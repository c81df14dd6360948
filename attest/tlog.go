package attest

import (
	"encoding/json"
	"fmt"

	"github.com/mlseal/mlseal/internal/strictjson"
)

// wireEntry is what of a TransparencyLogEntry (protobuf-specs sigstore_rekor.proto) stands there in base64, and its
// kind. The whole of it is read in verify/trust.
type wireEntry struct {
	LogID *struct {
		KeyID base64Bytes `json:"keyId"`
	} `json:"logId"`
	KindVersion *struct {
		Kind    string `json:"kind"`
		Version string `json:"version"`
	} `json:"kindVersion"`
	InclusionPromise *struct {
		SignedEntryTimestamp base64Bytes `json:"signedEntryTimestamp"`
	} `json:"inclusionPromise"`
	InclusionProof *struct {
		RootHash base64Bytes `json:"rootHash"`
		Hashes   proofHashes `json:"hashes"`
	} `json:"inclusionProof"`
	CanonicalizedBody base64Bytes `json:"canonicalizedBody"`
}

// proofHashes are counted before they are read.
type proofHashes []base64Bytes

func (p *proofHashes) UnmarshalJSON(data []byte) error {
	return decodeList(data, (*[]base64Bytes)(p), maxProofHashes, "hashes in an inclusion proof")
}

// maxProofHashes is how many a proof in a tree of 2^64 leaves has at most (RFC 6962, section 2.1.1).
const maxProofHashes = 64

// entryKeys are the keys of a log entry that checkEntry or verify/trust reads.
var entryKeys = strictjson.NewKeys("logIndex", "logId", "keyId", "kindVersion", "kind", "version", "integratedTime", "inclusionPromise", "signedEntryTimestamp",
	"inclusionProof", "rootHash", "treeSize", "hashes", "checkpoint", "envelope", "canonicalizedBody")

// checkEntryKeys holds the known keys of log entries to the exact spelling: protojson, with which verify/trust reads them, also
// takes canonicalized_body, which would pass checkEntry by. Others are Rekor's own matter.
func checkEntryKeys(data []byte) error {
	return eachKey(data, func(key string, value []byte) error {
		if err := entryKeys.Check(key); err != nil {
			return err
		}
		return checkEntryKeys(value)
	})
}

// checkEntry holds an entry's base64 to one text for one value, as all of a bundle, and the kind that it is said to
// have to the one that its body has: the log vouches for the body alone.
func checkEntry(data []byte) error {
	var w wireEntry
	if err := json.Unmarshal(data, &w); err != nil {
		return err
	}
	var body struct {
		Kind    string `json:"kind"`
		Version string `json:"apiVersion"`
	}
	if w.KindVersion == nil || len(w.CanonicalizedBody) == 0 {
		return nil // verify/trust says what is missing
	}
	if err := json.Unmarshal(w.CanonicalizedBody, &body); err != nil {
		return nil // nor does it take a body of another form
	}
	if w.KindVersion.Kind != body.Kind || w.KindVersion.Version != body.Version {
		return fmt.Errorf("it is said to be a %s %s, and its body is a %s %s", w.KindVersion.Kind, w.KindVersion.Version, body.Kind, body.Version)
	}
	return nil
}
