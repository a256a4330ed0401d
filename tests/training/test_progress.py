import io
import math

import pytest

from gen2reco.training import progress as module
from gen2reco.training.progress import PlainLines, Progress, show_progress


def report(kind="epoch", epoch=1, **changes):
    values = {
        "kind": kind,
        "member": 0,
        "epoch": epoch,
        "epochs": 24,
        "step": 97 * epoch,
        "steps": 97 * 24,
        "train": 3.25,
        "validation": 3.5,
        "best_epoch": epoch,
        "rows_per_second": 45_678.0,
        "seconds": 2.0 * epoch,
        "remaining": 2.0 * (24 - epoch),
    }
    return Progress(**{**values, **changes})


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def test_a_line_per_epoch_where_nobody_watches(clock):
    stream = io.StringIO()
    with show_progress(stream) as show:
        assert isinstance(show, PlainLines)
        show(report("start", 0, train=math.nan, validation=math.nan))
        for epoch in (1, 2):
            clock[0] += 5
            show(report(epoch=epoch))
    assert stream.getvalue().splitlines() == [
        f"epoch  {k}/24  train 3.2500  validation 3.5000 (best: epoch {k})  45 678 rows/s  {left}"
        for k, left in ((1, "2 s  about 46 s left"), (2, "4 s  about 44 s left"))
    ]


def test_long_epochs_are_heard_of_every_ten_seconds(clock):
    stream = io.StringIO()
    show = PlainLines(stream)
    show(report("start", 0))
    for _ in range(50):
        clock[0] += 0.5
        show(report("batch"))
    assert len(stream.getvalue().splitlines()) == 2


def test_very_short_epochs_do_not_flood_but_the_last_is_shown(clock):
    stream = io.StringIO()
    show = PlainLines(stream)
    show(report("start", 0))
    for epoch in range(1, 25):
        clock[0] += 0.01
        show(report(epoch=epoch))
    show(report("end", 24))
    (line,) = stream.getvalue().splitlines()
    assert line.startswith("epoch 24/24")
    assert "left" not in line


def test_members_are_named():
    stream = io.StringIO()
    PlainLines(stream)(report(member=3))
    assert stream.getvalue().startswith("member 3, epoch")


def test_a_bar_on_a_terminal():
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    stream = Terminal()
    with show_progress(stream) as show:
        show(report("start", 0, train=math.nan, validation=math.nan, remaining=math.nan))
        show(report(epoch=12))
        show(report("end", 24))
    assert "epoch 24/24" in stream.getvalue()
    assert "validation 3.5000" in stream.getvalue()
