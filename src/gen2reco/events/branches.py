"""What a branch of a TTree holds, in our words, and how a column is made from branches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import awkward as ak
import numpy as np
import uproot
from uproot.interpretation.jagged import AsJagged
from uproot.interpretation.numerical import AsDtype

from gen2reco.events.layout import Column, Jagged


@dataclass(frozen=True)
class Branch:
    """One branch.

    Attributes:
        name: without its parents (`Jet.PT`, not `Jet/Jet.PT`).
        numbers: whether it holds numbers or one list of numbers (or of short vectors) per event.
        jagged: whether it is a list per event.
        components: length of the short vectors, 0 where entries are plain numbers.
        type_name: C++ type.
        stored_class: class of the objects in the split array it belongs to, "" if none.
        counter: name of the branch that counts its entries, "" if none.
    """

    name: str
    numbers: bool
    jagged: bool
    components: int
    type_name: str
    stored_class: str
    counter: str


@dataclass(frozen=True)
class Leaf:
    """Where a column comes from.

    Attributes:
        branches: branches to read, the one with the values first.
        jagged: whether the column is a list per event.
        single: the branch is a list of exactly one entry per event, and the column is that entry.
        component: which of a fixed number of values per object, -1 where there is one.
        rule: "" for the values themselves, or "flag", "constant", "prompt".
        value: of a constant.
    """

    branches: tuple[str, ...]
    jagged: bool
    single: bool = False
    component: int = -1
    rule: str = ""
    value: float = 0.0


def describe(branch: Any) -> Branch:
    """Describe a branch without reading it."""
    kind = branch.interpretation
    jagged = isinstance(kind, AsJagged)
    numbers = kind.content if jagged else kind
    shape: tuple[int, ...] = ()
    usable = False
    if isinstance(numbers, AsDtype):
        dtype, shape = numbers.to_dtype.base, numbers.to_dtype.shape
        usable = dtype.kind in "biuf" and len(shape) <= 1
    # uproot hands out the exception where it knows no way to read a branch.
    known = not isinstance(kind, uproot.interpretation.identify.UnknownInterpretation)
    stored = (
        branch.parent.member("fClonesName", none_if_missing=True)
        if _is_branch(branch.parent)
        else None
    )
    counter = branch.count_branch
    return Branch(
        name=branch.name,
        numbers=usable,
        jagged=jagged,
        components=shape[0] if shape else 0,
        type_name=str(branch.typename) if known else "an unknown type",
        stored_class=str(stored or ""),
        counter="" if counter is None else counter.name,
    )


def _is_branch(parent: Any) -> bool:
    return isinstance(parent, uproot.behaviors.TBranch.TBranch)


def numbers_of(array: ak.Array) -> Column:
    """The numbers of a branch as uproot returns them, lists with offsets from zero."""
    layout = array.layout
    if isinstance(layout, ak.contents.ListOffsetArray):
        offsets = np.asarray(layout.offsets)
        content = np.asarray(ak.to_numpy(layout.content))
        if offsets[0] != 0:
            content, offsets = content[offsets[0] :], offsets - offsets[0]
        return Jagged(offsets, content[: offsets[-1]])
    return np.asarray(ak.to_numpy(layout))
