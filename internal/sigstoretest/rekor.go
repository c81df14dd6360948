package sigstoretest

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/cyberphone/json-canonicalization/go/src/webpki.org/jsoncanonicalizer"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	"github.com/sigstore/rekor-tiles/v2/pkg/generated/protobuf"
	"github.com/sigstore/rekor-tiles/v2/pkg/note"
	"github.com/sigstore/rekor-tiles/v2/pkg/types/hashedrekord"
	"github.com/sigstore/rekor/pkg/generated/models"
	"github.com/sigstore/rekor/pkg/types"
	_ "github.com/sigstore/rekor/pkg/types/dsse/v0.0.1"         // a type of entry
	_ "github.com/sigstore/rekor/pkg/types/hashedrekord/v0.0.1" // a type of entry
	"github.com/sigstore/rekor/pkg/util"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/merkle/testonly"
	sumdbnote "golang.org/x/mod/sumdb/note"
	"google.golang.org/protobuf/encoding/protojson"
)

// Rekor is a transparency log with either version of Rekor's API: the entries of version 1 (rekor's openapi.yaml) or of
// version 2 (rekor-tiles' rekor_service.proto).
type Rekor struct {
	Server
	version uint32
	key     *ecdsa.PrivateKey
	signer  signature.Signer

	mu      sync.Mutex
	tree    *testonly.Tree
	entries map[string]entry // by UUID
}

type entry struct {
	index uint64
	body  []byte // canonical
	uuid  string
	time  int64
}

const (
	treeID   = 1193050959916656506
	hostname = "127.0.0.1"
)

// NewRekor starts a log of version 1 or 2.
func NewRekor(t testing.TB, version uint32) *Rekor {
	t.Helper()
	l := &Rekor{version: version, key: newKey(t), tree: testonly.New(rfc6962.DefaultHasher), entries: map[string]entry{}}
	var err error
	if l.signer, err = signature.LoadECDSASigner(l.key, crypto.SHA256); err != nil {
		t.Fatal(err)
	}
	routes := map[string]http.HandlerFunc{"POST /api/v1/log/entries": l.create, "GET /api/v1/log/entries/{uuid}": l.get}
	if version == 2 {
		routes = map[string]http.HandlerFunc{"POST /api/v2/log/entries": l.createV2}
	}
	l.start(t, http.StatusCreated, routes)
	return l
}

// Description is what users know of the log.
func (l *Rekor) Description() TransparencyLog {
	return TransparencyLog{URL: l.URL, Key: l.key.Public(), Version: l.version}
}

// add appends an entry; when it is there already, that one is returned.
func (l *Rekor) add(body []byte) (e entry, added bool) {
	uuid := fmt.Sprintf("%016x%x", treeID, rfc6962.DefaultHasher.HashLeaf(body))
	l.mu.Lock()
	defer l.mu.Unlock()
	if e, ok := l.entries[uuid]; ok {
		return e, false
	}
	e = entry{l.tree.Size(), body, uuid, time.Now().Unix()}
	l.entries[uuid] = e
	l.tree.AppendData(body)
	return e, true
}

// inclusion is the proof that an entry is in the tree as it is now.
func (l *Rekor) inclusion(e entry) (hashes [][]byte, size uint64, root []byte, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	size = l.tree.Size()
	hashes, err = l.tree.InclusionProof(e.index, size)
	return hashes, size, l.tree.Hash(), err
}

func (l *Rekor) create(w http.ResponseWriter, r *http.Request) {
	body, err := canonical(r)
	if err != nil {
		l.answer(w, nil, err)
		return
	}
	e, added := l.add(body)
	w.Header().Set("Location", l.URL+"/api/v1/log/entries/"+e.uuid)
	if !added {
		conflict(w)
		return
	}
	w.Header().Set("ETag", e.uuid)
	logged, err := l.logged(e)
	l.answer(w, logged, err)
}

func conflict(w http.ResponseWriter) {
	respond(w, http.StatusConflict, map[string]any{"code": http.StatusConflict, "message": "an equivalent entry already exists"})
}

// canonical verifies a proposed entry and is its body.
func canonical(r *http.Request) ([]byte, error) {
	proposed, err := models.UnmarshalProposedEntry(r.Body, nil)
	if err != nil {
		return nil, err
	}
	versioned, err := types.CreateVersionedEntry(proposed)
	if err != nil {
		return nil, err
	}
	return types.CanonicalizeEntry(r.Context(), versioned)
}

func (l *Rekor) get(w http.ResponseWriter, r *http.Request) {
	l.mu.Lock()
	e, ok := l.entries[r.PathValue("uuid")]
	l.mu.Unlock()
	if !ok {
		http.NotFound(w, r)
		return
	}
	logged, err := l.logged(e)
	if err != nil {
		l.answer(w, nil, err)
		return
	}
	respond(w, http.StatusOK, logged)
}

// logged is the entry with what proves that it is in the log.
func (l *Rekor) logged(e entry) (models.LogEntry, error) {
	hashes, size, root, err := l.inclusion(e)
	if err != nil {
		return nil, err
	}
	id, index, treeSize, rootHash := hex.EncodeToString(keyID(l.t, l.key.Public())), int64(e.index), int64(size), hex.EncodeToString(root)
	logged := models.LogEntryAnon{Body: e.body, IntegratedTime: &e.time, LogID: &id, LogIndex: &index}
	promise, err := l.promise(logged)
	if err != nil {
		return nil, err
	}
	checkpoint, err := util.CreateAndSignCheckpoint(context.Background(), hostname, treeID, size, root, l.signer)
	if err != nil {
		return nil, err
	}
	text := string(checkpoint)
	proof := &models.InclusionProof{Checkpoint: &text, LogIndex: &index, RootHash: &rootHash, TreeSize: &treeSize, Hashes: []string{}}
	for _, hash := range hashes {
		proof.Hashes = append(proof.Hashes, hex.EncodeToString(hash))
	}
	logged.Verification = &models.LogEntryAnonVerification{InclusionProof: proof, SignedEntryTimestamp: promise}
	return models.LogEntry{e.uuid: logged}, nil
}

// promise is the signed entry timestamp: the signature over the canonical JSON (RFC 8785) of the entry.
func (l *Rekor) promise(logged models.LogEntryAnon) ([]byte, error) {
	text, err := logged.MarshalBinary()
	if err != nil {
		return nil, err
	}
	text, err = jsoncanonicalizer.Transform(text)
	if err != nil {
		return nil, err
	}
	return l.signer.SignMessage(bytes.NewReader(text))
}

func (l *Rekor) createV2(w http.ResponseWriter, r *http.Request) {
	body, err := canonicalV2(r)
	if err != nil {
		l.answer(w, nil, err)
		return
	}
	e, added := l.add(body)
	if !added {
		w.Header().Set("X-Log-Index", strconv.FormatUint(e.index, 10))
		conflict(w)
		return
	}
	logged, err := l.loggedV2(e)
	l.answer(w, json.RawMessage(logged), err)
}

// canonicalV2 verifies a requested entry and is its body.
func canonicalV2(r *http.Request) ([]byte, error) {
	text, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	var request protobuf.CreateEntryRequest
	if err := protojson.Unmarshal(text, &request); err != nil {
		return nil, err
	}
	algorithms, err := signature.NewAlgorithmRegistryConfig([]protocommon.PublicKeyDetails{protocommon.PublicKeyDetails_PKIX_ECDSA_P256_SHA_256,
		protocommon.PublicKeyDetails_PKIX_ECDSA_P384_SHA_384, protocommon.PublicKeyDetails_PKIX_ECDSA_P521_SHA_512})
	if err != nil {
		return nil, err
	}
	if request.GetHashedRekordRequestV002() == nil {
		return nil, errors.New("it asks for no hashedrekord")
	}
	requested, err := hashedrekord.ToLogEntry(request.GetHashedRekordRequestV002(), algorithms)
	if err != nil {
		return nil, err
	}
	body, err := protojson.Marshal(requested)
	if err != nil {
		return nil, err
	}
	return jsoncanonicalizer.Transform(body)
}

// loggedV2 is a TransparencyLogEntry (protobuf-specs sigstore_rekor.proto) as JSON, with a checkpoint as C2SP's
// tlog-checkpoint has it.
func (l *Rekor) loggedV2(e entry) ([]byte, error) {
	hashes, size, root, err := l.inclusion(e)
	if err != nil {
		return nil, err
	}
	signer, err := note.NewNoteSigner(context.Background(), hostname, l.signer)
	if err != nil {
		return nil, err
	}
	checkpoint, err := sumdbnote.Sign(&sumdbnote.Note{Text: util.Checkpoint{Origin: hostname, Size: size, Hash: root}.String()}, signer)
	if err != nil {
		return nil, err
	}
	return protojson.Marshal(&protorekor.TransparencyLogEntry{
		LogIndex: int64(e.index), LogId: &protocommon.LogId{KeyId: keyID(l.t, l.key.Public())},
		KindVersion: &protorekor.KindVersion{Kind: "hashedrekord", Version: "0.0.2"}, CanonicalizedBody: e.body,
		InclusionProof: &protorekor.InclusionProof{LogIndex: int64(e.index), RootHash: root, TreeSize: int64(size), Hashes: hashes,
			Checkpoint: &protorekor.Checkpoint{Envelope: string(checkpoint)}},
	})
}
