package trust

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/digitorus/pkcs7"
	"github.com/mlseal/mlseal/attest"
	"github.com/mlseal/mlseal/internal/certificates"
	"github.com/mlseal/mlseal/internal/strictjson"
)

// Bounds of what a stranger's bundle may make us verify with keys of its own.
const (
	maxStampCertificates = 32 // in all timestamps together
	maxStampDepth        = 32 // of the ASN.1
)

// bounded refuses a bundle with keys that are too large, in the parts that are to be verified, before anything is. What cannot be
// read passes: nothing is verified with it, and others say what is wrong with it. The error wraps ErrCertificate or ErrTimestamp.
func bounded(b *attest.Bundle, parts part) error {
	for i, der := range append([][]byte{b.Material.Leaf()}, b.Material.Chain...) {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			continue
		}
		if err := certificates.CheckKey(cert.PublicKey); err != nil {
			return fmt.Errorf("%w: certificate %d: %w", ErrCertificate, max(i-1, 0), err)
		}
	}
	if parts&withTimestamps != 0 {
		if err := boundedTimestamps(b.Material.Timestamps); err != nil {
			return fmt.Errorf("%w: %w", ErrTimestamp, err)
		}
	}
	return nil
}

func boundedTimestamps(all [][]byte) error {
	left := maxStampCertificates
	for i, stamp := range all {
		token, err := readToken(stamp)
		if err != nil {
			return fmt.Errorf("timestamp %d: %w", i, err)
		}
		if token == nil {
			continue
		}
		if left -= len(token.Certificates); left < 0 {
			return fmt.Errorf("more than %d certificates in timestamps", maxStampCertificates)
		}
		// RFC 3161 section 2.4.2: no other signature than that of the authority.
		if len(token.Signers) > 1 {
			return fmt.Errorf("timestamp %d: it has %d signatures, want one", i, len(token.Signers))
		}
		for _, cert := range token.Certificates {
			if err := certificates.CheckKey(cert.PublicKey); err != nil {
				return fmt.Errorf("timestamp %d: %w", i, err)
			}
		}
	}
	return nil
}

// readToken reads the token of an RFC 3161 response with the parser that is used to verify it; nil when there is none to be read. That
// parser takes hours for elements that reach out of those around them, so that these are looked for first.
func readToken(stamp []byte) (*pkcs7.PKCS7, error) {
	var response struct{ Status, Token asn1.RawValue }
	if _, err := asn1.Unmarshal(stamp, &response); err != nil {
		return nil, nil
	}
	if err := nested(response.Token.FullBytes, maxStampDepth); err != nil {
		return nil, err
	}
	token, err := pkcs7.Parse(response.Token.FullBytes)
	if err != nil {
		return nil, nil
	}
	return token, nil
}

// nested holds ASN.1 to elements of known length, one inside the other.
func nested(der []byte, depth int) error {
	if depth == 0 {
		return fmt.Errorf("ASN.1 nested deeper than %d", maxStampDepth)
	}
	for len(der) > 0 {
		var v asn1.RawValue
		rest, err := asn1.Unmarshal(der, &v)
		if err != nil {
			return err
		}
		if v.IsCompound {
			if err := nested(v.Bytes, depth-1); err != nil {
				return err
			}
		}
		der = rest
	}
	return nil
}

// maxEntrySignatures bounds the signatures in a log entry, each of which has a key of its own.
const maxEntrySignatures = 8

// boundedEntry looks at the keys in a log entry's body, with which its parser verifies what stands beside them: each signature of
// an envelope with every key. A log takes in proposed envelopes as well, and never gives them out.
func boundedEntry(body []byte) error {
	var value any
	if err := strictjson.Unmarshal(body, &value, strictjson.Limits{}); err != nil {
		return err
	}
	return boundedValue(value)
}

func boundedValue(value any) error {
	switch v := value.(type) {
	case map[string]any:
		for key, inner := range v {
			if strictjson.Fold(key) == "proposedcontent" {
				return fmt.Errorf("its body holds %q, which no log gives out", key)
			}
			if err := boundedValue(inner); err != nil {
				return err
			}
		}
	case []any:
		if len(v) > maxEntrySignatures {
			return fmt.Errorf("its body holds a list of %d, at most %d are looked at", len(v), maxEntrySignatures)
		}
		for _, inner := range v {
			if _, ok := inner.(json.Number); ok {
				return errors.New("its body holds a list of numbers, which no log gives out")
			}
			if err := boundedValue(inner); err != nil {
				return err
			}
		}
	case string:
		return boundedText(v)
	}
	return nil
}

// boundedText looks at the keys in a text, which may be PEM or DER, and in base64.
func boundedText(text string) error {
	data := []byte(text)
	if der, err := base64.StdEncoding.DecodeString(text); err == nil {
		data = der
	}
	all := [][]byte{data}
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		all = append(all, block.Bytes)
	}
	for _, der := range all {
		if err := boundedKey(bytes.TrimSpace(der)); err != nil {
			return err
		}
	}
	return nil
}

func boundedKey(der []byte) error {
	if key, err := x509.ParsePKIXPublicKey(der); err == nil {
		return certificates.CheckKey(key)
	}
	if key, err := x509.ParsePKCS1PublicKey(der); err == nil {
		return certificates.CheckKey(key)
	}
	certs, err := x509.ParseCertificates(der)
	if err != nil {
		return nil
	}
	for _, cert := range certs {
		if err := certificates.CheckKey(cert.PublicKey); err != nil {
			return err
		}
	}
	return nil
}
