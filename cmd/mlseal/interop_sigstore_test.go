//go:build interop

package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mlseal/mlseal/internal/sigstoretest"
	"github.com/sigstore/sigstore/pkg/cryptoutils"
)

// developer is who signs in these tests, and stranger who never does.
const developer, stranger = sigstoretest.User, "mallory@example.test"

// sigstoreLab is a lab beside a whole Sigstore on loopback: the real Fulcio, Rekor (version 2) and timestamp server, with an
// OIDC issuer, a certificate transparency log and a Rekor of version 1 of our own. For each of both logs its folder has
// LOG-root.json (trusted root), LOG-signing.json (signing config) and LOG-trust.json (both, as a client trust configuration).
type sigstoreLab struct {
	*lab
	issuer *sigstoretest.Issuer
	log    string // which log is used
}

const rekor1, rekor2 = "rekor1", "rekor2"

func newSigstoreLab(t *testing.T) *sigstoreLab {
	t.Helper()
	for _, name := range []string{"FULCIO", "REKOR2", "TIMESTAMP_SERVER"} {
		peer(t, name)
	}
	s := &sigstoreLab{lab: newLab(t), issuer: sigstoretest.NewIssuer(t)}
	ctLog := sigstoretest.NewCTLog(t)
	instance := sigstoretest.Instance{Issuer: s.issuer.URL, CTLog: ctLog.Description(), Fulcio: s.fulcio(ctLog), Timestamps: s.timestamps()}
	for name, log := range map[string]sigstoretest.TransparencyLog{rekor1: sigstoretest.NewRekor(t, 1).Description(), rekor2: s.rekor()} {
		instance.Rekor = log
		root, config := instance.TrustedRoot(t), instance.SigningConfig(t)
		s.write(name+"-root.json", string(root))
		s.write(name+"-signing.json", string(config))
		s.write(name+"-trust.json", clientTrustConfig(t, root, config))
	}
	return s
}

// clientTrustConfig holds both documents. sigstore-python wants every authority to have a common name, which Fulcio's own
// test authority has not.
func clientTrustConfig(t *testing.T, root, config []byte) string {
	t.Helper()
	var named struct {
		MediaType   string          `json:"mediaType"`
		Tlogs       json.RawMessage `json:"tlogs"`
		Ctlogs      json.RawMessage `json:"ctlogs"`
		Authorities []authority     `json:"certificateAuthorities"`
		Timestamps  []authority     `json:"timestampAuthorities"`
	}
	if err := json.Unmarshal(root, &named); err != nil {
		t.Fatal(err)
	}
	both, err := json.Marshal(map[string]any{"mediaType": "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json",
		"trustedRoot": named, "signingConfig": json.RawMessage(config)})
	if err != nil {
		t.Fatal(err)
	}
	return string(both)
}

// authority is a trusted root's, with a common name that may be empty.
type authority struct {
	Subject struct {
		Organization string `json:"organization"`
		CommonName   string `json:"commonName"`
	} `json:"subject"`
	URI       string          `json:"uri"`
	CertChain json.RawMessage `json:"certChain"`
	ValidFor  json.RawMessage `json:"validFor"`
}

// fulcio starts the certificate authority, with a root of its own that it forgets.
func (s *sigstoreLab) fulcio(log *sigstoretest.CTLog) sigstoretest.Authority {
	s.t.Helper()
	ports := s.freePorts(3)
	s.write("fulcio.yaml", fmt.Sprintf("oidc-issuers:\n  %[1]s: {issuer-url: %[1]q, client-id: %[2]s, type: email, contact: %[3]s, description: loopback}\n",
		s.issuer.URL, sigstoretest.ClientID, developer))
	s.write("ct.pub", string(log.PublicKeyPEM()))
	url := "http://127.0.0.1:" + ports[0]
	bundle := s.serve("FULCIO", url+"/api/v2/trustBundle", "--ca", "ephemeralca", "--config-path", "fulcio.yaml", "--host", "127.0.0.1", "--port", ports[0],
		"--grpc-host", "127.0.0.1", "--grpc-port", ports[1], "--legacy-unix-domain-socket", "@fulcio-"+ports[1], "--metrics-port", ports[2],
		"--ct-log-url", log.URL, "--ct-log-public-key-path", "ct.pub")
	var answer struct {
		Chains []struct{ Certificates []string }
	}
	if err := json.Unmarshal(bundle, &answer); err != nil || len(answer.Chains) != 1 {
		s.t.Fatalf("Fulcio's trust bundle: %v\n%s", err, bundle)
	}
	return sigstoretest.Authority{URL: url, Chain: s.certificates(strings.Join(answer.Chains[0].Certificates, "\n"))}
}

// rekor starts the log. Its name in checkpoints has to be the host name in the trusted root.
func (s *sigstoreLab) rekor() sigstoretest.TransparencyLog {
	s.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		s.t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		s.t.Fatal(err)
	}
	s.write("rekor.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
	ports := s.freePorts(3)
	url := "http://127.0.0.1:" + ports[0]
	s.serve("REKOR2", url+"/healthz", "--hostname", "127.0.0.1", "--http-port", ports[0], "--grpc-port", ports[1], "--http-metrics-port", ports[2],
		"--storage-dir", filepath.Join(s.dir, "tiles"), "--signer-filepath", "rekor.pem", "--checkpoint-interval", "1s")
	return sigstoretest.TransparencyLog{URL: url, Key: key.Public(), Version: 2}
}

// timestamps starts the timestamp authority. Its metrics are on port 2112, whatever one says: there is one at a time.
func (s *sigstoreLab) timestamps() sigstoretest.Authority {
	s.t.Helper()
	port := s.freePorts(1)[0]
	url := "http://127.0.0.1:" + port + "/api/v1/timestamp"
	chain := s.serve("TIMESTAMP_SERVER", url+"/certchain", "--host", "127.0.0.1", "--port", port, "--timestamp-signer", "memory", "--disable-ntp-monitoring")
	return sigstoretest.Authority{URL: url, Chain: s.certificates(string(chain))}
}

func (s *sigstoreLab) certificates(text string) []*x509.Certificate {
	s.t.Helper()
	chain, err := cryptoutils.UnmarshalCertificatesFromPEM([]byte(text))
	if err != nil || len(chain) == 0 {
		s.t.Fatalf("%d certificates: %v\n%s", len(chain), err, text)
	}
	return chain
}

// with is the same lab in a subtest, with one of the logs.
func (s *sigstoreLab) with(t *testing.T, log string) *sigstoreLab {
	return &sigstoreLab{&lab{t, s.dir, s.mlseal}, s.issuer, log}
}

// keyless is how the developer signs: mlseal's flags and cosign's, which takes ES256 tokens from files only.
func (s *sigstoreLab) keyless() []string {
	s.write("token", s.issuer.Token(developer))
	return []string{"--identity-token", "token", "--signing-config", s.log + "-signing.json", "--trusted-root", s.log + "-root.json"}
}

// signedBy is how one verifies that it was this identity: mlseal's flags and cosign's.
func (s *sigstoreLab) signedBy(who string) []string {
	return []string{"--certificate-identity", who, "--certificate-oidc-issuer", s.issuer.URL, "--trusted-root", s.log + "-root.json"}
}

// flags are the arguments and then the flags.
func flags(flags []string, args ...string) []string { return append(args, flags...) }

func TestInteropSigstore(t *testing.T) {
	s := newSigstoreLab(t)
	s.model()
	s.run(s.mlseal, "keys", "generate")
	for _, log := range []string{rekor1, rekor2} {
		t.Run("tree "+log, func(t *testing.T) { s.with(t, log).tree() })
		t.Run("key "+log, func(t *testing.T) { s.with(t, log).key() })
		t.Run("model-signing "+log, func(t *testing.T) { s.with(t, log).modelSigning() })
		for _, name := range []string{"COSIGN2", "COSIGN3"} {
			t.Run(name+" verifies "+log, func(t *testing.T) { s.with(t, log).cosignVerifies(name) })
			if name+log != "COSIGN2"+rekor2 { // it asks for an entry of a kind that Rekor 2.3.0 does not take any more
				t.Run(name+" signs "+log, func(t *testing.T) { s.with(t, log).cosignSigns(name) })
			}
		}
	}
}

// tree signs and verifies a directory with mlseal alone.
func (s *sigstoreLab) tree() {
	sign := func(token, signature string) []string {
		return []string{"sign", "model", "--identity-token", token, "--signing-config", s.log + "-signing.json", "--trusted-root", s.log + "-root.json", "--signature", signature}
	}
	s.run(s.mlseal, sign(s.issuer.Token(developer), "ours.sig")...)
	for name, option := range map[string]sigstoretest.TokenOption{"expired": sigstoretest.Expired(), "audience": sigstoretest.Audience("other")} {
		s.fails(s.mlseal, sign(s.issuer.Token(developer, option), name+".sig")...)
		if _, err := os.Stat(filepath.Join(s.dir, name+".sig")); err == nil {
			s.t.Errorf("%s: a bundle was written", name)
		}
	}
	verify := func(who string) []string { return flags(s.signedBy(who), "verify", "model", "--signature", "ours.sig") }
	s.passed(s.run(s.mlseal, verify(developer)...), "signature", "certificate chain", "SCT", "transparency log", "timestamp", "identity", "files")
	if out := s.fails(s.mlseal, verify(stranger)...); !strings.Contains(out, developer) {
		s.t.Errorf("the denial does not name the signer:\n%s", out)
	}
	defer s.write("model/config.json", s.read("model/config.json"))
	s.write("model/config.json", "changed")
	if out := s.fails(s.mlseal, verify(developer)...); !strings.Contains(out, "config.json") {
		s.t.Errorf("the changed file is not named:\n%s", out)
	}
}

// passed wants each check to be reported as passed.
func (s *sigstoreLab) passed(report string, checks ...string) {
	s.t.Helper()
	for _, check := range checks {
		if !strings.Contains(report, "✓ "+check) {
			s.t.Errorf("the check of the %s is not reported as passed:\n%s", check, report)
		}
	}
}

// key signs with a key and no identity: with a timestamp alone, and with all services but Fulcio.
func (s *sigstoreLab) key() {
	var config struct {
		TSA []struct{ URL string } `json:"tsaUrls"`
	}
	if err := json.Unmarshal([]byte(s.read(s.log+"-signing.json")), &config); err != nil || len(config.TSA) != 1 {
		s.t.Fatalf("%v %+v", err, config)
	}
	sign := []string{"sign", "model", "--key", "mlseal.key"}
	verify := []string{"verify", "model", "--key", "mlseal.pub"}
	trusted := []string{"--trusted-root", s.log + "-root.json"}
	s.run(s.mlseal, append(sign, "--tsa-url", config.TSA[0].URL, "--signature", "stamped.sig")...)
	s.run(s.mlseal, append(verify, "--signature", "stamped.sig")...)
	// With a trusted root a log entry is wanted too, and there is none.
	out := s.fails(s.mlseal, flags(trusted, append(verify, "--signature", "stamped.sig")...)...)
	s.passed(out, "signature", "timestamp")
	if !strings.Contains(out, "✗ transparency log") {
		s.t.Errorf("it was not refused for want of a log entry:\n%s", out)
	}
	s.run(s.mlseal, append(sign, "--signing-config", s.log+"-signing.json", "--signature", "logged.sig")...)
	s.passed(s.run(s.mlseal, flags(trusted, append(verify, "--signature", "logged.sig")...)...), "signature", "transparency log", "timestamp", "files")
}

// modelSigning has the reference sign and verify with a client trust configuration.
func (s *sigstoreLab) modelSigning() {
	python := peer(s.t, "MODEL_SIGNING")
	theirVerify := func(who, signature string) []string {
		return []string{"verify", "sigstore", "--trust_config", s.log + "-trust.json", "--identity", who, "--identity_provider", s.issuer.URL, "--signature", signature, "model"}
	}
	s.run(python, "sign", "sigstore", "--trust_config", s.log+"-trust.json", "--identity_token", s.issuer.Token(developer), "--signature", "theirs.sig", "model")
	s.run(python, theirVerify(developer, "theirs.sig")...)
	s.run(s.mlseal, flags(s.signedBy(developer), "verify", "model", "--signature", "theirs.sig")...)
	s.fails(s.mlseal, flags(s.signedBy(stranger), "verify", "model", "--signature", "theirs.sig")...)
	s.run(s.mlseal, flags(s.keyless(), "sign", "model", "--signature", "ours.sig")...)
	s.run(python, theirVerify(developer, "ours.sig")...)
	s.fails(python, theirVerify(stranger, "ours.sig")...)
}

const keylessNote = "https://example.test/note/v1"

// cosignVerifies has cosign verify what mlseal signed and attested.
func (s *sigstoreLab) cosignVerifies(name string) {
	cosign := peer(s.t, name)
	at := s.packed("ours-" + name)
	s.run(s.mlseal, flags(s.keyless(), "sign", at)...)
	s.run(s.mlseal, flags(s.keyless(), "attest", at, "--type", keylessNote, "--predicate", "note.json")...)
	for _, verify := range [][]string{{"verify"}, {"verify-attestation", "--type", keylessNote}} {
		if name == "COSIGN2" {
			verify = append(verify, "--new-bundle-format")
		}
		verify = append(verify, "--use-signed-timestamps", "--allow-http-registry", at)
		s.run(cosign, flags(s.signedBy(developer), verify...)...)
		if out := s.fails(cosign, flags(s.signedBy(stranger), verify...)...); !strings.Contains(out, "got \""+developer) {
			s.t.Errorf("refused for another reason than the identity:\n%s", out)
		}
	}
}

// cosignSigns has mlseal verify what cosign signed and attested.
func (s *sigstoreLab) cosignSigns(name string) {
	cosign := peer(s.t, name)
	at := s.packed("theirs-" + name)
	for _, sign := range [][]string{{"sign"}, {"attest", "--type", keylessNote, "--predicate", "note.json"}} {
		if name == "COSIGN2" {
			sign = append(sign, "--new-bundle-format")
		}
		s.run(cosign, flags(s.keyless(), append(sign, "--yes", "--allow-http-registry", at)...)...)
	}
	s.run(s.mlseal, flags(s.signedBy(developer), "verify", at)...)
	s.fails(s.mlseal, flags(s.signedBy(stranger), "verify", at)...)
	for who, run := range map[string]func(string, ...string) string{developer: s.run, stranger: s.fails} {
		s.write("policy.yaml", fmt.Sprintf("apiVersion: mlseal.dev/policy/v1\nname: theirs\nstatements: [v1, v0.1]\ntrust: {root: %s-root.json}\n"+
			"signers: {dev: {keyless: {issuer: %q, subject: %q}}}\n"+
			"require: [{id: note, attestation: %q, by: [dev], where: 'predicate.note == \"x\"'}]\n", s.log, s.issuer.URL, who, keylessNote))
		run(s.mlseal, "verify", at, "--policy", "policy.yaml")
	}
}

// packed packs the model into a registry, and is its reference by digest.
func (s *sigstoreLab) packed(name string) string {
	s.t.Helper()
	s.write("note.json", `{"note":"x"}`)
	repository := s.referrersRegistry() + "/team/" + strings.ToLower(name)
	return repository + "@" + strings.TrimSpace(s.run(s.mlseal, "pack", "model", repository+":v1", "-o", "digest"))
}

func (s *sigstoreLab) read(name string) string {
	s.t.Helper()
	text, err := os.ReadFile(filepath.Join(s.dir, name))
	if err != nil {
		s.t.Fatal(err)
	}
	return string(text)
}
