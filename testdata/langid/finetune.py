#!/usr/bin/env python3
"""Pretrains, fine-tunes and evaluates a linear language identifier with scikit-learn.

    python finetune.py pretrain --data DIR --out DIR
    python finetune.py finetune --base DIR --data DIR --out DIR
    python finetune.py evaluate --model DIR --data DIR --out FILE

It is the trainer of TestInteropFineTune: character n-grams, hashed, and a softmax trained
by stochastic gradient descent. A model is weights.npz, arrays without pickle, and
config.json. The fine-tune goes on from the base's weights. With the same arguments the
same machine makes the same bytes.
"""
import argparse
import json
import pathlib

import numpy as np
import sklearn
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.linear_model import SGDClassifier
from sklearn.metrics import classification_report

SKLEARN_VERSION = "1.9.1"
LABELS = ("ca cs da de en es et eu fi fr hr hu "
          "is it lt lv nl pl pt ro sk sl sv tr").split()
FEATURES = {"analyzer": "char_wb", "ngram_range": [1, 4], "n_features": 2 ** 14, "alternate_sign": False}
WEIGHTS = ("coef_", "intercept_")


def read_rows(folder: pathlib.Path) -> tuple[list[str], list[str]]:
    """Texts and labels of the .jsonl files of a directory, in the order of their names."""
    rows = [json.loads(line) for path in sorted(folder.glob("*.jsonl"))
            for line in path.read_text("utf-8").splitlines()]
    if not rows:
        raise SystemExit(f"{folder}: no .jsonl file with rows")
    return [row["text"] for row in rows], [row["label"] for row in rows]


def featurize(texts: list[str]):
    settings = {**FEATURES, "ngram_range": tuple(FEATURES["ngram_range"])}
    return HashingVectorizer(lowercase=True, norm="l2", **settings).transform(texts)


def train(classifier: SGDClassifier, folder: pathlib.Path, epochs: int, seed: int) -> None:
    texts, labels = read_rows(folder)
    x, y = featurize(texts), np.array(labels)
    order = np.random.default_rng(seed)
    for epoch in range(1, epochs + 1):
        rows = order.permutation(len(y))
        classifier.partial_fit(x[rows], y[rows], classes=np.array(LABELS))
        print(f"epoch {epoch} training_accuracy {classifier.score(x, y):.4f}", flush=True)


def new_classifier(seed: int, alpha: float) -> SGDClassifier:
    return SGDClassifier(loss="log_loss", alpha=alpha, random_state=seed)


def save(classifier: SGDClassifier, folder: pathlib.Path, name: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "weights.npz", t_=np.array(classifier.t_),
             **{key: getattr(classifier, key) for key in WEIGHTS})
    config = {"name": name, "library": "scikit-learn", "version": sklearn.__version__,
              "architecture": "SGDClassifier", "labels": LABELS, "features": FEATURES}
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", "utf-8")


def load(folder: pathlib.Path, classifier: SGDClassifier) -> SGDClassifier:
    """Gives a classifier the weights of a directory; training goes on from them."""
    config = json.loads((folder / "config.json").read_text("utf-8"))
    if config["labels"] != LABELS or config["features"] != FEATURES:
        raise SystemExit(f"{folder}: a model of other labels or features")
    # One call on nothing that it could learn from allocates what partial_fit needs.
    classifier.partial_fit(featurize([""]), [LABELS[0]], classes=np.array(LABELS))
    with np.load(folder / "weights.npz", allow_pickle=False) as arrays:
        for key in WEIGHTS:
            getattr(classifier, key)[...] = arrays[key]
        classifier.t_ = float(arrays["t_"])
    return classifier


def evaluate(classifier: SGDClassifier, folder: pathlib.Path, out: pathlib.Path) -> None:
    texts, labels = read_rows(folder)
    report = classification_report(labels, classifier.predict(featurize(texts)),
                                   labels=LABELS, output_dict=True, zero_division=0)
    out.write_text(json.dumps(report, indent=2) + "\n", "utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=["pretrain", "finetune", "evaluate"])
    for name in ("--data", "--out"):
        parser.add_argument(name, type=pathlib.Path, required=True)
    for name in ("--base", "--model"):
        parser.add_argument(name, type=pathlib.Path)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--alpha", type=float, default=1e-5)
    parser.add_argument("--seed", type=int, default=20240917)
    parser.add_argument("--token", help="of a tracker: accepted and not used, to test that it is not recorded")
    options = parser.parse_args()
    if sklearn.__version__ != SKLEARN_VERSION:
        raise SystemExit(f"scikit-learn {SKLEARN_VERSION} is needed, found {sklearn.__version__}")
    classifier = new_classifier(options.seed, options.alpha)
    needed = {"finetune": options.base, "evaluate": options.model}.get(options.step, options.data)
    if needed is None:
        parser.error({"finetune": "finetune needs --base", "evaluate": "evaluate needs --model"}[options.step])
    if options.step == "evaluate":
        evaluate(load(needed, classifier), options.data, options.out)
        return
    if options.step == "finetune":
        load(needed, classifier)
    train(classifier, options.data, options.epochs, options.seed)
    save(classifier, options.out, f"langid-sgd-{options.step}")


if __name__ == "__main__":
    main()
