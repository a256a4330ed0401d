"""Fields of objects that are not stored but follow from those that are, and sums of four-momenta.

GeV and radians. The mass is 0 where none is stored; an object without `eta` (MET) has pz = 0.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gen2reco.rows.segments import totals
from gen2reco.rows.values import Collection, Elements, Thing, Value, combine

_TURN = 2.0 * np.pi

Recipe = tuple[tuple[str, ...], Callable[..., Any]]

_POLAR = frozenset({"pt", "phi"})
_CARTESIAN = frozenset({"px", "py"})
DERIVED = ("px", "py", "pz", "energy", "pt", "eta", "phi", "mass")


def _recipe(name: str, stored: frozenset[str]) -> Recipe | None:
    """Return what a derived field is made from; None where the stored ones do not suffice."""
    has_momentum = stored >= _POLAR or stored >= _CARTESIAN or "pt" in stored
    recipe: Recipe | None = None
    if name in {"px", "py"} and stored >= _POLAR:
        turn = np.cos if name == "px" else np.sin
        recipe = ("pt", "phi"), lambda pt, phi: pt * turn(phi)
    elif name in {"pt", "phi"} and stored >= _CARTESIAN:
        recipe = ("px", "py"), np.hypot if name == "pt" else lambda px, py: np.arctan2(py, px)
    elif name == "eta" and stored >= _CARTESIAN | {"pz"}:
        recipe = ("px", "py", "pz"), lambda px, py, pz: np.arcsinh(pz / np.hypot(px, py))
    elif name == "pz" and has_momentum:
        if "eta" in stored:
            recipe = ("pt", "eta"), lambda pt, eta: pt * np.sinh(eta)
        else:
            recipe = ("pt",), np.zeros_like
    elif name == "mass" and has_momentum:
        if stored >= {"energy"}:
            recipe = ("energy", "pt", "pz"), lambda e, pt, pz: _root(e**2 - pt**2 - pz**2)
        else:
            recipe = ("pt",), np.zeros_like
    elif name == "energy" and has_momentum:
        recipe = ("pt", "pz", "mass"), lambda pt, pz, mass: np.sqrt(pt**2 + pz**2 + mass**2)
    return recipe


def field(thing: Thing, name: str) -> Value | None:
    """Return a field, stored or derived; None where there is none."""
    if name not in thing.kept:
        if name in thing.known:
            thing.kept[name] = thing.stored(name)
        else:
            recipe = _recipe(name, frozenset(thing.known))
            if recipe is None:
                return None
            parts = [field(thing, part) for part in recipe[0]]
            if any(part is None for part in parts):
                return None
            thing.kept[name] = combine(recipe[1], *(part for part in parts if part is not None))
    return thing.kept[name]


def field_names(thing: Thing) -> list[str]:
    """Return every field that can be asked for, stored and derived."""
    stored = frozenset(thing.known)
    derived = [name for name in DERIVED if name not in stored and _recipe(name, stored)]
    return [*thing.known, *derived]


def wrapped(turn: Any) -> Any:
    """Return an angle brought to between -pi and pi."""
    return turn - _TURN * np.rint(turn / _TURN)


def distance(eta_a: Any, phi_a: Any, eta_b: Any, phi_b: Any) -> Any:
    """Return the distance in eta and phi."""
    turn = wrapped(phi_a - phi_b)
    eta = eta_a - eta_b
    return np.sqrt(eta * eta + turn * turn)


def transverse_mass(pt_a: Any, phi_a: Any, pt_b: Any, phi_b: Any) -> Any:
    """Return the transverse mass of two objects taken as massless."""
    return np.sqrt(2.0 * pt_a * pt_b * (1.0 - np.cos(phi_a - phi_b)))


def momentum(things: list[Thing], components: str) -> list[Value] | None:
    """Return components of the summed four-momentum; lists are summed over their objects.

    Args:
        things: single objects and collections.
        components: letters among `x y z e`.
    """
    sums: list[Value] = []
    for letter in components:
        name = "energy" if letter == "e" else f"p{letter}"
        parts = [field(thing, name) for thing in things]
        if any(part is None for part in parts):
            return None
        summed = [
            segment_total(part, thing.frame) if isinstance(thing, Collection) else part
            for thing, part in zip(things, parts, strict=True)
            if part is not None
        ]
        sums.append(combine(lambda *items: sum(items), *summed))
    return sums


def segment_total(value: Value, frame: Elements, which: int = 0) -> Value:
    """Return sum (0), minimum (1) or maximum (2) of each list; of an empty one 0 or missing."""
    value = value.on(frame)
    valid = np.ones(frame.size, np.bool_) if value.valid is None else value.valid
    numbers = totals(np.asarray(value.values, np.float64), valid, frame.offsets)
    some = numbers[3] > 0
    missing = None if which == 0 or some.all() else some
    return Value(numbers[which], missing, frame.owner)


SUMS: dict[str, tuple[str, Callable[..., Any], Callable[..., Any] | None]] = {
    "px": ("x", lambda x: x, None),
    "py": ("y", lambda y: y, None),
    "pz": ("z", lambda z: z, None),
    "pt": ("xy", np.hypot, None),
    "eta": (
        "xyz",
        lambda x, y, z: np.arcsinh(z / np.hypot(x, y)),
        lambda x, y, _: (x != 0) | (y != 0),
    ),
    "phi": ("xy", lambda x, y: np.arctan2(y, x), None),
    "energy": ("e", lambda e: e, None),
    "mass": ("xyze", lambda x, y, z, e: _root(e**2 - x**2 - y**2 - z**2), None),
    "rapidity": (
        "ze",
        lambda z, e: 0.5 * np.log((e + z) / (e - z)),
        lambda z, e: ~(np.abs(z) >= e),
    ),
}
"""Quantity of a sum of four-momenta -> components it needs, formula, where it has a value."""


def _root(square: Any) -> Any:
    """Square root of a square that rounding may have made slightly negative."""
    return np.sqrt(np.maximum(square, 0.0))
