"""`tune`: search the settings of a study for the best validation, never looking at the test part.

Trials are Optuna's; they live in a journal file, so that a search that was killed goes on, and
several processes may search at once. The extra `[tune]` installs Optuna.
"""

from __future__ import annotations

import math
import os
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from ruamel.yaml import YAML

from gen2reco import models
from gen2reco.errors import OutputExistsError, StudyError, TrainingError
from gen2reco.events import open_events
from gen2reco.extras import require
from gen2reco.study import Study, load_study
from gen2reco.verbs.inputs import naming, refuse_negative
from gen2reco.verbs.train import fit_alone
from gen2reco.verbs.training_rows import bundled_sample, read_tables

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gen2reco.rows.tables import Table
    from gen2reco.training import Progress

JOURNAL, BEST = "journal.log", "best.yaml"
STARTUP, WARMUP = 8, 10
"""Trials before any is pruned, and epochs of a trial before it can be."""


class Range(BaseModel):
    """Values that one setting may take: some `choices`, or numbers from `low` to `high`."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    choices: tuple[Any, ...] = Field(default=(), description="one of these")
    low: float = 0.0
    high: float = 0.0
    log: bool = Field(default=False, description="even in the logarithm")
    whole: bool = Field(default=False, description="whole numbers")

    @model_validator(mode="after")
    def _is_one(self) -> Range:
        if not self.choices and not self.low < self.high:
            raise ValueError("give `choices`, or `low` below `high`")
        if self.log and self.low <= 0:
            raise ValueError("a logarithm begins above 0")
        return self

    @property
    def ends(self) -> tuple[Any, ...]:
        """The choices, or the two ends: what is allowed at these is allowed between them."""
        if self.choices:
            return self.choices
        return (int(self.low), int(self.high)) if self.whole else (self.low, self.high)

    def suggest(self, trial: Any, name: str) -> Any:
        """Return a value of a trial; lists among the choices go by their text."""
        if self.choices:
            texts = {_text(choice): choice for choice in self.choices}
            return texts[trial.suggest_categorical(name, list(texts))]
        if self.whole:
            return trial.suggest_int(name, int(self.low), int(self.high), log=self.log)
        return trial.suggest_float(name, self.low, self.high, log=self.log)


def _text(choice: Any) -> str:
    return str(list(choice)) if isinstance(choice, list | tuple) else str(choice)


_FIT: dict[str, Range] = {
    "training.batch": Range(choices=(128, 256, 512)),
    "training.learning_rate": Range(low=5e-4, high=1e-2, log=True),
}
_VAE: dict[str, Range] = {
    **_FIT,
    "model.activation": Range(choices=("silu", "relu", "leaky_relu")),
    "model.latent": Range(low=6, high=24, whole=True),
    "model.hidden": Range(
        choices=tuple((width,) * layers for width in (64, 128, 192) for layers in (1, 2, 3))
    ),
    "model.beta": Range(low=0.5, high=3.0, log=True),
}
_FLOW: dict[str, Range] = {
    **_FIT,
    "model.couplings": Range(low=4, high=12, whole=True),
    "model.hidden": Range(choices=tuple((width, width) for width in (32, 64, 96))),
    "model.bins": Range(choices=(6, 8, 12, 16)),
    "model.dropout": Range(low=0.0, high=0.4),
}


def default_space(study: Study) -> dict[str, Range]:
    """Return the settings that are searched where none are named, by the family of the first part.

    Raises:
        StudyError: there is no default for the family.
    """
    model = study.parts[0].model
    kind = model.get("kind")
    if kind == "flow":
        return dict(_FLOW)
    if kind == "mixed":
        return {k.replace("model.", "model.continuous."): v for k, v in _FLOW.items()}
    if kind != "vae":
        raise StudyError(f"no default space for kind {kind!r}: name settings with --space")
    space = dict(_VAE)
    if model.get("discriminator"):
        space["model.alpha"] = Range(low=0.01, high=1.0, log=True)
        space["model.gamma"] = Range(low=0.001, high=1.0, log=True)
    if model.get("posterior") == "flow":
        space["model.flow"] = Range(choices=("coupling", "planar"))
        space["model.flow_steps"] = Range(low=2, high=10, whole=True)
    return space


@dataclass(frozen=True)
class Tuned:
    """Outcome of `tune`.

    Attributes:
        folder: journal, best study and pictures.
        trials: finished and pruned ones of all processes and sessions.
        pruned: how many of them were pruned.
        value: the best trial's monitored quantity on the validation rows.
        start: that of the study as it was, the first trial.
        settings: what the best trial set.
        study: file with the best study, ready to train.
        seconds: wall time of this session.
    """

    folder: Path
    trials: int
    pruned: int
    value: float
    start: float
    settings: Mapping[str, Any]
    study: Path
    seconds: float

    def __str__(self) -> str:
        lines = [
            f"{self.trials} trials ({self.pruned} pruned) in {self.folder}",
            f"validation: {self.start:.4f} -> {self.value:.4f}",
            *(f"  {name}: {value}" for name, value in self.settings.items()),
            f"best study: {self.study}",
        ]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return f"<pre>{escape(str(self))}</pre>"


def tune(
    study: str | Path,
    files: Sequence[str | Path] | str | Path = (),
    output: str | Path = "tuning",
    *,
    trials: int = 40,
    space: Mapping[str, Range | Mapping[str, Any]] | None = None,
    overrides: Mapping[str, Any] | None = None,
    monitor: Literal["distributions", "loss"] = "distributions",
    repeats: int = 1,
    seed: int = 1,
    resume: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> Tuned:
    """Search the settings of a study of one part with Optuna.

    The first trial is the study as it is. What counts is the last epoch's monitored quantity on the
    validation rows (the best epoch's with `keep: best`); trials that lag behind the median are
    pruned. The test part is never read.

    Args:
        study: path of a study file or name of a shipped study.
        files: files or globs with events to learn from; empty: the bundled sample.
        output: folder for the journal, the best study and pictures. Several processes that are
            given the same folder with `resume` search together.
        trials: how many in all; those in the journal count.
        space: setting -> range, as with `--set`; default: `default_space`.
        overrides: dotted key -> value, set in the study before.
        monitor: `distributions` (KS and Spearman difference of simulated validation rows) or the
            `loss`, which cannot be compared between values of beta.
        repeats: trainings of each trial, in seeds of their own; their mean counts. With one, the
            best of many trials is partly the luckiest. Only the first can be pruned.
        seed: of the search; each process should have its own.
        resume: go on with a journal that is there.
        say: receives a line after each trial.

    Raises:
        StudyError: the study, a setting or a range is wrong, it has several parts, or the journal
            is of a search with other `repeats`.
        OutputExistsError: the folder has a journal and `resume` is off.
        TrainingError: no trial came to its end.
        MissingExtraError: Optuna is not installed.
    """
    begin = time.perf_counter()
    require("tune", "tune")
    optuna: Any = import_module("optuna")
    output = Path(output)
    refuse_negative(seed)
    if (output / JOURNAL).exists() and not resume:
        raise OutputExistsError(f"{output / JOURNAL} exists; choose another --output or --resume")
    fixed = {**(overrides or {}), "training.monitor": monitor, "training.members": 1}
    base = load_study(study, fixed)
    if len(base.stages) != 1:
        raise StudyError(f"study {base.name!r} has several parts; tune studies of one part")
    ranges = _ranges(space) if space else default_space(base)
    for name, one in ranges.items():
        for value in one.ends:
            models.parse(load_study(study, {**fixed, name: value}).parts[0].model)
    source = open_events(
        files or bundled_sample(base.name), tree=base.input.tree, units=base.input.units
    )
    with naming(source, "the study does not fit these events"):
        (table,) = read_tables(base, source)[0].values()
    output.mkdir(parents=True, exist_ok=True)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    backend = optuna.storages.journal.JournalFileBackend(str(output / JOURNAL))
    search = optuna.create_study(
        study_name=base.name,
        storage=optuna.storages.JournalStorage(backend),
        sampler=optuna.samplers.TPESampler(seed=seed % 2**32, multivariate=False),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=STARTUP, n_warmup_steps=WARMUP),
        load_if_exists=True,
        direction="minimize",
    )
    before = search.user_attrs.get("repeats", repeats)
    if before != repeats:
        raise StudyError(f"{output / JOURNAL} is of a search with {before} repeats, not {repeats}")
    search.set_user_attr("repeats", repeats)

    def objective(trial: Any) -> float:
        first = trial.number == 0
        chosen = {} if first else {name: one.suggest(trial, name) for name, one in ranges.items()}
        trial.set_user_attr("settings", {k: _plain(v) for k, v in chosen.items()})
        tried = load_study(study, {**fixed, **chosen})
        values = [_run(tried, table, _pruning(trial, optuna))]
        for repeat in range(1, repeats):
            again = {"training.seed": tried.training.seed + repeat}
            values.append(_run(load_study(study, {**fixed, **chosen, **again}), table))
        value = sum(values) / len(values)
        say(f"trial {trial.number}: {value:.4f}  {chosen or 'the study as it is'}")
        return value

    finished = optuna.trial.TrialState
    done = (finished.COMPLETE, finished.PRUNED)
    limit = optuna.study.MaxTrialsCallback(trials, states=done)
    if len(search.get_trials(deepcopy=False, states=done)) < trials:
        search.optimize(objective, callbacks=[limit], catch=(TrainingError,))
    return _outcome(search, done, study, fixed, output, time.perf_counter() - begin)


def _pruning(trial: Any, optuna: Any) -> Callable[[int, float], None]:
    """Return what hears of a training's epochs and ends it if it lags behind."""

    def follow(epoch: int, value: float) -> None:
        trial.report(value, epoch)
        if trial.should_prune():
            raise optuna.TrialPruned

    return follow


def _run(
    study: Study, table: Table, follow: Callable[[int, float], None] = lambda *_: None
) -> float:
    """Train once and return the monitored quantity."""
    values: list[float] = []

    def heard(progress: Progress) -> None:
        if progress.kind == "epoch" and math.isfinite(progress.monitor):
            values.append(progress.monitor)
            follow(progress.epoch, progress.monitor)

    with tempfile.TemporaryDirectory() as folder:
        fit_alone(study, table, Path(folder), progress=heard)
    return values[-1] if study.training.keep == "last" else min(values)


def _outcome(
    search: Any,
    done: tuple[Any, ...],
    study: str | Path,
    fixed: Mapping[str, Any],
    output: Path,
    seconds: float,
) -> Tuned:
    """Write the best study and the pictures."""
    from gen2reco.validation.search_plots import draw_search  # noqa: PLC0415

    trials = search.get_trials(deepcopy=False, states=done)
    if not any(t.state.name == "COMPLETE" for t in trials):
        raise TrainingError(
            "no trial came to its end: each training failed or was pruned; try the study with"
            f" `gen2reco train {study}` first, or narrower ranges"
        )
    best = search.best_trial
    settings = dict(best.user_attrs["settings"])
    resolved = load_study(study, {**fixed, **settings})
    tree = resolved.model_dump(mode="json", exclude_defaults=True)
    tree["name"] = f"{resolved.name}-tuned"
    written = output / BEST
    temporary = written.with_suffix(f".{os.getpid()}.tmp")
    with temporary.open("w", encoding="utf-8") as file:
        yaml = YAML()
        yaml.dump(_plain(tree), file)
    temporary.replace(written)
    draw_search(output, search, str(fixed["training.monitor"]))
    first = next((t.value for t in trials if t.number == 0 and t.value is not None), math.nan)
    pruned = sum(t.state.name == "PRUNED" for t in trials)
    return Tuned(output, len(trials), pruned, best.value, first, settings, written, seconds)


def _ranges(space: Mapping[str, Range | Mapping[str, Any]]) -> dict[str, Range]:
    found = {}
    for name, one in space.items():
        if not isinstance(one, Range | Mapping):
            raise StudyError(
                f"range of {name}: {one!r} is no range; give {{low: 1, high: 2}}, with log: true or"
                " whole: true where it is so, or {choices: [1, 2]}"
            )
        try:
            found[name] = one if isinstance(one, Range) else Range.model_validate(one)
        except ValidationError as error:
            message = error.errors()[0]["msg"].removeprefix("Value error, ")
            raise StudyError(f"range of {name}: {message}") from None
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
