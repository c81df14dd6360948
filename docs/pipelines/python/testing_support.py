"""A folder with keys, a held-out set and a model for the tests of the hooks."""
from __future__ import annotations

import json
import os
import tempfile
import unittest
from pathlib import Path
from typing import Any
from unittest import mock

import mlseal_command
from mlseal_command import Evaluation

MLSEAL = os.environ.get("MLSEAL", "mlseal")


class SealedCase(unittest.TestCase):
    """Every test has a folder of its own as working directory."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.addCleanup(os.chdir, Path.cwd())
        os.chdir(folder.name)
        self.folder = Path(folder.name)
        environment = mock.patch.dict(os.environ, {"MLSEAL_PASSWORD": "correct horse", "HOME": folder.name})
        environment.start()
        self.addCleanup(environment.stop)
        for who in ("trainer", "evaluator"):
            mlseal_command.run("keys", "generate", "--output-key-prefix", who, mlseal=MLSEAL)
        Path("held-out").mkdir()
        Path("held-out/rows.jsonl").write_text('{"text": "Islàndia", "label": "ca"}\n', "utf-8")

    def evaluation(self, *thresholds: str, harness: str = "") -> Evaluation:
        return Evaluation("held-out", "https://example.com/evaluator", "evaluator.key", thresholds, harness)

    def save(self, directory: Path) -> None:
        """Writes a model's files."""
        directory.mkdir(parents=True)
        (directory / "config.json").write_text('{"architectures": ["Tiny"]}', "utf-8")
        (directory / "model.safetensors").write_bytes(b"\x02\x00\x00\x00\x00\x00\x00\x00{}")

    def allowed(self, ref: str, *requirements: str) -> str:
        """Verifies under a policy that asks for the trainer's signature and more."""
        Path("policy.yaml").write_text("\n".join([
            "apiVersion: mlseal.dev/policy/v1", "name: hooks", "version: 1", "expires: 2100-01-01T00:00:00Z",
            "signers:", "  trainer: {key: trainer.pub}", "  evaluator: {key: evaluator.pub}",
            "require:", "  - {id: signed, signature: {by: [trainer]}}", *requirements]) + "\n", "utf-8")
        return mlseal_command.run("verify", ref, "--policy", "policy.yaml", mlseal=MLSEAL)

    def evaluated(self, where: str) -> str:
        """A requirement of an evaluation by the evaluator."""
        return "  - " + json.dumps({"id": "evaluated", "attestation": "evaluation", "by": ["evaluator"], "match": "latest", "where": where})

    def assertSealed(self, ref: str, digest: str) -> None:
        """The package is there under that digest, with its signature."""
        self.assertRegex(digest, r"^sha256:[0-9a-f]{64}$")
        shown: dict[str, Any] = json.loads(mlseal_command.run("inspect", ref, "-o", "json", mlseal=MLSEAL))
        self.assertIn(digest, json.dumps(shown))
