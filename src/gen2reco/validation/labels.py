"""Axis labels in HEP notation for names that a study does not label itself."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

OBJECTS = {
    "mu": r"\mu",
    "muon": r"\mu",
    "e": "e",
    "ele": "e",
    "electron": "e",
    "gamma": r"\gamma",
    "photon": r"\gamma",
    "tau": r"\tau",
    "met": "miss",
    "ll": r"\ell\ell",
    "lly": r"\ell\ell\gamma",
}
WHOLE = {
    "m_T": r"$m_{T}$ [GeV]",
    "S_T": r"$S_{T}$ [GeV]",
    "H_T": r"$H_{T}$ [GeV]",
    "met": r"$E_{T}^{miss}$ [GeV]",
    "met_pt": r"$E_{T}^{miss}$ [GeV]",
    "met_x": r"$E_{x}^{miss}$ [GeV]",
    "met_y": r"$E_{y}^{miss}$ [GeV]",
    "met_phi": r"$\phi(E_{T}^{miss})$ [rad]",
}
ALONE = {
    "nConstituents": "constituents",
    "nCh": "charged constituents",
    "chEF": "charged energy fraction",
    "neEmEF": "neutral electromagnetic energy fraction",
    "neHEF": "neutral hadronic energy fraction",
    "ptD": "$p_{T}D$",
    "leadFrac": "leading fraction",
    "btag": "b tag",
    "tautag": r"$\tau$ tag",
    "pfRelIso04_all": "relative isolation",
    "isoSumPtCharged": r"charged isolation $\Sigma p_{T}$ [GeV]",
    "isoSumPtNeutral": r"neutral isolation $\Sigma p_{T}$ [GeV]",
}
"""Fields of an object whose page they stand on."""
FIELDS = {
    "pt": (r"p_{{T}}^{{{}}}", "GeV"),
    "px": (r"p_{{x}}^{{{}}}", "GeV"),
    "py": (r"p_{{y}}^{{{}}}", "GeV"),
    "pz": (r"p_{{z}}^{{{}}}", "GeV"),
    "eta": (r"\eta^{{{}}}", ""),
    "phi": (r"\phi^{{{}}}", "rad"),
    "mass": (r"m^{{{}}}", "GeV"),
    "m": (r"m^{{{}}}", "GeV"),
    "energy": (r"E^{{{}}}", "GeV"),
}


def label_of(name: str, labels: Mapping[str, str] | None = None) -> str:
    """Axis label of a quantity, unit in brackets: the study's own, or HEP notation for the name.

    A name that says nothing (`score`) is its own label.
    """
    known = {**ALONE, **WHOLE, **(labels or {})}
    if name in known:
        return known[name]
    if name.startswith("gen_") and len(name) > 4:
        return f"GEN {label_of(name[4:], labels)}"
    if name.startswith("log_"):
        symbol, unit = split_unit(label_of(name[4:], labels))
        return f"log({symbol} / {unit})" if unit else f"log({symbol})"
    between = re.fullmatch(r"(dphi|deta|dr)_(\w+?)_(\w+)", name)
    if between:
        return _between(*between.groups())
    head, _, field = name.rpartition("_")
    if field in FIELDS and (head or len(name) > 1):
        symbol, unit = FIELDS[field]
        whole = symbol.format(_object(head)) if head else symbol.format("").replace("^{}", "")
        return f"${whole}$" + (f" [{unit}]" if unit else "")
    words = f"number of {name[2:]}" if name.startswith("n_") else name
    return words.replace("$", "").replace("_", " ")


def split_unit(label: str) -> tuple[str, str]:
    """Split a label into symbol and unit; the unit is empty where the label has none."""
    found = re.fullmatch(r"(.*?)\s*\[([^\[\]]+)\]\s*", label)
    return (found.group(1), found.group(2)) if found else (label, "")


@dataclass(frozen=True)
class Labels:
    """Axis labels of one comparison.

    Attributes:
        own: the study's labels; `response:NAME` for a response.
        kinds: `ratio`, `difference` or `angle` per response.
    """

    own: Mapping[str, str]
    kinds: Mapping[str, str]

    def quantity(self, name: str) -> str:
        """Label of a quantity with its unit."""
        return label_of(name, self.own)

    def response(self, name: str) -> str:
        """Label of RECO relative to GEN: a ratio, or a difference with its unit."""
        if f"response:{name}" in self.own:
            return self.own[f"response:{name}"]
        symbol, unit = split_unit(self.quantity(name))
        if self.is_ratio(name):
            return f"{symbol}: RECO / GEN"
        return f"{symbol}: RECO $-$ GEN" + (f" [{unit}]" if unit else "")

    def residual(self, name: str) -> str:
        """Label of the residual: relative for ratios, else the difference."""
        if self.is_ratio(name):
            return f"{split_unit(self.quantity(name))[0]}: (RECO $-$ GEN) / GEN"
        return self.response(name)

    def is_ratio(self, name: str) -> bool:
        """Whether the response is RECO / GEN."""
        return self.kinds.get(name) == "ratio"


def _between(kind: str, one: str, two: str) -> str:
    symbol = {"dphi": r"\Delta\phi", "deta": r"\Delta\eta", "dr": r"\Delta R"}[kind]
    unit = " [rad]" if kind == "dphi" else ""
    return f"${symbol}({_object(one)}, {_object(two)})${unit}"


def _object(name: str) -> str:
    head, _, number = name.partition("_")
    if name in OBJECTS:
        return OBJECTS[name]
    if head in OBJECTS and number:
        return f"{OBJECTS[head]},{number}".replace("_", ",")
    return name.replace("_", r"\,")
