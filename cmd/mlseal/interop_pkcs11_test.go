//go:build interop && pkcs11key

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The PINs of the tests' token.
const tokenPIN, tokenOfficerPIN = "27182818", "31415926"

// tokenLab is a lab with a SoftHSM2 token of its own.
type tokenLab struct {
	*lab
	module string
}

func newTokenLab(t *testing.T) *tokenLab {
	l := &tokenLab{newLab(t, "-tags", "pkcs11key"), peer(t, "SOFTHSM")}
	l.write("tokens/.keep", "")
	l.write("softhsm2.conf", "directories.tokendir = "+filepath.Join(l.dir, "tokens")+"\nobjectstore.backend = file\nlog.level = ERROR\n")
	t.Setenv("SOFTHSM2_CONF", filepath.Join(l.dir, "softhsm2.conf"))
	t.Setenv("MLSEAL_PIN", tokenPIN)
	l.tool("--init-token", "--slot-index", "0", "--label", "hsm one", "--so-pin", tokenOfficerPIN)
	l.tool("--token-label", "hsm one", "--init-pin", "--login", "--login-type", "so", "--so-pin", tokenOfficerPIN, "--pin", tokenPIN)
	return l
}

func (l *tokenLab) tool(args ...string) {
	l.t.Helper()
	l.run("pkcs11-tool", append([]string{"--module", l.module}, args...)...)
}

// generate makes a key pair on the token.
func (l *tokenLab) generate(kind, label, id string) {
	l.t.Helper()
	l.tool("--token-label", "hsm one", "--login", "--pin", tokenPIN, "--keypairgen", "--key-type", kind, "--label", label, "--id", id)
}

func (l *tokenLab) uri(key string) string {
	return "pkcs11:token=hsm%20one;" + key + "?module-path=" + l.module
}

// public writes a key's public half into a file.
func (l *tokenLab) public(uri, file string) {
	l.t.Helper()
	l.write(file, l.run(l.mlseal, "keys", "public", "--key", uri))
}

// TestInteropPKCS11 signs with each kind of key on a token.
func TestInteropPKCS11(t *testing.T) {
	l := newTokenLab(t)
	l.model()
	l.run(l.mlseal, "pack", "model", "oci:store:v1")
	for i, kind := range []string{"EC:prime256v1", "EC:secp384r1", "EC:secp521r1", "rsa:2048", "rsa:3072"} {
		t.Run(kind, func(t *testing.T) {
			label, id := "key "+kind, "0"+string(rune('1'+i))
			l.generate(kind, label, id)
			uri := l.uri("object=" + strings.ReplaceAll(label, " ", "%20"))
			l.public(uri, "token.pub")
			l.run("openssl", "pkey", "-pubin", "-in", "token.pub", "-noout")
			l.run(l.mlseal, "sign", "model", "--key", uri, "--signature", "ours.sig")
			l.run(l.mlseal, "verify", "model", "--key", "token.pub", "--signature", "ours.sig")
			l.run(l.mlseal, "sign", "oci:store:v1", "--key", l.uri("id=%0"+id[1:]))
			l.run(l.mlseal, "verify", "oci:store:v1", "--key", "token.pub")
			if strings.HasPrefix(kind, "EC:") { // the reference reads no RSA keys
				l.run(peer(t, "MODEL_SIGNING"), "verify", "key", "--signature", "ours.sig", "--public_key", "token.pub", "model")
			}
			l.write("model/evil.py", "x")
			l.fails(l.mlseal, "verify", "model", "--key", "token.pub", "--signature", "ours.sig")
			if err := os.Remove(filepath.Join(l.dir, "model", "evil.py")); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestInteropPKCS11Certificate signs with a certificate of the key on the token.
func TestInteropPKCS11Certificate(t *testing.T) {
	l := newTokenLab(t)
	l.model()
	l.generate("EC:prime256v1", "k", "01")
	l.public(l.uri("object=k"), "token.pub")
	l.run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=test-ca", "-days", "2")
	l.write("leaf.cnf", "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=codeSigning\n")
	l.run("openssl", "x509", "-new", "-subj", "/CN=test-leaf", "-force_pubkey", "token.pub", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "leaf.cnf", "-days", "1", "-out", "leaf.pem")
	l.run(l.mlseal, "sign", "model", "--key", l.uri("object=k"), "--certificate", "leaf.pem", "--certificate-chain", "ca.pem", "--signature", "ours.sig")
	l.run(l.mlseal, "verify", "model", "--signature", "ours.sig", "--certificate-chain", "ca.pem")
	l.run(peer(t, "MODEL_SIGNING"), "verify", "certificate", "--signature", "ours.sig", "--certificate_chain", "ca.pem", "model")
}

// TestInteropPKCS11Cosign has cosign verify what a key on a token signed.
func TestInteropPKCS11Cosign(t *testing.T) {
	for _, name := range []string{"COSIGN2", "COSIGN3"} {
		t.Run(name, func(t *testing.T) {
			cosign := peer(t, name)
			l := newTokenLab(t)
			l.model()
			registry := l.referrersRegistry()
			for _, key := range []struct{ kind, id, hash string }{{"EC:prime256v1", "01", "sha256"}, {"EC:secp384r1", "02", "sha384"}, {"rsa:2048", "03", "sha256"}} {
				ref := registry + "/team/model-" + key.id
				l.generate(key.kind, key.id, key.id)
				l.public(l.uri("object="+key.id), "token.pub")
				digest := strings.TrimSpace(l.run(l.mlseal, "pack", "model", ref+":v1", "-o", "digest"))
				l.run(l.mlseal, "sign", ref+"@"+digest, "--key", l.uri("object="+key.id))
				// cosign does not take the hash from the key.
				verify := append(l.cosignFlags(cosign, name, "token.pub"), "--signature-digest-algorithm", key.hash)
				l.run(cosign, append(append([]string{"verify"}, verify...), ref+"@"+digest)...)
				t.Logf("%s: verified", key.kind)
			}
		})
	}
}

// TestInteropPKCS11Refusals has what is wrong with a command line, by exit status and message.
func TestInteropPKCS11Refusals(t *testing.T) {
	l := newTokenLab(t)
	l.model()
	l.generate("EC:prime256v1", "k", "01")
	l.generate("EC:prime256v1", "twin", "02")
	l.generate("EC:prime256v1", "twin", "03")
	l.generate("EC:edwards25519", "edwards", "04")
	good := l.uri("object=k")
	for name, tc := range map[string]struct{ uri, pin, want string }{
		"wrong PIN":            {good, "s3cr3t", "does not take the PIN"},
		"wrong PIN in the URI": {good + "&pin-value=s3cr3t", tokenPIN, "does not take the PIN"},
		"empty PIN":            {good, "", "none was given"},
		"no such object":       {l.uri("object=other"), tokenPIN, `no key pair with the label "other"`},
		"label of another id":  {l.uri("object=k;id=%02"), tokenPIN, "no key pair with"},
		"two objects":          {l.uri("object=twin"), tokenPIN, "2 key pairs"},
		"Ed25519":              {l.uri("object=edwards"), tokenPIN, "ECDSA and RSA"},
		"no such token":        {strings.Replace(good, "one", "two", 1), tokenPIN, `no token "hsm two"`},
		"no such slot":         {strings.Replace(good, "token=hsm%20one", "slot-id=77", 1), tokenPIN, "token in slot 77"},
		"no such module":       {strings.Replace(good, l.module, "/nowhere.so", 1), tokenPIN, "/nowhere.so"},
		"not a module":         {strings.Replace(good, l.module, filepath.Join(l.dir, "softhsm2.conf"), 1), tokenPIN, "not a PKCS #11 module"},
		"no object":            {l.uri(""), tokenPIN, "object"},
	} {
		cmd := l.command(l.mlseal, "sign", "model", "--key", tc.uri, "--signature", "no.sig")
		cmd.Env = append(cmd.Env, "MLSEAL_PIN="+tc.pin)
		out, _ := cmd.CombinedOutput()
		if cmd.ProcessState.ExitCode() != 2 || !strings.Contains(string(out), tc.want) || strings.Contains(string(out), "s3cr") || strings.Contains(string(out), tokenPIN) {
			t.Errorf("%s: exit status %d, want 2 and %q:\n%s", name, cmd.ProcessState.ExitCode(), tc.want, out)
		}
	}
	if _, err := os.Stat(filepath.Join(l.dir, "no.sig")); err == nil {
		t.Error("a signature was written")
	}
	// The PIN and the module from where cosign takes them, and the PIN from the URI before all.
	bare := "pkcs11:token=hsm%20one;object=k"
	for name, cmd := range map[string]*exec.Cmd{
		"cosign's variables": l.command(l.mlseal, "sign", "model", "--key", bare, "--signature", "yes.sig"),
		"the URI":            l.command(l.mlseal, "sign", "model", "--key", good+"&pin-value="+tokenPIN, "--signature", "yes.sig"),
	} {
		env := []string{"COSIGN_PKCS11_MODULE_PATH=" + l.module, "COSIGN_PKCS11_PIN=" + tokenPIN}
		for _, e := range cmd.Env {
			if !strings.HasPrefix(e, "MLSEAL_PIN=") {
				env = append(env, e)
			}
		}
		cmd.Env = env
		if name == "the URI" {
			cmd.Env = append(env, "MLSEAL_PIN=0000")
		}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}
