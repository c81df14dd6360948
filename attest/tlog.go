package attest

import (
	"encoding/json"
	"fmt"
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
		RootHash base64Bytes   `json:"rootHash"`
		Hashes   []base64Bytes `json:"hashes"`
	} `json:"inclusionProof"`
	CanonicalizedBody base64Bytes `json:"canonicalizedBody"`
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
