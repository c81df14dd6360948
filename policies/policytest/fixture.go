package policytest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/mlseal/mlseal/internal/strictjson"
	"github.com/mlseal/mlseal/policies"
)

// Bounds of a fixture.
const (
	// MaxStatementBytes is the size of the largest file of a fixture.
	MaxStatementBytes = 4 << 20
	// MaxStatements is the number of statements that a fixture may have.
	MaxStatements = 1000
)

// SubjectFile is the file of a fixture that is no statement.
const SubjectFile = "subject.json"

// ErrFixture is wrapped by every error about a fixture.
var ErrFixture = errors.New("invalid fixture")

// Fixture is evidence about one artifact.
type Fixture struct {
	Subject    policies.Subject
	Statements []Statement // by name
}

// Statement is evidence with a name.
type Statement struct {
	Name string
	policies.Evidence
	ownSubjects bool // they are not read from the statement
}

// statementFile is the form of a statement in a fixture.
type statementFile struct {
	ID            string              `json:"id,omitempty"`
	SignedBy      []string            `json:"signedBy,omitempty"`
	VerifiedWith  *verifiedWith       `json:"verifiedWith,omitempty"`
	SignatureNote string              `json:"signatureNote,omitempty"`
	Time          string              `json:"time,omitempty"`
	TimeSource    string              `json:"timeSource,omitempty"`
	Logs          int                 `json:"logs,omitempty"`
	LogEntries    int                 `json:"logEntries,omitempty"`
	Timestamps    int                 `json:"timestamps,omitempty"`
	FoundWith     map[string]string   `json:"foundWith,omitempty"`
	Problem       policies.Code       `json:"problem,omitempty"`
	ProblemDetail string              `json:"problemDetail,omitempty"`
	Subjects      []map[string]string `json:"subjects,omitempty"`
	Statement     map[string]any      `json:"statement,omitempty"`
}

type verifiedWith struct {
	Keys    []string `json:"keys,omitempty"`
	Subject string   `json:"subject,omitempty"`
	Names   []string `json:"names,omitempty"`
}

// strict decodes JSON in which no key is unknown, twice or misspelt.
func strict(name string, data []byte, v any, known ...string) error {
	if err := strictjson.Check(data, strictjson.Limits{MaxBytes: MaxStatementBytes}); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrFixture, name, err)
	}
	if err := strictjson.CheckKeys(data, known...); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrFixture, name, err)
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrFixture, name, err)
	}
	return nil
}

// ParseFixture reads the files of a fixture by their names.
func ParseFixture(files map[string][]byte) (*Fixture, error) {
	f := &Fixture{}
	text, ok := files[SubjectFile]
	if !ok {
		return nil, fmt.Errorf("%w: it has no %s", ErrFixture, SubjectFile)
	}
	if len(files) > MaxStatements+1 {
		return nil, fmt.Errorf("%w: more than %d statements", ErrFixture, MaxStatements)
	}
	var err error
	if f.Subject, err = parseSubject(text); err != nil {
		return nil, err
	}
	for _, file := range slices.Sorted(maps.Keys(files)) {
		if file == SubjectFile {
			continue
		}
		s, err := ParseStatement(file, files[file])
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(f.Statements, func(o Statement) bool { return o.ID == s.ID }) {
			return nil, fmt.Errorf("%w: %s: another statement has the id %q", ErrFixture, file, s.ID)
		}
		f.Statements = append(f.Statements, s)
	}
	f.sort()
	return f, nil
}

func (f *Fixture) sort() {
	slices.SortFunc(f.Statements, func(a, b Statement) int { return strings.Compare(a.Name, b.Name) })
}

func parseSubject(text []byte) (policies.Subject, error) {
	var s policies.Subject
	if err := strict(SubjectFile, text, &s, "name", "digests", "artifactType", "repository"); err != nil {
		return s, err
	}
	if s.Name == "" || len(s.Digests) == 0 {
		return s, fmt.Errorf("%w: %s: the artifact needs a name and digests", ErrFixture, SubjectFile)
	}
	return s, nil
}

// ParseStatement reads one statement. Its name is the file's, without folders and without .json.
func ParseStatement(file string, data []byte) (Statement, error) {
	base := file[strings.LastIndexAny(file, `/\`)+1:]
	s := Statement{Name: strings.TrimSuffix(base, ".json")}
	if s.Name == base || s.Name == "" {
		return s, fmt.Errorf("%w: %s: a statement's file is called NAME.json", ErrFixture, file)
	}
	var f statementFile
	err := strict(file, data, &f, "id", "signedBy", "verifiedWith", "signatureNote", "time", "timeSource", "logs", "logEntries", "timestamps",
		"foundWith", "problem", "problemDetail", "subjects", "statement")
	if err != nil {
		return s, err
	}
	if err := s.take(f); err != nil {
		return s, fmt.Errorf("%w: %s: %w", ErrFixture, file, err)
	}
	return s, nil
}

// take makes evidence of the file.
func (s *Statement) take(f statementFile) error {
	s.Evidence = policies.Evidence{
		ID: f.ID, SignedBy: f.SignedBy, SignatureNote: f.SignatureNote, TimeSource: f.TimeSource, Logs: f.Logs, LogEntries: f.LogEntries, Timestamps: f.Timestamps,
		FoundWith: f.FoundWith, Problem: f.Problem, ProblemDetail: f.ProblemDetail, Subjects: f.Subjects, Statement: f.Statement, Origin: s.Name + ".json",
	}
	s.ownSubjects = len(f.Subjects) > 0
	if s.ID == "" {
		s.ID = s.Name
	}
	if v := f.VerifiedWith; v != nil {
		s.VerifiedWith = policies.VerifiedWith{Keys: v.Keys, Subject: v.Subject, Names: v.Names}
	}
	if (f.Time == "") != (f.TimeSource == "") {
		return errors.New("time and timeSource stand together: somebody says when it was")
	}
	if f.Time != "" {
		at, err := time.Parse(time.RFC3339, f.Time)
		if err != nil {
			return fmt.Errorf("time is %q; it is RFC 3339, as in 2026-11-18T15:02:00Z", f.Time)
		}
		s.Time = at
	}
	if f.Problem != "" {
		s.PredicateType, _ = f.Statement["predicateType"].(string)
		return nil
	}
	if f.Statement == nil {
		return errors.New("it has no statement")
	}
	return s.read()
}

// read takes the type and the subjects out of the statement.
func (s *Statement) read() error {
	kind, ok := s.Statement["predicateType"].(string)
	if !ok || kind == "" {
		return errors.New("the statement has no predicateType")
	}
	s.PredicateType = kind
	if s.ownSubjects {
		return nil
	}
	subjects, err := subjectsOf(s.Statement)
	s.Subjects = subjects
	return err
}

func subjectsOf(statement map[string]any) ([]map[string]string, error) {
	list, ok := statement["subject"].([]any)
	if !ok {
		return nil, errors.New("the statement has no list of subjects")
	}
	var out []map[string]string
	for i, v := range list {
		entry, _ := v.(map[string]any)
		digests, _ := entry["digest"].(map[string]any)
		set := map[string]string{}
		for algorithm, v := range digests {
			value, ok := v.(string)
			if !ok {
				return nil, fmt.Errorf("subject[%d] of the statement has a digest that is no string", i)
			}
			set[algorithm] = value
		}
		out = append(out, set)
	}
	return out, nil
}

// evidence is the statement as a verifier with this policy would leave it.
func (s Statement) evidence(known map[string]bool) policies.Evidence {
	ev := s.Evidence
	ev.SignedBy = nil
	var strangers []string
	for _, name := range s.SignedBy {
		if known[name] {
			ev.SignedBy = append(ev.SignedBy, name)
		} else {
			strangers = append(strangers, name)
		}
	}
	if len(strangers) > 0 && ev.SignatureNote == "" {
		ev.SignatureNote = "signed by " + strings.Join(strangers, ", ") + ", who is no signer of the policy"
	}
	return ev
}

// Files gives the fixture as the files that ParseFixture reads.
func (f *Fixture) Files() (map[string][]byte, error) {
	out := map[string][]byte{}
	subject, err := text(f.Subject)
	if err != nil {
		return nil, err
	}
	out[SubjectFile] = subject
	for _, s := range f.Statements {
		if out[s.Name+".json"], err = text(s.file()); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (s Statement) file() statementFile {
	f := statementFile{
		SignedBy: s.SignedBy, SignatureNote: s.SignatureNote, TimeSource: s.TimeSource, Logs: s.Logs, LogEntries: s.LogEntries, Timestamps: s.Timestamps,
		FoundWith: s.FoundWith, Problem: s.Problem, ProblemDetail: s.ProblemDetail, Statement: s.Statement,
	}
	if s.ID != s.Name {
		f.ID = s.ID
	}
	if !s.Time.IsZero() && s.TimeSource != "" {
		f.Time = s.Time.UTC().Format(time.RFC3339Nano)
	} else {
		f.TimeSource = ""
	}
	if v := s.VerifiedWith; len(v.Keys)+len(v.Names) > 0 || v.Subject != "" {
		f.VerifiedWith = &verifiedWith{v.Keys, v.Subject, v.Names}
	}
	if own, err := subjectsOf(s.Statement); err != nil || !slices.EqualFunc(own, s.Subjects, maps.Equal[map[string]string]) {
		f.Subjects = s.Subjects
	}
	return f
}

func text(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	err := enc.Encode(v)
	return b.Bytes(), err
}

// NewFixture names evidence by the last words of its types.
func NewFixture(subject policies.Subject, evidence []policies.Evidence) *Fixture {
	f := &Fixture{Subject: subject}
	taken := map[string]bool{"subject": true}
	for _, ev := range evidence {
		base := shortName(ev.PredicateType)
		name := base
		for i := 2; taken[name]; i++ {
			name = fmt.Sprintf("%s-%d", base, i)
		}
		taken[name] = true
		f.Statements = append(f.Statements, Statement{Name: name, Evidence: ev})
	}
	f.sort()
	return f
}

// shortName is the word in a type that is no version: evaluation of https://mlseal.dev/attestation/evaluation/v0.1.
func shortName(predicateType string) string {
	words := strings.FieldsFunc(strings.ToLower(predicateType), func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '.' })
	for _, word := range slices.Backward(words) {
		if !strings.Contains(word, ".") && strings.Trim(word, "v0123456789") != "" && strings.Trim(word, "-") == word && len(word) <= 60 {
			return word
		}
	}
	return "statement"
}
