"""How a comparison is made, and what is asked of an emulator."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Targets:
    """What a good emulator reaches; shown beside the tests, not instead of them.

    Attributes:
        median_floor_ratio: median over quantities and responses of the W1 floor ratio.
        largest_floor_ratio: the worst of them.
        excess: C2ST AUC above its null.
        decile: largest deviation of a PIT decile from 0.1, absolute.
        coverage_p: smallest PIT p-value after Holm's correction.
        efficiency_p: smallest p-value of an efficiency's closure after Holm's correction.
        efficiency: largest |ratio - 1| of an efficiency in a bin that has the statistics.
        tag: largest |ratio - 1| of a tag's share in a group that has the statistics.
        count: largest |ratio - 1| of the mean number of objects per event.
        region: largest difference of the number of events in a region, in standard errors.
    """

    median_floor_ratio: float = 1.3
    largest_floor_ratio: float = 3.0
    excess: float = 0.006
    decile: float = 0.01
    coverage_p: float = 0.01
    efficiency_p: float = 0.01
    efficiency: float = 0.02
    tag: float = 0.03
    count: float = 0.03
    region: float = 2.0

    @classmethod
    def for_parts(cls) -> Targets:
        """Return what is asked of an emulator of several parts: harder, so less of each figure."""
        return cls(median_floor_ratio=1.5, largest_floor_ratio=3.0, excess=0.02)


@dataclass(frozen=True)
class Settings:
    """Sizes and seeds of a comparison.

    Attributes:
        seed: seed of every random choice; the same seed and samples give the same report.
        level: family-wise error rate of the headline verdict.
        resplits: random re-splits of FullSim that make the null of distances and correlations; more
            where the headline has so many tests that their p-values could not fail.
        bootstraps: bootstrap samples over events for the error of a distance.
        classifier_seeds: at most so many FastSim samples (noise seeds) enter the C2ST.
        classifier_resplits: re-splits of FullSim that make the null of the C2ST.
        classifier_rows: at most about so many rows of a side enter the C2ST; 0: all.
        folds: cross-fitted folds of the C2ST.
        early_stopping: let the classifier stop early; less sharp, faster.
        threads: processes that fit classifiers; 0: one per core.
        bins: bins of a distribution.
        response_bins: bins of GEN pt or eta for scale and resolution.
        response_resplits: re-splits that make the null of scale and resolution.
        w2: also compute W2^2 (only to compare with published tables).
        quick: said so in the report: fewer seeds and re-splits than a full comparison.
        targets: what is asked of the emulator.
    """

    seed: int = 1
    level: float = 0.05
    resplits: int = 200
    bootstraps: int = 100
    classifier_seeds: int = 5
    classifier_resplits: int = 10
    classifier_rows: int = 20_000
    folds: int = 5
    early_stopping: bool = False
    threads: int = 0
    bins: int = 50
    response_bins: int = 8
    response_resplits: int = 20
    w2: bool = False
    quick: bool = False
    targets: Targets = Targets()

    @classmethod
    def for_demo(cls, *, seed: int = 1, threads: int = 0) -> Settings:
        """Return settings that take a quarter of the time: fewer classifiers, the rest in full."""
        return cls(
            seed=seed,
            threads=threads,
            classifier_seeds=1,
            classifier_resplits=3,
            bootstraps=50,
            quick=True,
        )
