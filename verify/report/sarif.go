package report

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/mlseal/mlseal/internal/escape"
	"github.com/mlseal/mlseal/policies"
)

// SARIF 2.1.0 with Errata 01 (OASIS). Section numbers are of
// https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/sarif-v2.1.0-errata01-os-complete.html.
//
// A failed check is a result. One that passed or was not done is none, although section 3.27.9 has kinds for both: GitHub's code
// scanning shows every result as an alert, whatever its kind (github.com/microsoft/PSRule/issues/955). Both are notifications
// of the tool instead (section 3.20.21), with the level "none" and "note", and every check is a rule.
//
// What failed and does not deny is a result of the level "warning" or "note". So is what a waiver lets pass, as a "note" with a suppression
// (sections 3.27.23 and 3.35): code scanning does not look at suppressions (github.com/github/codeql-action/issues/1230), and must not take
// it for an error.
const (
	sarifSchema      = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
	sarifInformation = "https://github.com/mlseal/mlseal"
)

type sarifLog struct {
	Schema  string     `json:"$schema"`
	Version string     `json:"version"`
	Runs    []sarifRun `json:"runs"`
}

type sarifRun struct {
	Tool        sarifTool         `json:"tool"`
	Invocations []sarifInvocation `json:"invocations"`
	Results     []sarifResult     `json:"results"`
	ColumnKind  string            `json:"columnKind"`
	Properties  map[string]any    `json:"properties"`
}

type sarifTool struct {
	Driver sarifDriver `json:"driver"`
}

type sarifDriver struct {
	Name           string      `json:"name"`
	Version        string      `json:"version,omitempty"`
	InformationURI string      `json:"informationUri"`
	Rules          []sarifRule `json:"rules"`
}

type sarifRule struct {
	ID            string             `json:"id"`
	Short         sarifText          `json:"shortDescription"`
	Full          sarifText          `json:"fullDescription"`
	Help          sarifText          `json:"help"`
	Configuration sarifConfiguration `json:"defaultConfiguration"`
}

type sarifConfiguration struct {
	Level string `json:"level"`
}

type sarifText struct {
	Text string `json:"text"`
}

type sarifInvocation struct {
	ExecutionSuccessful bool                `json:"executionSuccessful"`
	EndTime             string              `json:"endTimeUtc,omitempty"`
	Notifications       []sarifNotification `json:"toolExecutionNotifications"`
}

type sarifNotification struct {
	Level   string      `json:"level"`
	Message sarifText   `json:"message"`
	Rule    *sarifIndex `json:"associatedRule,omitempty"`
}

type sarifIndex struct {
	Index int `json:"index"`
}

type sarifResult struct {
	RuleID       string            `json:"ruleId"`
	RuleIndex    int               `json:"ruleIndex"`
	Kind         string            `json:"kind"`
	Level        string            `json:"level"`
	Message      sarifText         `json:"message"`
	Locations    []sarifLocation   `json:"locations"`
	Fingerprints map[string]string `json:"partialFingerprints"`
	// Suppressions is a list in every result: section 3.27.23 has a null one mean that nobody knows.
	Suppressions []sarifSuppression `json:"suppressions"`
	Properties   map[string]any     `json:"properties"`
}

type sarifSuppression struct {
	Kind          string `json:"kind"`
	Status        string `json:"status"`
	Justification string `json:"justification"`
}

type sarifLocation struct {
	Physical sarifPhysical  `json:"physicalLocation"`
	Logical  []sarifLogical `json:"logicalLocations"`
}

type sarifPhysical struct {
	Artifact struct {
		URI string `json:"uri"`
	} `json:"artifactLocation"`
	Region struct {
		StartLine int `json:"startLine"`
	} `json:"region"`
}

type sarifLogical struct {
	Name string `json:"name"`
	Full string `json:"fullyQualifiedName"`
	Kind string `json:"kind"`
}

func (s summary) sarif(version string) sarifLog {
	run := sarifRun{Tool: sarifTool{sarifDriver{Name: "mlseal", Version: version, InformationURI: sarifInformation, Rules: []sarifRule{}}},
		Results: []sarifResult{}, ColumnKind: "unicodeCodePoints", Properties: s.sarifProperties()}
	// Section 3.20.14: executionSuccessful is false when the tool could not do its work. A denial is its work.
	invocation := sarifInvocation{ExecutionSuccessful: true, Notifications: []sarifNotification{}}
	if !s.time.IsZero() {
		invocation.EndTime = s.time.UTC().Format(time.RFC3339)
	}
	rules, times := map[string]int{}, map[string]int{}
	for _, c := range s.checks {
		i, known := rules[c.id]
		if !known {
			i = len(run.Tool.Driver.Rules)
			rules[c.id] = i
			run.Tool.Driver.Rules = append(run.Tool.Driver.Rules, s.sarifRule(c))
		}
		switch c.outcome {
		case failed, warned, waived:
			times[c.id]++
			run.Results = append(run.Results, s.sarifResult(i, times[c.id], c))
		case passed:
			invocation.Notifications = append(invocation.Notifications, sarifNotification{"none", plain(nameText(c.id) + ": passed: " + escape.Line(c.detail)), &sarifIndex{i}})
		default:
			invocation.Notifications = append(invocation.Notifications, sarifNotification{"note", plain(nameText(c.id) + ": not done: " + escape.Line(c.detail)), &sarifIndex{i}})
		}
	}
	for _, note := range s.notes {
		invocation.Notifications = append(invocation.Notifications, sarifNotification{"note", plain(nameText(note)), nil})
	}
	run.Invocations = []sarifInvocation{invocation}
	return sarifLog{sarifSchema, "2.1.0", []sarifRun{run}}
}

func (s summary) sarifProperties() map[string]any {
	p := map[string]any{"verdict": s.verdict, "artifact": escape.Line(s.name)}
	for _, f := range s.facts {
		p[f.name] = escape.Line(f.value)
	}
	if len(s.ignored) > 0 {
		p["notCounted"] = s.ignored
	}
	var params []string
	for _, text := range s.params {
		params = append(params, escape.Line(text))
	}
	if len(params) > 0 {
		p["parameters"] = params
	}
	var skips []string
	for _, c := range s.checks {
		if c.outcome == skipped {
			skips = append(skips, nameText(c.id)+": "+escape.Line(c.detail))
		}
	}
	if len(skips) > 0 {
		p["skipped"] = skips
	}
	return p
}

func (s summary) sarifRule(c check) sarifRule {
	what := "Requirement " + nameText(c.id) + " of the policy " + nameText(s.scope)
	if s.kind == "tree" {
		what = "Check " + nameText(c.id) + " of a signed directory or file"
	}
	help := what + "."
	if meaning := meanings[policies.Code(c.code)]; meaning != "" {
		help += " " + c.code + ": " + meaning
	}
	for _, more := range []struct{ title, text string }{{"", c.message}, {"What to do: ", c.fix}} {
		if more.text != "" {
			help += "\n\n" + more.title + escape.Line(more.text)
		}
	}
	return sarifRule{ID: nameText(c.id), Short: plain(what), Full: plain(what + "."), Help: plain(help), Configuration: sarifConfiguration{c.sarifLevel()}}
}

// sarifLevel is what the check's failure means.
func (c check) sarifLevel() string {
	switch c.level {
	case policies.Warn:
		return "warning"
	case policies.Info:
		return "note"
	}
	return "error"
}

func (s summary) sarifResult(index, nth int, c check) sarifResult {
	l := sarifLocation{Logical: []sarifLogical{{Name: nameText(c.id), Full: nameText(s.scope) + "/" + nameText(c.id), Kind: "requirement"}}}
	// A relative reference: code scanning refuses an upload in which a location has another scheme than the checkout.
	l.Physical.Artifact.URI = (&url.URL{Path: strings.ReplaceAll(nameText(s.name), `\`, "/")}).String()
	l.Physical.Region.StartLine = 1
	out := sarifResult{
		RuleID: nameText(c.id), RuleIndex: index, Kind: "fail", Level: c.sarifLevel(),
		Message:      plain(strings.Join(c.report(), "\n")),
		Locations:    []sarifLocation{l},
		Fingerprints: s.fingerprints(c, nth),
		Suppressions: []sarifSuppression{},
		Properties:   map[string]any{"code": c.code},
	}
	if c.outcome == waived {
		out.Level, out.Suppressions = "note", []sarifSuppression{{"external", "accepted", escape.Line(c.detail)}}
		out.Properties = map[string]any{"waiver": escape.Line(c.waiver)}
	}
	return out
}

// fingerprints tell code scanning that the same requirement fails of the same artifact as before, whatever its digest and
// the reason are now (section 3.27.17). It looks at primaryLocationLineHash alone, whose second part counts equal ones.
func (s summary) fingerprints(c check, nth int) map[string]string {
	sum := sha256.Sum256([]byte(s.kind + "\x00" + s.scope + "\x00" + s.name + "\x00" + c.id))
	text := hex.EncodeToString(sum[:])
	return map[string]string{"primaryLocationLineHash": fmt.Sprintf("%s:%d", text[:16], nth), "mlsealCheck/v1": fmt.Sprintf("%s:%d", text, nth)}
}

// plain makes a plain text message of lines that are escaped already. Section 3.11.5: "the characters "{" and "}" SHALL be
// represented by the character sequences "{{" and "}}" respectively." Section 3.11.6: a link is "[", text, "](", destination, ")"; what
// is no link must not read as one.
func plain(text string) sarifText {
	return sarifText{strings.NewReplacer("{", "{{", "}", "}}", "](", "] (").Replace(text)}
}
