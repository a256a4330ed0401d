"""The directive `generated`: tables made from code, study schema and benchmark results.

In a page, ```` ```{generated} NAME ARGUMENT ```` stands for the Markdown that the function of that
name in `TABLES` returns, so that what it shows cannot go stale.
"""

from __future__ import annotations

import types
from pathlib import Path
from typing import TYPE_CHECKING, Any, Union, get_args, get_origin

import figures
import typer.testing
from figures import table
from pydantic import BaseModel, BeforeValidator
from pydantic_core import PydanticUndefined
from sphinx.util.docutils import SphinxDirective

from gen2reco import errors, models, study
from gen2reco.cli import app
from gen2reco.cli.looking import CHECK_FAILED
from gen2reco.features.transforms import KINDS, SUPPLIED
from gen2reco.rows.functions import FUNCTIONS
from gen2reco.validation.settings import Targets

if TYPE_CHECKING:
    from collections.abc import Callable

    from docutils import nodes
    from sphinx.application import Sphinx

DOCS = Path(__file__).parent
RESULTS = DOCS.parent / "benchmarks" / "results"
TYPE_NAMES = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true or false",
    Any: "anything",
}


def functions() -> str:
    """Functions of the expression language."""
    groups = {"objects and collections": True, "numbers": False}
    return "\n\n".join(
        table(
            [title, "gives"],
            [[f"`{f.usage}`", f.summary] for f in FUNCTIONS.values() if f.takes_objects == objects],
        )
        for title, objects in groups.items()
    )


def block(name: str) -> str:
    """Keys of one block of the study file, with type, default and meaning."""
    rows = []
    for key, field in getattr(study, name).model_fields.items():
        default = "required"
        if not (field.default is PydanticUndefined and field.default_factory is None):
            default = f"`{as_yaml(field.get_default(call_default_factory=True))}`"
        kind = type_name(field.annotation)
        if kind.startswith("list of ") and any(
            isinstance(m, BeforeValidator) for m in field.metadata
        ):
            kind = f"{kind.removeprefix('list of ')}, or a list"
        inner = field.annotation
        is_block = isinstance(inner, type) and issubclass(inner, BaseModel)
        meaning = field.description or (first_sentence(inner) if is_block else "")
        rows.append([f"`{key}`", kind, default, meaning])
    head = ["key", "type", "default", "meaning"]
    if not any(row[-1] for row in rows):
        head, rows = head[:-1], [row[:-1] for row in rows]
    return table(head, rows)


def as_yaml(value: Any) -> str:
    """Return a default as it would stand in a study file."""
    match value:
        case BaseModel():
            text = "{}"
        case str():
            text = value or '""'
        case bool():
            text = str(value).lower()
        case tuple() | list():
            text = f"[{', '.join(map(as_yaml, value))}]"
        case dict():
            inside = ", ".join(f"{key}: {as_yaml(item)}" for key, item in value.items())
            text = f"{{{inside}}}"
        case float():
            text = ".inf" if value == float("inf") else f"{value:g}"
        case _:
            text = str(value)
    return text


def type_name(annotation: Any) -> str:
    """Return a type in the words of somebody who writes YAML."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if annotation in TYPE_NAMES:
        text = TYPE_NAMES[annotation]
    elif hasattr(annotation, "__metadata__"):
        text = type_name(inner[0])
    elif origin in (Union, types.UnionType):
        text = " or ".join(map(type_name, inner))
    elif origin is tuple:
        text = f"list of {type_name(inner[0])}"
    elif origin is dict:
        text = f"mapping to {type_name(inner[1])}"
    elif inner:  # a Literal
        text = ", ".join(f"`{item}`" for item in inner)
    else:
        text = {"TransformSpec": "transform"}.get(annotation.__name__, f"`{annotation.__name__}`")
    return text


def first_sentence(described: Any) -> str:
    """Return the first paragraph of a docstring on one line."""
    return " ".join((described.__doc__ or "").split("\n\n")[0].split())


def transforms() -> str:
    """The invertible transforms of `condition` and `target`."""
    rows = []
    for name, kind in KINDS.items():
        options = [
            f"`{key}` ({as_yaml(field.get_default(call_default_factory=True))})"
            for key, field in kind.Options.model_fields.items()
        ]
        given = [f"`{role}`" for role in (*kind.roles, *kind.fit_roles) if role not in SUPPLIED]
        acts = f"{kind.components} components" if kind.components else "each column"
        rows.append([f"`{name}`", first_sentence(kind), acts, ", ".join(options), ", ".join(given)])
    return table(["kind", "does", "acts on", "options (default)", "`given`"], rows)


def families() -> str:
    """Settings of every model family."""
    parts = []
    for definition in models.config_schema().get("$defs", {}).values():
        settings = dict(definition.get("properties", {}))
        kind = settings.pop("kind", {})
        if not kind:
            continue
        rows = [
            [f"`{key}`", f"`{as_yaml(entry.get('default'))}`", entry.get("description", "")]
            for key, entry in settings.items()
        ]
        name, summary = kind.get("const", kind.get("default")), definition.get("description", "")
        parts += [
            f"**`kind: {name}`**: {' '.join(summary.split())}",
            table(["setting", "default", "meaning"], rows),
        ]
    return "\n\n".join(parts)


def exit_codes() -> str:
    """Exit codes of the command line, from the error classes."""
    base = errors.Gen2RecoError
    rows = [
        [error.exit_code, f"`{error.__name__}`", first_sentence(error)]
        for error in (base, *base.__subclasses__())
        if error.__module__ == errors.__name__
    ]
    rows += [
        [0, "", "Success."],
        [2, "", "The command line itself is wrong: an unknown option, a missing argument."],
        [
            CHECK_FAILED,
            "",
            "`info --check` did not reproduce the reference events; `status` found shards to do.",
        ],
        [130, "", "Interrupted (Ctrl-C)."],
    ]
    rows.sort(key=lambda row: row[0])
    return table(["exit code", "Python class", "meaning"], [map(str, row) for row in rows])


def commands() -> str:
    """Help texts of all commands, as they are printed."""
    runner = typer.testing.CliRunner()
    names = [command.name or command.callback.__name__ for command in app.registered_commands]
    blocks = []
    for name in ("", *names):
        line = f"gen2reco {name} --help" if name else "gen2reco --help"
        shown = runner.invoke(app, line.split()[1:], prog_name="gen2reco", terminal_width=96)
        blocks.append(f"```text\n$ {line}\n{shown.output.strip()}\n```")
    return "\n\n".join(blocks)


def targets() -> str:
    """What a good emulator reaches, from the settings of the validation."""
    asked = Targets()
    rows = [
        ["median floor ratio", f"at most {asked.median_floor_ratio:g}"],
        ["largest floor ratio", f"at most {asked.largest_floor_ratio:g}"],
        ["C2ST excess (AUC)", f"at most {asked.excess:g}"],
        ["largest deviation of a PIT decile from 0.1", f"at most {asked.decile:g}"],
        ["smallest PIT p-value after Holm", f"at least {asked.coverage_p:g}"],
        [
            "smallest p-value of an efficiency's closure after Holm",
            f"at least {asked.efficiency_p:g}",
        ],
        ["efficiency, FastSim over FullSim, off 1 in any bin", f"at most {asked.efficiency:g}"],
        ["share of a tag, FastSim over FullSim, off 1 in any group", f"at most {asked.tag:g}"],
        ["mean number of objects, FastSim over FullSim, off 1", f"at most {asked.count:g}"],
    ]
    return table(["figure", "asked"], rows)


def benchmark(name: str) -> str:
    """Figures of one benchmark, or a sentence that it has not been run."""
    return figures.benchmark(RESULTS, name)


PICTURES = {
    "wjet-jet_pt": "Transverse momentum of the leading jet: FullSim, FastSim and GEN, with the"
    " ratio to FullSim",
    "zgamma-correlations": "Rank correlations of FullSim, and what each generator differs by",
    "zgamma-distributions": "Features of FullSim and of seven generators",
    "zgamma-histories": "KS, Spearman difference and losses of the discriminator on the validation"
    " rows",
}
"""Picture in `images/` -> what is seen on it."""


def pictures(*names: str) -> str:
    """Pictures that are kept with the documentation, with what is seen on them."""
    return "\n\n".join(
        f"![{PICTURES[name]}](/images/{name}.png)\n\n*{PICTURES[name]}*" for name in names
    )


TABLES: dict[str, Callable[..., str]] = {
    "benchmark": benchmark,
    "block": block,
    "commands": commands,
    "exit-codes": exit_codes,
    "families": families,
    "functions": functions,
    "pictures": pictures,
    "targets": targets,
    "transforms": transforms,
}


class Generated(SphinxDirective):
    """The directive `generated`."""

    required_arguments = 1
    optional_arguments = 9

    def run(self) -> list[nodes.Node]:
        name, *arguments = self.arguments
        if name not in TABLES:
            raise self.error(f"nothing is generated as {name!r}; there are {', '.join(TABLES)}")
        self.env.note_reread()  # what it shows changes without the page
        return self.parse_text_to_nodes(TABLES[name](*arguments))


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("generated", Generated)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
