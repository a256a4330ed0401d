"""Constituents of jets as the columns that a model sees, and back: padded with zeros, flat per jet.

Three representations; columns go slot by slot, [jets, size x fields]:

- `absolute`: pt, eta, phi, pdgId, charge in the units of the study; an empty slot is all 0. For
  families that know about detectors.
- `relative`: log pt, eta and phi relative to the axis of the GEN jet, each standardised, and five
  columns of which one is 1, the type; an empty slot is all 0.
- `cartesian`: px, py, pz, each standardised; an empty slot is a particle without momentum. It
  knows no types: decoded particles have pdgId and charge 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from gen2reco.errors import EmulatorError, StudyError
from gen2reco.features.domain import Range
from gen2reco.rows.substructure import turn
from gen2reco.rows.table import ABSURD
from gen2reco.study import CONSTITUENT, OF_GEN

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from gen2reco.features.findings import Finding
    from gen2reco.rows.tables import Table
    from gen2reco.study import Part

    Numbers = NDArray[np.float64]

Representation = Literal["absolute", "relative", "cartesian"]

TYPES = (211, 130, 22, 11, 13)
"""Particle that stands for each type: charged hadron, neutral hadron, photon, electron, muon."""
MOST_ETA = 20.0
"""A particle with a larger eta has no momentum that a number can hold."""
KEPT = 0.25
"""Decoded particles softer than this, in GeV, are empty slots (`cartesian`)."""
WIDTHS = {"absolute": 5, "relative": 3 + len(TYPES), "cartesian": 3}


@dataclass(frozen=True)
class SetFeatures:
    """The fitted features of a part with rows of kind set.

    Attributes:
        part: name of the part.
        size: slots of a row on either side.
        representation: what the columns are.
        moments: mean and deviation of each standardised column, [fields, 2], by side.
        ranges: training distribution of the GEN jet's sum of pt and mean eta.
        findings: empty; columns of sets are neither copies nor constants.
        standardize: always on, where the representation standardises.
        levels: always off: no column is discrete.
    """

    part: str
    size: int
    representation: Representation
    moments: Mapping[str, tuple[tuple[float, float], ...]]
    ranges: Mapping[str, Range]
    findings: tuple[Finding, ...] = ()
    standardize: bool = True
    levels: bool = False

    @classmethod
    def fit(cls, part: Part, table: Table, representation: str) -> SetFeatures:
        """Fit the scales of the columns.

        Args:
            part: the part of the study.
            table: its training rows, with targets; weights play no role.
            representation: what the family wants.

        Raises:
            StudyError: the table is empty, or the representation is unknown.
        """
        known = get_args(Representation)
        if representation not in known:
            raise StudyError(f"representation must be one of {', '.join(known)}")
        if not len(table):
            raise StudyError(f"part {part.name}: there are no rows to fit its features to")
        ranges = {name: Range.fit(values) for name, values in _summary(table).items()}
        bare = cls(part.name, part.rows.size, representation, {}, ranges)  # type: ignore[arg-type]
        moments = {}
        for side, columns in (("condition", _gen(table)), ("target", table.target)):
            values, there = bare._columns(columns, _axis(table))
            wide = values[there if representation != "cartesian" else np.ones_like(there)][:, :3]
            deviation = wide.std(axis=0)
            pairs = zip(wide.mean(axis=0), np.where(deviation > 0, deviation, 1.0), strict=True)
            moments[side] = tuple((float(mean), float(scale)) for mean, scale in pairs)
        return cls(part.name, part.rows.size, representation, moments, ranges)  # type: ignore[arg-type]

    @property
    def width(self) -> int:
        """Columns of a slot."""
        return WIDTHS[self.representation]

    @property
    def condition_names(self) -> tuple[str, ...]:
        """What a GEN constituent has."""
        return tuple(f"{OF_GEN}{name}" for name in CONSTITUENT)

    @property
    def target_names(self) -> tuple[str, ...]:
        """What a RECO constituent has."""
        return CONSTITUENT

    @property
    def shape(
        self,
    ) -> tuple[
        int,
        int,
        tuple[int, ...],
        tuple[tuple[int, ...], ...],
        tuple[float, ...],
        int,
        tuple[tuple[float, float], ...],
    ]:
        """What `models.protocol.Shape` is made of."""
        flat = self.size * self.width
        moments = (*self.moments["condition"], *self.moments["target"])
        plain = self.representation == "absolute"
        return flat, flat, (), (), (), self.size, () if plain else moments

    def encode_condition(self, table: Table) -> NDArray[np.float32]:
        """Return GEN as the model sees it, float32 [n, size x width], always finite."""
        return self._encode(_gen(table), table, "condition")

    def encode_target(self, table: Table, noise_seed: int) -> NDArray[np.float32]:  # noqa: ARG002
        """Return RECO as the model sees it, float32 [n, size x width], always finite."""
        return self._encode(table.target, table, "target")

    def decode_target(self, encoded: NDArray[Any], table: Table) -> dict[str, Numbers]:
        """Return RECO constituents, {name: float64 [n, size]}, NaN beyond the last one.

        Args:
            encoded: what a model gave, [n, size x width].
            table: the rows' GEN side.

        Raises:
            EmulatorError: a model gave NaN.
        """
        values = np.asarray(encoded, np.float64).reshape(len(table), self.size, self.width)
        if np.isnan(values).any():
            raise EmulatorError(f"the model of part {self.part} gave NaN")
        if self.representation == "absolute":
            columns = dict(zip(CONSTITUENT, np.moveaxis(values, 2, 0), strict=True))
            there = columns["pt"] > 0
        elif self.representation == "relative":
            columns, there = self._from_relative(values, table)
        else:
            columns, there = self._from_cartesian(values)
        return {name: np.where(there, column, np.nan) for name, column in columns.items()}

    def outside_domain(self, table: Table) -> NDArray[np.bool_]:
        """Return which rows have a GEN jet outside the range of training, bool [n]."""
        outside = np.zeros(len(table), np.bool_)
        for name, values in _summary(table).items():
            missed = self.ranges[name].misses(values)
            if missed is not None:
                outside |= missed
        return outside

    def describe(self) -> list[dict[str, str]]:
        """Return a table for people: one row per field and side."""
        how = f"learned, {self.representation}, at most {self.size} constituents"
        keys = ("side", "column", "relative", "transforms", "how")
        names = [("GEN", name) for name in self.condition_names]
        names += [("RECO", name) for name in self.target_names]
        return [dict(zip(keys, (side, name, "", "", how), strict=True)) for side, name in names]

    def state(self) -> dict[str, Any]:
        """Return everything that was fitted, as JSON holds it to the last bit."""
        return {
            "part": self.part,
            "size": self.size,
            "representation": self.representation,
            "moments": {side: [list(pair) for pair in of] for side, of in self.moments.items()},
            "ranges": {name: found.state() for name, found in self.ranges.items()},
        }

    @classmethod
    def from_state(cls, part: Part, state: Mapping[str, Any]) -> SetFeatures:
        """Return the features that gave `state`; EmulatorError where they are of another part."""
        if state["size"] != part.rows.size:
            raise EmulatorError(
                f"the saved features of part {part.name} are of {state['size']} constituents"
            )
        moments = {
            side: tuple((pair[0], pair[1]) for pair in of) for side, of in state["moments"].items()
        }
        ranges = {name: Range.from_state(item) for name, item in state["ranges"].items()}
        return cls(state["part"], state["size"], state["representation"], moments, ranges)

    def _encode(
        self, columns: Mapping[str, Numbers], table: Table, side: str
    ) -> NDArray[np.float32]:
        values, there = self._columns(columns, _axis(table))
        if self.representation != "absolute":
            mean, scale = np.array(self.moments[side]).T
            values[..., :3] = (values[..., :3] - mean) / scale
        if self.representation != "cartesian":
            values[~there] = 0.0
        return values.reshape(len(table), -1).astype(np.float32)

    def _columns(
        self, columns: Mapping[str, Numbers], axis: tuple[Numbers, Numbers]
    ) -> tuple[Numbers, NDArray[np.bool_]]:
        """Return the columns of every slot before they are standardised, and which slots are real.

        A constituent that is not finite somewhere counts as an empty slot.
        """
        fields, there = _sound(columns)
        if self.representation == "absolute":
            return fields, there
        pt, eta, phi = (fields[..., k] for k in range(3))
        if self.representation == "cartesian":
            return np.stack([pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)], 2), there
        eta_axis, phi_axis = (part[:, None] for part in axis)
        with np.errstate(divide="ignore"):
            log_pt = np.where(there, np.log(np.where(there, pt, 1.0)), 0.0)
        three = np.stack([log_pt, eta - eta_axis, turn(phi - phi_axis)], axis=2)
        kinds = (types(fields[..., 3], fields[..., 4])[..., None] == np.arange(len(TYPES))) * 1.0
        return np.concatenate([three, kinds], axis=2), there

    def _from_relative(
        self, values: Numbers, table: Table
    ) -> tuple[dict[str, Numbers], NDArray[np.bool_]]:
        mean, scale = np.array(self.moments["target"]).T
        there = (values != 0).any(axis=2)
        log_pt, eta, phi = np.moveaxis(values[..., :3] * scale + mean, 2, 0)
        eta_axis, phi_axis = (part[:, None] for part in _axis(table))
        kind = values[..., 3:].argmax(axis=2)
        pdg = np.array(TYPES, np.float64)[kind]
        columns = {
            "pt": np.exp(np.clip(log_pt, -10.0, 10.0)),
            "eta": eta + eta_axis,
            "phi": turn(phi + phi_axis),
            "pdgId": pdg,
            "charge": np.where((kind == 1) | (kind == 2), 0.0, 1.0),
        }
        return columns, there

    def _from_cartesian(self, values: Numbers) -> tuple[dict[str, Numbers], NDArray[np.bool_]]:
        mean, scale = np.array(self.moments["target"]).T
        px, py, pz = np.moveaxis(values * scale + mean, 2, 0)
        pt = np.hypot(px, py)
        there = pt >= KEPT
        columns = {
            "pt": pt,
            "eta": np.arcsinh(np.divide(pz, pt, out=np.zeros_like(pz), where=there)),
            "phi": np.arctan2(py, px),
            "pdgId": np.zeros_like(pt),
            "charge": np.zeros_like(pt),
        }
        return columns, there


def types(pdg_id: Numbers, charge: Numbers) -> NDArray[np.int64]:
    """Return the type of particles, their place in `TYPES`."""
    kind = np.where(charge != 0, 0, 1)
    for place, known in enumerate(TYPES[2:], 2):
        kind = np.where(np.abs(pdg_id) == known, place, kind)
    return kind


def _gen(table: Table) -> dict[str, Numbers]:
    return {name: table.condition[f"{OF_GEN}{name}"] for name in CONSTITUENT}


def _sound(columns: Mapping[str, Numbers]) -> tuple[Numbers, NDArray[np.bool_]]:
    """Return fields [n, size, 5], 0 in slots that hold no sound particle, and which ones do."""
    fields = np.stack([columns[name] for name in CONSTITUENT], axis=2)
    there = (np.abs(fields) <= ABSURD).all(axis=2) & (fields[..., 0] > 0)
    there &= np.abs(fields[..., 1]) < MOST_ETA
    fields[~there] = 0.0
    return fields, there


def _axis(table: Table) -> tuple[Numbers, Numbers]:
    """Return eta and phi of the sum of the GEN constituents, [n] each."""
    fields, _ = _sound(_gen(table))
    pt, eta, phi = np.moveaxis(fields[..., :3], 2, 0)
    px, py, pz = (
        np.sum(pt * factor, axis=1) for factor in (np.cos(phi), np.sin(phi), np.sinh(eta))
    )
    length = np.maximum(np.hypot(px, py), 1e-12)
    return np.arcsinh(pz / length), np.arctan2(py, px)


def _summary(table: Table) -> dict[str, Numbers]:
    """Return the quantities of GEN jets that the training domain is about."""
    fields, _ = _sound(_gen(table))
    return {"sum of pt": fields[..., 0].sum(axis=1), "eta": _axis(table)[0]}
