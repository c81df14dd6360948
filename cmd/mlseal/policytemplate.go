package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/mlseal/mlseal/attest"
	"github.com/mlseal/mlseal/policies"
	"github.com/mlseal/mlseal/policies/library"
	"github.com/mlseal/mlseal/policies/starter"
)

// listTemplates shows what policy init --template can make, a line each; with a name the roles and parameters of that one.
func (a *app) listTemplates(f initFlags) error {
	if f.template == "" {
		for _, t := range library.Templates() {
			if err := a.printf("%-22s %s\n", t.Name, t.Summary); err != nil {
				return err
			}
		}
		return nil
	}
	t, err := library.Find(f.template)
	if err != nil {
		return err
	}
	if err := a.printf("%s: %s\n", t.Name, t.Summary); err != nil {
		return err
	}
	for _, r := range t.Roles {
		how := r.Name + "="
		if r.AtLeast > 0 {
			how = fmt.Sprintf("%s.NAME= (%d or more)", r.Name, r.AtLeast)
		}
		if r.Kind != "" {
			how += " (" + r.Kind + " only)"
		}
		if err := a.printf("  --signer %-30s %s\n", how, r.What); err != nil {
			return err
		}
	}
	for _, p := range t.Params {
		value := "needed"
		if p.Default != "" {
			value = "without it " + p.Default
		}
		if err := a.printf("  --param %-31s %s; %s, %s\n", p.Name+"=", p.What, p.Type, value); err != nil {
			return err
		}
	}
	return nil
}

// fillTemplate writes a policy of the library with the user's signers in it. Nothing is written unless it can be loaded.
func (a *app) fillTemplate(f initFlags) error {
	if len(f.requires) > 0 {
		return usage(errors.New("policy init: --requires is for a policy of your own; a template says itself what there must be"))
	}
	t, err := library.Find(f.template)
	if err != nil {
		return err
	}
	dir, file := filepath.Split(f.output)
	if !strings.HasSuffix(file, ".yaml") || file == ".yaml" {
		return usage(fmt.Errorf("--output %s: name a .yaml file", f.output))
	}
	o, err := f.templateOptions(dir, a.now())
	if err != nil {
		return err
	}
	text, err := t.Fill(o)
	if err != nil {
		return err
	}
	files := t.Files()
	if _, err := policies.Load(text, policies.LoadOptions{
		Name: f.output, PredicateType: attest.PredicateType,
		ReadFile: func(name string) ([]byte, error) {
			if text, ok := files[filepath.Base(name)]; ok {
				return text, nil
			}
			if !filepath.IsAbs(name) {
				name = filepath.Join(dir, name)
			}
			return readInput("file", name, policies.MaxTrustRootBytes)
		},
	}); err != nil {
		return err
	}
	files[file] = text
	if err := writeNew(filepath.Clean(dir), files); err != nil {
		return err
	}
	return a.printf("%s is written: %s\nnext: mlseal policy explain %s; docs/policy-library.md says what it does not prove\n", f.output, t.Summary, f.output)
}

// templateOptions reads the flags. Keys are named as a policy in dir names them.
func (f initFlags) templateOptions(dir string, now time.Time) (library.Options, error) {
	o := library.Options{Owner: f.owner, Repositories: f.repositories, Params: map[string]string{}}
	if f.named {
		o.Name = f.name
	}
	var err error
	if o.Expires, err = expiry(f.expires, now); err != nil {
		return o, err
	}
	if !o.Expires.After(now) {
		return o, usage(fmt.Errorf("--expires %s: it would have expired already", f.expires))
	}
	for _, text := range f.signers {
		s, err := starter.ParseSigner(text)
		if err != nil {
			return o, err
		}
		role, name, _ := strings.Cut(s.Name, ".")
		filled := library.Signer{Role: role, Member: name, Issuer: s.Issuer, Subject: s.Subject}
		if s.Key != "" {
			if _, err := os.Stat(s.Key); err != nil {
				return o, usage(fmt.Errorf("--signer %s: %w", text, noSuch(s.Key, err)))
			}
			filled.Key = besidePolicy(dir, s.Key)
		}
		o.Signers = append(o.Signers, filled)
	}
	for _, text := range f.params {
		name, value, ok := strings.Cut(text, "=")
		if _, twice := o.Params[name]; !ok || twice {
			return o, usage(fmt.Errorf("--param %s: write NAME=VALUE, once for each parameter", text))
		}
		o.Params[name] = value
	}
	return o, nil
}
