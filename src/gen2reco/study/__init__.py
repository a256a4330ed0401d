"""The study file: what is learned, from which columns, with which model, and how it is judged.

A study is one YAML file. Its blocks are pydantic models; `Part.model` and the options of a
transform stay opaque here and are resolved by `gen2reco.models` and `gen2reco.features`, which own
their kinds.
"""

from gen2reco.study.basis import Block, Expression
from gen2reco.study.blocks import Input, Split, Training
from gen2reco.study.columns import Condition, Target, TransformSpec
from gen2reco.study.judging import Judging, Response, Validation
from gen2reco.study.parts import (
    CONSTITUENT,
    NUMBER,
    OF_EVENT,
    OF_GEN,
    PRESENCE,
    WHERE,
    Part,
    Presence,
    column_name,
)
from gen2reco.study.reading import as_study, load_study, shipped_studies
from gen2reco.study.rows import Match, Rows
from gen2reco.study.study import Study

__all__ = [
    "CONSTITUENT",
    "NUMBER",
    "OF_EVENT",
    "OF_GEN",
    "PRESENCE",
    "WHERE",
    "Block",
    "Condition",
    "Expression",
    "Input",
    "Judging",
    "Match",
    "Part",
    "Presence",
    "Response",
    "Rows",
    "Split",
    "Study",
    "Target",
    "Training",
    "TransformSpec",
    "Validation",
    "as_study",
    "column_name",
    "load_study",
    "shipped_studies",
]
