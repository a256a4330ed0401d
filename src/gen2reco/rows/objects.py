"""Functions of the expression language that choose objects, compare them, or reduce lists.

Each takes a `Call` and returns what it stands for; some are made for a rank, a formula or a side.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gen2reco.rows import kinematics, segments
from gen2reco.rows.values import (
    Collection,
    Single,
    Thing,
    Value,
    both,
    combine,
    common,
    finest,
    restricted,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from gen2reco.rows.calls import Call


def _chosen(call: Call, condition: int) -> tuple[Collection, segments.Flags]:
    """Return the collection of the first argument and, per object, whether the condition holds."""
    collection = call.collection(0)
    if call.count <= condition:
        return collection, np.ones(collection.frame.size, np.bool_)
    verdict = call.condition(condition, collection)
    frame = collection.frame if verdict.frame is None else finest(collection.frame, verdict.frame)
    return collection.on(frame), verdict.on(frame).truth()


def where(call: Call) -> Collection:
    """Return the objects of a collection that meet a condition."""
    collection, mask = _chosen(call, 1)
    return collection.where(mask, call.text)


def count(call: Call) -> Value:
    """Return how many objects of a collection there are, or meet a condition."""
    collection, mask = _chosen(call, 1)
    offsets = collection.frame.offsets
    if call.count > 1:
        offsets = segments.kept_offsets(offsets, mask)
    return Value(np.diff(offsets), None, collection.frame.owner)


def ranked(rank: int | None) -> Callable[[Call], Single]:
    """Make a function that picks the object of a rank by falling pt; None: its second argument."""

    def run(call: Call) -> Single:
        which = call.integer(1) if rank is None else rank
        collection, mask = _chosen(call, 2 if rank is None else 1)
        pt = call.field(0, collection, "pt").values
        return collection.pick(segments.ranked(pt, mask, collection.frame.offsets, which))

    return run


def nearest(call: Call) -> Single:
    """Return the object of a collection nearest to a single object; missing where that is."""
    collection, target = call.collection(0), call.single(1)
    found, _ = _look_around(call, collection, target, apart=False)
    return found


def _look_around(
    call: Call, collection: Collection, target: Thing, *, apart: bool
) -> tuple[Single, Value]:
    """Return the object of a collection nearest to each target, and its distance.

    With `apart`, a target that is itself an object of the collection is not its own neighbour.
    """
    owner = collection.frame.owner
    rows = finest(target.frame, owner)
    which = np.arange(rows.size) if rows is owner else rows.index_into(owner)
    directions = [call.field(1, target, name).on(rows) for name in ("eta", "phi")]
    own = collection.positions
    same = np.full(rows.size, -1, np.int64)
    if apart and isinstance(target, Collection) and target.source is collection.source:
        same = target.on(rows).positions
    around = [call.field(0, collection, name).values for name in ("eta", "phi")]
    found, distance = segments.nearest(
        (*around, own, collection.frame.offsets), (*(d.values for d in directions), same, which)
    )
    valid = both(*(item.valid for item in directions))
    if valid is not None:
        found[~valid] = -1
    if collection.index is not None:
        found = np.where(found < 0, -1, collection.index[found] if len(own) else -1)
    return Single(collection.source, rows, found), Value(distance, valid, rows)


def _pair(call: Call) -> tuple[Thing, Thing]:
    """Return the two objects of a distance; in a condition the first may be the candidate."""
    if call.count == 2:
        return call.thing(0), call.thing(1)
    if call.scope is None:
        call.fail(
            f"{call.name} with one object means: from each candidate, inside a condition only"
        )
    return call.scope, call.thing(0)


def between(*names: str, formula: Callable[..., Any]) -> Callable[[Call], Value]:
    """Make a function of two objects from a formula of their fields."""

    def run(call: Call) -> Value:
        first, second = _pair(call)
        fields = [call.field(i, thing, n) for i, thing in enumerate((first, second)) for n in names]
        return combine(formula, *fields)

    return run


def delta_r(call: Call) -> Value:
    """Return the distance of two objects; to a collection, the distance to its nearest object."""
    first, second = _pair(call)
    if isinstance(first, Collection) and isinstance(second, Collection):
        return _look_around(call, second, first, apart=True)[1]
    return between("eta", "phi", formula=kinematics.distance)(call)


def of_sum(name: str) -> Callable[[Call], Value]:
    """Make a function that gives one quantity of a sum of four-momenta."""
    letters, formula, allowed = kinematics.SUMS[name]

    def run(call: Call) -> Value:
        things = [call.thing(i) for i in range(call.count)]
        sums = kinematics.momentum(things, letters)
        if sums is None:
            call.fail("an argument has no momentum")
        result = combine(formula, *sums)
        return restricted(result, combine(allowed, *sums)) if allowed else result

    return run


def reduced(which: int) -> Callable[[Call], Value]:
    """Make sum (0), minimum (1) or maximum (2) over a list."""

    def run(call: Call) -> Value:
        return kinematics.segment_total(*call.per_object(0), which)

    return run


def extreme(which: int, formula: Callable[..., Any]) -> Callable[[Call], Value]:
    """Make minimum (1) or maximum (2) over a list, or by `formula` over several arguments."""

    def run(call: Call) -> Value:
        if call.count == 1:
            return reduced(which)(call)
        result = call.value(0)
        for i in range(1, call.count):
            result = combine(formula, result, call.value(i))
        return result

    return run


def verdict(*, every: bool) -> Callable[[Call], Value]:
    """Make `all` or `any` over a list."""

    def run(call: Call) -> Value:
        value, frame = call.per_object(0)
        truth = value.truth()
        number = np.diff(segments.kept_offsets(frame.offsets, ~truth if every else truth))
        return Value(number == 0 if every else number > 0, None, frame.owner)

    return run


def if_else(call: Call) -> Value:
    """Return one of two numbers by a condition; missing where it or the chosen one is."""
    chosen, yes, no = (call.value(i) for i in range(3))
    frame = common([chosen.frame, yes.frame, no.frame])
    if frame is not None:
        chosen, yes, no = chosen.on(frame), yes.on(frame), no.on(frame)
    truth = chosen.truth()
    valid = None
    if not (chosen.valid is None and yes.valid is None and no.valid is None):
        sides = [np.True_ if side.valid is None else side.valid for side in (yes, no)]
        valid = both(chosen.valid, np.where(truth, *sides))
    return Value(np.where(truth, yes.values, no.values), valid, frame)


def exists(*, there: bool) -> Callable[[Call], Value]:
    """Make the question whether an object or number is there, or is missing."""

    def run(call: Call) -> Value:
        item = call.item(0)
        if isinstance(item, Collection):
            call.fail(f"{call.name} takes an object; for a collection ask count(...) > 0", 0)
        valid = item.valid if isinstance(item, Value) else getattr(item, "exists", None)
        if valid is None:
            return Value(np.bool_(there), None, None)
        return Value(valid if there else ~valid, None, item.frame)

    return run


def index(call: Call) -> Value:
    """Return the position of an object in its stored collection."""
    return call.single(0).local_index()


def bit(call: Call) -> Value:
    """Return whether a bit of a whole number is set."""
    place = call.integer(1)
    return combine(lambda flags: (flags.astype(np.int64) >> place) & 1 == 1, call.value(0))
