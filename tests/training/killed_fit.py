"""Fits the toy model in child processes that are killed again and again, until one reaches the end.

Run as a program: `killed_fit.py FOLDER MODE SEED KILLS`. Every child is forked from this process
after torch is loaded, so that a kill costs milliseconds. Prints the number of kills as JSON.
"""

import json
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

import torch
import torch._dynamo  # optimisers load it; once here instead of in every child

sys.path.insert(0, str(Path(__file__).parent))
from training_toy import Toy, settings, toy_rows

from gen2reco.training import checkpoint, fit, fresh_model

EPOCHS = 12


def train(folder: Path, *, resume: bool):
    """Dropout, running means, averaged weights, two objectives, signed weights: all there is."""
    train, validation = toy_rows(1200, seed=1), toy_rows(300, seed=2)
    train.weight[::7] = -0.5
    model = fresh_model(lambda: Toy(width=24, dropout=0.2, norm=True, several=True), seed=1)
    chosen = settings(epochs=EPOCHS, batch=32, ema=0.99, weight_decay=1e-3)
    # Checkpoints within epochs too, as often as the loop looks at the clock.
    result = fit(
        model, train, validation, chosen, folder=folder, resume=resume, checkpoint_seconds=0.01
    )
    return result, model


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def arm(mode: str, chance: random.Random, seconds: float) -> None:
    """Prepare this process's death, long before a fit of so many seconds is through.

    Seconds are the processor's: other work on the machine does not delay the one more than the
    other.
    """
    if mode == "time":
        signal.signal(signal.SIGPROF, signal.SIG_DFL)  # ends the process, nothing is cleaned up
        signal.setitimer(signal.ITIMER_PROF, max(chance.uniform(0.0, seconds / 5), 1e-4))
        return
    count = [chance.randrange(1, 3)]
    if mode == "write":  # the temporary file is there, half of it
        original = checkpoint.save

        def torn(*args, **options):
            content = original(*args, **options)
            count[0] -= 1
            if count[0] == 0:
                temporary = Path(sys.argv[1]) / f".{checkpoint.CHECKPOINT}.tmp"
                temporary.write_bytes(content[: chance.randrange(len(content))])
                die()
            return content

        checkpoint.save = torn
    else:  # just before or just after the rename
        original = Path.replace

        def rename(self, target):
            count[0] -= 1
            if count[0] == 0 and chance.random() < 0.5:
                die()
            moved = original(self, target)
            if count[0] == 0:
                die()
            return moved

        Path.replace = rename


def main() -> None:
    folder, mode, seed, most = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        begin = time.process_time()
        train(Path(scratch), resume=False)
        seconds = time.process_time() - begin
    kills = 0
    while True:
        child = os.fork()
        if child == 0:
            if kills < most:
                arm(mode, random.Random(f"{seed} {kills}"), seconds)  # noqa: S311
            train(folder, resume=True)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0:
            break
        if not os.WIFSIGNALED(status):
            sys.exit("a child failed")
        kills += 1
    sys.stdout.write(json.dumps({"kills": kills}))


if __name__ == "__main__":
    main()
