package record

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Roles of materials: resolvedDependencies[].name.
const (
	RoleBaseModel   = "baseModel"
	RoleDataset     = "dataset"
	RoleCode        = "code"
	RoleConfig      = "config"
	RoleEnvironment = "environment"
	RoleTokenizer   = "tokenizer"
	RoleAdapter     = "adapter"
	RoleRewardModel = "rewardModel"
	RoleSource      = "source" // what a dataset is ingested from
)

// ErrStep says that a step is not known, or that the materials are not those that it needs.
var ErrStep = errors.New("not a step that can be recorded")

// step is what a kind of step needs.
type step struct {
	split string         // which datasets have when none is named
	least map[string]int // materials by role
	most  map[string]int
}

// steps are the kinds of steps that are recorded; each is a build type.
var steps = map[string]step{
	"fine-tune":         {"train", map[string]int{RoleBaseModel: 1, RoleDataset: 1}, map[string]int{RoleBaseModel: 1}},
	"pretrain":          {"train", map[string]int{RoleDataset: 1}, map[string]int{RoleBaseModel: 0}},
	"quantize":          {"calibration", map[string]int{RoleBaseModel: 1}, map[string]int{RoleBaseModel: 1}},
	"merge":             {"calibration", map[string]int{RoleBaseModel: 1}, nil},
	"convert":           {"calibration", map[string]int{RoleBaseModel: 1}, map[string]int{RoleBaseModel: 1}},
	"distill":           {"train", map[string]int{RoleBaseModel: 1}, nil},
	"dataset-transform": {"input", map[string]int{RoleDataset: 1}, nil},
	"dataset-ingest":    {"input", nil, map[string]int{RoleBaseModel: 0}},
}

// Steps lists the kinds of steps, sorted.
func Steps() []string {
	names := make([]string, 0, len(steps))
	for name := range steps {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Roles lists the roles that a material can have.
func Roles() []string {
	return []string{RoleBaseModel, RoleDataset, RoleCode, RoleConfig, RoleEnvironment, RoleTokenizer, RoleAdapter, RoleRewardModel, RoleSource}
}

// isArtifact reports whether statements can be about what has the role, so that lineage leads there.
func isArtifact(role string) bool {
	return role != RoleCode && role != RoleConfig && role != RoleEnvironment
}

// CheckStep refuses a step that is not known and materials that it cannot have. The error wraps ErrStep.
func CheckStep(name string, roles []string) error {
	s, ok := steps[name]
	if !ok {
		return fmt.Errorf("%q: %w: %s", name, ErrStep, strings.Join(Steps(), ", "))
	}
	count := map[string]int{}
	for _, role := range roles {
		if !slices.Contains(Roles(), role) {
			return fmt.Errorf("%w: there is no role %q of a material: %s", ErrStep, role, strings.Join(Roles(), ", "))
		}
		if role == RoleSource && name != "dataset-ingest" {
			return fmt.Errorf("%w: a material of the role source is for dataset-ingest; %s takes datasets", ErrStep, name)
		}
		count[role]++
	}
	for _, role := range Roles() {
		least, most := s.least[role], s.most[role]
		_, bound := s.most[role]
		switch {
		case count[role] < least:
			return fmt.Errorf("%w: %s needs a material of the role %s: name it with --material %s=PATH|REF", ErrStep, name, role, role)
		case bound && count[role] > most:
			return fmt.Errorf("%w: %s has %d materials of the role %s, at most %d", ErrStep, name, count[role], role, most)
		}
	}
	if name == "merge" && count[RoleBaseModel]+count[RoleAdapter] < 2 {
		return fmt.Errorf("%w: merge needs two models, or a model and an adapter", ErrStep)
	}
	return nil
}

// BuildType is the SLSA build type of a step.
func BuildType(step string) string { return "https://mlseal.dev/buildtypes/" + step + "/v1" }
