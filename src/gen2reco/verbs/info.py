"""`info`: what an emulator or a file of events holds.

`--check` proves that a copy of an emulator works here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gen2reco.errors import EmulatorError, nearest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gen2reco.emulator import Emulator
    from gen2reco.emulator.reference import ReferenceCheck


@dataclass(frozen=True)
class Info:
    """What `info` found.

    Attributes:
        kind: `emulator` or `events`.
        facts: name -> value, in the order to be shown.
        check: outcome of reproducing the reference events, None where it was not asked for.
    """

    kind: str
    facts: Mapping[str, Any]
    check: ReferenceCheck | None = None

    @property
    def failed(self) -> bool:
        """Whether the check was asked for and failed."""
        return self.check is not None and not self.check.passed

    def __str__(self) -> str:
        lines = []
        for name, value in self.facts.items():
            if isinstance(value, list):
                lines.append(f"{name}:")
                lines += [f"    {item}" for item in value]
            else:
                lines.append(f"{name}: {value}")
        if self.check is not None:
            word = (
                "identical" if self.check.identical else "passed" if self.check.passed else "FAILED"
            )
            lines.append(
                f"reference events: {word} ({self.check.events} events"
                + (
                    ""
                    if self.check.identical
                    else f", largest difference {self.check.largest:.2g} of a width"
                )
                + (f" in {self.check.column})" if self.check.column else ")")
            )
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        from html import escape  # noqa: PLC0415

        return f"<pre>{escape(str(self))}</pre>"


def info(path: str | Path, *, check: bool = False, tree: str = "") -> Info:
    """Describe an emulator or a file of events.

    Args:
        path: folder or zip of an emulator, or a file of events.
        check: reproduce the emulator's reference events here.
        tree: tree, RNTuple or group with the events; "": `Events`, or the only one with events.

    Raises:
        EmulatorError: it is no emulator, or has no reference events to check.
        EventFileError: it is neither an emulator nor a readable file of events.
    """
    path = Path(path)
    if not path.exists():
        there = [str(other) for other in path.parent.glob("*")] if path.parent.is_dir() else []
        raise EmulatorError(
            f"there is no emulator and no file of events at {path}.{nearest(str(path), there)}"
        )
    if path.is_dir() or path.suffix == ".zip":
        from gen2reco.emulator import load_emulator  # noqa: PLC0415
        from gen2reco.emulator.reference import check_reference  # noqa: PLC0415

        emulator = load_emulator(path)
        return Info(
            "emulator",
            _emulator_facts(emulator),
            check_reference(emulator, path) if check else None,
        )
    if check:
        raise EmulatorError(f"{path} is a file of events; --check is for emulators")
    from gen2reco.events import open_events  # noqa: PLC0415

    source = open_events(path, tree=tree)
    file = source.files[0]
    collections: dict[str, list[str]] = {}
    for column in source.columns:
        head, _, tail = column.partition("_")
        collections.setdefault(head, []).append(tail)
    content = [
        f"{name}: {', '.join(field for field in fields if field)}" if any(fields) else name
        for name, fields in collections.items()
    ]
    return Info(
        "events",
        {
            "file": str(path),
            "format": file.format,
            **({"tree": file.tree} if file.tree else {}),
            "events": source.entries,
            "columns": content,
        },
    )


def _emulator_facts(emulator: Emulator) -> dict[str, Any]:
    study, provenance = emulator.study, emulator.provenance
    facts: dict[str, Any] = {
        "study": f"{study.name}: {study.description}" if study.description else study.name,
        "digest": emulator.digest,
    }
    for trained in emulator.parts:
        targets, conditions, *_ = trained.features.shape
        numbers = sum(parameter.numel() for parameter in trained.members[0].parameters())
        name = trained.part.name
        rows = provenance.get("rows", {}).get(name, {})
        findings = provenance.get("findings", {}).get(name, [])
        advice = provenance.get("advice", {}).get(name, [])
        facts[f"part {name}"] = [
            (
                f"model: {trained.part.model['kind']}, {numbers} parameters,"
                f" ensemble of {len(trained.members)}"
            ),
            f"GEN: {conditions} conditions; RECO: {targets} features learned",
            f"rows: {rows.get('training', '?')} training, {rows.get('validation', '?')} validation",
            *(f"found: {finding}" for finding in findings),
            *(
                f"health: {item}"
                for item in advice
                if not any(finding in item for finding in findings)
            ),
        ]
    facts["trained on"] = [
        f"{file['name']} ({file['entries']} events, sha256 {file['sha256'][:12]}...)"
        for file in provenance.get("files", [])
    ]
    facts["versions"] = ", ".join(
        f"{name} {number}" for name, number in provenance.get("versions", {}).items()
    )
    if provenance.get("licence"):
        facts["licence"] = provenance["licence"]
    return facts
