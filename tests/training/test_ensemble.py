import shutil
from functools import partial

import numpy as np
import pytest
import torch
from training_toy import Fatal, Toy, settings, toy_rows

from gen2reco.errors import OutputExistsError, TrainingError
from gen2reco.rng import Keys
from gen2reco.training.ensemble import Ensemble, bootstrap_weights, fit_ensembles

TRAIN, VALIDATION = toy_rows(1500, seed=1), toy_rows(500, seed=2)


def keys(events):
    events = np.asarray(events)
    return Keys.from_columns(
        {"run": np.ones(len(events), int), "luminosityBlock": events // 100, "event": events}
    )


def test_the_nominal_member_takes_every_row_once():
    assert bootstrap_weights(100, seed=1, member=0).tolist() == [1.0] * 100
    assert bootstrap_weights(keys(range(10)), seed=1, member=0).tolist() == [1.0] * 10


@pytest.mark.parametrize("rows", [50_000, keys(range(50_000))], ids=["rows", "events"])
def test_bootstrap_weights_are_poisson(rows):
    weights = bootstrap_weights(rows, seed=1, member=3)
    counts = np.bincount(weights.astype(int), minlength=4)[:4] / len(weights)
    assert counts == pytest.approx([0.3679, 0.3679, 0.1839, 0.0613], abs=0.008)
    assert weights.mean() == pytest.approx(1, abs=0.02)
    other = bootstrap_weights(rows, seed=1, member=4)
    assert abs(np.corrcoef(weights, other)[0, 1]) < 0.02
    assert abs(np.corrcoef(weights, bootstrap_weights(rows, seed=2, member=3))[0, 1]) < 0.02


def test_rows_of_one_event_share_its_weight_in_any_order():
    events = np.repeat(np.arange(1000), 3)
    weights = bootstrap_weights(keys(events), seed=1, member=1)
    assert np.array_equal(weights[::3], weights[1::3])
    shuffled = np.random.default_rng(0).permutation(len(events))
    again = bootstrap_weights(keys(events[shuffled]), seed=1, member=1)
    assert np.array_equal(weights[shuffled], again)


def ensemble(folder, *, members=3, epochs=2, build=None, **options):
    chosen = settings(members=members, epochs=epochs)
    build = build or partial(Toy, width=8)
    return Ensemble(build, TRAIN, VALIDATION, chosen, folder, **options)


def run(folder, *, members=3, keys=None, **options):
    return fit_ensembles([ensemble(folder, members=members, keys=keys)], **options)[0]


def weights(members):
    return [member.model.mean[0].weight for member in members]


def test_members_differ_and_the_nominal_one_uses_all_rows(tmp_path):
    members = run(tmp_path, keys=keys(range(1500)))
    assert [m.number for m in members] == [m.result.member for m in members] == [0, 1, 2]
    assert members[0].result.rows == 1500
    assert all(abs(m.result.rows - 1500) < 200 for m in members[1:])
    assert len({m.result.rows for m in members}) == 3
    first, second, third = weights(members)
    assert not torch.equal(first, second)
    assert not torch.equal(second, third)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["member-0", "member-1", "member-2"]


def test_members_that_are_done_are_not_repeated(tmp_path):
    two = run(tmp_path, members=2)
    seen = []
    three = run(tmp_path, resume=True, progress=seen.append)
    assert {p.member for p in seen if p.kind == "epoch"} == {2}
    assert torch.equal(weights(two)[1], weights(three)[1])
    with pytest.raises(OutputExistsError):
        run(tmp_path)


def test_processes_give_what_one_after_the_other_gives(tmp_path):
    alone = run(tmp_path / "a", members=2)
    seen = []
    together = run(tmp_path / "b", members=2, processes=2, progress=seen.append)
    assert {p.member for p in seen if p.kind == "end"} == {0, 1}
    for one, other in zip(weights(alone), weights(together), strict=True):
        assert torch.equal(one, other)


@pytest.mark.slow
def test_a_killed_process_is_one_clear_error(tmp_path):
    with pytest.raises(TrainingError, match="was killed, perhaps for lack of memory"):
        fit_ensembles([ensemble(tmp_path, members=2, build=Fatal)], processes=2)


def test_an_error_in_a_process_arrives_as_it_is(tmp_path):
    run(tmp_path, members=2)
    with pytest.raises(TrainingError, match=r"settings\.epochs was 2 and is now 3"):
        fit_ensembles([ensemble(tmp_path, members=2, epochs=3)], resume=True, processes=2)


def test_parts_are_fitted_side_by_side_and_report_by_name(tmp_path):
    pair = [ensemble(tmp_path / name, members=2, part=name) for name in ("jets", "muons")]
    seen = []
    alone = fit_ensembles(pair)
    for one in pair:
        shutil.rmtree(one.folder)
    together = fit_ensembles(pair, processes=2, progress=seen.append)
    ends = {report.fit for report in seen if report.kind == "end"}
    assert ends == {("jets", 0), ("jets", 1), ("muons", 0), ("muons", 1)}
    for one, other in zip(alone, together, strict=True):
        assert all(map(torch.equal, weights(one), weights(other)))
