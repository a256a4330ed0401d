"""The blocks of a study file, as pydantic models: unknown keys are refused, values checked."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from gen2reco.study.basis import FILE_NAME, Block, Expression, check_name
from gen2reco.study.judging import Judging

PRESENCE = ".presence"
"""Behind a part's name: the name of the part that says which of its objects there are."""
NUMBER = "how_many"
"""Target of such a part."""
CONSTITUENT = ("pt", "eta", "phi", "pdgId", "charge")
"""What a constituent has in rows of kind set: names of the targets, in this order."""
OF_GEN = "gen_"
"""Before these names: those of the conditions."""
WHERE = "where"
"""In the place of a field: which of the listed objects are written."""
OF_EVENT = ""
"""Name under which `output` keeps the columns of the event that belong to no collection."""


def column_name(collection: str, field: str) -> str:
    """Return the flat column that a field of `output` is written to."""
    return f"{collection}_{field}" if collection else field


class Input(Block):
    """How the events are stored. The files themselves are named on the command line."""

    tree: str = Field(default="Events", description="tree or RNTuple with the events; ROOT only")
    units: Literal["GeV", "MeV"] = Field(
        default="GeV", description="unit of momenta, energies and masses in the files"
    )
    weight: str = Field(
        default="", description="column with the event weight; empty: every event counts 1"
    )


class Match(Block):
    """How GEN and RECO objects of an event are paired one to one."""

    by: Literal["delta_r", "index"] = "delta_r"
    max_delta_r: float = Field(
        default=0.4, gt=0, description="largest distance of a pair, in radians"
    )
    min_pt_ratio: float = Field(
        default=0.0, ge=0, description="smallest RECO pt over GEN pt of a pair"
    )
    max_pt_ratio: float = Field(
        default=1e6, gt=0, description="largest RECO pt over GEN pt of a pair"
    )
    index: str = Field(
        default="",
        description="for `by: index`: field of the RECO collection that points to the GEN one",
    )

    @model_validator(mode="after")
    def _has_what_it_needs(self) -> Match:
        if self.by == "index" and not self.index:
            raise ValueError("matching by index needs `index`, a field of the RECO collection")
        if self.min_pt_ratio > self.max_pt_ratio:
            raise ValueError("min_pt_ratio is above max_pt_ratio")
        return self


class Rows(Block):
    """What one row of a part's table is, and how its GEN and RECO sides belong together."""

    kind: Literal["event", "object", "spurious", "set"] = "event"
    pairing: Literal["paired", "unpaired", "none"] = "paired"
    gen: str = Field(
        default="",
        description="GEN collection of per-object rows (a collection or a name under `define`)",
    )
    reco: str = Field(default="", description="RECO collection of per-object rows")
    match: Match = Match()
    of: str = Field(
        default="",
        description="for kind spurious: the part whose `gen`, `reco` and `match` leave these RECO"
        " objects without a partner",
    )
    select_gen: Expression = Field(
        default="",
        description="for pairing unpaired: events whose GEN side is learned, within `select`",
    )
    select_reco: Expression = Field(
        default="",
        description="for pairing unpaired: events whose RECO side is learned, within `select`",
    )
    known_pairs: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="for pairing unpaired: share of the events whose two sides are learned together"
        " as pairs (calibration events, say); all others serve one side alone",
    )
    size: int = Field(
        default=100,
        ge=1,
        le=500,
        description="for kind set: constituents of a row on either side at most, the hardest ones",
    )
    number: str = Field(
        default="",
        description="for kind set: column that numbers the rows of one event (jets, where every"
        " row of the files is a jet); empty: one row per event",
    )
    counts: bool = Field(
        default=False,
        description="learn how many RECO objects a row has (0 or 1 per GEN object; the spurious"
        " ones of an event) instead of what they are like; `presence` of a part adds such a part",
    )

    @model_validator(mode="after")
    def _sides_are_of_events(self) -> Rows:
        if self.pairing == "unpaired" and self.kind != "event":
            raise ValueError("pairing 'unpaired' is for rows of kind 'event'")
        if self.pairing != "unpaired" and (self.select_gen or self.select_reco):
            raise ValueError(
                "select_gen and select_reco are for pairing 'unpaired'; else use the study's select"
            )
        if self.pairing != "unpaired" and self.known_pairs:
            raise ValueError("known_pairs is for pairing 'unpaired'; else all pairs are known")
        return self

    @model_validator(mode="after")
    def _objects_need_collections(self) -> Rows:
        if self.kind in {"object", "spurious", "set"} and not (self.gen and self.reco):
            other = ", or `of`" if self.kind == "spurious" else ""
            raise ValueError(f"rows of kind {self.kind!r} need both `gen` and `reco`{other}")
        if self.counts and self.kind not in {"object", "spurious"}:
            raise ValueError("`counts` is for rows of kind 'object' or 'spurious'")
        if self.number and self.kind != "set":
            raise ValueError("`number` is for rows of kind 'set'")
        return self

    @property
    def per_event(self) -> bool:
        """Whether an entry of the files is one row."""
        return self.kind in {"event", "set"}


class TransformSpec(BaseModel):
    """One invertible transform: its kind, columns it is conditioned on, and its own options."""

    model_config = ConfigDict(frozen=True, extra="allow")
    kind: str
    given: dict[str, Expression] = Field(
        default={}, description="per-row columns the transform reads, by role"
    )

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


def _reads(specs: tuple[TransformSpec, ...]) -> bool:
    return any(spec.given for spec in specs)


Atom = Annotated[float, Field(allow_inf_nan=False)]
Atoms = Annotated[tuple[Atom, ...], BeforeValidator(_as_tuple)]


class Condition(Block):
    """One GEN quantity that the model sees."""

    name: str
    value: Expression
    transform: Transforms = ()


class Target(Block):
    """One RECO quantity that the model learns, or two or three that a transform mixes.

    With `relative_to`, the model learns the ratio to it (`kind: positive`), the wrapped difference
    (`angle`) or the difference (`continuous`). Transforms act on that, in the order given.
    """

    name: Names
    value: Expressions
    kind: Literal["continuous", "positive", "bounded", "angle", "integer", "flag", "category"] = (
        "continuous"
    )
    relative_to: Expressions = ()
    transform: Transforms = ()
    atoms: Atoms = Field(
        default=(),
        description="values taken exactly in part of the rows, beside those that are found: of"
        " `value`, or relative to GEN with `relative_to`; before the transforms",
    )

    @model_validator(mode="after")
    def _components_agree(self) -> Target:
        for name in self.name:
            check_name(name)
        if self.atoms and self.kind in {"flag", "category"}:
            raise ValueError(f"a {self.kind} takes each of its values exactly; leave out `atoms`")
        if len(set(self.atoms)) < len(self.atoms):
            raise ValueError("the same value is listed twice under atoms")
        if len(self.name) != len(self.value):
            raise ValueError(f"{len(self.name)} names but {len(self.value)} values")
        if self.relative_to and len(self.relative_to) != len(self.value):
            raise ValueError(
                f"{len(self.relative_to)} entries under relative_to but {len(self.value)} values"
            )
        return self


class Presence(Block):
    """How many RECO objects a row has: 0 or 1 per GEN object, any number of spurious ones."""

    condition: tuple[Condition, ...] = Field(
        default=(), description="what the number depends on; empty: the conditions of the part"
    )
    model: dict[str, Any] = Field(default={"kind": "classifier"}, description="family and settings")
    training: dict[str, Any] = Field(
        default={}, description="settings that differ from those of the study's `training`"
    )


class Part(Block):
    """One factor of p(RECO | GEN): its rows, features, model, and the columns it writes.

    Expressions of a part may use the parts before it by name: `jets` is then the collection of
    what part `jets` made, with its targets and conditions as fields, and for a target `pt` the GEN
    value it is relative to as `pt_gen`.
    """

    name: str = Field(default="event", pattern=FILE_NAME)
    rows: Rows = Rows()
    condition: tuple[Condition, ...] = ()
    target: tuple[Target, ...] = Field(min_length=1)
    output: dict[str, dict[str, Expression | tuple[Expression, ...]]] = Field(
        default={},
        description="RECO collections to write: field -> expression on target names and GEN; in"
        " rows of kind event a list of expressions writes several objects, by falling pt, and of"
        " these the ones that a condition under `where` holds for; an"
        " expression in the place of the fields writes a column of the event with that name",
    )
    unfolded: dict[str, dict[str, Expression | tuple[Expression, ...]]] = Field(
        default={},
        description="GEN collections that `unfold` writes, of a family that runs both ways: field"
        " -> expression on condition names, or a list of them, by falling pt",
    )
    model: dict[str, Any] = Field(
        default={"kind": "flow"}, description="family and its settings; see `gen2reco schema`"
    )
    presence: Presence | None = Field(
        default=None,
        description="learn which GEN objects are found, or how many spurious objects an event has;"
        " without it, every GEN object of the part is taken as found",
    )
    training: dict[str, Any] = Field(
        default={}, description="settings that differ from those of the study's `training`"
    )
    validation: Judging = Field(default=Judging(), description="how its rows are judged")

    @field_validator("output", mode="before")
    @classmethod
    def _columns_of_the_event_stand_together(cls, output: Any) -> Any:
        """Collect expressions in the place of fields under the empty name."""
        if not isinstance(output, dict):
            return output
        alone = {name: text for name, text in output.items() if not isinstance(text, dict)}
        if not alone:
            return output
        for name in alone:
            check_name(str(name))
        fields = {name: text for name, text in output.items() if name not in alone}
        return fields | {OF_EVENT: fields.get(OF_EVENT, {}) | alone}

    @property
    def written(self) -> list[tuple[str, str]]:
        """Collection and field of everything it writes."""
        return [
            (collection, name)
            for collection, of in self.output.items()
            for name in of
            if name != WHERE
        ]

    @property
    def generates(self) -> bool:
        """Whether its rows depend on nothing: no GEN, no part before it."""
        given = any(target.relative_to or _reads(target.transform) for target in self.target)
        return self.rows.kind == "event" and not (self.condition or given)

    @property
    def stages(self) -> tuple[Part, ...]:
        """What is fitted and simulated for this part, in order: its presence, then itself."""
        if self.presence is None:
            return (self,)
        number = Part(
            name=f"{self.name}{PRESENCE}",
            rows=self.rows.model_copy(update={"counts": True}),
            condition=self.presence.condition or self.condition,
            target=(Target(name=(NUMBER,), value=(NUMBER,), kind="category"),),
            model=self.presence.model,
            training=self.presence.training,
        )
        return (number, self)

    @property
    def backward(self) -> Part:
        """The part from RECO to GEN: conditions and targets have changed places."""
        return Part(
            name=f"{self.name}-unfolded",
            rows=self.rows.model_copy(update={"pairing": "paired"}),
            condition=tuple(
                Condition(name=name, value=value)
                for target in self.target
                for name, value in zip(target.name, target.value, strict=True)
            ),
            target=tuple(Target(name=(c.name,), value=(c.value,)) for c in self.condition),
            output=self.unfolded,
            model=self.model,
        )

    @model_validator(mode="after")
    def _presence_fits_the_rows(self) -> Part:
        if self.presence is not None and self.rows.kind not in {"object", "spurious"}:
            raise ValueError("`presence` is for rows of kind 'object' or 'spurious'")
        if self.rows.kind == "spurious" and self.presence is None and not self.rows.counts:
            raise ValueError("rows of kind 'spurious' need `presence`: how many there are")
        return self

    @model_validator(mode="after")
    def _objects_are_whole(self) -> Part:
        if self.unfolded and self.rows.kind != "event":
            raise ValueError("`unfolded` is for rows of kind 'event'")
        for collection, fields in (*self.output.items(), *self.unfolded.items()):
            counts = {len(text) for text in fields.values() if not isinstance(text, str)}
            if counts and self.rows.kind != "event":
                raise ValueError(f"output {collection}: lists are for rows of kind 'event'")
            if len(counts) > 1 or 0 in counts:
                raise ValueError(
                    f"output {collection}: its fields list different numbers of objects"
                )
            if WHERE in fields and not counts:
                raise ValueError(f"output {collection}.{WHERE}: it chooses among listed objects")
        return self

    @model_validator(mode="after")
    def _sets_have_constituents(self) -> Part:
        if self.rows.kind != "set":
            return self
        if self.rows.pairing != "paired":
            raise ValueError("rows of kind 'set' have pairing 'paired'")
        gen = tuple(f"{OF_GEN}{name}" for name in CONSTITUENT)
        sides = {
            "condition": (gen, tuple(item.name for item in self.condition)),
            "target": (CONSTITUENT, tuple(name for item in self.target for name in item.name)),
        }
        for side, (wanted, seen) in sides.items():
            if wanted != seen:
                raise ValueError(
                    f"rows of kind 'set' need under `{side}`, in this order: {', '.join(wanted)}"
                    f" (seen: {', '.join(seen) or 'nothing'})"
                )
        items: list[Condition | Target] = [*self.condition, *self.target]
        if any(item.transform for item in items) or any(item.relative_to for item in self.target):
            raise ValueError(
                "constituents in rows of kind 'set' are encoded by the family: leave out"
                " `transform` and `relative_to`"
            )
        return self

    @model_validator(mode="after")
    def _columns_of_the_event_are_numbers(self) -> Part:
        alone = self.output.get(OF_EVENT, {})
        several = [name for name, text in alone.items() if not isinstance(text, str)]
        if several:
            raise ValueError(f"output {several[0]}: a column of the event is one expression")
        if alone and self.rows.kind != "event":
            raise ValueError(
                f"output {', '.join(alone)}: columns of the event are for rows of kind 'event'"
            )
        return self

    @model_validator(mode="after")
    def _rows_without_gen_know_none(self) -> Part:
        if self.rows.pairing == "none" and not self.generates:
            raise ValueError(
                f"part {self.name}: with pairing 'none' there is no GEN, so it has no conditions,"
                " and no target is relative to anything or has transforms with `given`"
            )
        return self

    @model_validator(mode="after")
    def _unpaired_targets_know_no_gen(self) -> Part:
        if self.rows.pairing != "unpaired":
            return self
        for target in self.target:
            if target.relative_to or any(spec.given for spec in target.transform):
                raise ValueError(
                    f"target {', '.join(target.name)}: unpaired rows have no partner, so a target"
                    " can neither be relative to GEN nor have transforms with `given`"
                )
        return self

    @model_validator(mode="after")
    def _names_are_unique(self) -> Part:
        names = [c.name for c in self.condition] + [n for t in self.target for n in t.name]
        twice = sorted({n for n in names if names.count(n) > 1})
        if twice:
            raise ValueError(
                f"the same name is used twice among condition and target: {', '.join(twice)}"
            )
        return self


class Split(Block):
    """How events are shared out: training, validation, and the rest for the test."""

    train: float = Field(default=0.7, gt=0, lt=1, description="share of the events to learn from")
    validation: float = Field(
        default=0.1, gt=0, lt=1, description="share that settings and epochs are chosen on"
    )
    fold: int = Field(
        default=0,
        ge=0,
        description="which test part: those of fold 0, 1, ... are disjoint, so that emulators"
        " trained with one fold each judge every event without having seen it",
    )

    @model_validator(mode="after")
    def _something_is_left_for_the_test(self) -> Split:
        if self.test <= 0:
            raise ValueError("`train` and `validation` leave no events for the test")
        if self.fold >= (folds := int(1 / self.test + 1e-9)):
            raise ValueError(
                f"with {self.test:g} of the events for the test, folds are 0 to {folds - 1}"
            )
        return self

    @property
    def test(self) -> float:
        """Share of the events to judge on."""
        return round(1 - self.train - self.validation, 9)


class Training(Block):
    """How a part is fitted."""

    seed: int = Field(default=1, ge=0)
    epochs: int = Field(default=24, ge=1)
    batch: int = Field(default=1024, ge=1, description="rows per optimiser step")
    optimizer: Literal["adamw", "adam"] = "adamw"
    learning_rate: float = Field(
        default=4e-3, gt=0, description="largest learning rate of the schedule"
    )
    schedule: Literal["one-cycle", "cosine", "inverse-epoch", "constant"] = "one-cycle"
    weight_decay: float = Field(default=1e-4, ge=0)
    clip: float = Field(default=5.0, ge=0, description="largest gradient norm; 0: no clipping")
    ema: float = Field(
        default=0.0, ge=0, lt=1, description="decay per step of the averaged weights; 0: none"
    )
    keep: Literal["best", "last"] = Field(
        default="best",
        description="weights of the epoch with the best validation, or of the last one: where few"
        " validation rows would pick an epoch by chance, and a rate with it",
    )
    monitor: Literal["loss", "distributions"] = Field(
        default="loss",
        description="what picks the best epoch on the validation rows: the loss, or how far their"
        " simulated distributions and rank correlations are from the true ones",
    )
    patience: int = Field(
        default=0, ge=0, description="epochs without improvement before stopping; 0: all epochs"
    )
    members: int = Field(
        default=1, ge=1, description="ensemble: member 0 is nominal, the others are bootstraps"
    )
    max_rows: int = Field(default=0, ge=0, description="use at most so many training rows; 0: all")
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["fp32", "tf32", "bf16", "fp16"] = Field(
        default="fp32",
        description="of the products in the loss: tf32 on CUDA from Ampere on; bf16 and fp16 by"
        " autocast, fp16 with scaled gradients; weights and validation are float32 always",
    )

    @model_validator(mode="after")
    def _patience_is_for_the_best(self) -> Training:
        if self.patience and self.keep == "last":
            raise ValueError("`patience` stops at the best epoch; with `keep: last` there is none")
        return self
