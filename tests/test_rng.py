"""Random numbers: Philox as published, a row alone decides its numbers, and honest statistics."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from scipy import special, stats

from gen2reco import rng
from gen2reco.errors import EventFileError
from gen2reco.rng import Keys, hash64, hash_fraction, noise

MANY = 40_000


def rows(n: int, *, run: int = 1, first: int = 1, number: int = 0) -> Keys:
    return Keys(
        np.full(n, run, np.uint32),
        np.full(n, 1, np.uint32),
        np.arange(first, first + n, dtype=np.uint64),
        np.full(n, number, np.uint16),
    )


def mixed(n: int) -> Keys:
    source = np.random.default_rng(5)
    return Keys(
        source.integers(0, 2**32, n, np.uint32),
        source.integers(0, 2**32, n, np.uint32),
        source.integers(0, 2**64, n, np.uint64),
        source.integers(0, 2**16, n, np.uint16),
    )


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [  # known answers distributed with Random123
        ([0] * 4, [0] * 2, "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ([0xFFFFFFFF] * 4, [0xFFFFFFFF] * 2, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        (
            [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
            [0xA4093822, 0x299F31D0],
            "d16cfe09 94fdcceb 5001e420 24126ea1",
        ),
    ],
)
def test_philox_gives_the_known_answers(counter, key, expected):
    words = tuple(np.empty(3, np.uint64) for _ in range(4))
    columns = tuple(np.full(3, word, np.uint64) for word in counter)
    rng._blocks(columns, np.uint64(key[0] | key[1] << 32), words)
    for i in range(3):
        assert " ".join(f"{word[i]:08x}" for word in words) == expected


def test_the_inverse_normal_distribution_is_exact_to_rounding():
    source = np.random.default_rng(1)
    high = source.integers(0, 2**32, 50_000).astype(np.uint64)
    high[:25_000] >>= source.integers(0, 33, 25_000).astype(np.uint64)  # far into the lower tail
    low = source.integers(0, 2**32, 50_000).astype(np.uint64)
    high[:2], low[:2] = [0, 2**32 - 1], [0, 2**32 - 1]
    z, mirrored = np.empty(50_000), np.empty(50_000)
    rng._normals(high, low, np.empty(50_000, np.uint64), z)
    p = (((high << np.uint64(32)) | low) >> np.uint64(12)).astype(np.float64) * 2.0**-52 + 2.0**-53
    upper = p > 0.5
    np.testing.assert_allclose(z[~upper], special.ndtri(p[~upper]), rtol=3e-15)
    assert z[0] == -z[1] == pytest.approx(-8.2095, abs=1e-4)
    flip = np.uint64(2**32 - 1)
    rng._normals(high ^ flip, low ^ flip, np.empty(50_000, np.uint64), mirrored)
    assert_array_equal(mirrored, -z)


def test_the_numbers_are_the_same_for_ever():
    keys = Keys([1, 1, 2], [1, 1, 3], [5, 6, 2**62], [0, 1, 2])
    expected = [
        [-1.0393263101577759, 2.0939269065856934, -2.0772795677185059, 0.22825843, 0.87842447],
        [-0.43832817673683167, -1.8510438203811646, -0.99388593435287476, 0.17402536, 0.26085526],
    ]
    seen = noise(keys, seed=1, part="event", normal=3, uniform=2)
    np.testing.assert_array_equal(seen[:2], np.array(expected, np.float32))
    assert hash64() == 14087677454934409008
    assert hash64("a", 1) == 7997913310250452632
    assert hash64("a1") == 16168442070470351465
    assert hash64("é") == 12726847609043967105
    assert hash64("1") == 1852838028048813873
    assert hash64(1) == 11828975377538135090
    assert hash64(-1) == 3272774319385184072
    assert hash_fraction(keys, "split").tolist()[:2] == [0.49557341337822947, 0.9174369785597964]


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_a_row_has_its_numbers_in_any_batch_and_order(data):
    keys = mixed(1500)
    whole = noise(keys, seed=3, part="jets", normal=5, uniform=6, replica=2)
    n = data.draw(st.integers(0, 700))
    index = np.array(data.draw(st.lists(st.integers(0, 1499), min_size=n, max_size=n)), np.int64)
    some = noise(keys.take(index), seed=3, part="jets", normal=5, uniform=6, replica=2)
    assert_array_equal(some, whole[index])


def test_a_lane_does_not_depend_on_the_number_of_lanes():
    keys = mixed(700)
    wide = noise(keys, seed=3, part="jets", normal=11, uniform=9)
    for normal, uniform in [(0, 1), (1, 0), (2, 3), (5, 4), (10, 9)]:
        some = noise(keys, seed=3, part="jets", normal=normal, uniform=uniform)
        assert some.shape == (700, normal + uniform)
        assert_array_equal(some[:, :normal], wide[:, :normal])
        assert_array_equal(some[:, normal:], wide[:, 11 : 11 + uniform])
    assert noise(keys, seed=3, part="jets", normal=0).shape == (700, 0)
    assert noise(keys.take(slice(0, 0)), seed=3, part="jets", normal=2).shape == (0, 2)


def test_everything_that_names_a_row_changes_its_numbers():
    def draw(keys=None, **changed):
        settings = {"seed": 1, "part": "event", "replica": 0, "stream": 0, **changed}
        return noise(keys or rows(2000), normal=2, uniform=1, **settings)

    reference = draw()
    variants = {
        "seed": draw(seed=2),
        "part": draw(part="jets"),
        "replica": draw(replica=1),
        "stream": draw(stream=1),
        "run": draw(rows(2000, run=2)),
        "object": draw(rows(2000, number=1)),
        "event, low word": draw(rows(2000, first=10_001)),
        "event, high word": draw(rows(2000, first=2**32 + 1)),
        "negative seed": draw(seed=-1),
    }
    for what, other in variants.items():
        assert not (other == reference).any(), what
        assert abs(np.corrcoef(other[:, 0], reference[:, 0])[0, 1]) < 0.1, what


def test_one_replica_per_row_equals_one_call_per_replica():
    keys = rows(300)
    replica = np.arange(300) % 3
    together = noise(keys, seed=1, part="event", normal=2, replica=replica)
    for k in range(3):
        alone = noise(keys, seed=1, part="event", normal=2, replica=k)
        assert_array_equal(together[replica == k], alone[replica == k])
    for wrong in (-1, 2**16):
        with pytest.raises(ValueError, match="65535"):
            noise(keys, seed=1, part="event", normal=1, replica=wrong)


def test_normal_numbers_are_normal():
    z = noise(rows(MANY), seed=11, part="event", normal=8).astype(np.float64)
    for lane in z.T:
        assert stats.kstest(lane, "norm").pvalue > 1e-4
    flat = z.ravel()
    n = flat.size
    for power, expected, spread in [(1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96), (6, 15, 10170)]:
        assert abs(np.mean(flat**power) - expected) < 5 * np.sqrt(spread / n)
    for cut in (3.0, 4.0):
        beyond = np.count_nonzero(np.abs(flat) > cut)
        mean = 2 * n * stats.norm.sf(cut)
        assert abs(beyond - mean) < 5 * np.sqrt(mean)


def test_uniform_numbers_are_uniform_and_strictly_inside():
    u = noise(rows(MANY), seed=11, part="event", normal=0, uniform=9)
    assert u.dtype == np.float32
    assert u.min() > 0
    assert u.max() < 1
    for lane in u.T.astype(np.float64):
        assert stats.kstest(lane, "uniform").pvalue > 1e-4


def test_lanes_replicas_objects_and_neighbouring_events_are_uncorrelated():
    settings = {"seed": 4, "part": "event"}
    z = noise(rows(MANY), normal=6, uniform=5, **settings)
    replica = noise(rows(MANY), normal=6, uniform=5, replica=1, **settings)
    other = noise(rows(MANY, number=1), normal=6, uniform=5, **settings)
    columns = np.concatenate([z[1:], replica[1:], other[1:], z[:-1]], axis=1).astype(np.float64)
    size = columns.shape[1]
    for transform in (lambda x: x, lambda x: (x - x.mean(0)) ** 2):
        correlation = np.corrcoef(transform(columns), rowvar=False)
        off = correlation[~np.eye(size, dtype=bool)]
        assert np.abs(off).max() < 5.5 / np.sqrt(MANY)


def test_fractions_depend_on_the_event_alone():
    keys = mixed(MANY)
    fraction = hash_fraction(keys, "split")
    assert fraction.min() >= 0
    assert fraction.max() < 1
    assert stats.kstest(fraction, "uniform").pvalue > 1e-4
    moved = Keys(keys.run, keys.luminosityBlock, keys.event, keys.object ^ 1)
    assert_array_equal(hash_fraction(moved, "split"), fraction)
    columns = {name: getattr(keys, name) for name in ("run", "luminosityBlock", "event")}
    assert_array_equal(hash_fraction(columns, "split"), fraction)
    assert abs(np.corrcoef(hash_fraction(keys, "halves"), fraction)[0, 1]) < 5 / np.sqrt(MANY)
    counts = np.histogram(hash_fraction(rows(MANY), "split"), 50, (0, 1))[0]
    assert stats.chisquare(counts).pvalue > 1e-4


def test_hashes_tell_text_numbers_and_places_apart():
    items = [
        ("ab",),
        ("a", "b"),
        ("b", "a"),
        ("1",),
        (1,),
        (-1,),
        (0,),
        ("",),
        ("", ""),
        (2**80,),
        (),
    ]
    assert len({hash64(*item) for item in items}) == len(items)
    assert all(0 <= hash64(*item) < 2**64 for item in items)


def test_keys_are_checked_taken_and_joined():
    keys = Keys.from_columns(
        {"run": np.array([1, 2]), "luminosityBlock": np.array([3, 4]), "event": np.array([5, 6])}
    )
    assert [keys.run.dtype, keys.event.dtype, keys.object.dtype] == ["uint32", "uint64", "uint16"]
    assert keys.object.tolist() == [0, 0]
    joined = Keys.concatenate([keys, keys.take(np.array([True, False]))])
    assert len(joined) == 3
    assert joined.event.tolist() == [5, 6, 5]
    assert len(Keys.concatenate([])) == 0
    with pytest.raises(EventFileError, match=r"branch event, row 1.*-6"):
        Keys([1, 1], [1, 1], [5, -6], [0, 0])
    with pytest.raises(EventFileError, match=r"branch object.*70000"):
        Keys([1], [1], [5], [70_000])
    with pytest.raises(EventFileError, match="integers"):
        Keys([1.5], [1], [5], [0])
    with pytest.raises(EventFileError, match="length"):
        Keys([1], [1], [5, 6], [0])
