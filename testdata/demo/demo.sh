#!/usr/bin/env bash
# The main job, told with a real fine-tune: packed, attested by three keys, allowed by a gate; then four
# attacks, each denied for its own reason. Everything happens in one working directory, which stays for
# you to try the printed commands in. Usage: demo.sh MLSEAL TESTDATA WORKDIR
set -euo pipefail
mlseal=$1 testdata=$2 work=$3
langid=$testdata/langid

rm -rf "$work"
mkdir -p "$work"
cp "$testdata/demo/policy.yaml" "$work/policy.yaml"
cp -r "$langid/base" "$langid/model" "$langid/dataset" "$work/"
cp "$langid"/predicates/*.json "$work/"
cp "$mlseal" "$work/mlseal"
cd "$work"
export MLSEAL_PASSWORD=demo
unset COSIGN_PASSWORD || true

bold() { if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then printf '\033[1m%s\033[0m\n' "$1"; else printf '%s\n' "$1"; fi; }
say() { printf '\n'; bold "$1"; shift; for line in "$@"; do printf '%s\n' "$line"; done; }
# run shows a command and runs it; its output is indented.
run() { printf '\n  $ ./mlseal %s\n' "$*"; ./mlseal "$@" | sed 's/^/  | /'; }
# denied runs a command that must say no (exit status 1) and must name the reason.
denied() {
  local reason=$1 status=0 output; shift
  printf '\n  $ ./mlseal %s\n' "$*"
  output=$(./mlseal "$@" 2>&1) || status=$?
  printf '%s\n' "$output" | sed 's/^/  | /'
  if [ "$status" -ne 1 ] || ! grep -q -- "$reason" <<<"$output"; then
    printf '\ndemo: this should have been denied with %s and exit status 1, and ended with %s\n' "$reason" "$status" >&2
    exit 1
  fi
  printf '  exit status 1: denied, as it must be\n'
}

say "mlseal demo" \
  "A language identifier was fine-tuned from a base model on a dataset of place names (testdata/langid," \
  "real weights, real metrics). Three parties vouch for it, each with a key of its own."
for who in data-office trainer evaluator; do ./mlseal keys generate --output-key-prefix "$who" >/dev/null; done
printf '\n  keys: data-office.key trainer.key evaluator.key (and .pub)\n'

say "1. Everything becomes an OCI artifact, named by one digest" \
  "Here in a layout on disk; a registry works alike (registry.example/langid:v1)."
run pack dataset oci:store:data-v1 --type dataset
run pack base oci:store:base-v1
run pack model oci:store:model-v1
data_digest=$(./mlseal pack dataset oci:store:data-v1 --type dataset -o digest)
base_digest=$(./mlseal pack base oci:store:base-v1 -o digest)

say "2. The data office vouches for the dataset, the trainer for the base and the fine-tune" \
  "The provenance names base and dataset by digest: that is the lineage."
sed -e "s/@DATASET_DIGEST@/${data_digest#sha256:}/" -e "s|@DATASET_REF@|oci:store@$data_digest|" \
    -e "s/@BASE_DIGEST@/${base_digest#sha256:}/" -e "s|@BASE_REF@|oci:store@$base_digest|" \
    "$langid/predicates/provenance.json.tmpl" > provenance.json
run attest oci:store:data-v1 --type dataset --predicate dataset.json --key data-office.key
run sign oci:store:base-v1 --key trainer.key
run attest oci:store:model-v1 --type slsa-provenance --predicate provenance.json --key trainer.key

say "3. The evaluator measured the model and signs the numbers"
run attest oci:store:model-v1 --type evaluation --predicate evaluation.json --key evaluator.key

say "4. The gate: may this model be deployed?" \
  "policy.yaml asks for provenance by the trainer, an evaluation by the evaluator, and for each dataset in the" \
  "lineage a statement by the data office."
run verify oci:store:model-v1 --policy policy.yaml
run pull oci:store:model-v1 deployed
run verify deployed --policy policy.yaml --attestations oci:store:model-v1

say "Attack 1: one flipped byte in the weights" \
  "Someone changes a single byte of the model that is about to be loaded."
cp -r deployed attack1
flip() { # complement the byte at offset $2 of file $1
  local byte; byte=$(od -An -tu1 -j "$2" -N 1 "$1")
  printf "\\x$(printf %02x $((byte ^ 255)))" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}
flip attack1/model.safetensors 500000
denied SUBJECT_MISMATCH verify attack1 --policy policy.yaml --attestations oci:store:model-v1

say "Attack 2: a renamed file" \
  "No byte changes, but the model card is now Python code as far as a loader is concerned."
cp -r deployed attack2
mv attack2/README.md attack2/modeling_langid.py
denied SUBJECT_MISMATCH verify attack2 --policy policy.yaml --attestations oci:store:model-v1

say "Attack 3: an evaluation signed by the trainer" \
  "The trainer copies the model to a store of its own and grades it itself."
run pack model oci:attack3:model-v1
run attest oci:attack3:model-v1 --type slsa-provenance --predicate provenance.json --key trainer.key
run attest oci:attack3:model-v1 --type evaluation --predicate evaluation.json --key trainer.key
denied SIGNER_NOT_TRUSTED verify oci:attack3:model-v1 --policy policy.yaml --attestations oci:store:data-v1 --attestations oci:store:base-v1

say "Attack 4: a poisoned dataset swapped in under the same tag" \
  "In a copy of the store the tag data-v1 now names a dataset in which every German name is labelled Dutch. The" \
  "pipeline trains on it and signs honestly what it used; the model even clears the evaluation's bar, and all signatures" \
  "are real (testdata/langid/poisoned was really trained that way). Only the data office never saw that dataset."
cp -r store attack4
cp -r dataset poisoned && cp "$langid/poisoned/train.jsonl" poisoned/
cp -r "$langid/poisoned/model" model-poisoned
cp "$langid/poisoned/evaluation.predicate.json" evaluation-poisoned.json
run pack poisoned oci:attack4:data-v1 --type dataset
poisoned_digest=$(./mlseal pack poisoned oci:attack4:data-v1 --type dataset -o digest)
run pack model-poisoned oci:attack4:model-v2
sed "s/${data_digest#sha256:}/${poisoned_digest#sha256:}/g" provenance.json > provenance-poisoned.json
run attest oci:attack4:model-v2 --type slsa-provenance --predicate provenance-poisoned.json --key trainer.key
run attest oci:attack4:model-v2 --type evaluation --predicate evaluation-poisoned.json --key evaluator.key
denied LINEAGE_GAP verify oci:attack4:model-v2 --policy policy.yaml

say "Done: one model allowed, four attacks denied." \
  "Try the commands above yourself:" \
  "" \
  "  cd $work" \
  "  export MLSEAL_PASSWORD=demo" \
  "  ./mlseal inspect oci:store:model-v1" \
  "  ./mlseal verify oci:store:model-v1 --policy policy.yaml -o json" \
  "  ./mlseal help exit-status"
