"""Distillation: whose gradient goes where, which teachers are refused, and that a student learns from its teacher."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from index_store.features.interaction import feature_names
from model.config.errors import ConfigError
from model.data.tables import DataError
from model.network.folding import FoldedNetwork
from model.objective.distill import SoftLabels, open_teacher, read_soft_labels
from model.objective.losses import impression_loss, listwise_loss
from model.objective.prepared import UserInputs
from model.runs.checkpoint import RunFolder
from model.runs.run import Run
from model.training.trainer import Trainer
from tests.model.tiny_runs import (
    STACK,
    TINY,
    loss_of,
    recall_of,
    run_of,
    trainer_of,
)
from tests.model.worlds import positives

CPU = torch.device("cpu")


def labels_file(path, users=("user00000", "user00000", "user00002"), ads=("ad00003", "ad00004", "ad00003"),
                click=(0.9, 0.1, 0.5)):
    pq.write_table(pa.table({"user_id": list(users), "ad_id": list(ads), "click": pa.array(click, pa.float64())}), path)
    return path


def student_of(folder, teacher_file, **changes):
    """A student of a file; its run and those it is compared with name the same data folder."""
    run = RunFolder(folder)
    config = replace(TINY, teacher_file=str(teacher_file), **changes)
    run.create(config, folder.parent)
    return Trainer(Run(run, positives(), config))


def gradients(trainer, loss):
    trainer.run.model.zero_grad()
    loss.backward()
    heads = {id(head) for head in trainer.run.model.layer(-1).over_arch.heads()}
    shared = [p.grad for p in trainer.run.model.parameters() if id(p) not in heads and p.grad is not None]
    head = trainer.run.model.layer(-1).over_arch.head.weight.grad
    return head, sum(float(grad.to_dense().abs().sum() if grad.is_sparse else grad.abs().sum()) for grad in shared)


def test_a_teachers_gradient_reaches_shared_parts_by_the_auxiliary_head_alone(tmp_path):
    trainer = student_of(tmp_path / "run", labels_file(tmp_path / "soft.parquet"))
    objective, rng = trainer.objective, np.random.default_rng(0)
    trainer.run.model.eval()
    asked = objective._inputs(np.arange(12), trainer.folds[0])
    users = trainer.run.reader.users(asked.features, asked.history, asked.index)
    teacher = read_soft_labels(tmp_path / "soft.parquet", trainer.run.dataset, CPU)
    main, auxiliary = 0, 1  # the log has one task
    head, shared = gradients(trainer, objective._unsupervised(users, teacher.label(asked, rng), rng))
    assert head[main].abs().sum() == 0
    assert head[auxiliary].abs().sum() > 0
    assert shared > 0
    head, shared = gradients(trainer, loss_of(trainer, np.arange(12)))
    assert head[main].abs().sum() > 0
    assert head[auxiliary].abs().sum() == 0, "labeled pairs do not train the auxiliary head"
    assert shared > 0


def test_only_users_of_the_file_have_pairs_and_theirs_are_those_of_the_file(tmp_path):
    data = positives()
    teacher = read_soft_labels(labels_file(tmp_path / "soft.parquet"), data, CPU)
    asked = UserInputs(np.array([2, 1, 0]), data.users, data.users.multi, None)
    found = teacher.label(asked, np.random.default_rng(0))
    assert found.labeled.all(axis=1).tolist() == [True, False, True]
    assert not found.labeled[1].any()
    assert set(found.rows[0]) == {3}
    assert set(found.rows[2]) == {3, 4}
    assert torch.allclose(found.values[2, :, 0], torch.from_numpy(np.where(found.rows[2] == 3, 0.9, 0.1)).float())


def test_unlabelled_loss_equals_equation_3(tolerance=1e-6):
    logits, values = torch.tensor([[[0.5], [-1.0]]]), torch.tensor([[[0.7], [0.2]]])
    known = np.array([[True, False]])
    soft = SoftLabels(np.zeros((1, 2), np.int64), known, values, listwise=False)
    p = torch.sigmoid(torch.tensor(0.5))
    expected = -3 * (0.7 * p.log() + 0.3 * (1 - p).log())
    assert float(soft.loss(logits, torch.tensor([3.0]))) == pytest.approx(float(expected), abs=tolerance)
    nothing = SoftLabels(soft.rows, np.zeros((1, 2), bool), values, listwise=False)
    assert float(nothing.loss(logits, torch.tensor([3.0]))) == 0


def test_soft_labels_that_are_hard_give_the_supervised_loss(tolerance=1e-6):
    torch.manual_seed(0)
    logits, weights = torch.randn(4, 6, 2), torch.tensor([1.0, 0.5])
    hard = torch.zeros(4, 6, 2)
    hard[torch.arange(4), [3, 0, 5, 2]] = 1
    loss = listwise_loss(logits, hard, weights)
    expected = sum(w * torch.nn.functional.cross_entropy(logits[..., t], torch.tensor([3, 0, 5, 2]))
                   for t, w in enumerate(weights))
    assert float(loss) == pytest.approx(float(expected), abs=tolerance)
    soft = SoftLabels(np.zeros((4, 6), np.int64), np.ones((4, 6), bool), hard, listwise=False)
    assert float(soft.loss(logits, weights)) == pytest.approx(
        float(impression_loss(logits.flatten(0, 1), hard.flatten(0, 1), weights)), abs=tolerance)


def test_a_student_learns_from_a_run_what_the_log_does_not_weigh(tmp_path, learned_run, at_least=0.9):
    config = replace(TINY, epochs=4, teacher=str(learned_run.folder.path))
    folder = RunFolder(tmp_path / "student")
    folder.create(config, learned_run.data)
    run = Run(folder, positives(), config)
    Trainer(run).fit()
    assert recall_of(run, 4) > at_least
    with torch.no_grad():
        assert FoldedNetwork(run.model).scorers[0](*parts(run)).shape == (80, 1), "the auxiliary head is not served"
    heads = [one.model.layer(-1).over_arch.head.weight for one in (run, learned_run)]
    assert heads[0].shape == (2, heads[1].shape[1])


def parts(run):
    scorer = FoldedNetwork(run.model)
    items = torch.from_numpy(run.reader.all_items())
    user = scorer.user_part(torch.zeros(1, run.config.model.user_embedding))
    return user, scorer.item_part(items), torch.zeros(len(items), len(feature_names(run.dataset.spec)))


def refused(folder, error, match, **changes):
    run = RunFolder(folder / "student")
    config = replace(TINY, **changes)
    run.create(config, folder)
    with pytest.raises(error, match=match):
        Trainer(Run(run, positives(), config)).fit()
    assert not (folder / "student" / "weights.safetensors").exists(), "refused before anything was trained"


def test_a_teacher_file_of_other_ids_is_refused(tmp_path):
    path = labels_file(tmp_path / "soft.parquet", ads=("ad00003", "ad99999", "ad00003"))
    refused(tmp_path, DataError, r"column 'ad_id', row 1: value 'ad99999' is not in ads.parquet",
            teacher_file=str(path))


def test_a_soft_label_that_is_no_probability_is_refused(tmp_path):
    for bad in (float("nan"), 1.5, None):
        path = labels_file(tmp_path / "soft.parquet", click=(0.9, 0.5, bad))
        refused(tmp_path, DataError, r"column 'click', row 2: value .* is not a probability", teacher_file=str(path))


def test_a_teacher_without_a_column_for_a_task_is_refused(tmp_path):
    pq.write_table(pa.table({"user_id": ["user00000"], "ad_id": ["ad00003"]}), tmp_path / "soft.parquet")
    refused(tmp_path, DataError, "column 'click' is missing", teacher_file=str(tmp_path / "soft.parquet"))


def test_a_teacher_of_other_data_is_refused(tmp_path):
    RunFolder(tmp_path / "teacher").create(TINY, tmp_path / "elsewhere")
    refused(tmp_path, ConfigError, r"was trained on .*elsewhere, this run reads", teacher=str(tmp_path / "teacher"))


def test_a_teacher_that_knows_the_held_out_events_is_refused(tmp_path):
    RunFolder(tmp_path / "teacher").create(TINY, tmp_path)
    refused(tmp_path, ConfigError, "has seen events that this run is evaluated on", teacher=str(tmp_path / "teacher"),
            holdout=0.2)


def test_a_stack_is_no_teacher(tmp_path):
    run_of(tmp_path / "teacher", STACK)
    student = trainer_of(tmp_path / "student", replace(TINY, teacher=str(tmp_path / "teacher")))
    data = RunFolder(tmp_path / "teacher").config()[1]
    with pytest.raises(ConfigError, match="is a stack, whose logits of an item need its tree"):
        open_teacher(student.config, data, student.run.reader, student.objective.sampler, student.objective.events)


def test_the_main_head_learns_no_labels_of_pairs_that_were_not_shown(tmp_path):
    path = labels_file(tmp_path / "soft.parquet")
    refused(tmp_path, ConfigError, "learns labels of the log's own impressions alone, but .* has no timestamps",
            teacher_file=str(path), teacher_head="main")
