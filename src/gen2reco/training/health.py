"""What is wrong with a fit, in plain sentences, and what to try."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from gen2reco.training.feed import generator
from gen2reco.training.measures import kolmogorov

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from gen2reco.models.protocol import Batch, Model
    from gen2reco.study import Training
    from gen2reco.training.history import Epoch

    Array = NDArray[np.float64]

_MOST_ROWS = 20_000
"""Validation rows that are simulated for the comparison of features."""
_RISE_SHARE = 0.02
"""Rise of the validation loss that counts, relative to all that the fit gained."""
_LEAST_CURVE = 4
"""Epochs that a statement about the loss curve needs."""


@dataclass(frozen=True)
class Advice:
    """One statement about a fit.

    Attributes:
        severity: "note" (good to know), "warning" (results suffer), "problem" (do not use the
            model).
        topic: what it is about, one or two words.
        message: what was seen, with numbers.
        remedy: what to try.
    """

    severity: Literal["note", "warning", "problem"]
    topic: str
    message: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.severity}, {self.topic}: {self.message}. {self.remedy}."


def check_health(
    history: Sequence[Epoch],
    model: Model,
    train: Batch,
    validation: Batch,
    *,
    findings: Sequence[str] = (),
    targets: Sequence[str] = (),
    conditions: Sequence[str] = (),
    seed: int = 1,
    paired: bool = True,
    columns: bool = True,
) -> list[Advice]:
    """Look for what commonly goes wrong, the worst first.

    It looks at the loss curve (overfitting, still learning), the training rows (too few for the
    model, negative or very unequal weights, targets outside the interval that a spline covers) and
    at simulated validation rows (features whose distribution or dependence on GEN is off).

    Args:
        history: the fit's epochs.
        model: the fitted model.
        train: encoded training rows.
        validation: encoded validation rows; at most 20 000 of them are simulated.
        findings: what the features found in the data (copies, constants, point masses), passed on
            as notes.
        targets: names of the encoded targets, for the messages.
        conditions: names of the encoded conditions.
        seed: of the noise of the simulated rows.
        paired: whether targets and conditions of a row belong together; where they do not, how
            targets depend on GEN cannot be checked.
        columns: whether a column is a quantity; those of a set are not, and only the loss curve
            and the number of rows are looked at.
    """
    names = [*targets] or [f"target {k}" for k in range(model.shape.targets)]
    seen = [*conditions] or [f"condition {k}" for k in range(model.shape.conditions)]
    found = [
        *_curve(history),
        *_rows(model, train),
        *(_outside(model, train, names) if columns else ()),
        *(_features(model, validation, names, seen if paired else (), seed) if columns else ()),
        *(Advice("note", "data", finding, "Check that you expect it") for finding in findings),
    ]
    order = {"problem": 0, "warning": 1, "note": 2}
    return sorted(found, key=lambda advice: order[advice.severity])


def against_divergence(settings: Training, rows: Batch) -> str:
    """Say what helps against a loss that is not finite, as a sentence without its full stop."""
    clip = "" if settings.clip > 0 else " and clip gradients (training.clip: 5)"
    extremes = [
        f"{float(largest.max()):.3g} in {side} {int(largest.argmax())}"
        for side, values in (("target", rows.target), ("condition", rows.condition))
        if values.numel()
        for largest in [values.abs().max(0).values]
    ]
    return (
        f"Try a smaller training.learning_rate{clip}, and a transform (log, asinh) on features "
        "with far tails: the largest encoded values of the validation rows are "
        f"{' and '.join(extremes)}"
    )


def _curve(history: Sequence[Epoch]) -> Iterator[Advice]:
    """Overfitting and unfinished learning."""
    if len(history) < _LEAST_CURVE:
        return
    train = np.array([epoch.train for epoch in history])
    validation = np.array([epoch.validation for epoch in history])
    best = int(validation.argmin())
    gained = max(validation[0] - validation[best], 1e-12)
    rise, fall = validation[-1] - validation[best], train[best] - train[-1]
    jitter = float(np.median(np.abs(np.diff(validation[best:])))) if best < len(history) - 1 else 0
    if rise > max(_RISE_SHARE * gained, 2 * jitter) and fall > 0:
        yield Advice(
            "warning",
            "overfitting",
            f"the validation loss rose by {rise:.3g} after epoch {best + 1} of {len(history)} "
            f"while the training loss fell by a further {fall:.3g}; that epoch was the best",
            f"Use more events or a smaller model; else set training.epochs to about {best + 1} so "
            "that the learning rate anneals in time, or raise training.weight_decay",
        )
    last = max(3, len(history) // 8)
    falling = validation[-1 - last] - validation[-1]
    if best == len(history) - 1 and falling > _RISE_SHARE * gained:
        yield Advice(
            "warning",
            "still learning",
            f"the validation loss still fell by {falling:.3g} in the last {last} of "
            f"{len(history)} epochs",
            f"Train longer, for example training.epochs: {2 * len(history)}",
        )


def _rows(model: Model, train: Batch) -> Iterator[Advice]:
    """Statistics of the training rows."""
    weight = train.weight.double().numpy(force=True)
    effective = _effective(weight)
    negative = float(-weight[weight < 0].sum() / np.abs(weight).sum())
    parameters = sum(p.numel() for p in model.parameters() if p.requires_grad)
    numbers = effective * model.shape.targets
    if parameters > numbers:
        yield Advice(
            "warning",
            "few rows",
            f"the model has {parameters:,} parameters for {effective:,.0f} effective training "
            f"rows of {model.shape.targets} targets",
            "Use more events, or a smaller model (fewer or narrower layers, fewer bins)",
        )
    if negative > 0.1:
        yield Advice(
            "warning",
            "negative weights",
            f"{negative:.0%} of the sum of |weights| is negative: {len(weight):,} training rows "
            f"are worth {effective:,.0f}",
            "Use more events or a sample with fewer negative weights; a larger training.batch "
            "steadies the gradients",
        )
    elif effective < 0.2 * len(weight):
        yield Advice(
            "warning",
            "unequal weights",
            f"few rows carry most of the weight: {len(weight):,} training rows are worth "
            f"{effective:,.0f}",
            "Check the weight column for outliers, or train on a sample with more equal weights",
        )


def _outside(model: Model, train: Batch, names: Sequence[str]) -> Iterator[Advice]:
    """Targets beyond the interval on which a spline bends."""
    bound = getattr(model, "bound", None) or getattr(getattr(model, "config", None), "bound", None)
    if not isinstance(bound, int | float):
        return
    discrete = len(model.shape.levels)
    share = (train.target[:, discrete:].abs() > bound).double().mean(0).tolist()
    for name, outside in zip(names[discrete:], share, strict=True):
        if outside > 1e-3:
            yield Advice(
                "warning" if outside > 1e-2 else "note",
                "outside the spline",
                f"{outside:.2%} of the values of {name} lie beyond +-{bound:g} after encoding, "
                "where the model cannot bend",
                "Add a transform that pulls its tails in (asinh, log, quantile)",
            )


def _features(
    model: Model, validation: Batch, names: Sequence[str], seen: Sequence[str], seed: int
) -> Iterator[Advice]:
    """Compare simulated with true targets of the same validation rows."""
    rows = min(len(validation.weight), _MOST_ROWS)
    condition, weight = validation.condition[:rows], validation.weight[:rows]
    truth = validation.target[:rows].double().numpy(force=True)
    with torch.no_grad():
        model.eval()
        fake = model.sample(condition, _noise(model, rows, seed).to(condition.device))
    made = fake.double().numpy(force=True)
    weights = weight.double().numpy(force=True)
    if not np.isfinite(made).all():
        yield Advice(
            "problem",
            "simulation",
            f"{np.mean(~np.isfinite(made).all(1)):.2%} of simulated rows are not finite",
            "Train again with a smaller training.learning_rate; look for extreme values of the "
            "features",
        )
        return
    noise = np.sqrt(2 / _effective(weights))
    gen_ranks = _ranks(condition.double().numpy(force=True))
    true_ranks, made_ranks = _ranks(truth), _ranks(made)
    for k, name in enumerate(names):
        columns = truth[:, k], made[:, k], weights
        discrete = k < len(model.shape.levels)
        if off := (_one_category if discrete else _one_feature)(name, *columns, float(noise)):
            yield off
            continue
        for j, other in enumerate(seen):
            expected = _correlation(true_ranks[:, k], gen_ranks[:, j], weights)
            found = _correlation(made_ranks[:, k], gen_ranks[:, j], weights)
            if abs(found - expected) > 0.1 + 3 * noise:
                yield Advice(
                    "warning",
                    "dependence on GEN",
                    f"{name} follows {other} with a rank correlation of {found:.2f} instead of "
                    f"{expected:.2f}",
                    "Train longer or with a wider conditioner; check the transform of that GEN "
                    "quantity",
                )


def _one_feature(
    name: str, truth: Array, made: Array, weights: Array, noise: float
) -> Advice | None:
    width = {
        side: float(np.diff(_quantiles(values, weights, (0.16, 0.84)))[0])
        for side, values in (("true", truth), ("made", made))
    }
    ratio = width["made"] / width["true"] if width["true"] > 0 else 1.0
    distance = kolmogorov(truth, made, weights)
    if distance < 0.04 + 2 * noise and 0.85 < ratio < 1.18:
        return None
    severe = distance > 0.2 or not 0.5 < ratio < 2
    return Advice(
        "problem" if severe else "warning",
        "feature not learned",
        f"{name}, simulated on the validation rows, has {ratio:.2f} times the true 68 % width and "
        f"a KS distance of {distance:.3f}",
        "Plot it: a sharp edge, a spike or whole numbers need a transform of their own "
        "(threshold, dequantize); else train longer",
    )


def _one_category(
    name: str, truth: Array, made: Array, weights: Array, noise: float
) -> Advice | None:
    distance = kolmogorov(truth, made, weights)
    if distance < 0.04 + 2 * noise:
        return None
    return Advice(
        "problem" if distance > 0.2 else "warning",
        "feature not learned",
        f"{name}, simulated on the validation rows, takes its values with cumulative probabilities "
        f"up to {distance:.3f} off",
        "Train longer, or give the classifier wider layers",
    )


def _noise(model: Model, rows: int, seed: int) -> Tensor:
    random = generator("health", seed)
    normal = random.standard_normal((rows, model.noise.normal), np.float32)
    uniform = random.random((rows, model.noise.uniform), np.float32)
    tiny = np.float32(2.0**-24)
    return torch.from_numpy(np.hstack([normal, np.clip(uniform, tiny, 1 - tiny)]))


def _effective(weight: Array) -> float:
    """Number of rows of weight 1 with the same statistical power, (sum w)^2 / sum w^2."""
    return float(weight.sum() ** 2 / np.square(weight).sum())


def _quantiles(values: Array, weights: Array, levels: Sequence[float]) -> Array:
    order = np.argsort(values)
    cumulative = np.maximum.accumulate(np.cumsum(weights[order])) / weights.sum()
    place = np.searchsorted(cumulative, levels).clip(max=len(values) - 1)
    return np.asarray(values[order][place], np.float64)


def _ranks(columns: Array) -> Array:
    """Rank of every value in its column; equal values share the middle of their ranks."""
    ranks = np.empty_like(columns)
    for k in range(columns.shape[1]):
        _, place, count = np.unique(columns[:, k], return_inverse=True, return_counts=True)
        ranks[:, k] = (np.cumsum(count) - 0.5 * count)[place]
    return ranks


def _correlation(x: Array, y: Array, weights: Array) -> float:
    """Weighted linear correlation; 0 where a column does not vary."""
    share = weights / weights.sum()
    dx, dy = x - share @ x, y - share @ y
    spread = (share @ dx**2) * (share @ dy**2)
    return float((share @ (dx * dy)) / np.sqrt(spread)) if spread > 0 else 0.0
