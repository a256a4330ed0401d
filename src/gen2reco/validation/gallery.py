"""Which plots a report shows, in which order, with which words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from gen2reco.validation import object_plots, plots, set_plots, spectra
from gen2reco.validation.wording import p_equals, p_value, plus_minus, verdict_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from matplotlib.figure import Figure

    from gen2reco.validation.object_records import Efficiency
    from gen2reco.validation.results import Assessment
    from gen2reco.validation.set_records import SetComparison
    from gen2reco.validation.streamed import Streamed
    from gen2reco.validation.transport import Transport

Section = Literal[
    "summary", "efficiency", "counts", "distributions", "residuals", "pictures", "coverage",
    "correlations", "classifier", "response", "matching", "oversampling", "training",
    "constituents", "jets", "streamed", "transport",
]  # fmt: skip


@dataclass(frozen=True)
class Plot:
    """A figure still to be drawn.

    Attributes:
        name: file name without suffix, unique in a report.
        section: where it stands.
        caption: shown below; one sentence with the numbers that belong to it.
        alt: what a reader who cannot see it must know.
        draw: makes the figure.
        size: `small`, `normal`, `tall` (alone in its section) or `wide` (takes a whole row).
    """

    name: str
    section: Section
    caption: str
    alt: str
    draw: Callable[[], Figure]
    size: Literal["small", "normal", "wide", "tall"] = "normal"


def gallery(
    assessment: Assessment, histories: Mapping[str, Sequence[Mapping[str, Any]]]
) -> Iterator[Plot]:
    """Yield the plots of a report in order."""
    yield from _summary(assessment)
    for outcome in assessment.efficiencies:
        yield from _efficiency(outcome, assessment.settings.targets.efficiency)
    for counts in assessment.counts:
        yield Plot(
            f"counts-{_safe(counts.name)}",
            "counts",
            f"{counts.name}: {p_equals(counts.test.p)}; mean "
            f"{plus_minus(counts.mean_fast.value, counts.mean_fast.error)} in FastSim, "
            f"{plus_minus(counts.mean_full.value, counts.mean_full.error)} in FullSim.",
            f"Shares of events by {counts.name}, FullSim and FastSim.",
            lambda counts=counts: object_plots.counts_plot(counts),  # type: ignore[misc]
            "small",
        )
    yield from _spectra(assessment)
    for pit in assessment.coverage:
        yield Plot(
            f"pit-{_safe(pit.name)}",
            "coverage",
            f"{pit.name}: largest deviation {100 * pit.deviation.value:.2f} % "
            f"(95 % of covered: {100 * pit.deviation.null_95:.2f} %), "
            f"{p_equals(pit.test.p_holm)} (Holm).",
            f"Shares of ten rank deciles of {pit.name} around 10 percent.",
            lambda pit=pit: plots.pit_plot(pit),  # type: ignore[misc]
            "small",
        )
    for matrix in assessment.correlations:
        yield Plot(
            f"correlations-{matrix.kind}",
            "correlations",
            f"{matrix.kind.capitalize()} coefficients: Frobenius norm of the difference "
            f"{matrix.frobenius.value:.3f} (95 % of re-splits: {matrix.frobenius.null_95:.3f}), "
            f"largest element {matrix.largest.value:.3f} ({matrix.largest.null_95:.3f}) between "
            f"{plots.long_name(matrix.pair[0])} and {plots.long_name(matrix.pair[1])}.",
            f"{matrix.kind} correlation matrices of FullSim, FastSim and their difference.",
            lambda matrix=matrix: plots.correlation_plot(matrix),  # type: ignore[misc]
            "wide",
        )
    if assessment.classifier:
        c = assessment.classifier
        yield Plot(
            "roc",
            "classifier",
            f"ROC of the classifier; excess AUC {plus_minus(c.excess.value, c.excess.error)}. "
            "The grey band is the scatter of FullSim against FullSim.",
            "ROC curves of FastSim against FullSim and of FullSim against FullSim; AUC "
            f"{sum(c.auc) / len(c.auc):.3f} and {sum(c.null) / len(c.null):.3f}.",
            lambda: plots.roc_plot(c),
        )
    for r in assessment.responses:
        yield Plot(
            f"response-{_safe(r.name)}-{_safe(r.by)}",
            "response",
            f"{r.name} against {r.by}: largest shift of the median "
            f"{plus_minus(r.largest_closure.value, r.largest_closure.error)} widths "
            f"(95 % of re-splits: {r.largest_closure.null_95:.2g}); "
            f"{p_equals(r.scale.p)} (scale), "
            f"{p_equals(r.resolution.p)} (resolution).",
            f"Median and half 68 percent width of the {r.name} response in bins of {r.by}.",
            lambda r=r: plots.response_plot(r),  # type: ignore[misc]
        )
    yield from _objects(assessment)
    for number, (name, history) in enumerate(histories.items()):
        if history:
            yield Plot(
                f"loss-{number}",
                "training",
                f"Loss of {name}.",
                f"Training and validation loss of {name} per epoch.",
                lambda history=history, name=name: plots.loss_plot(history, name),  # type: ignore[misc]
            )


def set_gallery(sets: SetComparison) -> Iterator[Plot]:
    """Yield the plots of jets as sets of particles."""
    for one in sets.constituents:
        yield Plot(
            one.name.replace("_", "-"),
            "constituents",
            f"{one.name}: W1 {plus_minus(one.w1.value, one.w1.error)}, floor ratio "
            f"{one.floor_ratio.value:.2f}.",
            f"Distribution of {one.name} in FullSim and FastSim.",
            lambda one=one: spectra.distribution_plot(one.shape),  # type: ignore[misc]
        )
    yield Plot(
        "jet-image",
        "jets",
        "Average jet in FullSim and FastSim, and their ratio where FullSim has more than a "
        "ten-thousandth of its largest bin.",
        "Mean pt in bins of eta and phi around the jet axis, FullSim, FastSim, ratio.",
        lambda: set_plots.image_plot(sets.image),
        "wide",
    )
    for number, display in enumerate(sets.displays, 1):
        yield Plot(
            f"jet-{number}",
            "jets",
            f"Jet {number} of those judged: its particles in GEN, in FullSim and in one draw of "
            "FastSim; areas are proportional to pt.",
            f"Particles of one jet in eta and phi: {len(display.gen)} in GEN, "
            f"{len(display.full)} in FullSim, {len(display.fast)} in FastSim.",
            lambda display=display: set_plots.display_plot(display),  # type: ignore[misc]
            "wide",
        )


def transport_gallery(transport: Transport) -> Iterator[Plot]:
    """Yield the plans of a map between GEN and RECO."""
    for plan in transport.plans:
        full, fast = plan.correlation
        yield Plot(
            f"plan-{_safe(plan.name)}",
            "transport",
            f"{plan.name}: RECO against GEN; Spearman: FullSim {full:.3f}, FastSim {fast:.3f}.",
            f"Two planes of {plan.name}, RECO against GEN, FullSim and FastSim.",
            lambda plan=plan: plots.plan_plot(plan),  # type: ignore[misc]
            "wide",
        )


def streamed_gallery(streamed: Streamed) -> Iterator[Plot]:
    """Yield the distributions of all events."""
    for one in streamed.quantities:
        if one.single:
            continue
        name = f"{one.name} response" if one.group == "response" else one.name
        note = f"floor ratio {one.floor_ratio:.2f}"
        yield Plot(
            f"streamed-{one.group}-{_safe(one.name)}",
            "streamed",
            f"{name}, all events: W1 {plus_minus(one.w1, one.w1_error)}, {note}, "
            f"{100 * one.shape.outside[0]:.2f} % of FullSim outside.",
            f"Distribution of {name} in all events, FullSim and FastSim: {note}.",
            lambda one=one, note=note: spectra.distribution_plot(one.shape, note),  # type: ignore[misc]
            "small",
        )


def _efficiency(outcome: Efficiency, tolerance: float) -> Iterator[Plot]:
    for by in dict.fromkeys(curve.by for curve in outcome.curves):
        curves = [curve for curve in outcome.curves if curve.by == by]
        p_values = ", ".join(f"{c.group} {p_value(c.test.p_holm)}" for c in curves)
        yield Plot(
            f"efficiency-{_safe(outcome.name)}-{_safe(by)}",
            "efficiency",
            f"{outcome.name} against {by}; p of closure (Holm): {p_values}."
            + (f" Grey: ratio within {tolerance:.0%}." if outcome.kind == "presence" else ""),
            f"Share of GEN rows that are {outcome.name} against {by}, FullSim and FastSim; "
            f"p-values of closure: {p_values}.",
            lambda curves=curves: object_plots.efficiency_plot(  # type: ignore[misc]
                curves, outcome.name, tolerance if outcome.kind == "presence" else 0.0
            ),
        )
    found = outcome.reliability
    if found:
        yield Plot(
            f"reliability-{_safe(outcome.name)}",
            "efficiency",
            f"Reliability of {outcome.name}: {p_equals(found.test.p_holm)} (Holm), expected "
            f"calibration error {plus_minus(found.calibration.value, found.calibration.error)} "
            f"(95 % of right predictions: {found.calibration.null_95:.2g}).",
            f"Share of FullSim that is {outcome.name} against the predicted probability.",
            lambda: object_plots.reliability_plot(found, outcome.name),
        )


def _objects(assessment: Assessment) -> Iterator[Plot]:
    matching = assessment.matching
    if matching:
        yield Plot(
            "matching",
            "matching",
            f"{matching.pairs} pairs of {matching.gen} GEN and {matching.reco} RECO objects. The "
            "outermost bins of the upper panels hold what lies beyond.",
            "Distance and pt ratio of matched objects, share of GEN objects with a partner and of "
            "RECO objects without one against pt.",
            lambda: object_plots.matching_plot(matching),
            "wide",
        )
    for gain in assessment.gains:
        yield Plot(
            f"gain-{_safe(gain.name)}",
            "oversampling",
            f"{gain.name}: {gain.replicas} replicas count as {gain.mean:.1f} times the events.",
            f"Gain in effective statistics per bin of {gain.name}.",
            lambda gain=gain: object_plots.gain_plot(gain),  # type: ignore[misc]
            "small",
        )


def _summary(assessment: Assessment) -> Iterator[Plot]:
    if any(q.floor_ratio for q in assessment.quantities):
        yield Plot(
            "floor-ratios",
            "summary",
            "W1 floor ratio of every quantity: 1 is as close as two FullSim samples are. "
            "Grey bars: 95 % of the re-splits of FullSim, each quantity by itself; "
            "dashed: 95 % of re-splits in all quantities at once.",
            "Floor ratios of all quantities beside the range of FullSim against FullSim.",
            lambda: plots.floor_plot(assessment.quantities, assessment.family_limit),
            "tall",
        )


def _spectra(assessment: Assessment) -> Iterator[Plot]:
    judged = {(q.group, q.name): q for q in assessment.quantities}
    shapes = {shape.name: shape for shape in assessment.distributions}
    for key, shape in shapes.items():
        is_response = key.startswith("response:")
        name = key.removeprefix("response:")
        quantity = judged.get(("response" if is_response else "quantity", name))
        if quantity is None:  # the tails are drawn beside their core
            continue
        line = verdict_line(quantity)
        note = ""
        if quantity.floor_ratio:
            note = (
                f"floor ratio {quantity.floor_ratio.value:.2f} ± {quantity.floor_ratio.error:.2f}"
            )
        if is_response:
            tails = shapes.get(f"{key}:tails")
            yield Plot(
                f"residual-{_safe(name)}",
                "residuals",
                f"{name} relative to GEN: {line}." + (" Right: the whole range." if tails else ""),
                f"Residual of {name} to GEN, FullSim and FastSim: {line}.",
                lambda shape=shape, tails=tails, note=note: spectra.residual_plot(
                    shape, tails, note
                ),  # type: ignore[misc]
                "wide" if tails else "normal",
            )
        else:
            yield Plot(
                f"distribution-{_safe(name)}",
                "distributions",
                f"{name}: {line}.",
                f"Distribution of {name}, FullSim and FastSim: {line}.",
                lambda shape=shape, note=note: spectra.distribution_plot(shape, note),  # type: ignore[misc]
            )
    for picture in assessment.pictures:
        fast, gen = picture.correlation
        yield Plot(
            f"plane-{_safe(picture.name)}",
            "pictures",
            f"{picture.name}, the same {picture.events} GEN events on both sides; "
            f"Spearman with RECO: FastSim {fast:.3f}"
            + (f", GEN {gen:.3f}." if picture.gen else "."),
            f"FastSim against RECO and GEN against RECO of {picture.name}.",
            lambda picture=picture: plots.picture_plot(picture),  # type: ignore[misc]
            "wide",
        )


def _safe(name: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in name)
