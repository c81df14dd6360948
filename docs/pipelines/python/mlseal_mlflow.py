"""Seals the model of an MLflow run, and attests the run's metrics.

    with mlflow.start_run() as run:
        ...
    seal_run(run.info.run_id, "model", "oci:store:v1", "trainer.key", evaluation=Evaluation(...))
"""
from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

from mlflow import MlflowClient

import mlseal_command
from mlseal_command import Evaluation

RESULTS = "mlseal-results.json"


def seal_run(run_id: str, model_dir: str | os.PathLike[str], ref: str, key: str, *, evaluation: Evaluation | None = None,
             client: MlflowClient | None = None, mlseal: str = "mlseal") -> str:
    """Packs and signs model_dir as REF, attests the metrics of a run that has ended, and returns the digest.

    The metrics are exported as `mlflow runs describe` prints them. The file that the statement names by digest
    becomes an artifact of the run, mlseal-results.json. The run gets the tags mlseal.digest, mlseal.reference
    and mlseal.attested; they come last, so that a run has them only when all of it is there.
    """
    client = client or MlflowClient()
    described = client.get_run(run_id).to_dictionary()
    status = described["info"]["status"]
    if status != "FINISHED":
        raise ValueError(f"run {run_id} is {status}: seal it once it is FINISHED")
    digest = mlseal_command.pack(model_dir, ref, key, mlseal)
    if evaluation is not None:
        with tempfile.TemporaryDirectory() as folder:
            results = Path(folder) / RESULTS
            results.write_text(json.dumps(described, indent=4) + "\n", "utf-8")
            evaluation.attest(mlseal_command.pinned(ref, digest), results, mlseal)
            client.log_artifact(run_id, str(results))
    for tag, value in (("digest", digest), ("reference", ref), ("attested", "signature" if evaluation is None else "signature, evaluation")):
        client.set_tag(run_id, f"mlseal.{tag}", value)
    return digest
