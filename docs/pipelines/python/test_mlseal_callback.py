"""The callback, driven by transformers' own CallbackHandler; with torch also by a real Trainer."""
from __future__ import annotations

import importlib.util
import unittest
from pathlib import Path
from typing import Any
from unittest import mock

from transformers import TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import CallbackHandler, DefaultFlowCallback

import mlseal_command
from mlseal_callback import MlsealCallback
from mlseal_command import MlsealError
from testing_support import MLSEAL, SealedCase


class CallbackTest(SealedCase):
    def end(self, callback: MlsealCallback, *, rank_zero: bool = True, saved: bool = True, best: bool = False) -> None:
        """Does what a Trainer does with its callbacks at step 4: save, evaluate, end."""
        args = TrainingArguments(output_dir="run", report_to=[])
        state = TrainerState(global_step=4, is_world_process_zero=rank_zero, log_history=[
            {"eval_accuracy": 0.5, "eval_loss": 0.9, "step": 2}, {"eval_accuracy": 0.75, "eval_loss": 0.7, "step": 4}])
        for step in (2, 4):
            if saved:
                self.save(Path(f"run/checkpoint-{step}"))
                Path(f"run/checkpoint-{step}/optimizer.bin").write_bytes(bytes([step]))
                state.save_to_json(f"run/checkpoint-{step}/trainer_state.json")
        if best:
            args.load_best_model_at_end = True
            state.best_model_checkpoint = "run/checkpoint-2"
        handler = CallbackHandler([DefaultFlowCallback(), callback], None, None, None, None)
        control = TrainerControl()
        if saved:
            handler.on_save(args, state, control)
        handler.on_train_end(args, state, control)

    def test_the_last_checkpoint_is_sealed_and_its_evaluation_attested(self) -> None:
        callback = MlsealCallback("oci:store:v1", "trainer.key", evaluation=self.evaluation("accuracy>=0.70"), mlseal=MLSEAL)
        self.end(callback)
        self.assertEqual(list(callback.digests), ["oci:store:v1"])
        self.assertSealed("oci:store:v1", callback.digests["oci:store:v1"])
        passed = 'predicate.results.exists(r, r.metric == "accuracy" && r.value == "0.75" && r.passed == true)'
        self.assertIn("ALLOWED", self.allowed("oci:store:v1", self.evaluated(passed)))
        with self.assertRaisesRegex(MlsealError, "exit status 1"):
            self.allowed("oci:store:v1", self.evaluated('predicate.results.exists(r, r.value == "0.5")'))

    def test_the_evaluation_is_about_what_was_packed(self) -> None:
        for ref, want in {"oci:store:v1": "oci:store@D", "oci:store": "oci:store@D", "oci:dir/store:v1": "oci:dir/store@D", "oci-archive:a.tar": "oci-archive:a.tar@D", "oci-archive:a.tar:v1": "oci-archive:a.tar@D",
                          "localhost:5000/team/model": "localhost:5000/team/model@D", "localhost:5000/team/model:v1": "localhost:5000/team/model@D", "registry.example/model:v1": "registry.example/model@D"}.items():
            self.assertEqual(mlseal_command.pinned(ref, "D"), want)
        self.save(Path("other"))
        pack = mlseal_command.pack

        def packed_and_moved(*args: Any) -> str:
            digest = pack(*args)
            mlseal_command.run("pack", "other", "oci:store:v1", mlseal=MLSEAL)
            return digest

        callback = MlsealCallback("oci:store:v1", "trainer.key", evaluation=self.evaluation("accuracy>=0.70"), mlseal=MLSEAL)
        with mock.patch.object(mlseal_command, "pack", packed_and_moved):
            self.end(callback)
        self.assertIn("ALLOWED", self.allowed("oci:store@" + callback.digests["oci:store:v1"], self.evaluated("true")))

    def test_each_save_and_the_best(self) -> None:
        callback = MlsealCallback("oci:store:v1", "trainer.key", every_save=True, mlseal=MLSEAL)
        self.end(callback, best=True)
        self.assertEqual(list(callback.digests), ["oci:store:v1-4", "oci:store:v1"])
        self.assertIn("ALLOWED", self.allowed("oci:store:v1-4"))
        best = mlseal_command.run("pack", "run/checkpoint-2", "-o", "digest", mlseal=MLSEAL).strip()
        self.assertEqual(callback.digests["oci:store:v1"], best)
        self.assertNotEqual(callback.digests["oci:store:v1-4"], best)

    def test_a_named_directory(self) -> None:
        self.save(Path("final"))
        callback = MlsealCallback("oci:store:v1", "trainer.key", directory="final", mlseal=MLSEAL)
        self.end(callback, saved=False)
        self.assertSealed("oci:store:v1", callback.digests["oci:store:v1"])

    def test_other_ranks_do_nothing(self) -> None:
        callback = MlsealCallback("oci:store:v1", "trainer.key", every_save=True, mlseal="/no/such/mlseal")
        self.end(callback, rank_zero=False)
        self.assertEqual(callback.digests, {})
        self.assertFalse(Path("store").exists())

    def test_what_fails_raises(self) -> None:
        with self.assertRaisesRegex(FileNotFoundError, "checkpoint-4 was not saved"):
            self.end(MlsealCallback("oci:store:v1", "trainer.key", mlseal=MLSEAL), saved=False)
        with self.assertRaisesRegex(MlsealError, "(?s)exit status 2.*nowhere.key") as raised:
            self.end(MlsealCallback("oci:store:v1", "nowhere.key", mlseal=MLSEAL))
        self.assertEqual(raised.exception.status, 2)
        callback = MlsealCallback("oci:store:v1", "trainer.key", mlseal="/no/such/mlseal")
        with self.assertRaisesRegex(MlsealError, "cannot be started"):
            callback.seal(Path("run/checkpoint-4"), "oci:store:v1")
        Path("run/checkpoint-4/trainer_state.json").unlink()
        callback = MlsealCallback("oci:store:v2", "trainer.key", evaluation=self.evaluation(), mlseal=MLSEAL)
        with self.assertRaisesRegex(FileNotFoundError, "to attest"):
            callback.seal(Path("run/checkpoint-4"), "oci:store:v2")
        self.assertFalse(callback.digests)

    @unittest.skipUnless(importlib.util.find_spec("torch"), "a real Trainer needs torch")
    def test_a_real_trainer(self) -> None:
        from transformers import BertConfig, BertForSequenceClassification, Trainer

        rows = [{"input_ids": [2, 5 + n % 3, 3], "attention_mask": [1, 1, 1], "labels": n % 2} for n in range(8)]
        model = BertForSequenceClassification(BertConfig(
            vocab_size=16, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8, max_position_embeddings=8))
        callback = MlsealCallback("oci:store:v1", "trainer.key", evaluation=self.evaluation("loss<=9"), every_save=True, mlseal=MLSEAL)
        Trainer(model, TrainingArguments(output_dir="run", num_train_epochs=2, per_device_train_batch_size=4, report_to=[], use_cpu=True, eval_strategy="epoch", save_strategy="epoch",
                                         disable_tqdm=True), train_dataset=rows, eval_dataset=rows, callbacks=[callback]).train()
        self.assertEqual(list(callback.digests), ["oci:store:v1-2", "oci:store:v1-4", "oci:store:v1"])
        self.assertEqual(callback.digests["oci:store:v1-4"], callback.digests["oci:store:v1"])
        self.assertIn("ALLOWED", self.allowed("oci:store:v1", self.evaluated('predicate.results.exists(r, r.metric == "loss" && r.passed == true)')))


if __name__ == "__main__":
    unittest.main()
