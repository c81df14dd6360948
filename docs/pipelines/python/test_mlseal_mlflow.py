"""The hook for MLflow, with MLflow's own client and file store."""
from __future__ import annotations

import hashlib
import os
import unittest
from pathlib import Path

os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"  # without it MLflow 3.17 wants a database, which mlflow-skinny lacks
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"

import mlflow
from mlflow import MlflowClient

from mlseal_command import MlsealError
from mlseal_mlflow import RESULTS, seal_run
from testing_support import MLSEAL, SealedCase


class MlflowTest(SealedCase):
    def setUp(self) -> None:
        super().setUp()
        mlflow.set_tracking_uri((self.folder / "tracking").as_uri())
        self.client = MlflowClient()
        self.save(Path("model"))

    def finished_run(self) -> str:
        with mlflow.start_run() as run:
            mlflow.log_metrics({"accuracy": 0.30000000000000004, "log_loss": 1e-05})
        return str(run.info.run_id)

    def tags(self, run_id: str) -> dict[str, str]:
        tags = self.client.get_run(run_id).data.tags
        return {name: value for name, value in tags.items() if name.startswith("mlseal.")}

    def test_the_model_is_sealed_and_the_metrics_attested(self) -> None:
        run_id = self.finished_run()
        digest = seal_run(run_id, "model", "oci:store:v1", "trainer.key", mlseal=MLSEAL,
                          evaluation=self.evaluation("accuracy>=0.25", "log_loss<=0.1", harness="scikit-learn@1.9.1"))
        self.assertSealed("oci:store:v1", digest)
        self.assertEqual(self.tags(run_id), {"mlseal.digest": digest, "mlseal.reference": "oci:store:v1", "mlseal.attested": "signature, evaluation"})
        where = 'predicate.results.exists(r, r.metric == "accuracy" && r.value == "0.30000000000000004" && r.passed == true) && predicate.results.exists(r, r.value == "0.00001")'
        self.assertIn("ALLOWED", self.allowed("oci:store:v1", self.evaluated(where)))

        kept = Path(self.client.download_artifacts(run_id, RESULTS)).read_bytes()
        where = f'predicate.report.digest.sha256 == "{hashlib.sha256(kept).hexdigest()}"'
        self.assertIn("ALLOWED", self.allowed("oci:store:v1", self.evaluated(where)))

    def test_without_metrics(self) -> None:
        run_id = self.finished_run()
        seal_run(run_id, "model", "oci:store:v1", "trainer.key", mlseal=MLSEAL)
        self.assertEqual(self.tags(run_id)["mlseal.attested"], "signature")
        self.assertEqual(self.client.list_artifacts(run_id), [])
        self.assertIn("ALLOWED", self.allowed("oci:store:v1"))

    def test_a_run_that_goes_on_is_refused(self) -> None:
        with mlflow.start_run() as run:
            with self.assertRaisesRegex(ValueError, "RUNNING"):
                seal_run(run.info.run_id, "model", "oci:store:v1", "trainer.key", mlseal=MLSEAL)
        self.assertFalse(Path("store").exists())

    def test_what_fails_leaves_no_tags(self) -> None:
        run_id = self.finished_run()
        with self.assertRaisesRegex(MlsealError, "(?s)attest evaluation: exit status 2.*no_such_metric"):
            seal_run(run_id, "model", "oci:store:v1", "trainer.key", mlseal=MLSEAL,
                     evaluation=self.evaluation("no_such_metric>=1", harness="scikit-learn@1.9.1"))
        self.assertEqual(self.tags(run_id), {})


if __name__ == "__main__":
    unittest.main()
