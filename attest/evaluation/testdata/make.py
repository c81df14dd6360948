"""Makes the result files beside it with the packages that users make them with. See README.md for the versions.

    python make.py lm-eval|inspect|mlflow|trainer|sklearn|helm OUT

Nothing is downloaded: datasets and models are made here, tiny.
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", TRANSFORMERS_OFFLINE="1", MLFLOW_DISABLE_TELEMETRY="true")


def lm_eval(out):
    """lm-evaluation-harness with its model `dummy`, which answers at random, on a task of eight lines."""
    with tempfile.TemporaryDirectory() as tmp:
        tmp = pathlib.Path(tmp)
        rows = [{"question": f"{i}+{i}?", "choices": ["odd", "even"], "answer": 1} for i in range(8)]
        (tmp / "sums.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
        (tmp / "sums.yaml").write_text(
            f"""task: sums
dataset_path: json
dataset_kwargs:
  data_files:
    test: {tmp}/sums.jsonl
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{question}}}}"
doc_to_choice: choices
doc_to_target: answer
metric_list:
  - metric: acc
    aggregation: mean
    higher_is_better: true
  - metric: acc_norm
    aggregation: mean
    higher_is_better: true
metadata:
  version: 1.0
"""
        )
        subprocess.run(
            [sys.executable, "-m", "lm_eval", "--model", "dummy", "--tasks", "sums", "--include_path", str(tmp), "--seed", "7", "--output_path", str(tmp / "out")],
            check=True,
        )
        (found,) = (tmp / "out").rglob("results*.json")
        text = found.read_text().replace(str(tmp), "/data")
        (out / "lm-eval.json").write_text(text)


def inspect(out):
    """Inspect with its mock model, in both forms of its logs."""
    from inspect_ai import Task, eval, task
    from inspect_ai.dataset import Sample
    from inspect_ai.model import ModelOutput, ModelUsage, get_model
    from inspect_ai.scorer import match

    @task
    def sums():
        return Task(dataset=[Sample(input=f"{i}+{i}?", target=str(2 * i)) for i in range(3)], scorer=match())

    for form in ("json", "eval"):
        with tempfile.TemporaryDirectory() as tmp:
            # An answer without its usage would have its tokens counted, with a table that is downloaded.
            answers = [ModelOutput.from_content("mockllm/model", text) for text in ("0", "2", "5")]
            for answer in answers:
                answer.usage = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)
            model = get_model("mockllm/model", custom_outputs=answers)
            eval(sums(), model=model, log_dir=tmp, log_format=form, display="none", max_connections=1, max_samples=1)
            (found,) = pathlib.Path(tmp).rglob(f"*.{form}")
            shutil.copy(found, out / f"inspect.{form}")


def mlflow(out):
    """MLflow: what `mlflow runs describe` prints and what the REST API answers about one run."""
    import mlflow
    from mlflow.utils.proto_json_utils import message_to_json

    with tempfile.TemporaryDirectory() as tmp:
        uri = f"sqlite:///{tmp}/mlflow.db"
        mlflow.set_tracking_uri(uri)
        with mlflow.start_run(run_name="held-out") as run:
            mlflow.log_param("seed", 7)
            mlflow.log_metric("accuracy", 0.1 + 0.2)
            mlflow.log_metric("val/f1_score", 0.875)
            mlflow.log_metric("log_loss", 1e-5)
        done = subprocess.run(
            [sys.executable, "-m", "mlflow", "runs", "describe", "--run-id", run.info.run_id],
            check=True, capture_output=True, text=True, env={**os.environ, "MLFLOW_TRACKING_URI": uri},
        )
        (out / "mlflow-describe.json").write_text(done.stdout.replace(os.getcwd(), "/data"))
        from mlflow.protos.service_pb2 import GetRun

        answer = GetRun.Response()
        answer.run.MergeFrom(mlflow.get_run(run.info.run_id).to_proto())
        (out / "mlflow-rest.json").write_text(message_to_json(answer).replace(os.getcwd(), "/data") + "\n")

        os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"
        mlflow.set_tracking_uri(f"file://{tmp}/store")
        with mlflow.start_run(run_name="held-out") as run:
            mlflow.log_metric("accuracy", 0.5, step=0)
            mlflow.log_metric("accuracy", 0.1 + 0.2, step=1)
            mlflow.log_metric("val/f1_score", 0.875)
            mlflow.log_metric("log_loss", 1e-5)
        (found,) = (pathlib.Path(tmp) / "store").glob(f"*/{run.info.run_id}")
        shutil.copytree(found, out / "mlflow-run", dirs_exist_ok=True)
        meta = out / "mlflow-run" / "meta.yaml"
        meta.write_text(meta.read_text().replace(tmp, "/data"))


def trainer(out):
    """The Trainer of transformers, with a BERT of one layer and random weights."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments

    torch.manual_seed(7)
    config = BertConfig(vocab_size=32, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8, max_position_embeddings=8, num_labels=2)
    rows = [{"input_ids": torch.randint(0, 32, (4,)), "labels": torch.tensor(i % 2)} for i in range(12)]
    with tempfile.TemporaryDirectory() as tmp:
        args = TrainingArguments(tmp, num_train_epochs=1, per_device_train_batch_size=4, eval_strategy="epoch", report_to=[], seed=7, use_cpu=True)
        t = Trainer(BertForSequenceClassification(config), args, train_dataset=rows[:8], eval_dataset=rows[8:],
                    compute_metrics=lambda p: {"accuracy": float((p.predictions.argmax(-1) == p.label_ids).mean())})
        t.log_metrics("train", t.train().metrics)
        t.save_metrics("train", {"train_loss": t.state.log_history[-1]["train_loss"]})
        metrics = t.evaluate()
        metrics["eval_samples"] = 4
        t.save_metrics("eval", metrics)
        t.save_state()
        for name in ("eval_results.json", "all_results.json", "trainer_state.json"):
            shutil.copy(pathlib.Path(tmp) / name, out / name)


def sklearn(out):
    """scikit-learn: a report, a cross-validation and a grid search, each written with json.dump."""
    import numpy as np
    from sklearn.datasets import make_classification
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import classification_report
    from sklearn.model_selection import GridSearchCV, cross_validate

    x, y = make_classification(n_samples=60, n_features=4, random_state=7)
    model = LogisticRegression()
    plain = lambda v: v.item() if isinstance(v, np.generic) else v.tolist()
    write = lambda name, value: (out / name).write_text(json.dumps(value, indent=1, default=plain) + "\n")
    write("sklearn-report.json", classification_report(y[40:], model.fit(x[:40], y[:40]).predict(x[40:]), output_dict=True))
    write("sklearn-cross-validate.json", cross_validate(model, x, y, cv=3, scoring=["accuracy", "neg_log_loss"], return_train_score=True))
    write("sklearn-grid-search.json", GridSearchCV(model, {"C": [0.1, 1.0]}, cv=3).fit(x, y).cv_results_)


def helm(out):
    """HELM: helm-run on its own tiny scenario with its model simple/model1, which answers with a part of the question."""
    with tempfile.TemporaryDirectory() as tmp:
        subprocess.run(
            [pathlib.Path(sys.executable).with_name("helm-run"), "--run-entries", "simple_mcqa:model=simple/model1", "--suite", "s", "-m", "3", "-o", f"{tmp}/out", "--local-path", f"{tmp}/prod"],
            check=True, cwd=tmp,
        )
        (found,) = (pathlib.Path(tmp) / "out").rglob("stats.json")
        shutil.copy(found, out / "helm-stats.json")


if __name__ == "__main__":
    makers = {"lm-eval": lm_eval, "inspect": inspect, "mlflow": mlflow, "trainer": trainer, "sklearn": sklearn, "helm": helm}
    directory = pathlib.Path(sys.argv[2])
    directory.mkdir(parents=True, exist_ok=True)
    makers[sys.argv[1]](directory)
