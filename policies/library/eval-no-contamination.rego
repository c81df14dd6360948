# An evaluation may be made on one file of a dataset, whose digest no provenance names. So the digests of the splits that data sheets list count too:
# an evaluation on a split that was trained on is contaminated.
package mlseal.contamination

measured contains digest if {
	some e in input.evidence
	e.predicateType == "https://mlseal.dev/attestation/evaluation/v0.1"
	some algorithm, value in e.predicate.dataset.digest
	digest := sprintf("%s:%s", [algorithm, value])
}

trained contains digest if {
	some e in input.evidence
	e.predicateType == "https://slsa.dev/provenance/v1"
	some dependency in e.predicate.buildDefinition.resolvedDependencies
	dependency.name == "dataset"
	some algorithm, value in dependency.digest
	digest := sprintf("%s:%s", [algorithm, value])
}

deny contains msg if {
	some e in input.evidence
	e.predicateType == "https://mlseal.dev/attestation/dataset/v0.1"
	some subject in e.subjects
	some kind, name in subject
	sprintf("%s:%s", [kind, name]) in trained
	some split in e.predicate.splits
	not split.name in input.params.heldOut
	some algorithm, value in split.digest
	sprintf("%s:%s", [algorithm, value]) in measured
	msg := sprintf("the split %s of the dataset %s was trained on and measured on", [split.name, e.predicate.name])
}
