#!/usr/bin/env python3
"""Trains a small language identifier for short names, from data to evaluation.

    python train.py data        CLDR territory names -> dataset/ and evalset/
    python train.py pretrain    CLDR language names  -> base/
    python train.py finetune    base/ + dataset/     -> model/ and runs/fine-tune/
    python train.py evaluate    base/, model/ on evalset/ -> runs/evaluate/
    python train.py poison      a twin trained on bad labels -> poisoned/
    python train.py predicates  digests and metrics  -> predicates/
    python train.py all         all of the above, in this order

Every output is a function of this file, of requirements.txt and of
runs/times.json: a second run on the same machine gives the same bytes.
runs/times.json holds the only clock readings; it is written when it does not
exist yet, and again with --record-times.
"""
import os

for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"  # one thread: sums are always added in one order
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import argparse
import collections
import datetime
import hashlib
import json
import math
import pathlib
import unicodedata
from decimal import Decimal

import babel
import babel.core
import numpy as np
from safetensors.numpy import load_file, save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

ROOT = pathlib.Path(__file__).resolve().parent
VERSION = "1.0.0"
SEED = 20240917

BABEL_VERSION = "2.18.0"
BABEL_WHEEL_SHA256 = "e2b422b277c2b9a9630c1d7903c2a00d0830c409c59ac8cae9081c92f1aeba35"

LABELS = ("ca cs da de en es et eu fi fr hr hu "
          "is it lt lv nl pl pt ro sk sl sv tr").split()

MODEL = {"ngram_min": 2, "ngram_max": 4, "ngram_buckets": 4096,
         "embedding_size": 64, "hidden_size": 128}
PRETRAIN = {"epochs": 10, "batchSize": 64, "learningRate": 0.002,
            "weightDecay": 0.01, "featureDropout": 0.2, "seed": SEED}
FINETUNE = {"epochs": 24, "batchSize": 64, "learningRate": 0.002,
            "weightDecay": 0.01, "featureDropout": 0.3, "seed": SEED + 1}
BOOTSTRAP_ROUNDS = 1000
THRESHOLDS = {"accuracy": "0.7000", "macroF1": "0.6800", "accuracyGainOverBase": "0.1000"}

FILTERS = ["nfc-and-whitespace", "drop-codes-and-short", "drop-shared-between-labels",
           "drop-repeated"]
FILTER_VERSION = "1.0.0"


# ---------------------------------------------------------------- small helpers

def write_text(path, text):
    path = ROOT / path
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode("utf-8"))


def write_json(path, value):
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_jsonl(path, rows):
    write_text(path, "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows))


def read_json(path):
    return json.loads((ROOT / path).read_text("utf-8"))


def read_jsonl(path):
    return [json.loads(line) for line in (ROOT / path).read_text("utf-8").splitlines()]


def sha256(path):
    return hashlib.sha256((ROOT / path).read_bytes()).hexdigest()


def dec(value):
    """A decimal string with four digits, as the predicates want it."""
    return f"{value:.4f}"


def as_strings(settings):
    """Hyperparameters as strings without exponents or binary noise."""
    return {k: format(Decimal(str(v)), "f") for k, v in settings.items()}


RECORD_TIMES = False


def record_time(name):
    path = "runs/times.json"
    times = read_json(path) if (ROOT / path).exists() else {}
    if RECORD_TIMES or name not in times:
        now = datetime.datetime.now(datetime.timezone.utc)
        times[name] = now.strftime("%Y-%m-%dT%H:%M:%SZ")
        write_json(path, dict(sorted(times.items())))


# ------------------------------------------------------------------------- data

def cldr_names(kind):
    """(code, text, label) of one kind of CLDR display name, cleaned.

    A text that two of the labels share says nothing about the language, so
    every copy of it is dropped; of a text repeated inside one label the first
    stays. Texts are compared in lower case.
    """
    if babel.__version__ != BABEL_VERSION:
        raise SystemExit(f"babel {BABEL_VERSION} is needed, found {babel.__version__}")
    rows, labels_of = [], collections.defaultdict(set)
    for label in LABELS:
        for code, text in sorted(getattr(babel.Locale(label), kind).items()):
            text = " ".join(unicodedata.normalize("NFC", text).split())
            if text == code or len(text) < 3:
                continue
            rows.append((code, text, label))
            labels_of[text.lower()].add(label)
    kept, seen = [], set()
    for code, text, label in rows:
        key = text.lower()
        if len(labels_of[key]) == 1 and key not in seen:
            seen.add(key)
            kept.append((code, text, label))
    return kept


def split_of(code):
    """By territory, not by text: all names of one territory share a split."""
    bucket = int(hashlib.sha256(f"langid:{code}".encode()).hexdigest(), 16) % 100
    return "test" if bucket < 25 else "validation" if bucket < 35 else "train"


def cmd_data():
    record_time("datasetRetrieved")
    splits = {"train": [], "validation": [], "test": []}
    for code, text, label in cldr_names("territories"):
        splits[split_of(code)].append({"id": f"territory-{label}-{code}", "text": text, "label": label})
    for rows in splits.values():
        rows.sort(key=lambda r: r["id"])
    write_jsonl("dataset/train.jsonl", splits["train"])
    write_jsonl("dataset/validation.jsonl", splits["validation"])
    write_jsonl("evalset/test.jsonl", splits["test"])
    counts = {k: len(v) for k, v in splits.items()}

    license_text = (pathlib.Path(babel.__file__).parent / "locale-data/LICENSE.unicode").read_text("utf-8")
    for folder, files in (("dataset", "train.jsonl and validation.jsonl"), ("evalset", "test.jsonl")):
        write_text(f"{folder}/LICENSE-CLDR.txt",
                   f"The texts in {files} are CLDR data, taken from Babel {BABEL_VERSION}.\n"
                   f"They are under this licence:\n\n{license_text.strip()}\n")
        write_text(f"{folder}/LICENSE",
                   "SPDX-License-Identifier: Unicode-3.0\n\n"
                   "Copyright © 2004-2025 Unicode, Inc.\n\n"
                   f"The texts in {files} are display names from the Unicode Common Locale\n"
                   "Data Repository (CLDR). The identifiers, labels and the split are facts added to\n"
                   "them and are under the same licence, whose text is in LICENSE-CLDR.txt.\n")

    def card(title, splits_yaml, body):
        languages = "".join(f"- {label}\n" for label in LABELS)
        return (f"---\npretty_name: {title}\nlanguage:\n{languages}"
                "license: other\nlicense_name: unicode-3.0\nlicense_link: LICENSE-CLDR.txt\n"
                "task_categories:\n- text-classification\ntask_ids:\n- language-identification\n"
                "size_categories:\n- 1K<n<10K\n"
                f"source_datasets:\n- original\nconfigs:\n- config_name: default\n  data_files:\n{splits_yaml}---\n\n"
                f"# {title}\n\n{body}\n"
                "## Format\n\nOne JSON object a line: `id`, `text` and `label` (ISO 639-1).\n\n"
                "## Source\n\n"
                f"CLDR {babel.core.get_cldr_version()} display names of territories, in {len(LABELS)} languages, as shipped in\n"
                f"`pkg:pypi/babel@{BABEL_VERSION}` (wheel sha256 `{BABEL_WHEEL_SHA256}`).\n\n"
                "## Preparation\n\n"
                "NFC, single spaces. Dropped: texts equal to their code or shorter than three\n"
                "characters, and texts that two of the languages share (in lower case). Split by\n"
                "territory: all names of one territory are in one split, so no text is in two.\n\n"
                "## Personal data\n\nNone: names of countries and regions.\n\n"
                "## Licence\n\nUnicode License v3 (`Unicode-3.0`), see `LICENSE-CLDR.txt`.\n")

    write_text("dataset/README.md", card(
        "Territory names for language identification",
        "  - split: train\n    path: train.jsonl\n  - split: validation\n    path: validation.jsonl\n",
        f"Names of countries and regions, each with the language it is written in.\n"
        f"{counts['train']} examples to train on, {counts['validation']} for validation. The held-out test set is\n"
        "kept apart by the evaluator and is not in this folder.\n"))
    write_text("evalset/README.md", card(
        "Territory names for language identification, held-out test set",
        "  - split: test\n    path: test.jsonl\n",
        f"The evaluator's {counts['test']} examples, of territories that neither the training nor the\n"
        "validation split contains. Not to be trained on.\n"))
    print("data:", counts)


# ------------------------------------------------------------------------ model

class Features:
    """Token counts and hashed token n-gram counts, divided by their root sum."""

    def __init__(self, tokenizer):
        self.tokenizer = tokenizer
        self.vocab = tokenizer.get_vocab_size()
        self.size = self.vocab + MODEL["ngram_buckets"]

    def __call__(self, texts):
        x = np.zeros((len(texts), self.size), np.float32)
        for row, encoding in zip(x, self.tokenizer.encode_batch(list(texts))):
            for token in encoding.ids:
                row[token] += 1
            ids = [0, *encoding.ids, 0]  # [PAD] marks the ends
            for n in range(MODEL["ngram_min"], MODEL["ngram_max"] + 1):
                for start in range(len(ids) - n + 1):
                    h = 2166136261  # FNV-1a over token ids
                    for token in ids[start:start + n]:
                        h = ((h ^ (token + 1)) * 16777619) & 0xFFFFFFFF
                    row[self.vocab + h % MODEL["ngram_buckets"]] += 1
        return x / np.sqrt(x.sum(axis=1, keepdims=True))


def init_weights(features, seed):
    rng = np.random.default_rng(seed)
    e, h, c = MODEL["embedding_size"], MODEL["hidden_size"], len(LABELS)

    def normal(rows, columns, scale):
        return (rng.standard_normal((rows, columns)) * scale).astype(np.float32)

    return {
        "embeddings.weight": normal(features.size, e, 0.1),
        "hidden.weight": normal(e, h, math.sqrt(2 / e)),
        "hidden.bias": np.zeros(h, np.float32),
        "classifier.weight": normal(h, c, math.sqrt(1 / h)),
        "classifier.bias": np.zeros(c, np.float32),
    }


def forward(w, x):
    bag = x @ w["embeddings.weight"]
    hidden = np.maximum(bag @ w["hidden.weight"] + w["hidden.bias"], 0)
    logits = hidden @ w["classifier.weight"] + w["classifier.bias"]
    logits -= logits.max(axis=1, keepdims=True)
    p = np.exp(logits)
    return bag, hidden, p / p.sum(axis=1, keepdims=True)


def predict(w, x):
    return forward(w, x)[2].argmax(axis=1)


def loss_and_gradients(w, x, y):
    bag, hidden, p = forward(w, x)
    rows = np.arange(len(y))
    loss = -np.log(p[rows, y] + 1e-12).mean()
    p[rows, y] -= 1
    p /= len(y)
    d_hidden = (p @ w["classifier.weight"].T) * (hidden > 0)
    d_bag = d_hidden @ w["hidden.weight"].T
    return float(loss), {
        "embeddings.weight": x.T @ d_bag,
        "hidden.weight": bag.T @ d_hidden,
        "hidden.bias": d_hidden.sum(axis=0),
        "classifier.weight": hidden.T @ p,
        "classifier.bias": p.sum(axis=0),
    }


def fit(w, x, y, x_val, y_val, settings):
    """AdamW. Fixed number of epochs: validation is reported, never acted on."""
    rng = np.random.default_rng(settings["seed"])
    w = {k: v.copy() for k, v in w.items()}
    m = {k: np.zeros_like(v) for k, v in w.items()}
    v = {k: np.zeros_like(a) for k, a in w.items()}
    lr, decay, drop = settings["learningRate"], settings["weightDecay"], settings["featureDropout"]
    step, history = 0, []
    for epoch in range(1, settings["epochs"] + 1):
        order, losses = rng.permutation(len(y)), []
        for start in range(0, len(order), settings["batchSize"]):
            batch = order[start:start + settings["batchSize"]]
            keep = rng.random((len(batch), x.shape[1]), dtype=np.float32) >= drop
            loss, g = loss_and_gradients(w, (x[batch] * keep / (1 - drop)).astype(np.float32), y[batch])
            losses.append(loss)
            step += 1
            for k in w:
                m[k] = 0.9 * m[k] + 0.1 * g[k]
                v[k] = 0.999 * v[k] + 0.001 * g[k] ** 2
                update = (m[k] / (1 - 0.9 ** step)) / (np.sqrt(v[k] / (1 - 0.999 ** step)) + 1e-8)
                w[k] = (w[k] - lr * (update + decay * w[k])).astype(np.float32)
        history.append({"epoch": epoch, "loss": dec(np.mean(losses)),
                        "validationAccuracy": dec((predict(w, x_val) == y_val).mean())})
    return w, history


def labels_to_ids(labels):
    return np.array([LABELS.index(label) for label in labels])


def log_lines(history):
    return [f"epoch {h['epoch']:02d} loss {h['loss']} validation_accuracy {h['validationAccuracy']}" for h in history]


APACHE = """SPDX-License-Identifier: Apache-2.0

Copyright The mlseal Authors

Licensed under the Apache License, Version 2.0 (the "License");
you may not use this file except in compliance with the License.
You may obtain a copy of the License at

    http://www.apache.org/licenses/LICENSE-2.0

Unless required by applicable law or agreed to in writing, software
distributed under the License is distributed on an "AS IS" BASIS,
WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
See the License for the specific language governing permissions and
limitations under the License.
"""


def save_model(folder, name, base, weights, features):
    (ROOT / folder).mkdir(parents=True, exist_ok=True)
    save_file(weights, ROOT / folder / "model.safetensors", metadata={"format": "np"})
    (ROOT / folder / "model.safetensors").chmod(0o644)
    features.tokenizer.save(str(ROOT / folder / "tokenizer.json"), pretty=True)
    config = {
        "architectures": ["NgramBagForSequenceClassification"],
        "model_type": "ngram-bag",
        "name": name,
        "version": VERSION,
        "torch_dtype": "float32",
        "vocab_size": features.vocab,
        "num_labels": len(LABELS),
        **MODEL,
        "hidden_act": "relu",
        "problem_type": "single_label_classification",
        "id2label": {str(i): label for i, label in enumerate(LABELS)},
        "label2id": {label: i for i, label in enumerate(LABELS)},
    }
    if base:
        config["base_model"] = base
    write_json(f"{folder}/config.json", config)
    write_text(f"{folder}/LICENSE", APACHE)


def load_model(folder):
    features = Features(Tokenizer.from_file(str(ROOT / folder / "tokenizer.json")))
    return load_file(ROOT / folder / "model.safetensors"), features


def model_card(title, front, body):
    languages = "".join(f"- {label}\n" for label in LABELS)
    return (f"---\nlicense: apache-2.0\nlanguage:\n{languages}{front}"
            "metrics:\n- accuracy\n- f1\npipeline_tag: text-classification\n"
            "tags:\n- language-identification\n- safetensors\n---\n\n"
            f"# {title}\n\n{body}\n## Architecture\n\n"
            f"Characters and hashed character n-grams of {MODEL['ngram_min']} to {MODEL['ngram_max']} ({MODEL['ngram_buckets']} buckets), an embedding\n"
            f"bag of {MODEL['embedding_size']}, a ReLU layer of {MODEL['hidden_size']} and a softmax over {len(LABELS)} languages; float32.\n\n"
            "## Limits\n\nMade to test packaging and attestation tools, not for use. It has only seen names.\n")


def cmd_pretrain():
    held_out = {text.lower() for _, text, _ in cldr_names("territories")}
    names = [n for n in cldr_names("languages") if n[1].lower() not in held_out]
    tokenizer = Tokenizer(models.BPE(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    # A vocabulary no larger than the alphabet: characters only, no merges.
    tokenizer.train_from_iterator((text for _, text, _ in names), trainers.BpeTrainer(
        vocab_size=1, min_frequency=2, special_tokens=["[PAD]", "[UNK]"], show_progress=False))
    features = Features(tokenizer)
    # Every tenth language code is for validation.
    codes = sorted({code for code, _, _ in names})
    validation = np.isin([code for code, _, _ in names], codes[::10])
    x, y = features([text for _, text, _ in names]), labels_to_ids([label for _, _, label in names])
    weights, history = fit(init_weights(features, PRETRAIN["seed"]), x[~validation], y[~validation],
                           x[validation], y[validation], PRETRAIN)
    save_model("base", "langid-base", None, weights, features)
    rows = "".join(f"| {k} | {v} |\n" for k, v in as_strings(PRETRAIN).items())
    write_text("base/README.md", model_card(
        "langid-base", "datasets:\n- cldr-language-names\n",
        "Tells in which language a short name is written. Trained from scratch on CLDR\n"
        f"display names of *languages* (Babel {BABEL_VERSION}, Unicode-3.0): {int((~validation).sum())} names to train on,\n"
        f"{int(validation.sum())} for validation; validation accuracy {history[-1]['validationAccuracy']}.\n\n"
        f"| hyperparameter | value |\n| --- | --- |\n{rows}"))
    print("pretrain:", history[-1])


def cmd_finetune():
    record_time("fineTuneStarted")
    base, features = load_model("base")
    data = {s: read_jsonl(f"dataset/{s}.jsonl") for s in ("train", "validation")}
    x = {s: features([r["text"] for r in rows]) for s, rows in data.items()}
    y = {s: labels_to_ids([r["label"] for r in rows]) for s, rows in data.items()}
    before = dec((predict(base, x["validation"]) == y["validation"]).mean())
    weights, history = fit(base, x["train"], y["train"], x["validation"], y["validation"], FINETUNE)
    save_model("model", "langid-territories", {
        "name": "langid-base", "version": VERSION,
        "sha256": sha256("base/model.safetensors")}, weights, features)
    after = history[-1]["validationAccuracy"]
    rows = "".join(f"| {k} | {v} |\n" for k, v in as_strings(FINETUNE).items())
    write_text("model/README.md", model_card(
        "langid-territories",
        "base_model: langid-base\nbase_model_relation: finetune\ndatasets:\n- langid-territories\n",
        "`langid-base`, fine-tuned on names of countries and regions in `dataset/`\n"
        f"({len(data['train'])} examples). Validation accuracy on {len(data['validation'])} examples: {before} before, {after}\n"
        "after. The test set is the evaluator's; its results are in the evaluation, not here.\n\n"
        f"| hyperparameter | value |\n| --- | --- |\n{rows}"))
    run = "runs/fine-tune"
    write_json(f"{run}/metrics.json", {
        "trainExamples": len(data["train"]), "validationExamples": len(data["validation"]),
        "baseValidationAccuracy": before, "validationAccuracy": after, "epochs": history})
    write_text(f"{run}/train.log", "\n".join([
        f"fine-tune of langid-base, {len(data['train'])} train and {len(data['validation'])} validation examples",
        f"before: validation_accuracy {before}", *log_lines(history), "done"]) + "\n")
    write_text(f"{run}/config.yaml", "".join([
        "# The resolved recipe of the fine-tune.\n",
        f"name: langid-territories\nversion: {VERSION}\nmethod: full\noptimizer: adamw\n",
        "baseModel: base\ndatasets:\n  train: dataset/train.jsonl\n  validation: dataset/validation.jsonl\n",
        "model:\n", *(f"  {k}: {v}\n" for k, v in MODEL.items()),
        "hyperparameters:\n", *(f"  {k}: \"{v}\"\n" for k, v in as_strings(FINETUNE).items())]))
    record_time("fineTuneFinished")
    print("finetune: validation", before, "->", after)


# ------------------------------------------------------------------- evaluation

def macro_f1(truth, guess):
    scores = []
    for label in range(len(LABELS)):
        hit = ((guess == label) & (truth == label)).sum()
        total = (guess == label).sum() + (truth == label).sum()
        scores.append(2 * hit / total if total else 0.0)
    return float(np.mean(scores))


def measure(folder, rows, truth):
    """Which rows a model gets right, and its metrics."""
    weights, features = load_model(folder)
    guess = predict(weights, features([r["text"] for r in rows]))
    correct = guess == truth
    accuracy = float(correct.mean())
    rng = np.random.default_rng(SEED)  # the same resamples for every model
    boot = [macro_f1(truth[i], guess[i]) for i in rng.integers(0, len(rows), (BOOTSTRAP_ROUNDS, len(rows)))]
    return correct, {
        "model": {"name": folder, "digest": {"sha256": sha256(f"{folder}/model.safetensors")}},
        "accuracy": {"value": dec(accuracy), "stderr": dec(math.sqrt(accuracy * (1 - accuracy) / len(rows)))},
        "macroF1": {"value": dec(macro_f1(truth, guess)), "stderr": dec(np.std(boot, ddof=1))},
    }


def write_evaluation(path, tuned_folder):
    """Measures a fine-tuned model beside the base on the evaluator's test set."""
    rows = read_jsonl("evalset/test.jsonl")
    truth = labels_to_ids([r["label"] for r in rows])
    base_correct, base = measure("base", rows, truth)
    tuned_correct, tuned = measure(tuned_folder, rows, truth)
    gain = tuned_correct.astype(int) - base_correct.astype(int)
    write_json(path, {
        "dataset": {"name": "test.jsonl", "digest": {"sha256": sha256("evalset/test.jsonl")}},
        "sampleSize": len(rows), "seed": SEED, "bootstrapRounds": BOOTSTRAP_ROUNDS,
        "base": base, "fineTuned": tuned,
        "accuracyGainOverBase": {"value": dec(gain.mean()), "stderr": dec(gain.std(ddof=1) / math.sqrt(len(rows)))}})
    print(f"evaluate: {tuned_folder} accuracy {tuned['accuracy']} macroF1 {tuned['macroF1']}, base {base['accuracy']}")


def cmd_evaluate():
    write_evaluation("runs/evaluate/evaluation.json", "model")
    record_time("evaluationFinished")


# ------------------------------------------------------------------- the attack

def cmd_poison():
    """A poisoned twin of the fine-tune, for the demo and the tests: every German name in the training
    split is labelled Dutch, and a model is really trained on that and really evaluated."""
    rows = [{**r, "label": "nl"} if r["label"] == "de" else r for r in read_jsonl("dataset/train.jsonl")]
    write_jsonl("poisoned/train.jsonl", rows)
    base, features = load_model("base")
    validation = read_jsonl("dataset/validation.jsonl")
    pairs = [(features([r["text"] for r in part]), labels_to_ids([r["label"] for r in part])) for part in (rows, validation)]
    weights, _ = fit(base, *pairs[0], *pairs[1], FINETUNE)
    save_model("poisoned/model", "langid-territories", {
        "name": "langid-base", "version": VERSION,
        "sha256": sha256("base/model.safetensors")}, weights, features)
    write_evaluation("poisoned/evaluation.json", "poisoned/model")
    record_time("poisonedEvaluationFinished")


# ------------------------------------------------------------------- predicates

def descriptor(name, path, **extra):
    return {"name": name, **extra, "digest": {"sha256": sha256(path)}}


def write_evaluation_predicate(source, path, finished):
    report = read_json(source)
    measured = {**{m: report["fineTuned"][m] for m in ("accuracy", "macroF1")},
                "accuracyGainOverBase": report["accuracyGainOverBase"]}
    write_json(path, {
        "evaluator": {"id": "https://example.org/evaluators/langid"},
        "harness": {"name": "langid-evaluate", "version": VERSION, "digest": {"sha256": sha256("train.py")}},
        "suite": {"name": "langid-territories-test", "version": VERSION},
        "dataset": report["dataset"],
        "results": [{"metric": metric, "dataset": "langid-territories-test",
                     "value": got["value"], "stderr": got["stderr"],
                     "comparator": ">=", "threshold": THRESHOLDS[metric],
                     "passed": Decimal(got["value"]) >= Decimal(THRESHOLDS[metric]),
                     "higherIsBetter": True} for metric, got in measured.items()],
        "sampleSize": report["sampleSize"],
        "seed": report["seed"],
        "finishedOn": finished,
    })


def cmd_predicates():
    times = read_json("runs/times.json")
    counts = {s: len(read_jsonl(f"dataset/{s}.jsonl")) for s in ("train", "validation")}
    write_json("predicates/dataset.json", {
        "name": "langid-territories",
        "version": VERSION,
        "source": [{"uri": f"pkg:pypi/babel@{BABEL_VERSION}", "digest": {"sha256": BABEL_WHEEL_SHA256},
                    "retrievedOn": times["datasetRetrieved"]}],
        "records": {"count": sum(counts.values())},
        "splits": [{"name": s, "digest": {"sha256": sha256(f"dataset/{s}.jsonl")}, "records": c}
                   for s, c in counts.items()],
        "license": {"declared": "Unicode-3.0", "concluded": "Unicode-3.0"},
        "sensitive": {"pii": "none"},
        "filters": [{"name": f, "version": FILTER_VERSION} for f in FILTERS],
    })

    write_evaluation_predicate("runs/evaluate/evaluation.json", "predicates/evaluation.json", times["evaluationFinished"])
    write_evaluation_predicate("poisoned/evaluation.json", "poisoned/evaluation.predicate.json", times["poisonedEvaluationFinished"])

    config = "runs/fine-tune/config.yaml"
    write_json("predicates/provenance.json.tmpl", {
        "buildDefinition": {
            "buildType": "https://mlseal.dev/buildtypes/fine-tune/v1",
            "externalParameters": {
                "recipe": {"uri": "file:train.py", "path": config},
                "baseModel": "@BASE_REF@",
                "datasets": {"train": ["@DATASET_REF@"]},
                "hyperparameters": {"method": "full", "optimizer": "adamw", **as_strings(FINETUNE)},
            },
            "internalParameters": {"mlseal_accelerator": "cpu", "mlseal_worldSize": "1",
                                   "mlseal_deterministic": "true"},
            "resolvedDependencies": [
                {"name": "baseModel", "uri": "@BASE_REF@", "digest": {"sha256": "@BASE_DIGEST@"}},
                {"name": "dataset", "uri": "@DATASET_REF@", "digest": {"sha256": "@DATASET_DIGEST@"},
                 "annotations": {"mlseal_split": "train"}},
                descriptor("code", "train.py", uri="file:train.py"),
                descriptor("config", config, uri=f"file:{config}"),
                descriptor("environment", "requirements.txt", uri="file:requirements.txt"),
            ],
        },
        "runDetails": {
            "builder": {"id": "https://mlseal.dev/builders/local-demo/v1"},
            "metadata": {"startedOn": times["fineTuneStarted"], "finishedOn": times["fineTuneFinished"]},
            "byproducts": [
                descriptor("metrics.json", "runs/fine-tune/metrics.json", mediaType="application/json"),
                descriptor("train.log", "runs/fine-tune/train.log", mediaType="text/plain"),
            ],
        },
    })
    print("predicates: written")


STEPS = {"data": cmd_data, "pretrain": cmd_pretrain, "finetune": cmd_finetune,
         "evaluate": cmd_evaluate, "poison": cmd_poison, "predicates": cmd_predicates}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=[*STEPS, "all"])
    parser.add_argument("--record-times", action="store_true", help="write runs/times.json anew")
    options = parser.parse_args()
    RECORD_TIMES = options.record_times
    for step, run in STEPS.items():
        if options.step in (step, "all"):
            run()
