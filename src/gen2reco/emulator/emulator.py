"""A trained emulator in memory: GEN events in, RECO events out."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import numpy as np

from gen2reco.emulator.assemble import Copy, RecoLayout, assemble
from gen2reco.emulator.blocks import sample_rows
from gen2reco.emulator.chunk import BAD_INPUT, NOT_FINITE, OUTSIDE_DOMAIN, POLICIES, Chunk
from gen2reco.errors import EmulatorError, EventFileError, StudyError, nearest
from gen2reco.events.layout import flat_columns
from gen2reco.models.backward import Backward
from gen2reco.rng import noise
from gen2reco.rows.tables import columns_needed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import awkward as ak

    from gen2reco.features import Features, PartFeatures
    from gen2reco.models.protocol import Model
    from gen2reco.rows.tables import Available, Table
    from gen2reco.study import Part, Study


@dataclass(frozen=True)
class TrainedPart:
    """One part of the study, or its presence, with features and ensemble; member 0 is nominal.

    Attributes:
        part: the part.
        features: of its conditions and targets.
        members: the ensemble.
        backward: features from RECO to GEN, for a family that unfolds as well.
    """

    part: Part
    features: Features
    members: tuple[Model, ...]
    backward: PartFeatures | None = None


@dataclass(frozen=True)
class Simulated:
    """What one chunk of GEN events became.

    Attributes:
        events: RECO events in NanoAOD shape.
        dropped: reason -> GEN events that gave none; `part: reason` -> GEN objects left out of it.
        flagged: reason -> events that were simulated under reserve.
    """

    events: ak.Array
    dropped: Counter[str]
    flagged: Counter[str]


@dataclass(frozen=True)
class Emulator:
    """The learned p(RECO | GEN) of one study.

    Attributes:
        study: the resolved study it was trained from.
        parts: the stages (parts and their presence), in the order in which they are simulated.
        layout: shape and integer types of the RECO columns, taken from the training files.
        provenance: training files and their digests, seeds, versions, rows, times, history, advice.
        digest: sha256 of the saved artifact, "" for one that was never saved.

    Raises:
        EmulatorError: the parts are not the stages of the study.
    """

    study: Study
    parts: tuple[TrainedPart, ...]
    layout: RecoLayout
    provenance: Mapping[str, Any] = field(default_factory=dict)
    digest: str = ""

    def __post_init__(self) -> None:
        wanted = [stage.name for stage in self.study.stages]
        there = [trained.part.name for trained in self.parts]
        if wanted != there:
            raise EmulatorError(
                f"the emulator of study {self.study.name!r} is damaged: it holds"
                f" {', '.join(there) or 'no part'}, and the study has {', '.join(wanted)}"
            )

    def part(self, name: str) -> TrainedPart:
        """Return the trained part called `name`; EmulatorError where there is none."""
        for trained in self.parts:
            if trained.part.name == name:
                return trained
        names = [trained.part.name for trained in self.parts]
        raise EmulatorError(f"the emulator has no part {name!r}.{nearest(name, names)}")

    @property
    def members(self) -> int:
        """Size of the ensemble."""
        return min(len(trained.members) for trained in self.parts)

    @property
    def numbers(self) -> list[str]:
        """Columns that number the rows of one event; they are written too."""
        return [trained.part.rows.number for trained in self.parts if trained.part.rows.number]

    @property
    def unfolds(self) -> bool:
        """Whether the emulator gives GEN for RECO: it was trained to, or runs both ways."""
        return self.study.direction == "unfold" or any(part.backward for part in self.parts)

    def backward(self) -> Emulator:
        """Return the emulator that gives GEN for RECO: itself, or the way back of one for RECO.

        Raises:
            EmulatorError: it runs one way only.
        """
        study = self.study
        if study.direction == "unfold":
            return self
        if not self.unfolds:
            kinds = ", ".join(sorted({str(trained.part.model["kind"]) for trained in self.parts}))
            raise EmulatorError(
                f"the emulator of study {study.name!r} learned RECO given GEN, and the family"
                f" {kinds} does not run backwards. Train a study with `direction: unfold`, whose"
                " conditions are RECO and whose targets are GEN, such as zee-unfold"
            )
        parts = tuple(
            TrainedPart(
                trained.part.backward,
                trained.backward,
                tuple(Backward(model).eval() for model in trained.members),
            )
            for trained in self.parts
            if trained.backward is not None
        )
        return replace(self, study=study.backward, parts=parts)

    def columns_needed(self, available: Available, keep: Sequence[str] = ()) -> list[str]:
        """Return the flat GEN columns that simulation reads from a file, those to keep included.

        Raises:
            StudyError: the file lacks a column that the study needs.
            EventFileError: nothing in the file matches an entry of `keep`.
        """
        needed: dict[str, None] = {}
        for trained in self.parts:
            needed |= dict.fromkeys(
                columns_needed(self.study, trained.part, available, targets=False)
            )
        needed |= dict.fromkeys(kept_columns(keep, available.columns))
        if self.study.input.weight:
            needed[self.study.input.weight] = None
        return list(needed)

    def simulate(
        self,
        events: ak.Array,
        *,
        seed: int = 1,
        oversample: int = 1,
        members: int = 1,
        keep: Sequence[str] = (),
        policy: str = "error",
    ) -> ak.Array:
        """Turn GEN events into RECO events, in memory.

        Args:
            events: GEN events in NanoAOD shape, with `run`, `luminosityBlock` and `event`;
                momenta in GeV.
            seed: the same seed and event key give the same RECO event, whatever else is in the
                array.
            oversample: RECO events per GEN event; weights are divided by it.
            members: ensemble members to run; more than 1 adds a `member` column.
            keep: GEN columns to carry along (`GenJet_*`, `Generator_scalePDF`).
            policy: what to do with GEN values that are not finite: `error`, `drop` or `flag`.

        Returns:
            RECO events, in the order of the GEN events; those that cannot fill a row are left out.
        """
        return self.simulate_chunk(
            events, seed=seed, oversample=oversample, members=members, keep=keep, policy=policy
        ).events

    def simulate_chunk(
        self,
        events: ak.Array,
        *,
        seed: int = 1,
        oversample: int = 1,
        members: int = 1,
        keep: Sequence[str] = (),
        policy: str = "error",
        where: str = "",
        first: int = 0,
    ) -> Simulated:
        """Do what `simulate` does, and count what was dropped and flagged.

        `where` and `first` name the file and the entry of the first event in error messages.
        """
        self.check_options(oversample=oversample, members=members, policy=policy)
        keep = [*self.numbers, *keep]
        keep = kept_columns(keep, list(flat_columns(events))) if keep else ()
        chunk = Chunk(self, events, seed=seed, policy=policy, where=where, first=first)
        numbers = [(member, replica) for member in range(members) for replica in range(oversample)]
        copies = [Copy(*which, *chunk.simulate(*which)) for which in numbers]
        flags = np.concatenate([copy.flags[chunk.alive] for copy in copies])
        flagged = Counter(
            {
                f"{self.study.given} outside the training domain": int(
                    np.count_nonzero(flags & OUTSIDE_DOMAIN)
                ),
                f"{self.study.given} {NOT_FINITE}": int(np.count_nonzero(flags & BAD_INPUT)),
            }
        )
        reco = assemble(
            events,
            np.flatnonzero(chunk.alive),
            copies,
            layout=self.layout,
            weight=self.study.input.weight,
            keep=keep,
            with_member=members > 1,
        )
        return Simulated(reco, chunk.dropped, +flagged)

    def sample_targets(
        self, trained: TrainedPart, table: Table, *, seed: int, replica: int = 0, member: int = 0
    ) -> dict[str, np.ndarray]:
        """Return one draw of every target of a part for each row, in physics units.

        As name -> values, float64 [rows].
        """
        encoded = trained.features.encode_condition(table)
        return self.draw(trained, table, encoded, seed=seed, replica=replica, member=member)

    def draw(
        self,
        trained: TrainedPart,
        table: Table,
        encoded: np.ndarray,
        *,
        seed: int,
        replica: int,
        member: int,
    ) -> dict[str, np.ndarray]:
        """Do what `sample_targets` does, given the rows' encoded conditions."""
        model = trained.members[member]
        numbers = noise(
            table.keys,
            seed=seed,
            part=trained.part.name,
            normal=model.noise.normal,
            uniform=model.noise.uniform,
            replica=replica,
        )
        return trained.features.decode_target(sample_rows(model, encoded, numbers), table)

    def check_options(self, *, oversample: int, members: int, policy: str) -> None:
        """Refuse options that `simulate` does not take.

        Raises:
            StudyError: an unknown policy, or a number out of range.
            EmulatorError: more members than there are.
        """
        check_options(oversample=oversample, policy=policy)
        if not 1 <= members <= self.members:
            raise EmulatorError(f"asked for {members} members, the emulator has {self.members}")


def check_options(*, oversample: int, policy: str) -> None:
    """Refuse options that no emulator takes: StudyError."""
    if policy not in POLICIES:
        raise StudyError(
            f"policy must be one of {', '.join(POLICIES)}, not {policy!r}."
            f"{nearest(policy, POLICIES)}"
        )
    if not 1 <= oversample <= 2**16:
        raise StudyError(f"oversample must lie between 1 and 65536, not {oversample}")


def kept_columns(keep: Sequence[str], columns: Sequence[str]) -> list[str]:
    """Return the columns that the patterns of `keep` name.

    Raises:
        EventFileError: a pattern names none.
    """
    chosen: dict[str, None] = {}
    for pattern in keep:
        hits = [column for column in columns if fnmatchcase(column, pattern)]
        if not hits:
            raise EventFileError(
                f"no column matches --keep {pattern!r}.{nearest(pattern, columns)}"
            )
        chosen |= dict.fromkeys(hits)
    return list(chosen)
