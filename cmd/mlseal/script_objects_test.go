package main

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"sync"

	"github.com/mlseal/mlseal/internal/objecttest"
	"github.com/rogpeppe/go-internal/testscript"
)

// objectStores are the object stores of the scripts, by where they work.
var (
	objectStores     = map[string]*objecttest.Store{}
	objectStoresLock sync.Mutex
)

// startObjects serves the command objects:
//
//	objects serve DIR PREFIX     starts an S3 on loopback, or adds to it; $S3 is what follows an address there
//	objects put KEY TEXT         another object
//	objects remove KEY
//	objects cut|busy N           connections break off, requests are refused
//	objects denied yes|no
//	objects replaced KEY FILE    the object has other contents from the second request for it on
//	objects fetched KEY N        the contents were asked for N times since the last command objects
//	objects states KEY FILE      the store states the sha256 of FILE for the object
func startObjects(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: objects VERB …")
	}
	s := objectsOf(ts)
	asked := s.Asked()
	s.Change(func() {
		switch args[0] {
		case "fetched":
			if n := asked[args[1]]; n != number(ts, args[2]) {
				ts.Fatalf("%s was asked for %d times", args[1], n)
			}
		case "serve":
			for name, contents := range readAll(ts, args[1]) {
				s.Objects[args[2]+name] = contents
			}
		case "put":
			s.Objects[args[1]] = args[2]
		case "remove":
			delete(s.Objects, args[1])
		case "cut":
			s.Cut = number(ts, args[1])
		case "busy":
			s.Busy = number(ts, args[1])
		case "denied":
			s.Denied = args[1] == "yes"
		case "replaced":
			s.Replaced[args[1]] = ts.ReadFile(args[2])
		case "states":
			sum := sha256.Sum256([]byte(ts.ReadFile(args[2])))
			s.SHA256[args[1]] = hex.EncodeToString(sum[:])
		default:
			ts.Fatalf("objects: unknown verb %s", args[0])
		}
	})
}

func objectsOf(ts *testscript.TestScript) *objecttest.Store {
	objectStoresLock.Lock()
	defer objectStoresLock.Unlock()
	key := ts.Getenv("WORK")
	if objectStores[key] == nil {
		s := objecttest.Start(ts.Defer)
		objectStores[key] = s
		ts.Setenv("S3", "?use_path_style=true&endpoint="+s.URL)
		for name, value := range map[string]string{"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "sesame", "AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull} {
			ts.Setenv(name, value)
		}
	}
	return objectStores[key]
}
