"""The study file: what is learned, from which columns, with which model, and how it is judged.

A study is one YAML file. Its blocks are the pydantic models below; `Part.model` and the options of a transform stay
opaque here and are resolved by `gen2reco.models` and `gen2reco.features`, which own their kinds.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import YAMLError

from gen2reco.errors import StudyError, nearest

Expression = Annotated[str, BeforeValidator(lambda value: str(value) if isinstance(value, int | float) else value)]
"""Text in the expression language of `gen2reco.rows.expressions`; a number stands for itself."""


class Block(BaseModel):
    """A frozen block of a study that refuses keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Input(Block):
    """How the events are stored. The files themselves are named on the command line."""

    tree: str = Field("Events", description="tree or RNTuple with the events; ROOT only")
    units: Literal["GeV", "MeV"] = Field("GeV", description="unit of momenta, energies and masses in the files")
    weight: str = Field("", description="column with the event weight; empty: every event counts 1")


class Match(Block):
    """How GEN and RECO objects of an event are paired one to one."""

    by: Literal["delta_r", "index"] = "delta_r"
    max_delta_r: float = Field(0.4, gt=0, description="largest distance of a pair, in radians")
    min_pt_ratio: float = Field(0.0, ge=0, description="smallest RECO pt over GEN pt of a pair")
    max_pt_ratio: float = Field(float("inf"), gt=0, description="largest RECO pt over GEN pt of a pair")
    index: str = Field("", description="for `by: index`: field of the RECO collection that points to the GEN one")


class Rows(Block):
    """What one row of a part's table is, and how its GEN and RECO sides belong together."""

    kind: Literal["event", "object", "spurious", "set"] = "event"
    pairing: Literal["paired", "unpaired", "none"] = "paired"
    gen: str = Field("", description="GEN collection of per-object rows (a collection or a name under `define`)")
    reco: str = Field("", description="RECO collection of per-object rows")
    match: Match = Match()

    @model_validator(mode="after")
    def _objects_need_collections(self) -> Rows:
        if self.kind == "object" and not (self.gen and self.reco):
            raise ValueError("rows of kind 'object' need both `gen` and `reco`")
        return self


class TransformSpec(BaseModel):
    """One invertible transform: its kind, columns it is conditioned on, and options owned by the transform."""

    model_config = ConfigDict(frozen=True, extra="allow")
    kind: str
    given: dict[str, Expression] = Field({}, description="per-row columns the transform reads, by role")

    @property
    def options(self) -> dict[str, Any]:
        """Everything but `kind` and `given`."""
        return dict(self.model_extra or {})


def _as_specs(value: Any) -> Any:
    items = value if isinstance(value, list | tuple) else [value]
    return [{"kind": item} if isinstance(item, str) else item for item in items]


def _as_tuple(value: Any) -> Any:
    return value if isinstance(value, list | tuple) else (value,)


Transforms = Annotated[tuple[TransformSpec, ...], BeforeValidator(_as_specs)]
Expressions = Annotated[tuple[Expression, ...], BeforeValidator(_as_tuple)]
Names = Annotated[tuple[str, ...], BeforeValidator(_as_tuple)]


class Condition(Block):
    """One GEN quantity that the model sees."""

    name: str
    value: Expression
    transform: Transforms = ()


class Target(Block):
    """One RECO quantity that the model learns, or several that a transform mixes (two or three components).

    With `relative_to`, the model learns the ratio to it (`kind: positive`), the wrapped difference (`angle`) or the
    difference (`continuous`). Transforms act on that, in the order given.
    """

    name: Names
    value: Expressions
    kind: Literal["continuous", "positive", "bounded", "angle", "integer", "flag", "category"] = "continuous"
    relative_to: Expressions = ()
    transform: Transforms = ()

    @model_validator(mode="after")
    def _components_agree(self) -> Target:
        if len(self.name) != len(self.value):
            raise ValueError(f"{len(self.name)} names but {len(self.value)} values")
        if self.relative_to and len(self.relative_to) != len(self.value):
            raise ValueError(f"{len(self.relative_to)} entries under relative_to but {len(self.value)} values")
        return self


class Part(Block):
    """One factor of p(RECO | GEN): its rows, features, model, and the columns it writes."""

    name: str = "event"
    rows: Rows = Rows()
    condition: tuple[Condition, ...] = ()
    target: tuple[Target, ...] = Field(min_length=1)
    output: dict[str, dict[str, Expression]] = Field(
        {}, description="RECO collections to write: field -> expression on target names and GEN"
    )
    model: dict[str, Any] = Field({"kind": "flow"}, description="family and its settings; see `gen2reco schema`")

    @model_validator(mode="after")
    def _names_are_unique(self) -> Part:
        names = [c.name for c in self.condition] + [n for t in self.target for n in t.name]
        twice = sorted({n for n in names if names.count(n) > 1})
        if twice:
            raise ValueError(f"the same name is used twice among condition and target: {', '.join(twice)}")
        return self


class Training(Block):
    """How a part is fitted."""

    seed: int = Field(1, ge=0)
    epochs: int = Field(24, ge=1)
    batch: int = Field(1024, ge=1, description="rows per optimiser step")
    optimizer: Literal["adamw", "adam"] = "adamw"
    learning_rate: float = Field(4e-3, gt=0, description="largest learning rate of the schedule")
    schedule: Literal["one-cycle", "cosine", "inverse-epoch", "constant"] = "one-cycle"
    weight_decay: float = Field(1e-4, ge=0)
    clip: float = Field(5.0, ge=0, description="largest gradient norm; 0: no clipping")
    ema: float = Field(0.0, ge=0, lt=1, description="decay per step of the averaged weights; 0: none")
    patience: int = Field(0, ge=0, description="epochs without improvement before stopping; 0: all epochs")
    members: int = Field(1, ge=1, description="ensemble: member 0 is nominal, the others are bootstraps")
    max_rows: int = Field(0, ge=0, description="use at most so many training rows; 0: all")
    device: Literal["auto", "cpu", "cuda"] = "auto"


class Response(Block):
    """RECO relative to GEN, as it is judged."""

    reco: Expression
    gen: Expression
    kind: Literal["ratio", "difference", "angle"] = "difference"


class Validation(Block):
    """How FullSim and FastSim are compared."""

    select: Expression = Field("", description="final selection, applied to FullSim and FastSim alike")
    quantities: dict[str, Expression] = Field({}, description="RECO quantities to compare")
    responses: dict[str, Response] = Field({}, description="RECO relative to GEN; default: the targets")
    labels: dict[str, str] = Field({}, description="axis labels (LaTeX between dollars), unit in brackets")
    response_bins: dict[str, Expression] = Field(
        {}, description="GEN quantities in whose bins scale and resolution are shown"
    )


class Study(Block):
    """One study: input, selection, parts, training, validation."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    description: str = ""
    input: Input = Input()
    select: Expression = Field("", description="which events are learned; RECO may appear here, simulate ignores it")
    define: dict[str, Expression] = Field({}, description="named expressions, usable everywhere below")
    parts: tuple[Part, ...] = Field(min_length=1)
    training: Training = Training()
    validation: Validation = Validation()

    def part(self, name: str) -> Part:
        """Return the part called `name`; StudyError where there is none."""
        for part in self.parts:
            if part.name == name:
                return part
        raise StudyError(f"study {self.name!r} has no part {name!r}.{nearest(name, [p.name for p in self.parts])}")


def load_study(source: str | Path, overrides: dict[str, Any] | None = None) -> Study:
    """Read a study from a YAML file, or one shipped with the package by its bare name (`wjet`).

    Args:
        source: path of a YAML file, or the name of a shipped study.
        overrides: dotted key -> value, set before validation: `training.epochs`, `parts.0.model.bins`; a key that
            starts with `model.` is set in every part.

    Raises:
        StudyError: the file is missing, not YAML, or holds a key or value that is not allowed; the message names
            the place in the file and the nearest allowed key.
    """
    path = _find(source)
    try:
        tree = YAML(typ="rt").load(path.read_text(encoding="utf-8"))
    except (YAMLError, UnicodeDecodeError) as error:
        raise StudyError(f"{path} is not valid YAML: {error}") from error
    if not isinstance(tree, CommentedMap):
        raise StudyError(f"{path} must hold a mapping with `name` and `parts`, not {type(tree).__name__}")
    plain = _plain(tree)
    for key, value in (overrides or {}).items():
        _override(plain, key, value)
    try:
        return Study.model_validate(plain)
    except ValidationError as error:
        raise StudyError(_explain(error, tree, str(path))) from None


def shipped_studies() -> list[str]:
    """Names of the studies that come with the package."""
    return sorted(path.stem for path in (Path(__file__).parent / "studies").glob("*.yaml"))


def _find(source: str | Path) -> Path:
    path = Path(source)
    if path.is_file():
        return path
    shipped = Path(__file__).parent / "studies" / f"{source}.yaml"
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
    if steps[0] == "model" and len(steps) > 1:
        for part in tree.get("parts", []):
            part.setdefault("model", {"kind": "flow"})[".".join(steps[1:])] = value
        return
    node: Any = tree
    try:
        for step in steps[:-1]:
            node = node[int(step)] if isinstance(node, list) else node.setdefault(step, {})
        node[int(steps[-1]) if isinstance(node, list) else steps[-1]] = value
    except (ValueError, IndexError, TypeError, AttributeError):
        raise StudyError(f"cannot set {key!r}: no such place in the study") from None


def _allowed(path: tuple[Any, ...]) -> list[str]:
    """Field names allowed in the block that `path` leads to, found in the JSON schema."""
    schema = Study.model_json_schema()
    node: dict[str, Any] = schema
    for step in path:
        node = _deref(node, schema)
        if isinstance(step, int):
            items = node.get("items") or (node.get("prefixItems") or [{}])[0]
            node = items if isinstance(items, dict) else {}
        else:
            node = node.get("properties", {}).get(step) or node.get("additionalProperties") or {}
            node = node if isinstance(node, dict) else {}
    return sorted(_deref(node, schema).get("properties", {}))


def _deref(node: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    if "$ref" in node:
        return schema["$defs"][node["$ref"].rsplit("/", 1)[-1]]  # type: ignore[no-any-return]
    return node


def _explain(error: ValidationError, tree: CommentedMap, file: str) -> str:
    lines = []
    for item in error.errors():
        location = tuple(step for step in item["loc"] if not (isinstance(step, str) and step.startswith("function-")))
        place = ".".join(str(step) for step in location) or "the study"
        line = _line(tree, location)
        where = f"{file}, line {line}" if line else file
        if item["type"] == "extra_forbidden":
            allowed = _allowed(location[:-1])
            hint = nearest(str(location[-1]), allowed) or f" Allowed here: {', '.join(allowed)}."
            lines.append(f"{where}: unknown key {place!r}.{hint}")
        elif item["type"] == "missing":
            lines.append(f"{where}: {place!r} is missing")
        else:
            message = item["msg"].removeprefix("Value error, ")
            lines.append(f"{where}: {place}: {message} (seen: {item['input']!r:.80})")
    return "\n".join(lines)


def _line(tree: Any, location: tuple[Any, ...]) -> int:
    line = 0
    node = tree
    for step in location:
        try:
            line = (node.lc.key(step) if isinstance(node, CommentedMap) else node.lc.item(step))[0] + 1
            node = node[step]
        except (AttributeError, KeyError, IndexError, TypeError):
            break
    return line
