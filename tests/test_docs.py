"""The documentation does what it says: its examples run, its links lead somewhere, its generated pages are current."""

import doctest
import importlib.util
import pkgutil
import re
import shlex
import sys
import tomllib
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from math_core import LatexToMathML

import pushforward
from pushforward.architectures.typed import Typed
from pushforward.cli import main

ROOT = Path(__file__).parents[1]
GENERATED = ("api.md", "architectures.md", "gallery.md")
DOCS = sorted(p for p in (ROOT / "docs").glob("*.md") if p.name not in GENERATED)
PAGES = [ROOT / "README.md", *DOCS]
LINKED = [
    *(ROOT / name for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md")),
    ROOT / ".github" / "pull_request_template.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
BLOCK = re.compile(r'^```(\w+)(?: title="(.+?)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)
# Where __main__ is, there is nothing to import.
MODULES = [
    module.name
    for module in pkgutil.walk_packages(pushforward.__path__, "pushforward.")
    if not module.name.endswith("__main__")
]


def source(module: str) -> str:
    spec = importlib.util.find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).read_text()


def named(paths):
    return [pytest.param(path, id=str(path.relative_to(ROOT))) for path in paths]


@pytest.mark.parametrize("name", [name for name in MODULES if ">>>" in source(name)])
def test_docstrings(name, same_registry):
    assert "doctest: +SKIP" not in source(name)
    done = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert done.attempted > 0
    assert done.failed == 0


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working directory with the tables that pages begin with: data.csv and new.csv, of columns hour, delay, air."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    hour = rng.integers(5, 23, 300)
    delay = np.rint(rng.gamma(2.0, 4.0 + hour / 4) - 8).astype(int)
    air = rng.normal(150, 40, 300) + 0.3 * delay
    rows = [f"{h},{d},{a:.2f}" for h, d, a in zip(hour, delay, air, strict=True)]
    for name, some in (("data.csv", rows), ("new.csv", rows[:50])):
        Path(name).write_text("\n".join(["hour,delay,air", *some]) + "\n")
    return tmp_path


@pytest.fixture
def short_fits(monkeypatch, page):
    """Fits of tables end after an epoch, and a flow given by name is a tiny one: the words are under test.

    Much of such a fit is compiling the trust report, so it is left out where a page does not read it.
    """
    # The package's attribute of that name is the function.
    module = sys.modules["pushforward.fitting.fit_table"]
    typed = importlib.import_module("pushforward.fitting.fit_typed")
    fit_table, fit_typed, text = module.fit_table, typed.fit_typed, page.read_text()

    def short(values, condition=None, *, architecture="auto", training=None, **options):
        if isinstance(architecture, str) and architecture in KNOWN:
            architecture = pushforward.architectures.RealNVP(layers=1, width=8, depth=1)
        training = replace(training or pushforward.Training(), max_epochs=1)
        options["trust"] = "model_.trust" in text
        return fit_table(values, condition, architecture=architecture, training=training, **options)

    def short_typed(table, *, architecture=None, training=None, **options):
        training = replace(training or pushforward.Training(), max_epochs=1)
        return fit_typed(table, architecture=TINY, training=training, **options)

    images = importlib.import_module("pushforward.fitting.fit_images")
    fit_images = images.fit_images

    def short_images(pixels, labels=None, *, architecture="auto", training=None, **options):
        if isinstance(architecture, str) and architecture in (*REGISTERED_IMAGES, "auto"):
            name = "pixel_spline" if architecture == "auto" else architecture
            kind = pushforward.architectures.ARCHITECTURES[name]
            known = {field.name for field in fields(kind)}
            architecture = kind(**{k: v for k, v in TINY_IMAGES.items() if k in known})
        training = replace(training or pushforward.Training(), max_epochs=1, batch=64)
        return fit_images(pixels, labels, architecture=architecture, training=training, **options)

    for user in (images, importlib.import_module("pushforward.estimators.image_density")):
        monkeypatch.setattr(user, "fit_images", short_images)
    for user in (module, *map(importlib.import_module, USERS)):
        monkeypatch.setattr(user, "fit_table", short)
    for user in (typed, *map(importlib.import_module, TYPED_USERS)):
        monkeypatch.setattr(user, "fit_typed", short_typed)
    for measure in ("agreement", "privacy"):
        if f'"{measure}"' not in text:
            monkeypatch.setattr(typed, f"{measure}_report", lambda *_, **__: {})


BUILT_IN = tuple(pushforward.architectures.registered(images=False))
KNOWN = ("auto", *BUILT_IN)
USERS = (
    "pushforward.estimators.density",
    "pushforward.estimators.conditional",
    "pushforward.estimators.amortized_posterior",
)
TYPED_USERS = ("pushforward.estimators.table_density", "pushforward.fitting.rival")
REGISTERED_IMAGES = tuple(pushforward.architectures.registered(images=True))
TINY_IMAGES = {"scales": 1, "steps": 1, "width": 8, "bins": 4, "blocks": 1, "layers": 1} | {
    "patch": 2, "hidden": 8, "reach": 1, "levels": 256
}  # fmt: skip
TINY = Typed(width=16, blocks=1, context=8, context_blocks=1, components=4)


def run_python(code: str, where: str, line: int, names: dict) -> None:
    if ">>>" in code:
        test = doctest.DocTestParser().get_doctest(code, names, where, where, line)
        report: list[str] = []
        doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test, out=report.append)
        assert not report, "".join(report)
        names.update(test.globs)
    else:
        # Empty lines in front, so that a traceback tells the line of the page.
        exec(compile("\n" * line + code, where, "exec"), names)


def run_console(code: str, capsys, monkeypatch) -> None:
    """Runs each `$ pushforward ...` and compares what it prints with the lines below it, if there are any."""
    for command in re.split(r"^\$ ", code, flags=re.MULTILINE)[1:]:
        line, _, expected = command.partition("\n")
        piped = re.fullmatch(r"cat (\S+) \| (pushforward .*)", line)
        words = shlex.split(piped[2] if piped else line)
        assert words[0] == "pushforward", f"{line}: only pushforward is run"
        capsys.readouterr()
        with open(piped[1] if piped else "data.csv") as data:
            monkeypatch.setattr(sys, "stdin", data)
            code_of_exit = main(words[1:])
        printed = "".join(capsys.readouterr())
        fails = expected.startswith("pushforward: ")
        assert code_of_exit == (2 if fails else 0), f"{line}\n{printed}"
        if expected.strip():
            checker = doctest.OutputChecker()
            good = checker.check_output(expected.rstrip() + "\n", printed, doctest.ELLIPSIS)
            assert good, f"{line} prints\n{printed}instead of\n{expected}"


def install(text: str, folder: Path, monkeypatch) -> None:
    """What pip would leave of a package whose modules lie in the folder, for the time of a test."""
    project = tomllib.loads(text)["project"]
    kept = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    kept.mkdir()
    about = f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    (kept / "METADATA").write_text(about)
    lines = []
    for group, entries in project["entry-points"].items():
        lines += [f"[{group}]", *(f"{name} = {value}" for name, value in entries.items())]
    (kept / "entry_points.txt").write_text("\n".join(lines) + "\n")
    monkeypatch.syspath_prepend(folder)


@pytest.mark.parametrize("page", named(PAGES))
def test_examples(page, folder, short_fits, same_registry, capsys, monkeypatch):
    """The blocks of a page, top to bottom: ```python in one namespace, ```console against the command line; one with a
    title is a file of that name, and a `pyproject.toml` is installed."""
    text, names = page.read_text(), {"__name__": "example"}
    for block in BLOCK.finditer(text):
        line, (language, file, code) = text[: block.start()].count("\n") + 1, block.groups()
        if file is not None:
            Path(file).write_text(code)
        if file == "pyproject.toml":
            install(code, folder, monkeypatch)
        elif language == "python" and file is None:
            run_python(code, str(page), line, names)
        elif language == "console":
            run_console(code, capsys, monkeypatch)


@pytest.mark.parametrize("page", named(LINKED))
def test_links(page):
    """Every relative link leads to a file."""
    text = BLOCK.sub("", page.read_text())
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not re.match(r"[a-z]+:|#", target):
            path = page.parent / target.partition("#")[0]
            assert path.exists(), f"{page.name} links to {target}, which is not there"


def test_every_page_is_in_the_menu():
    menu = (ROOT / "mkdocs.yml").read_text()
    for page in (ROOT / "docs").glob("*.md"):
        assert f": {page.name}\n" in menu, page.name


@pytest.fixture
def docs(monkeypatch):
    """Modules of docs/ by name."""
    monkeypatch.syspath_prepend(ROOT / "docs")
    return importlib.import_module


def test_generated_pages(docs):
    """Out of date: run `python docs/generate.py`."""
    generate = docs("generate")
    assert sorted(generate.PAGES) == sorted(GENERATED)
    assert generate.outdated() == []


def test_gallery_has_every_architecture():
    page = (ROOT / "docs" / "gallery.md").read_text()
    shown = set(re.findall(r"architectures.md#(\w+)", page))
    assert shown >= {*BUILT_IN, *pushforward.architectures.registered(images=True)}
    for picture in re.findall(r"\((img/\S+?)\)", page):
        assert (ROOT / "docs" / picture).is_file()


@pytest.mark.parametrize(
    ("plain", "latex"),
    [
        ("z = b + h (x - a) / w", r"z = b + \frac{h (x - a)}{w}"),
        ("L / (1 - L) |s|^2", r"\frac{L}{1 - L} \lvert s \rvert^{2}"),
        ("log p(y | x) = sum_k w_k N(x; m_k, 1)", None),
        (
            "log |det dz/dx| = log |1 + (w . u) tanh'(w . x + b)|",
            r"\log \left\lvert \det \frac{dz}{dx} \right\rvert = "
            r"\log \lvert 1 + (w \cdot u) \tanh'(w \cdot x + b) \rvert",
        ),
        ("p_base(z),   w from x_1, ..., x_{i-1}", None),
        ("-(df/dx)^T s", r"- \left(\frac{df}{dx}\right)^{\top} s"),
        ("2 d units", r"2 d \thinspace \mathrm{units}"),
    ],
)
def test_formulas(docs, plain, latex):
    formulas = docs("formulas")
    set_ = formulas.latex(plain)
    assert latex is None or set_ == latex
    mathml = LatexToMathML().convert_with_local_state(set_, displaystyle=True)
    assert mathml.startswith("<math")


CODE = ["bound", "f(t, x)", "(n, d)", "kl=1", "a.b(c)", "docs/generate.py", "n_rows", "round trip"]
CODE += ["(2 k + 1, n)", "x -> y", "log-slope", "--flow maf", "grad_log_prob", "model.fit(x)[0]"]


@pytest.mark.parametrize("code", CODE)
def test_code_is_no_formula(docs, code):
    assert docs("formulas").inline(code) is None


@pytest.mark.parametrize("text", ["x = z + b", "d units", "|x - z|^2", "log dx/dz", "1 - t"])
def test_formulas_in_sentences(docs, text):
    assert docs("docstrings").markdown(f"A map, `{text}`, of `x`.").count("$") == 2


def test_formulas_of_pages():
    """Whatever pages set as a formula is one."""
    converter = LatexToMathML(fancy_error=False)
    for page in (ROOT / "docs").glob("*.md"):
        text = BLOCK.sub("", page.read_text())
        text = re.sub(r"`[^`]*`", "", text)
        for display, line in re.findall(r"\$\$(.*?)\$\$|\$([^$]+?)\$", text, re.DOTALL):
            assert "<math" in converter.convert_with_local_state(
                display or line, displaystyle=bool(display)
            ), page.name
