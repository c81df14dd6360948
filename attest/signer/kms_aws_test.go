//go:build !nokms

package signer

import (
	"crypto"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// awsKMS speaks as much of AWS KMS's HTTP API as signing takes. Its versions are keys, and its alias names the latest.
type awsKMS struct {
	*fakeKey
	host    string
	usage   string
	signing http.HandlerFunc
}

func newAWSKMS(t *testing.T, kind string) *awsKMS {
	t.Setenv("AWS_ACCESS_KEY_ID", "test")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "S3cret")
	t.Setenv("AWS_REGION", "eu-central-1")
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	t.Setenv("AWS_MAX_ATTEMPTS", "1")
	t.Setenv("AWS_CA_BUNDLE", "")
	v := &awsKMS{fakeKey: newFakeKey(t, kind), usage: "SIGN_VERIFY"}
	v.host = startTLS(t, v)
	return v
}

func (v *awsKMS) ref() string { return "awskms://" + v.host + "/alias/release" }

func awsARN(n int) string {
	return fmt.Sprintf("arn:aws:kms:eu-central-1:111122223333:key/00000000-0000-0000-0000-%012d", n)
}

func (v *awsKMS) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var q struct {
		KeyID   string `json:"KeyId"`
		Message []byte
	}
	if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
		v.t.Error(err)
	}
	version := len(v.versions)
	if q.KeyID != "alias/release" {
		if _, err := fmt.Sscanf(q.KeyID, awsARN(0)[:len(awsARN(0))-12]+"%d", &version); err != nil {
			respond(w, 400, map[string]string{"__type": "NotFoundException", "message": "Alias is not found"})
			return
		}
	}
	algorithm, hash := "ECDSA_SHA_256", crypto.SHA256
	switch v.kind {
	case "ecdsa-p384":
		algorithm, hash = "ECDSA_SHA_384", crypto.SHA384
	case "rsa-3072":
		algorithm = "RSASSA_PKCS1_V1_5_SHA_256"
	}
	_, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	switch {
	case operation == "DescribeKey":
		respond(w, 200, map[string]any{"KeyMetadata": map[string]any{"Arn": awsARN(version), "KeyId": awsARN(version), "KeyUsage": v.usage, "SigningAlgorithms": []string{algorithm}}})
	case operation == "GetPublicKey":
		der, err := x509.MarshalPKIXPublicKey(v.versions[version-1].Public())
		if err != nil {
			v.t.Error(err)
		}
		respond(w, 200, map[string]any{"KeyId": awsARN(version), "PublicKey": der})
	case v.signing != nil:
		v.signing(w, r)
	default:
		respond(w, 200, map[string]any{"KeyId": awsARN(version), "Signature": v.sign(version, q.Message, hash)})
	}
}

func TestAWS(t *testing.T) {
	for _, kind := range []string{"ecdsa-p256", "ecdsa-p384", "rsa-3072"} {
		t.Run(kind, func(t *testing.T) {
			v := newAWSKMS(t, kind)
			verifies(t, open(t, v.ref()), v.versions[0].Public())
		})
	}
}

// TestAWSPinsKey moves the alias to another key between opening and signing.
func TestAWSPinsKey(t *testing.T) {
	v := newAWSKMS(t, "ecdsa-p256")
	key := open(t, v.ref())
	v.rotate()
	verifies(t, key, v.versions[0].Public())
	verifies(t, open(t, v.ref()), v.versions[1].Public())
	verifies(t, open(t, "awskms://"+v.host+"/"+awsARN(1)), v.versions[0].Public())
}

func TestAWSRefused(t *testing.T) {
	v := newAWSKMS(t, "ecdsa-p256")
	refusesToOpen(t, "awskms://"+v.host+"/alias/other", ErrKey, "no such key")
	v.usage = "ENCRYPT_DECRYPT"
	refusesToOpen(t, v.ref(), ErrKey, "usage is ENCRYPT_DECRYPT")
	v.usage = "SIGN_VERIFY"
	key := open(t, v.ref())
	v.signing = func(w http.ResponseWriter, _ *http.Request) {
		respond(w, 400, map[string]string{"__type": "AccessDeniedException", "message": "S3cret may not"})
	}
	refusesToSign(t, key, ErrKeyService, "*** may not")
	v.signing = nil
	v.liar = true
	refusesToSign(t, key, ErrKeyService, "does not verify")
	shortTimeout(t, 200*time.Millisecond)
	v.signing = hanging(t)
	refusesToSign(t, key, ErrKeyService, "no answer within 200ms")
	refusesToOpen(t, "awskms://127.0.0.1:1/alias/release", ErrKeyService, "AWS_REGION")
}
