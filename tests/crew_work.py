"""What the worker processes of `test_workers` do; they import it by name."""

import os
import time

from gen2reco.errors import EventFileError


def squares(offset):
    """Work that reports a task's square and then its negative."""

    def work(task, report):
        report(offset + task * task)
        report(-task)

    return work


def sleepers():
    """Work that takes longer for the first of every two tasks."""

    def work(task, report):
        for step in range(3):
            time.sleep(0.03 * (task % 2 == 0))
            report((task, step))

    return work


def failing():
    """Work whose fourth task meets a damaged file."""

    def work(task, report):
        report(task)
        if task == 3:
            raise EventFileError("damaged", file="a.root", branch="Jet_pt")

    return work


def in_turn():
    """Work whose tasks fail, the later ones at once."""

    def work(task, report):
        if task < 2:
            time.sleep(0.2)
        report(task)
        if task >= 1:
            raise EventFileError("damaged", row=task)

    return work


def functions():
    """Work that reports what pickle cannot take."""

    def work(task, report):
        report(lambda: task)

    return work


def arrays():
    """Work that turns arrays round."""

    def work(task, report):
        report({name: array[::-1] for name, array in task.items()})

    return work


class StubbornError(Exception):
    """Cannot be made from its arguments, so pickle cannot bring it back."""

    def __init__(self, one, two):
        super().__init__(f"{one} and {two}")


def stubborn():
    """Fail to begin."""
    raise StubbornError(1, 2)


def busy(size, given=b""):
    """Work that reports all the time, so that a kill finds it in the middle of a message."""

    def work(task, report):
        for _ in range(task):
            report(b"x" * size)

    return work


def leaving(code):
    """Work that takes its process along."""

    def work(task, report):
        os._exit(code)

    return work
