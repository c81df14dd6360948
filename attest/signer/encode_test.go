package signer

import (
	"bytes"
	"encoding/json"
	"testing"

	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	"github.com/sigstore/sigstore-go/pkg/sign"
	"google.golang.org/protobuf/encoding/protojson"
)

// TestEncode: a bundle is written as protojson writes it, but for white space.
func TestEncode(t *testing.T) {
	for _, content := range []sign.Content{
		&envelope{sign.DSSEData{Data: []byte(`{"dsseEnvelope":{"payload":"x"}}`), PayloadType: `"dsseEnvelope":{`}},
		&envelope{sign.DSSEData{Data: bytes.Repeat([]byte("\xff"), 1000), PayloadType: "a"}},
		&envelope{sign.DSSEData{Data: nil, PayloadType: "a"}},
		&sign.PlainData{Data: []byte("x")},
	} {
		bundle := &protobundle.Bundle{MediaType: `"dsseEnvelope":{`, VerificationMaterial: &protobundle.VerificationMaterial{
			Content: &protobundle.VerificationMaterial_PublicKey{PublicKey: &protocommon.PublicKeyIdentifier{Hint: `"dsseEnvelope":{"payload":"`}}}}
		content.Bundle(bundle, []byte("signature"), []byte("digest"), protocommon.HashAlgorithm_SHA2_256)
		text, err := protojson.Marshal(bundle)
		if err != nil {
			t.Fatal(err)
		}
		var want bytes.Buffer
		if err := json.Compact(&want, text); err != nil {
			t.Fatal(err)
		}
		got, err := encode(bundle)
		if err != nil || !bytes.Equal(got, want.Bytes()) {
			t.Errorf("%s: %v\nwant %s", got, err, want.Bytes())
		}
	}
}

// TestPreAuthEncoding: what is signed is what sigstore-go would sign.
func TestPreAuthEncoding(t *testing.T) {
	for _, data := range []string{"", "x", "caf\u00e9 %d\n"} {
		d := sign.DSSEData{Data: []byte(data), PayloadType: "application/x+\u00e9"}
		if got := (&envelope{d}).PreAuthEncoding(); !bytes.Equal(got, d.PreAuthEncoding()) {
			t.Errorf("%q", got)
		}
	}
}
