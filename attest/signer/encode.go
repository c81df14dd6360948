package signer

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/mlseal/mlseal/internal/dsse"
	"github.com/mlseal/mlseal/internal/gcroom"
	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protodsse "github.com/sigstore/protobuf-specs/gen/pb-go/dsse"
	"github.com/sigstore/sigstore-go/pkg/sign"
	"google.golang.org/protobuf/encoding/protojson"
)

// envelope is sign.DSSEData that makes one copy of the payload where that makes several.
type envelope struct{ sign.DSSEData }

// PreAuthEncoding is what is signed (DSSE v1.0, "Signature Definition").
func (e *envelope) PreAuthEncoding() []byte {
	gcroom.Make(len(e.Data))
	return slices.Concat([]byte(dsse.Header(e.PayloadType, len(e.Data))), e.Data)
}

// encode writes the bundle as compact JSON, as protojson does but for white space, which protojson varies from build to build. The payload of an
// envelope, which can be the list of a large tree, is put into its place in one copy.
func encode(bundle *protobundle.Bundle) ([]byte, error) {
	payload := bundle.GetDsseEnvelope().GetPayload()
	if payload != nil {
		e := bundle.GetDsseEnvelope()
		bundle = &protobundle.Bundle{MediaType: bundle.MediaType, VerificationMaterial: bundle.VerificationMaterial, Content: &protobundle.Bundle_DsseEnvelope{
			DsseEnvelope: &protodsse.Envelope{PayloadType: e.PayloadType, Signatures: e.Signatures}}}
	}
	text, err := protojson.Marshal(bundle)
	if err != nil {
		return nil, fmt.Errorf("signer: %w", err)
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, text); err != nil {
		return nil, fmt.Errorf("signer: %w", err)
	}
	if payload == nil {
		return compact.Bytes(), nil
	}
	const opening, member = `"dsseEnvelope":{`, `"payload":"`
	head, tail, _ := bytes.Cut(compact.Bytes(), []byte(opening)) // which stands in no string: its quotes would be escaped
	size := compact.Len() + len(member) + len(`",`) + base64.StdEncoding.EncodedLen(len(payload))
	gcroom.Make(size)
	out := make([]byte, 0, size)
	out = append(append(append(out, head...), opening...), member...)
	out = base64.StdEncoding.AppendEncode(out, payload)
	return append(append(out, `",`...), tail...), nil
}
