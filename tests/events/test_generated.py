import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from gen2reco.events import generated
from gen2reco.events.generated import Generated


def test_sums_per_run_and_blocks_once():
    counted = Generated()
    counted.add(np.array([2, 1, 1]), np.array([5, 7, 7]), np.array([1.0, -1.0, 0.5]))
    counted.add(np.array([2]), np.array([5]), np.array([2.0]))
    runs, blocks = counted.tables()
    assert runs["run"].tolist() == [1, 2]
    assert runs["genEventCount"].tolist() == [2, 2]
    assert runs["genEventSumw"].tolist() == [-0.5, 3.0]
    assert runs["genEventSumw2"].tolist() == [1.25, 5.0]
    assert list(zip(blocks["run"].tolist(), blocks["luminosityBlock"].tolist(), strict=True)) == [
        (1, 7),
        (2, 5),
    ]
    assert runs["run"].dtype == blocks["luminosityBlock"].dtype == np.uint32


@settings(deadline=None, max_examples=25)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=20))
def test_sums_do_not_depend_on_the_pieces(sizes):
    total = sum(sizes)
    rng = np.random.default_rng(1)
    run, block, weight = (
        rng.integers(1, 3, total),
        rng.integers(1, 4, total),
        rng.normal(size=total),
    )
    block_size, generated._BLOCK = generated._BLOCK, 16
    try:
        whole, pieces = Generated(), Generated()
        whole.add(run, block, weight)
        edges = np.concatenate([[0], np.cumsum(sizes)])
        for a, b in itertools.pairwise(edges):
            pieces.add(run[a:b], block[a:b], weight[a:b])
        for one, two in zip(whole.tables(), pieces.tables(), strict=True):
            for name in one:
                np.testing.assert_array_equal(one[name], two[name])
    finally:
        generated._BLOCK = block_size


def test_nothing_counted_is_an_empty_table():
    runs, blocks = Generated().tables()
    assert len(runs["run"]) == len(blocks["run"]) == 0
