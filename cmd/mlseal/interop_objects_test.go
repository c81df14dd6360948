//go:build interop

package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	azureContainer "github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/mlseal/mlseal/internal/testenv"
	"github.com/mlseal/mlseal/manifest"
	"github.com/mlseal/mlseal/manifest/objectstore"
	"google.golang.org/api/option"
	"google.golang.org/api/storage/v1"
)

// objectPeer is a running object store, with a bucket "models" that is written to with the service's own client.
type objectPeer struct {
	address func(bucket, prefix string) string
	put     func(key string, data []byte) error
	// lockOut gives mlseal other credentials than are let in; nil where there are none.
	lockOut func(t *testing.T)
}

var objectPeers = map[string]func(*lab) objectPeer{"s3": (*lab).versitygw, "azblob": (*lab).azurite, "gs": (*lab).fakeGCS}

// started runs a peer on a free port until the test ends.
func (l *lab) started(name string, args func(port string) []string) (port string) {
	l.t.Helper()
	port = l.freePorts(1)[0]
	l.start(name, func() ([]byte, bool) {
		conn, err := net.DialTimeout("tcp", "127.0.0.1:"+port, time.Second)
		if err != nil {
			return nil, false
		}
		return nil, conn.Close() == nil
	}, args(port)...)
	return port
}

func (l *lab) made(name string) string {
	l.t.Helper()
	dir := filepath.Join(l.dir, name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		l.t.Fatal(err)
	}
	return dir
}

// versitygw is a gateway that speaks S3 before a directory.
func (l *lab) versitygw() objectPeer {
	t := l.t
	t.Setenv("AWS_ACCESS_KEY_ID", "tester")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "testersecret")
	t.Setenv("AWS_REGION", "us-east-1")
	port := l.started("VERSITYGW", func(port string) []string {
		return []string{"--port", "127.0.0.1:" + port, "--access", "tester", "--secret", "testersecret", "--quiet", "posix", "--sidecar", l.made("sidecar"), l.made("s3")}
	})
	cfg, err := config.LoadDefaultConfig(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	client := s3.NewFromConfig(cfg, func(o *s3.Options) { o.BaseEndpoint, o.UsePathStyle = aws.String("http://127.0.0.1:"+port), true })
	if _, err := client.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("models")}); err != nil {
		t.Fatal(err)
	}
	return objectPeer{
		address: func(bucket, prefix string) string {
			return "s3://" + bucket + "/" + prefix + "?use_path_style=true&endpoint=http://127.0.0.1:" + port
		},
		put: func(key string, data []byte) error {
			_, err := client.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("models"), Key: &key, Body: bytes.NewReader(data)})
			return err
		},
		lockOut: func(t *testing.T) { t.Setenv("AWS_SECRET_ACCESS_KEY", "another") },
	}
}

// azurite is Microsoft's emulator, with its published account.
func (l *lab) azurite() objectPeer {
	t := l.t
	const account, key = "devstoreaccount1", "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
	t.Setenv("AZURE_STORAGE_ACCOUNT", account)
	t.Setenv("AZURE_STORAGE_KEY", key)
	port := l.started("AZURITE", func(port string) []string {
		return []string{"--blobPort", port, "--location", l.made("azure"), "--silent", "--disableTelemetry", "--skipApiVersionCheck"}
	})
	credential, err := azureContainer.NewSharedKeyCredential(account, key)
	if err != nil {
		t.Fatal(err)
	}
	client, err := azureContainer.NewClientWithSharedKeyCredential("http://127.0.0.1:"+port+"/"+account+"/models", credential, nil)
	if err == nil {
		_, err = client.Create(t.Context(), nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	return objectPeer{
		address: func(bucket, prefix string) string {
			return "azblob://" + bucket + "/" + prefix + "?protocol=http&domain=127.0.0.1:" + port
		},
		put: func(key string, data []byte) error {
			_, err := client.NewBlockBlobClient(key).UploadBuffer(t.Context(), data, nil)
			return err
		},
		lockOut: func(t *testing.T) { t.Setenv("AZURE_STORAGE_KEY", "YW5vdGhlcg==") },
	}
}

// fakeGCS is an emulator of Google Cloud Storage, which lets everybody in.
func (l *lab) fakeGCS() objectPeer {
	t := l.t
	port := l.started("FAKE_GCS_SERVER", func(port string) []string {
		return []string{"-scheme", "http", "-host", "127.0.0.1", "-port", port, "-backend", "memory", "-public-host", "127.0.0.1:" + port, "-external-url", "http://127.0.0.1:" + port, "-log-level", "error"}
	})
	t.Setenv("STORAGE_EMULATOR_HOST", "127.0.0.1:"+port)
	service, err := storage.NewService(t.Context(), option.WithoutAuthentication(), option.WithEndpoint("http://127.0.0.1:"+port+"/storage/v1/"))
	if err == nil {
		_, err = service.Buckets.Insert("project", &storage.Bucket{Name: "models"}).Do()
	}
	if err != nil {
		t.Fatal(err)
	}
	return objectPeer{
		address: func(bucket, prefix string) string { return "gs://" + bucket + "/" + prefix },
		put: func(key string, data []byte) error {
			_, err := service.Objects.Insert("models", &storage.Object{Name: key}).Media(bytes.NewReader(data)).Do()
			return err
		},
	}
}

// upload writes a directory below a prefix.
func (p objectPeer) upload(t *testing.T, dir, prefix string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(name string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, name)
		if err != nil {
			return err
		}
		return p.put(prefix+filepath.ToSlash(rel), data)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// exits wants an exit status and a text on stderr or stdout.
func (l *lab) exits(status int, want string, args ...string) {
	l.t.Helper()
	cmd := l.command(l.mlseal, args...)
	out, _ := cmd.CombinedOutput()
	if got := cmd.ProcessState.ExitCode(); got != status || !strings.Contains(string(out), want) {
		l.t.Errorf("mlseal %s: exit status %d, want %d and %q\n%s", strings.Join(args, " "), got, status, want, out)
	}
}

// TestInteropObjectStores does with a model in each store what is done with one in a directory.
func TestInteropObjectStores(t *testing.T) {
	for scheme, start := range objectPeers {
		t.Run(scheme, func(t *testing.T) {
			l := newLab(t)
			p := start(l)
			l.run("cp", "-r", filepath.Join(testenv.Root(t), "testdata", "langid", "model"), "model")
			if err := os.WriteFile(filepath.Join(l.dir, "model", "weights.bin"), bytes.Repeat([]byte("0123456789abcdef"), 1<<20), 0o644); err != nil {
				t.Fatal(err)
			}
			p.upload(t, filepath.Join(l.dir, "model"), "team/langid/")
			if err := p.put("team/langid2/other", []byte("x")); err != nil {
				t.Fatal(err)
			}
			there := p.address("models", "team/langid")
			l.sameAsLocal(there)
			l.signedInStore(p, there)
			l.exits(2, "no such object", "hash", p.address("models", "team/none"))
			l.exits(3, "no such bucket", "hash", p.address("nothing", "team/langid"))
			if err := p.put("team/langid/a//b", []byte("x")); err == nil && scheme != "s3" { // a directory on disk is behind that one
				l.exits(1, "a//b", "hash", there)
			}
			if p.lockOut != nil {
				p.lockOut(t)
				l.exits(3, "check the credentials", "hash", there)
			}
		})
	}
}

// sameAsLocal wants the digests that the directory has.
func (l *lab) sameAsLocal(there string) {
	l.t.Helper()
	for _, args := range [][]string{{"hash", "PATH", "-o", "digest"}, {"hash", "PATH", "-o", "digest", "--hash", "blake3"}, {"pack", "PATH", "-o", "digest"}} {
		var got [2]string
		for i, path := range []string{"model", there} {
			with := append([]string{args[0], path}, args[2:]...)
			got[i] = string(l.output(l.mlseal, with...))
		}
		if got[0] != got[1] {
			l.t.Errorf("%v: %s in the store, %s on disk", args, got[1], got[0])
		}
	}
	for _, part := range []string{"1/2", "2/2"} {
		l.run(l.mlseal, "hash", there, "--shards", "3MB", "--part", part, "--manifest", "part-"+part[:1]+".json")
	}
	merged := l.output(l.mlseal, "manifest", "merge", "part-1.json", "part-2.json", "-o", "digest")
	if whole := l.output(l.mlseal, "hash", "model", "--shards", "3MB", "-o", "digest"); !bytes.Equal(merged, whole) {
		l.t.Errorf("merged from parts: %s, on disk %s", merged, whole)
	}
	local := l.output(l.mlseal, "pack", "model", "oci:local:v1", "-o", "digest")
	if far := l.output(l.mlseal, "pack", there, "oci:far:v1", "-o", "digest"); !bytes.Equal(far, local) {
		l.t.Errorf("packed as %s, on disk as %s", far, local)
	}
	l.run(l.mlseal, "pull", "oci:far:v1", "pulled")
	l.same("model", "pulled")
}

// signedInStore signs, attests and verifies what lies in the store, and wants a no once an object there is another.
func (l *lab) signedInStore(p objectPeer, there string) {
	l.t.Helper()
	l.run(l.mlseal, "keys", "generate")
	l.write("note.json", `{"note":"x"}`)
	l.run(l.mlseal, "sign", there, "--key", "mlseal.key", "--signature", "far.sig")
	l.run(l.mlseal, "sign", "model", "--key", "mlseal.key", "--signature", "near.sig")
	l.run(l.mlseal, "sign", there, "--key", "mlseal.key", "--signature", "shards.sig", "--shards", "1MB")
	if got := l.output(l.mlseal, "cat", there, "weights.bin", "--signature", "shards.sig", "--key", "mlseal.pub", "--range", "4999990:+20"); string(got) != "6789abcdef0123456789" {
		l.t.Errorf("cat: %q", got)
	}
	for _, path := range []string{there, "model"} {
		for _, signature := range []string{"far.sig", "near.sig"} {
			l.run(l.mlseal, "verify", path, "--signature", signature, "--key", "mlseal.pub")
		}
	}
	l.run(l.mlseal, "attest", there, "--type", "https://example.test/note/v1", "--predicate", "note.json", "--key", "mlseal.key", "--bundle", "note.sigstore.json")
	l.write("policy.yaml", "apiVersion: mlseal.dev/policy/v1\nname: gate\nsigners:\n  team: {key: mlseal.pub}\nrequire:\n  - {id: note, attestation: 'https://example.test/note/v1', by: [team]}\n")
	l.run(l.mlseal, "verify", there, "--policy", "policy.yaml", "--attestations", "note.sigstore.json")
	config, err := os.ReadFile(filepath.Join(l.dir, "model", "config.json"))
	if err != nil {
		l.t.Fatal(err)
	}
	config[0] ^= 1
	if err := p.put("team/langid/config.json", config); err != nil {
		l.t.Fatal(err)
	}
	l.exits(1, "config.json", "verify", there, "--signature", "near.sig", "--key", "mlseal.pub")
	l.exits(1, "DENIED", "verify", there, "--policy", "policy.yaml", "--attestations", "note.sigstore.json")
}

// TestInteropObjectStoresReplaced: an object that is replaced while it is read, by one of the same size.
func TestInteropObjectStoresReplaced(t *testing.T) {
	for scheme, start := range objectPeers {
		t.Run(scheme, func(t *testing.T) {
			l := &lab{t, t.TempDir(), ""}
			p := start(l)
			data := bytes.Repeat([]byte("0123456789abcdef"), 6<<20)
			if err := p.put("m/weights.bin", data); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			tree, err := objectstore.Open(ctx, p.address("models", "m"), objectstore.Options{Getenv: os.Getenv})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = tree.Close() }()
			f, err := tree.Open("weights.bin")
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = f.Close() }()
			if _, err := io.CopyN(io.Discard, f, 1000); err != nil {
				t.Fatal(err)
			}
			data[len(data)-1] ^= 1
			if err := p.put("m/weights.bin", data); err != nil {
				t.Fatal(err)
			}
			if n, err := io.Copy(io.Discard, f); !errors.Is(err, manifest.ErrChanged) || !strings.Contains(err.Error(), "m/weights.bin") {
				t.Errorf("after %d bytes: %v", n, err)
			}
		})
	}
}
