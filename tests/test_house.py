"""The rules of the house: imports point left, the exported names are the documented ones, versions agree."""

import ast
import inspect
import re
import subprocess
import sys
import tomllib
from dataclasses import fields
from importlib import import_module
from pathlib import Path

import jax
import pytest

import pushforward as pf

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "pushforward"
# Each module may import from those before it (and from its own package), never from those after it.
ORDER = [
    "errors",
    "locks",
    "words",
    "deprecated",
    "configuration",
    "model_file",
    "rows",
    "dataframes",
    "draws",
    "parameters",
    "networks",
    "ode",
    "fields",
    "numeric",
    "transformers",
    "heads",
    "bijections",
    "distributions",
    "paths",
    "architectures",
    "training",
    "series",
    "saving",
    "inference",
    "columns",
    "data",
    "models",
    "trust",
    "fitting",
    "estimators",
    "dask",
    "report",
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


def module_cycles(imports: dict[str, set[str]]) -> list[str]:
    """The modules that import each other, directly or by way of others."""
    reached = {name: set(of) for name, of in imports.items()}
    for middle in imports:
        for of in reached.values():
            if middle in of:
                of |= reached[middle]
    return sorted(name for name, of in reached.items() if name in of)


def test_no_module_imports_itself_by_way_of_others():
    """Imports within functions count, those for type checkers alone do not."""
    files = {
        "pushforward."
        + ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__"): path
        for path in SOURCE.rglob("*.py")
        if room(path) not in OUTSIDE
    }
    found: dict[str, set[str]] = {}
    for module, path in files.items():
        tree = ast.parse(path.read_text())
        typing_only = {
            id(inner)
            for node in ast.walk(tree)
            if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
            for inner in ast.walk(node)
        }
        names = {
            name
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and node.module and id(node) not in typing_only
            for name in (node.module, *(f"{node.module}.{alias.name}" for alias in node.names))
        }
        # A package that re-exports its modules is no arrow from one of them to the others.
        found[module] = {n for n in names if n in files and files[n].stem != "__init__"} - {module}
    assert module_cycles(found) == []
    assert module_cycles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == ["a", "b", "c"]


def test_the_order_is_the_documented_one():
    line = next(
        line
        for line in (ROOT / "ARCHITECTURE.md").read_text().splitlines()
        if line.startswith("errors <-")
    )
    assert [part.strip() for part in line.split("<-")] == ORDER


def test_exported_names():
    assert sorted(pf.__all__) == [
        "AmortizedPosterior",
        "Checkpoint",
        "ConditionalFlowDensity",
        "Devices",
        "FlowDensity",
        "ImageDensity",
        "InputError",
        "InputWarning",
        "NeuralODERegressor",
        "Stream",
        "TableDensity",
        "Training",
        "architectures",
        "bijections",
        "columns",
        "distributions",
        "fields",
        "fit",
        "fit_posterior",
        "fit_table",
        "inference",
        "load",
        "networks",
        "ode",
        "paths",
        "save",
        "series",
        "transformers",
    ]
    for name in (*pf.__all__, "data", "estimators", "saving", "testing", "training"):
        assert getattr(pf, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        pf.nothing  # noqa: B018


PACKAGES = (
    "architectures",
    "bijections",
    "columns",
    "distributions",
    "fields",
    "networks",
    "ode",
    "paths",
    "series",
    "training",
    "saving",
    "inference",
    "estimators",
    "testing",
    "transformers",
)


@pytest.mark.parametrize("package", PACKAGES)
def test_exported_names_are_documented(package: str):
    module = __import__(f"pushforward.{package}", fromlist=["__all__"])
    for name in module.__all__:
        value = getattr(module, name)
        assert not callable(value) or value.__doc__, f"{package}.{name} has no docstring"


def test_no_public_name_has_two_meanings():
    """A name is one thing, wherever it is exported: what two packages export is the same object."""
    homes: dict[str, tuple[str, object]] = {}
    for package in PACKAGES:
        module = import_module(f"pushforward.{package}")
        for name in module.__all__:
            where, first = homes.setdefault(name, (package, getattr(module, name)))
            assert getattr(module, name) is first, (
                f"{name} is one thing in {where}, another in {package}"
            )


OLD = {
    "architectures": ("Bernstein", "CubicSpline", "LinearSpline", "QuadraticSpline"),
    "distributions": ("Normal",),
    "networks": ("Recurrent",),
    "ode": ("Checkpoint",),
    "paths": ("FlowMatching",),
}


@pytest.mark.parametrize(("package", "name"), [(p, n) for p, names in OLD.items() for n in names])
def test_old_names_work_and_say_so(package: str, name: str):
    module = import_module(f"pushforward.{package}")
    with pytest.warns(DeprecationWarning, match=f"{package}.{name} is now pushforward.{package}."):
        found = getattr(module, name)
    assert found.__name__ in module.__all__
    assert name not in module.__all__
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        module.nothing  # noqa: B018


def test_old_arguments_work_and_say_so():
    with pytest.warns(
        DeprecationWarning, match=r"PeriodicMLP\(others=\) is now PeriodicMLP\(condi"
    ):
        network = pf.networks.PeriodicMLP(
            1, (3,), others=2, width=4, depth=1, key=jax.random.key(0)
        )
    assert network(jax.numpy.zeros((3, 5))).shape == (3, 5)


def test_configurations_are_given_by_name():
    for call, meant in (
        (lambda: pf.architectures.NSF(2), r"NSF\(layers=2\)"),
        (lambda: pf.architectures.NSF(3, 5), r"NSF\(layers=3, width=5\)"),
        (lambda: pf.Training(64), r"Training\(batch=64\)"),
        (lambda: pf.ode.Solver("rk4"), r"Solver\(method='rk4'\)"),
        (lambda: pf.paths.FlowMatchingLoss("vp"), r"FlowMatchingLoss\(path='vp'\)"),
    ):
        with pytest.raises(pf.InputError, match=f"takes keyword arguments only: {meant}"):
            call()
    for kind in pf.architectures.ARCHITECTURES.values():
        assert all(field.kw_only for field in fields(kind)), kind


def test_one_set_of_solver_defaults():
    own = inspect.signature(pf.ode.solve).parameters
    for field in fields(pf.ode.Solver):
        assert field.default == own[field.name].default, field.name


def test_the_newest_change_is_the_version():
    headings = [
        line for line in (ROOT / "CHANGELOG.md").read_text().splitlines() if line.startswith("## ")
    ]
    assert headings[0].split()[1] == pf.__version__


def test_the_command_starts_light():
    """What a command needs is imported when it is known which one runs, and after JAX's settings are made."""
    heavy = ("jax", "equinox", "polars", "sklearn", "scipy")
    code = f"import sys, pushforward.cli; print([m for m in {heavy!r} if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


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


HABITS = {
    r"\bis no key\b": "is not a key",
    r"\bmakes? no sense\b": "invalid",
    r"\bthe worth of\b": "the value of",
    r"\bnats a (row|column|series)\b": "nats per row",
    r"\b[Gg]radients? by (its?\b|`)": "gradient with respect to",
    r"\b(is|are) told (of|by|whether)\b": "receives",
}


@pytest.mark.parametrize("habit", HABITS)
def test_sentences_have_the_words_of_the_field(habit: str):
    """CONTRIBUTING.md has them; here is what to write instead."""
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in [*SOURCE.rglob("*.py"), *(ROOT / "docs").glob("*.md"), ROOT / "README.md"]
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if re.search(habit, line)
    ]
    assert not found, f"{HABITS[habit]!r} is the word, in {found}"
