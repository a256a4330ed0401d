"""What `validate` does with judged events: pages of whole events, of parts, and of the way back."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from gen2reco.validation import Report, Settings, Targets, assess
from gen2reco.verbs.event_samples import EventSamples
from gen2reco.verbs.part_samples import PartSamples
from gen2reco.verbs.samples import coverage
from gen2reco.verbs.set_samples import compare_constituents
from gen2reco.verbs.transported import transported
from gen2reco.verbs.way_back import way_back

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gen2reco.emulator import Emulator
    from gen2reco.study import Part, Study
    from gen2reco.verbs.judged import Judged
    from gen2reco.verbs.way_back import Compared

REPLICAS = 5
"""Draws of each row or event where FastSim is compared on the same GEN."""
QUICK_REPLICAS = 2
COVERAGE_ROWS = 50_000
"""At most so many rows are drawn 99 times for the coverage test."""
PART_COVERAGE_ROWS = 20_000
QUICK_COVERAGE_ROWS = 4_000
FEWEST_EVENTS = 40
"""Events with rows of a part that each half needs, so that they can be judged."""


@dataclass(frozen=True)
class Judging:
    """One validation: what is judged, and how.

    Attributes:
        emulator: what is judged.
        judged: the events it is judged on.
        seed: of everything random.
        oversample: draws per GEN event.
        quick: whether fewer classifiers and draws will do.
        say: receives a line at the start of each step.
    """

    emulator: Emulator
    judged: Judged
    seed: int
    oversample: int
    quick: bool
    say: Callable[[str], None]

    @property
    def study(self) -> Study:
        """Of the emulator."""
        return self.emulator.study

    @property
    def replicas(self) -> int:
        """Draws of each row or event where FastSim is compared on the same GEN."""
        return QUICK_REPLICAS if self.quick else REPLICAS

    def settings(self, targets: Targets) -> Settings:
        """Sizes of a comparison, quick or in full."""
        if self.quick:
            return replace(Settings.for_demo(seed=self.seed), targets=targets)
        return Settings(seed=self.seed, targets=targets)

    def part(self, part: Part) -> Report:
        """Judge one part by itself."""
        rows = self.judged.tables[part.name]
        self.say(f"part {part.name}: drawing {len(rows)} rows")
        samples = PartSamples(
            self.emulator, self.judged, part, replicas=self.replicas, seed=self.seed
        )
        full, half, fast = samples.samples()
        count = QUICK_COVERAGE_ROWS // 2 if self.quick else PART_COVERAGE_ROWS
        some = rows.take(np.arange(min(len(rows), count)))
        self.say(f"part {part.name}: comparing; training classifiers")
        assessment = assess(
            full,
            half,
            fast[:1] if self.quick else fast,
            coverage=coverage(self.emulator, samples.trained, some, seed=self.seed),
            closure=samples.closure(),
            outcomes=samples.outcomes(),
            counts=samples.counts(),
            matching=samples.matching(),
            labels=dict(self.study.validation.labels),
            kinds=samples.kinds,
            not_judged=_not_judged_of(part, rows.dropped),
            settings=self.settings(Targets.for_parts()),
        )
        return Report(
            assessment,
            title=f"{self.study.name}, part {part.name}: FullSim and FastSim",
            histories=histories_of(self.emulator, part),
            domain=samples.outside(),
        )

    @cached_property
    def back(self) -> Mapping[str, Compared]:
        """What is unfolded, and what is made of that; empty where the emulator runs one way."""
        if self.study.direction != "simulate" or not self.emulator.unfolds:
            return {}
        self.say("unfolding, and simulating again")
        return way_back(self.emulator, self.judged, seed=self.seed)

    def way_back(self) -> dict[str, Report]:
        """Judge what is unfolded, and what is made of that."""
        titles = {
            "unfolded": "GEN, and what RECO unfolds to",
            "reconstructed": "RECO, and what it becomes when it is unfolded and simulated again",
        }
        return {
            name: Report(
                assess(
                    found.full,
                    found.half,
                    [found.fast],
                    labels=dict(self.study.validation.labels),
                    settings=self.settings(Targets.for_parts()),
                ),
                title=f"{self.study.name}: {titles[name]}",
            )
            for name, found in self.back.items()
        }

    def events(self, left_out: list[str]) -> Report:
        """Judge whole events."""
        study, judged = self.study, self.judged
        self.say(f"emulating {len(judged.events)} events")
        alone = len(study.parts) == 1
        samples = EventSamples(
            self.emulator, judged, seed=self.seed, oversample=self.oversample,
            replicas=REPLICAS if alone else self.replicas, seeds=1 if self.quick else 5,
        )  # fmt: skip
        cover = None
        if alone and study.parts[0].rows.kind == "event":
            self.say("coverage")
            table = judged.tables[study.parts[0].name]
            count = QUICK_COVERAGE_ROWS if self.quick else COVERAGE_ROWS
            some = table.take(np.arange(min(len(table), count)))
            cover = coverage(self.emulator, self.emulator.parts[0], some, seed=self.seed)
        self.say("comparing distributions, correlations, response; training classifiers")
        assessment = assess(
            samples.full,
            samples.half,
            samples.fast,
            coverage=cover,
            closure=samples.closure(),
            rates={"final selection": samples.rate()} if study.validation.select else None,
            outcomes=samples.regions(),
            counts=samples.counts(),
            labels=dict(study.validation.labels),
            kinds={name: response.kind for name, response in study.validation.responses.items()},
            response_bins=list(study.validation.response_bins),
            not_judged=[*_not_judged(study, judged.dropped), *left_out],
            settings=self.settings(Targets() if alone else Targets.for_parts()),
        )
        domain = {"events with a GEN value outside": samples.outside()}
        settings = self.settings(Targets())
        made = samples.replicas[0]
        return Report(
            assessment,
            domain={} if alone else domain,
            sets=compare_constituents(study, judged.events, made, settings),
            transport=transported(self.emulator, judged, made, self.back, settings),
        )


def too_few(judged: Judged, part: Part) -> str:
    """Say why the rows of a part cannot be judged; "" where they can."""
    events = np.unique(judged.tables[part.name].entry)
    fewest = min(int(np.sum(judged.half[events] == side)) for side in (0, 1))
    if fewest >= FEWEST_EVENTS:
        return ""
    return f"Part {part.name}: a half of the events has rows in {fewest} events only."


def _not_judged(study: Study, dropped: Mapping[str, int]) -> list[str]:
    sentences = []
    if study.select:
        sentences.append(
            "Efficiencies: the emulator learned, and is judged on,"
            f' events with "{study.select}" in RECO.'
        )
    if dropped:
        left_out = ", ".join(f"{reason}: {count}" for reason, count in sorted(dropped.items()))
        sentences.append(f"Events without a row in GEN and RECO ({left_out}).")
    if len(study.parts) > 1:
        sentences.append("Coverage of whole events; that of each part is on its page.")
    sentences.append("Events of other processes, generators or detectors than those of the sample.")
    return sentences


def _not_judged_of(part: Part, dropped: Mapping[str, int]) -> list[str]:
    sentences = []
    if part.rows.kind == "object" and part.presence is None:
        sentences.append("Which GEN objects are found: the part has no presence.")
    lost = ", ".join(f"{reason}: {count}" for reason, count in sorted(dropped.items()))
    if lost:
        sentences.append(f"Rows without GEN or RECO ({lost}).")
    return sentences


def histories_of(emulator: Emulator, part: Part | None = None) -> dict[str, list[dict[str, Any]]]:
    """Records of each training, of all stages or of those of one part."""
    wanted = None if part is None else {stage.name for stage in part.stages}
    return {
        f"{name}, member {member}": history
        for name, members in emulator.provenance.get("history", {}).items()
        if wanted is None or name in wanted
        for member, history in enumerate(members)
    }
