"""A study from its YAML file, with settings given beside the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from gen2reco.errors import StudyError, nearest
from gen2reco.study.mistakes import explain
from gen2reco.study.study import Study

_SHIPPED = Path(__file__).parents[1] / "studies"


def load_study(source: str | Path, overrides: dict[str, Any] | None = None) -> Study:
    """Read a study from a YAML file, or one shipped with the package by its bare name (`wjet`).

    Args:
        source: path of a YAML file, or the name of a shipped study.
        overrides: dotted key -> value, set before validation: `training.epochs`,
            `parts.0.model.bins`; a key that starts with `model.` is set in every part.

    Raises:
        StudyError: the file is missing, not YAML, or holds a key or value that is not allowed; the
            message names the place in the file and the nearest allowed key.
    """
    path = _find(source)
    tree = _read(path)
    plain = _based(_plain(tree), path)
    for key, value in (overrides or {}).items():
        _override(plain, key, value)
    try:
        return Study.model_validate(plain)
    except ValidationError as error:
        schema = Study.model_json_schema()
        message = explain(error, tree, schema, file=str(path), overrides=overrides or {})
        raise StudyError(message) from None


def as_study(study: Study | str | Path, overrides: dict[str, Any] | None = None) -> Study:
    """Return a study itself, or the one that `load_study` reads.

    Raises:
        StudyError: as `load_study`, and for overrides of a study that is no file.
    """
    if not isinstance(study, Study):
        return load_study(study, overrides)
    if overrides:
        raise StudyError("overrides act on a study file; use study.model_copy for a Study object")
    return study


def shipped_studies() -> list[str]:
    """Names of the studies that come with the package."""
    return sorted(path.stem for path in _SHIPPED.glob("*.yaml"))


def _read(path: Path) -> CommentedMap:
    """Read the mapping of a YAML file, which knows its lines."""
    try:
        tree = YAML(typ="rt").load(path.read_text(encoding="utf-8"))
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{path}, line {mark.line + 1}" if mark else str(path)
        raise StudyError(f"{where}: not valid YAML: {error.problem or error.context}") from error
    except (YAMLError, UnicodeDecodeError, OSError) as error:
        raise StudyError(f"{path} cannot be read as YAML: {error}") from error
    if not isinstance(tree, CommentedMap):
        raise StudyError(f"{path} must hold a mapping with `name` and `parts`")
    return tree


def _based(tree: dict[str, Any], path: Path, *above: Path) -> dict[str, Any]:
    """Return a study with the blocks of its base where it has none, and its changes made."""
    if tree.get("base"):
        name = str(tree["base"])
        beside = path.parent / name
        try:
            other = (beside if beside.is_file() else _find(name)).resolve()
            base = _read(other)
        except StudyError as error:
            raise StudyError(f"{path}: base: {error}") from error
        if other in (path.resolve(), *above):
            raise StudyError(f"{path}: base: {name} rests on this study itself")
        tree = _based(_plain(base), other, path.resolve(), *above) | tree
    changes = tree.pop("set", {})
    if not isinstance(changes, dict):
        raise StudyError(f"{path}: set: must hold settings by their place, `model.latent: 8`")
    for key, value in changes.items():
        _override(tree, str(key), value)
    return tree


def _find(source: str | Path) -> Path:
    path = Path(source)
    if path.is_file():
        return path
    shipped = _SHIPPED / f"{source}.yaml"
    if path.suffix == "" and path.name == str(source) and shipped.is_file():
        return shipped
    names = shipped_studies()
    raise StudyError(
        f"there is no study file {source}, and none of that name is shipped ({', '.join(names)})."
        f"{nearest(path.stem, names)}"
    )


def _plain(node: Any) -> Any:
    if isinstance(node, CommentedMap):
        return {str(key): _plain(value) for key, value in node.items()}
    if isinstance(node, CommentedSeq):
        return [_plain(value) for value in node]
    if isinstance(node, bool) or node is None:
        return node
    for kind in (int, float, str):
        if isinstance(node, kind):
            return kind(node)
    return node


def _override(tree: dict[str, Any], key: str, value: Any) -> None:
    steps = key.split(".")
    try:
        if steps[0] == "model" and len(steps) > 1:
            for part in tree.get("parts", []):
                _set(part.setdefault("model", {"kind": "flow"}), steps[1:], value)
        else:
            _set(tree, steps, value)
    except (ValueError, IndexError, TypeError, AttributeError):
        raise StudyError(f"cannot set {key!r}: no such place in the study") from None


def _set(node: Any, steps: list[str], value: Any) -> None:
    for step in steps[:-1]:
        node = node[int(step)] if isinstance(node, list) else node.setdefault(step, {})
    node[int(steps[-1]) if isinstance(node, list) else steps[-1]] = value
