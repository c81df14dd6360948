#!/bin/bash
# Hashes a model in parts with GNU parallel, and merges them. With HOSTS=node1,node2 the parts are hashed there over ssh, where the model and the
# working directory must be mounted at the same places.
set -euo pipefail
MODEL=${MODEL:-$PWD/model}
OUT=${OUT:-$PWD/mlseal-parts}
PARTS=${PARTS:-8}
SHARDS=${SHARDS:-1GB}
mkdir -p "$OUT"
# --quote: a path with a space in it stays one argument
seq "$PARTS" | parallel --will-cite --quote --halt soon,fail=1 ${HOSTS:+--sshlogin "$HOSTS"} \
  mlseal hash "$MODEL" --shards "$SHARDS" --part "{}/$PARTS" --manifest "$OUT/part-{}.json"
exec mlseal manifest merge "$OUT"/part-*.json -o digest --manifest "$OUT/manifest.json"
