"""The texts hold: links and anchors, Python and YAML examples, commands and their options."""

import ast
import importlib.util
import inspect
import re
import shlex
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import typer
from ruamel.yaml import YAML

import gen2reco
from gen2reco import load_study, models, open_events, study
from gen2reco.cli import app
from gen2reco.cli.output import overrides
from gen2reco.emulator import emulator as emulator_module
from gen2reco.extras import EXTRAS
from gen2reco.features import PartFeatures
from gen2reco.models.protocol import Batch, Shape
from gen2reco.rows.tables import build_table, columns_needed, columns_of, evaluate_output
from gen2reco.verbs.judged import validation_expressions
from gen2reco.verbs.simulate import Simulation
from gen2reco.verbs.train import Trained
from gen2reco.verbs.validate import Validated

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
ELSEWHERE = {"semver.org"}
NOT_OURS = {
    "--account",
    "--editable",
    "--index-url",
    "--model",
    "--nproc-per-node",
    "--nthreads",
    "--nworkers",
    "--time",
    "--whole",
}
"""Options in the texts that belong to other programs."""


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def blocks(page: Path, language: str) -> list[str]:
    """Fenced code of one language."""
    return re.findall(
        rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )


def prose(page: Path) -> str:
    """A page without its fenced code."""
    return re.sub(
        r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE
    )


def anchors(page: Path) -> set[str]:
    """Anchors of a page's headings, as MyST and code hosts make them."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.strip().replace(" ", "-") for heading in plain}


def links(page: Path) -> list[str]:
    return re.findall(r"\]\(([^)\s]+)\)", prose(page))


def examples(language: str) -> Iterator[tuple[Path, str]]:
    for page in PAGES:
        for text in blocks(page, language):
            yield page, text


def studies() -> list[str]:
    return [text for _, text in examples("yaml") if text.startswith("name:")]


def commands() -> list[tuple[str, list[str]]]:
    """Every `gen2reco VERB ...` line of the texts, split as a shell would."""
    lines = [line for page in PAGES for text in blocks(page, "sh") for line in text.splitlines()]
    lines += [
        code for page in PAGES for code in re.findall(r"`(gen2reco [a-z][^`\n]*)`", prose(page))
    ]
    words = [shlex.split(line, comments=True) for line in lines]
    return [
        (line[1], line[2:])
        for line in words
        if line[:1] == ["gen2reco"] and not line[1].startswith("-")
    ]


def options() -> dict[str, set[str]]:
    """Verb -> its options."""
    group = typer.main.get_command(app)
    return {
        name: {
            "--help",
            "-h",
            *(text for param in command.params for text in (*param.opts, *param.secondary_opts)),
        }
        for name, command in group.commands.items()
    }


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page):
    for link in links(page):
        target, _, anchor = link.partition("#")
        if target.startswith("http"):
            assert target.split("/")[2] in ELSEWHERE, f"{link}: is this address known to exist?"
            continue
        file = (page.parent / target) if target else page
        assert file.exists(), f"{link} leads nowhere"
        assert not anchor or anchor in anchors(file), (
            f"{link}: no such heading; there are {sorted(anchors(file))}"
        )


def test_there_are_links_and_anchors_to_check():
    everything = [link for page in PAGES for link in links(page)]
    assert len(everything) > 30
    assert any("#" in link for link in everything)


def test_python_examples_call_what_exists():
    count = 0
    for page, text in examples("python"):
        tree = ast.parse(text)
        for node in ast.walk(tree):
            if not (
                isinstance(node, ast.Attribute)
                and isinstance(node.value, ast.Name)
                and node.value.id == "gen2reco"
            ):
                continue
            assert node.attr in gen2reco.__all__, f"{name_of(page)}: gen2reco.{node.attr}"
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("gen2reco."):
                function = getattr(gen2reco, ast.unparse(node.func).removeprefix("gen2reco."))
                inspect.signature(function).bind(
                    *node.args, **{key.arg: key.value for key in node.keywords}
                )
                count += 1
    assert count > 10


def test_python_examples_use_results_as_they_are():
    fields = {
        "trained": Trained,
        "done": Simulation,
        "judged": Validated,
    }
    seen = set()
    for page, text in examples("python"):
        for node in ast.walk(ast.parse(text)):
            if (
                isinstance(node, ast.Attribute)
                and isinstance(node.value, ast.Name)
                and node.value.id in fields
            ):
                result = fields[node.value.id]
                known = {*result.__dataclass_fields__, *dir(result)}
                assert node.attr in known, f"{name_of(page)}: {ast.unparse(node)}"
                seen.add(node.value.id)
    assert {"done", "judged"} <= seen


def test_commands_and_options_exist():
    known = options()
    assert len(commands()) > 20
    for verb, words in commands():
        assert verb in known or verb == "VERB", f"there is no command {verb!r}"
        for word in words:
            if re.fullmatch(r"--?[a-z][a-z-]*", word) and verb in known:
                assert word in known[verb], f"gen2reco {verb} has no option {word}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_options_named_in_passing_exist(page):
    every = set.union(*options().values()) | {"--debug", "--version"} | NOT_OURS
    named = set(re.findall(r"(?<![\w-])(--[a-z][a-z-]*)", prose(page)))
    assert named <= every


@pytest.mark.parametrize("text", studies(), ids=lambda text: text.split()[1])
def test_yaml_studies_work_on_the_bundled_sample(text, tmp_path, bundled):
    path = tmp_path / "study.yaml"
    path.write_text(text, encoding="utf-8")
    learned = load_study(path)
    source = open_events(bundled)
    columns_of(validation_expressions(learned), learned.define, source)
    for part in learned.parts:
        models.parse(part.model)
        columns = columns_needed(learned, part, source, targets=True)
        events = next(source.chunks(size=3000, columns=columns)).events
        features = PartFeatures.fit(part, build_table(learned, part, events, targets=True), 1)
        assert features.shape[:2] == (len(features.target_names), len(part.condition))
        gen = next(
            source.chunks(size=100, columns=columns_needed(learned, part, source, targets=False))
        ).events
        table = build_table(learned, part, gen, targets=False)
        drawn = features.decode_target(torch.zeros(len(table), features.shape[0]).numpy(), table)
        written = evaluate_output(learned, part, gen, table, drawn)
        assert set(written) == set(part.output)


def test_there_are_yaml_studies():
    assert {text.split()[1] for text in studies()} >= {"leading-jet", "jets"}


def test_yaml_fragments_can_be_read():
    for _, text in examples("yaml"):
        assert YAML(typ="safe").load(text)


def test_the_example_of_a_model_family_works(tmp_path):
    (text,) = blocks(DOCS / "howto" / "new-family.md", "python")
    path = tmp_path / "gaussian.py"
    path.write_text(text, encoding="utf-8")
    spec = importlib.util.spec_from_file_location("gaussian", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["gaussian"] = module
    try:
        spec.loader.exec_module(module)
        model = module.GaussianConfig().build(Shape(targets=2, conditions=3))
    finally:
        del sys.modules["gaussian"]
    torch.manual_seed(1)
    condition = torch.randn(4000, 3)
    target = condition @ torch.tensor([[1.0, 0.0], [0.0, -1.0], [0.5, 0.5]]) + 0.3 * torch.randn(
        4000, 2
    )
    batch = Batch(target, condition, torch.ones(4000))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    for _ in range(300):
        optimizer.zero_grad()
        model.loss(batch).backward()
        assert all(parameter.grad is not None for parameter in model.parameters())
        optimizer.step()
    made = model.sample(condition, torch.randn(4000, model.noise.width))
    assert made.shape == target.shape
    assert torch.allclose((made - target).std(0), torch.full((2,), 0.3 * 2**0.5), rtol=0.1)


def test_dependencies_are_justified():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    page = (DOCS / "dependencies.md").read_text(encoding="utf-8")
    rows = {line.split("|")[1].strip(): line for line in page.splitlines() if line.startswith("| ")}
    core = [re.match(r"[\w.-]+", requirement).group() for requirement in project["dependencies"]]
    assert core
    for name in core:
        assert name in rows, f"{name} has no line in dependencies.md"
    listed = {
        name for name in rows if name != "package" and not name.startswith(("`", "-", "extra"))
    }
    assert listed == set(core), "dependencies.md lists what pyproject.toml does not"
    for extra, requirements in project["optional-dependencies"].items():
        assert f"`{extra}`" in rows
        for requirement in requirements:
            name = re.match(r"[\w.-]+", requirement).group()
            assert name == "gen2reco" or name in rows[f"`{extra}`"], f"{name} of the extra {extra}"


def test_what_the_package_imports_is_declared_and_nothing_else():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    imported = set()
    for file in Path(gen2reco.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add(node.module.partition(".")[0])
    module = {"ruamel.yaml": "ruamel", "scikit-learn": "sklearn"}
    names = [re.match(r"[\w.-]+", requirement).group() for requirement in project["dependencies"]]
    core = {module.get(name, name) for name in names}
    assert core <= imported, "dependencies that no module of the package imports"
    extras = {name for modules in EXTRAS.values() for name in modules}
    foreign = imported - set(sys.stdlib_module_names) - {"gen2reco"}
    assert foreign <= core | extras, "imported, and neither a dependency nor an extra"


def test_types_are_there_for_who_imports_the_package():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert "Typing :: Typed" in project["classifiers"]
    assert (Path(gen2reco.__file__).parent / "py.typed").is_file()


def test_settings_named_in_the_texts_fit_the_shipped_studies():
    """Those of commands, and those that the page on the study file names."""
    hidden = "model.continuous.hidden=[128,128]"
    asked = [
        ("zee-paired", "model.hidden=[128,128]"),
        ("wjet", hidden),
        ("jets", hidden),
        ("hmumu", f"parts.1.{hidden}"),
        ("hmumu", "parts.1.presence.model.hidden=[128,128]"),
        ("wjet", "parts.0.model={kind: flow}"),
    ]
    page = (DOCS / "howto" / "study-file.md").read_text(encoding="utf-8")
    assert all(f"`{text}`" in page or f"`'{text}'`" in page for _, text in asked)
    asked += [
        (words[0], words[i + 1])
        for verb, words in commands()
        for i, word in enumerate(words)
        if verb == "train" and word == "--set" and words[0] in study.shipped_studies()
    ]
    gaussian = ("wjet", "parts.0.model={kind: gaussian}")
    asked.remove(gaussian)
    for name, setting in asked:
        for part in load_study(name, overrides([setting])).stages:
            models.parse(part.model)
    (part,) = load_study(gaussian[0], overrides([gaussian[1]])).parts
    assert part.model == {"kind": "gaussian"}, "and nothing of the family before"


def test_make_targets_exist():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    existing = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        named = set(re.findall(r"^make ([a-z]+)", text, re.MULTILINE)) | set(
            re.findall(r"`make ([a-z]+)`", text)
        )
        assert named <= existing, f"{name_of(page)} names a target that the Makefile lacks"


def test_files_named_in_the_texts_exist():
    for page in PAGES:
        for path in re.findall(
            r"`((?:src|tests|docs|benchmarks|examples)/[\w/.-]+\.(?:py|yaml|md))`", prose(page)
        ):
            if path != "src/gen2reco/models/gaussian.py":
                assert (ROOT / path).is_file(), f"{name_of(page)} names {path}"


def test_every_public_name_is_in_the_reference():
    page = (DOCS / "reference.md").read_text(encoding="utf-8")
    documented = set(re.findall(r"auto\w+:: gen2reco\.(\w+)$", page, re.MULTILINE))
    assert documented == set(gen2reco.__all__)


def test_every_block_of_a_study_is_described():
    page = (DOCS / "howto" / "study-file.md").read_text(encoding="utf-8")
    described = set(re.findall(r"\{generated\} block (\w+)", page))
    classes = {name for name in study.__all__ if inspect.isclass(getattr(study, name))}
    assert described == classes - {"Block", "TransformSpec"}


def test_every_shipped_study_is_in_the_readme():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for name in study.shipped_studies():
        assert f"| `{name}`" in readme


def test_every_layer_is_described():
    package = Path(gen2reco.__file__).parent
    names = {
        path.stem
        for path in package.iterdir()
        if path.suffix == ".py" or (path / "__init__.py").is_file()
    }
    design = (DOCS / "design.md").read_text(encoding="utf-8")
    for name in names - {"__init__", "__main__"}:
        assert f"`{name}`" in design, f"design.md does not name the layer {name}"


def test_output_columns_and_flags_are_described():
    page = (DOCS / "howto" / "simulate.md").read_text(encoding="utf-8")
    for collection, fields in load_study("wjet").parts[0].output.items():
        row = next(line for line in page.splitlines() if line.startswith(f"| `{collection}_"))
        for field in fields:
            assert f"_{field}`" in row, f"{collection}_{field} is not described"
    for value in (emulator_module.OUTSIDE_DOMAIN, emulator_module.BAD_INPUT):
        assert re.search(rf"^\| {value.bit_length() - 1} \| {value} \|", page, re.MULTILINE)
    for policy in emulator_module.POLICIES:
        assert f"\n`{policy}`\n: " in page


def test_versions_agree():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    citation = YAML(typ="safe").load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert project["version"] == citation["version"] == gen2reco.__version__
    assert citation["license"] == project["license"] == "BSD-3-Clause"
    assert f"\n## {gen2reco.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
