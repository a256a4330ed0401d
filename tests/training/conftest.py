"""Makes the toy model importable, in worker processes too."""

import sys
from pathlib import Path

import pytest
import torch

from gen2reco.training import loop

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(autouse=True)
def one_thread():
    """Small networks are fastest on one thread, and give the same bits on any machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Stopped(Exception):  # noqa: N818
    """Stands for a kill inside an epoch."""


@pytest.fixture
def stopped(monkeypatch):
    """Runs a fit that is stopped at every so many-th checkpoint inside an epoch, and resumes it.

    Gives what the last session returns, and the number of stops.
    """
    original, places = loop.save_checkpoint, []

    def run(fit, every):
        def stop_sometimes(folder, checkpoint):
            original(folder, checkpoint)
            places.append(checkpoint.state["position"])
            if places[-1] and len(places) % every == 0:
                raise Stopped

        monkeypatch.setattr(loop, "save_checkpoint", stop_sometimes)
        stops = 0
        while True:
            try:
                return fit(resume=True, checkpoint_seconds=0.0), stops
            except Stopped:
                stops += 1

    return run
