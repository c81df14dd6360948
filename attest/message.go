package attest

import "fmt"

// MessageSignature is a signature over the bytes of an artifact (protobuf-specs sigstore_common.proto,
// MessageSignature). Its Digest is what the signer says was signed: a hint, until an artifact is at hand.
type MessageSignature struct {
	Algorithm string // of Digest: SHA2_256, SHA2_384, SHA2_512, …
	Digest    []byte
	Sig       []byte
}

type wireMessage struct {
	MessageDigest *wireMessageDigest `json:"messageDigest"`
	Signature     base64Bytes        `json:"signature"`
}

type wireMessageDigest struct {
	Algorithm string      `json:"algorithm"`
	Digest    base64Bytes `json:"digest"`
}

func parseMessage(data []byte) (*MessageSignature, error) {
	var w wireMessage
	if err := decode(data, &w); err != nil {
		return nil, err
	}
	if len(w.Signature) == 0 {
		return nil, fmt.Errorf("the signature is empty")
	}
	if w.MessageDigest == nil || len(w.MessageDigest.Digest) == 0 {
		return nil, fmt.Errorf("it has no messageDigest")
	}
	return &MessageSignature{Algorithm: w.MessageDigest.Algorithm, Digest: w.MessageDigest.Digest, Sig: w.Signature}, nil
}
