package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// same FILE... wants decisions that differ in nothing but where things were found, when they were made, and what the bytes were
// read from. Near misses and reasons explain a decision: a bundle that was given by itself may be meant for the artifact, and one that
// was found with something else is not.
func sameDecisions(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: same FILE FILE...")
	}
	var first string
	for i, name := range args {
		data, err := os.ReadFile(ts.MkAbs(name))
		ts.Check(err)
		var decision map[string]any
		ts.Check(json.Unmarshal(data, &decision))
		delete(decision, "time")
		delete(decision, "notes")
		delete(decision["subject"].(map[string]any), "name")
		text, err := json.MarshalIndent(placeless(decision), "", " ")
		ts.Check(err)
		if i == 0 {
			first = string(text)
		} else if string(text) != first {
			ts.Fatalf("%s is another decision than %s: %s", name, args[0], difference(string(text), first))
		}
	}
}

// difference names the first line in which two texts differ.
func difference(a, b string) string {
	other := strings.Split(b, "\n")
	for i, line := range strings.Split(a, "\n") {
		if i >= len(other) || line != other[i] {
			return fmt.Sprintf("line %d is %s, and %s", i+1, line, strings.Join(other[min(i, len(other)):min(i+1, len(other))], ""))
		}
	}
	return "it is shorter"
}

// placeless leaves out the origins of statements, the names of nodes that are the artifact's, and the check of the content.
func placeless(v any) any {
	switch v := v.(type) {
	case []any:
		out := []any{}
		for _, e := range v {
			if o, ok := e.(map[string]any); !ok || o["id"] != "content" && o["check"] != "content" {
				out = append(out, placeless(e))
			}
		}
		return out
	case map[string]any:
		delete(v, "origin")
		delete(v, "nearMisses")
		delete(v, "reason") // why a statement was not counted, in words
		if v["depth"] == 0.0 {
			delete(v, "name")
		}
		for key, e := range v {
			v[key] = placeless(e)
		}
	}
	return v
}
