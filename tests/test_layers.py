"""The architecture, held by a test: imports point downwards, and the lower layers know no torch."""

import ast
from pathlib import Path

import gen2reco

PACKAGE = Path(gen2reco.__file__).parent
LAYERS = [
    {"__main__"},
    {"cli"},
    {"verbs"},
    {"unfolding"},
    {"validation"},
    {"portable"},
    {"emulator"},
    {"training"},
    {"models"},
    {"features"},
    {"rows"},
    {"shards"},
    {"events"},
    {"rng", "study", "workers"},
    {"extras"},
    {"errors"},
]
HEIGHT = {name: len(LAYERS) - level for level, names in enumerate(LAYERS) for name in names}
WITHOUT_TORCH = {
    "unfolding",
    "validation",
    "features",
    "rows",
    "shards",
    "events",
    "rng",
    "study",
    "workers",
    "extras",
    "errors",
    "cli",
}


def imports(file: Path) -> list[str]:
    """Full names of what a module imports, at any place in it."""
    found = []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return found


def modules() -> list[tuple[str, Path]]:
    """Layer and path of every module but the package's front door, which names all lazily."""
    files = [file for file in PACKAGE.rglob("*.py") if file != PACKAGE / "__init__.py"]
    return [(file.relative_to(PACKAGE).parts[0].removesuffix(".py"), file) for file in files]


def test_every_module_belongs_to_a_layer():
    assert {layer for layer, _ in modules()} == set(HEIGHT)


def test_imports_point_downwards():
    wrong = []
    for layer, file in modules():
        for name in imports(file):
            steps = name.split(".")
            if steps[0] != "gen2reco" or len(steps) < 2 or steps[1] not in HEIGHT:
                continue
            if steps[1] != layer and HEIGHT[steps[1]] >= HEIGHT[layer]:
                wrong.append(f"{file.relative_to(PACKAGE)} imports {name}")
    assert not wrong


def test_lower_layers_know_no_torch():
    wrong = [
        str(file.relative_to(PACKAGE))
        for layer, file in modules()
        if layer in WITHOUT_TORCH and any(name.split(".")[0] == "torch" for name in imports(file))
    ]
    assert not wrong


def test_no_relative_imports():
    relative = [
        str(file.relative_to(PACKAGE))
        for _, file in modules()
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.level > 0
    ]
    assert not relative
