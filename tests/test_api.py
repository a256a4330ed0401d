"""The public names, pinned; importing the package and asking for help load nothing heavy."""

import resource
import subprocess
import sys

import gen2reco

PUBLIC = [
    "Emulator",
    "Gen2RecoError",
    "Study",
    "compare",
    "demo",
    "export",
    "generate",
    "info",
    "init",
    "load_emulator",
    "load_study",
    "merge",
    "open_events",
    "save_emulator",
    "schema",
    "score",
    "simulate",
    "status",
    "submit",
    "train",
    "tune",
    "unfold",
    "validate",
    "write_events",
]


def test_public_names_are_pinned():
    assert gen2reco.__all__ == PUBLIC
    assert len(PUBLIC) <= 25


def test_every_public_name_loads():
    for name in PUBLIC:
        loaded = getattr(gen2reco, name)
        assert callable(loaded)
        assert loaded.__name__ == name
        assert loaded.__doc__


def test_verbs_are_functions_not_modules():
    assert gen2reco.simulate.__module__ == "gen2reco.verbs.simulate"


def modules_after(code: str) -> set[str]:
    """Top-level modules that are loaded after running `code` in a fresh interpreter."""
    program = f"{code}\nimport sys\nprint(' '.join({{name.split('.')[0] for name in sys.modules}}))"
    shown = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return set(shown.stdout.splitlines()[-1].split())


HEAVY = {
    "awkward",
    "h5py",
    "matplotlib",
    "multiprocessing",
    "numba",
    "numpy",
    "pandas",
    "pyarrow",
    "pydantic",
    "rich",
    "ruamel",
    "scipy",
    "sklearn",
    "torch",
    "uproot",
}


def test_importing_the_package_loads_nothing_heavy():
    loaded = modules_after("import gen2reco; gen2reco.Gen2RecoError")
    assert loaded.isdisjoint(HEAVY)


def test_help_loads_nothing_heavy():
    loaded = modules_after(
        "import sys\nsys.argv = ['gen2reco', '--help']\nimport gen2reco.cli\n"
        "try:\n    gen2reco.cli.main()\nexcept SystemExit:\n    pass"
    )
    assert loaded.isdisjoint(HEAVY)


def test_help_is_there_at_once():
    """In CPU time, which other work on the machine lengthens little; the best of three."""

    def used() -> float:
        times = resource.getrusage(resource.RUSAGE_CHILDREN)
        return times.ru_utime + times.ru_stime

    seconds = []
    for _ in range(3):
        before = used()
        subprocess.run(
            [sys.executable, "-m", "gen2reco", "--help"], capture_output=True, check=True
        )
        seconds.append(used() - before)
    assert min(seconds) < 0.3
