"""What is asked of efficiencies, tags, regions and counts, and what was reached."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gen2reco.validation.efficiency import WELL_MEASURED
from gen2reco.validation.results import Target

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gen2reco.validation.object_records import Counts, Efficiency
    from gen2reco.validation.records import Statistic
    from gen2reco.validation.settings import Targets

OFF_ONE = "|ratio \N{MINUS SIGN} 1|"


def worst_closure(outcome: Efficiency) -> tuple[str, Statistic | None]:
    """Return where an outcome closes worst, and the test; None where nothing could be tested."""
    tests = [(f"against {c.by}, {c.group}", c.test) for c in outcome.curves]
    if outcome.reliability:
        tests.append(("by predicted probability", outcome.reliability.test))
    tests = [(where, test) for where, test in tests if np.isfinite(test.p)]
    return min(tests, key=lambda pair: pair[1].p) if tests else ("", None)


def region_pull(region: Efficiency) -> float:
    """Difference of the numbers that pass a selection, in standard errors."""
    rate = region.overall[0]
    if rate.ratio.error > 0:
        return (rate.ratio.value - 1) / rate.ratio.error
    spread = float(np.hypot(rate.full_error, rate.fast_error))  # FullSim has none: no ratio
    return (rate.fast - rate.full) / spread if spread > 0 else 0.0


def object_targets(
    wanted: Targets, efficiencies: Sequence[Efficiency], counts: Sequence[Counts]
) -> tuple[Target, ...]:
    """Hold efficiencies, tags, regions and counts against what was asked.

    Bins and groups whose own error is not well below the limit are left out: there a perfect
    emulator would miss it as well.
    """
    found: list[Target] = []
    closures = [test for _, test in map(worst_closure, efficiencies) if test]
    if closures:
        p = min(test.p_holm for test in closures)
        name = "smallest closure p (Holm), at least"
        found.append(Target(name, p, wanted.efficiency_p, p >= wanted.efficiency_p))
    for outcome in efficiencies:
        name, values, limit = _asked(outcome, wanted)
        values = [value for value in values if np.isfinite(value)]
        if values:
            found.append(Target(name, max(values), limit, max(values) <= limit))
    for c in counts:
        value = abs(c.mean_ratio.value - 1)
        if np.isfinite(value):
            met = value <= wanted.count
            found.append(Target(f"{c.name}: {OFF_ONE} of the mean", value, wanted.count, met))
    return tuple(found)


def _asked(outcome: Efficiency, wanted: Targets) -> tuple[str, list[float], float]:
    """What is asked of one outcome: name of the figure, what was reached where, the limit."""
    if outcome.kind == "presence":
        name = f"{outcome.name}: largest {OFF_ONE} in a bin"
        return name, [c.largest.value for c in outcome.curves], wanted.efficiency
    if outcome.kind == "region":
        name = f"{outcome.name}: events in it, difference in standard errors"
        return name, [abs(region_pull(outcome))], wanted.region
    values = [
        abs(rate.ratio.value - 1)
        for rate in outcome.overall
        if rate.ratio.error <= WELL_MEASURED * wanted.tag
    ]
    return f"{outcome.name}: largest {OFF_ONE} of a group", values, wanted.tag
