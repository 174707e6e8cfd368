"""The rules of the house: imports point left, the exported names are the documented ones, versions agree."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import pushforward as pf

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "pushforward"
# Each module may import from those before it (and from its own package), never from those after it.
ORDER = [
    "errors",
    "model_file",
    "rows",
    "columns",
    "draws",
    "networks",
    "ode",
    "fields",
    "bijections",
    "distributions",
    "paths",
    "architectures",
    "training",
    "series",
    "saving",
    "data",
    "estimators",
    "cli",
]
# Users of everything: they may import anything, nothing may import them.
OUTSIDE = ["testing", "__init__", "__main__"]


def room(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imported_rooms(source: str) -> set[str]:
    """The parts of the package that a file imports, wherever in the file."""
    rooms = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names = [node.module] + [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        for name in names:
            parts = name.split(".")
            if parts[0] == "pushforward" and len(parts) > 1 and parts[1] in ORDER + OUTSIDE:
                rooms.add(parts[1])
    return rooms


def wrong_imports(name: str, source: str) -> list[str]:
    if name in OUTSIDE:
        return []
    allowed = ORDER[: ORDER.index(name) + 1]
    return sorted(imported_rooms(source) - set(allowed))


@pytest.mark.parametrize(
    "path", sorted(SOURCE.rglob("*.py")), ids=lambda p: str(p.relative_to(SOURCE))
)
def test_imports_point_left(path: Path):
    assert room(path) in ORDER + OUTSIDE, f"{path} has no place in the order of ARCHITECTURE.md"
    assert wrong_imports(room(path), path.read_text()) == []


def test_a_wrong_import_is_seen():
    assert wrong_imports("rows", "from pushforward.bijections import Chain") == ["bijections"]
    assert wrong_imports("training", "def f():\n    import pushforward.estimators.density") == [
        "estimators"
    ]
    assert wrong_imports("bijections", "from pushforward import training") == ["training"]
    assert wrong_imports("cli", "from pushforward.errors import InputError") == []


def test_the_order_is_the_documented_one():
    line = next(
        line
        for line in (ROOT / "ARCHITECTURE.md").read_text().splitlines()
        if line.startswith("errors <-")
    )
    assert [part.strip() for part in line.split("<-")] == ORDER


def test_exported_names():
    assert sorted(pf.__all__) == [
        "Checkpoint",
        "ConditionalFlowDensity",
        "FlowDensity",
        "InputError",
        "InputWarning",
        "NeuralODERegressor",
        "Training",
        "architectures",
        "bijections",
        "distributions",
        "fields",
        "fit",
        "load",
        "networks",
        "ode",
        "paths",
        "series",
    ]
    for name in pf.__all__:
        assert getattr(pf, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        pf.nothing  # noqa: B018


@pytest.mark.parametrize(
    "package",
    [
        "architectures",
        "bijections",
        "distributions",
        "fields",
        "networks",
        "ode",
        "paths",
        "series",
        "training",
    ],
)
def test_exported_names_are_documented(package: str):
    module = __import__(f"pushforward.{package}", fromlist=["__all__"])
    for name in module.__all__:
        value = getattr(module, name)
        assert not callable(value) or value.__doc__, f"{package}.{name} has no docstring"


def test_the_newest_change_is_the_version():
    headings = [
        line for line in (ROOT / "CHANGELOG.md").read_text().splitlines() if line.startswith("## ")
    ]
    assert headings[0].split()[1] == pf.__version__


def test_import_is_light():
    """Importing the package imports nothing that the numerical core does not need."""
    heavy = ["sklearn", "polars", "matplotlib", "typer", "rich", "pandas", "torch", "safetensors"]
    code = f"import sys, pushforward, pushforward.training; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_workflows_run_what_anyone_can_run():
    """Every step of a workflow is a make target, and the versions of Python are those that the package declares."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    flows = [path.read_text() for path in sorted((ROOT / ".github/workflows").glob("*.yml"))]
    runs = [run for text in flows for run in re.findall(r"^ +- run: (.+)$", text, re.M)]
    used = {word for run in runs for word in re.findall(r"^make ([a-z-]+)", run)}
    used |= {name for text in flows for name in re.findall(r"target: \[(.+)\]", text)[0:1]}
    assert all(run.startswith("make ") for run in runs), runs
    assert {name for names in used for name in names.split(", ")} <= targets
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = [c.rpartition(" ")[2] for c in project["classifiers"] if "Python :: 3." in c]
    tested = re.findall(r"python: \[(.+)\]", "\n".join(flows))
    assert [re.findall(r"3\.\d+", versions) for versions in tested] == [declared]
    assert project["requires-python"] == f">={declared[0]}"
