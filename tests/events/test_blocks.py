import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gen2reco.events import Jagged
from gen2reco.events.blocks import Blocks, cut


def piece(start, stop):
    """Events whose values tell their number; event i has i % 3 objects."""
    events = np.arange(start, stop)
    counts = events % 3
    return {
        "event": events,
        "Jet_pt": Jagged(np.concatenate([[0], np.cumsum(counts)]), np.repeat(events, counts)),
    }


@given(st.lists(st.integers(1, 9), min_size=1, max_size=12), st.integers(1, 20))
def test_blocks_do_not_depend_on_the_pieces(sizes, size):
    edges = np.concatenate([[0], np.cumsum(sizes)])
    pieces = [piece(a, b) for a, b in itertools.pairwise(edges)]
    total = int(edges[-1])
    blocks = list(cut(pieces, size, total))
    assert [len(b["event"]) for b in blocks] == [
        min(size, total - i) for i in range(0, total, size)
    ]
    start = 0
    for block in blocks:
        expected = piece(start, start + len(block["event"]))
        np.testing.assert_array_equal(block["event"], expected["event"])
        np.testing.assert_array_equal(block["Jet_pt"].offsets, expected["Jet_pt"].offsets)
        np.testing.assert_array_equal(block["Jet_pt"].content, expected["Jet_pt"].content)
        start += len(block["event"])


def test_a_whole_piece_is_passed_on_as_it_is():
    blocks = Blocks()
    first = piece(0, 5)
    blocks.append(first, 5)
    assert blocks.take(5) is first
    assert len(blocks) == 0


def test_a_block_within_a_piece_is_a_view():
    blocks = Blocks()
    first = piece(0, 9)
    blocks.append(first, 9)
    blocks.take(3)
    assert np.shares_memory(blocks.take(4)["Jet_pt"].content, first["Jet_pt"].content)
