"""Point masses as intervals: order kept, exact values back, widths within their limits."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gen2reco.features.gap import LEAST_WIDTH, MOST_WIDTH, Gap

ROWS = 5000
CONTINUOUS = np.random.default_rng(3).standard_normal(ROWS)
INF = np.inf


def fit(images: list[float], counts: list[int], continuous: np.ndarray = CONTINUOUS) -> Gap:
    values = [10.0 + k for k in range(len(images))]
    return Gap.fit(continuous, values, np.array(images), np.array(counts))


def trip(gap: Gap, images: list[float], noise: float = 0.5) -> None:
    """Open and close: continuous values, and each point mass at both ends of its interval."""
    nothing = gap.find(CONTINUOUS)
    opened = gap.open(CONTINUOUS, nothing, np.full(ROWS, noise))
    order = np.argsort(CONTINUOUS)
    assert (np.diff(opened[order]) > 0).all()
    closed, hits = gap.close(opened)
    np.testing.assert_allclose(closed, CONTINUOUS, atol=1e-12)
    assert not any(hit.any() for hit in hits)
    for edge in (0.001, noise, 0.999):
        for k in range(len(images)):
            rows = gap.find(np.full(3, 10.0 + k))
            inside = np.float32(gap.open(np.full(3, images[k]), rows, np.full(3, edge)))
            for atom, hit in zip(gap.atoms, gap.close(inside.astype(float))[1], strict=True):
                assert hit.all() == (atom.value == 10.0 + k)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.tuples(
            st.one_of(st.floats(-6, 6), st.sampled_from([-INF, INF])), st.integers(1, 100_000)
        ),
        min_size=1,
        max_size=6,
    ),
    st.floats(0.001, 0.999),
)
def test_any_set_of_point_masses_opens_and_closes(masses, noise):
    images = [image for image, _ in masses]
    gap = fit(images, [count for _, count in masses])
    starts = [atom.start for atom in gap.atoms]
    ends = [atom.end for atom in gap.atoms]
    assert all(b >= a - 1e-9 for a, b in zip(ends, starts[1:], strict=False))
    assert sum(atom.share for atom in gap.atoms) < 1
    trip(gap, images, noise)
    assert Gap.from_state(json.loads(json.dumps(gap.state(), allow_nan=False))) == gap


def test_a_mass_in_the_middle_parts_the_values():
    gap = fit([0.0], [ROWS])
    (atom,) = gap.atoms
    assert (atom.side, atom.start) == ("middle", 0.0)
    opened = gap.open(np.array([-1.0, 1.0]), gap.find(np.zeros(2)), np.full(2, 0.5))
    assert opened.tolist() == [-1.0, 1.0 + atom.width]


def test_infinite_images_lie_beyond_the_continuous_values():
    gap = fit([INF, -INF, -INF], [100, 50, 60])
    assert [atom.side for atom in gap.atoms] == ["low", "low", "high"]
    assert [atom.value for atom in gap.atoms] == [11.0, 12.0, 10.0]
    assert gap.atoms[1].end < CONTINUOUS.min()
    assert gap.atoms[2].start > CONTINUOUS.max()
    far = gap.close(np.array([-1e9, 1e9]))[1]
    assert [hit.tolist() for hit in far] == [[True, False], [False, False], [False, True]]
    beyond = gap.open(np.array([-1e9, 1e9]), gap.find(np.zeros(2)), np.full(2, 0.5))
    closed, hits = gap.close(np.float32(beyond).astype(float))
    assert not any(hit.any() for hit in hits)
    assert np.isfinite(closed).all()


@pytest.mark.parametrize("share", [0.001, 0.01, 0.05, 0.2])
@pytest.mark.parametrize("image", [-1.0, 0.0, 0.5])
def test_inside_and_beside_the_density_is_alike(share, image):
    count = int(share * ROWS / (1 - share))
    (atom,) = fit([image], [count]).atoms
    inside = atom.share / atom.width
    beside = (1 - share) * np.exp(-(image**2) / 2) / np.sqrt(2 * np.pi)
    if atom.width > 1.01 * LEAST_WIDTH:
        assert inside == pytest.approx(beside, rel=0.3)
    else:
        assert inside < 1.1 * beside


def test_widths_stay_within_their_limits():
    (much,) = fit([0.0], [50 * ROWS]).atoms
    assert much.width == pytest.approx(MOST_WIDTH, rel=0.05)
    (rare,) = fit([-INF], [5]).atoms
    assert rare.width == pytest.approx(LEAST_WIDTH, rel=0.05)
    few = np.array([0.3])
    (alone,) = fit([0.0], [100], few).atoms
    assert np.isfinite(alone.width)
    assert alone.width > 0


def test_log_width_belongs_to_the_rows_of_the_mass():
    gap = fit([0.0], [500])
    result = gap.log_width(gap.find(np.array([10.0, 0.3])), 2)
    assert result.tolist() == [np.log(gap.atoms[0].width), 0.0]
