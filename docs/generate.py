"""Writes the pages that follow from the code: the architectures from their registry, the reference from docstrings.

Run: python docs/generate.py            writes them
     python docs/generate.py --check    writes nothing; exit code 1 where a page is not what it would write
"""

import argparse
import ast
import inspect
import itertools
import sys
import textwrap
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from docstrings import first_paragraph, inlined, markdown, paragraphs
from gallery import gallery

DOCS = Path(__file__).parent
ERRORS = ("InputError", "InputWarning")
PACKAGES = [
    "architectures",
    "bijections",
    "bijections.images",
    "transformers",
    "distributions",
    "ode",
    "fields",
    "paths",
    "networks",
    "training",
    "series",
    "inference",
    "saving",
    "columns",
    "estimators",
    "dask",
    "data.tables",
    "data.images",
    "data.pictures",
    "data.stream",
    "fitting.fit_table",
    "models.image_model",
    "testing",
]
NOTE = "<!-- Written by docs/generate.py. Change the docstrings, then run it. -->\n"
WIDTH = 88


# Signatures, read from the source: they look the same with every version of the annotations' libraries


def signature(name: str, node: ast.FunctionDef, bound: bool) -> str:
    """A function as it is called, `self` left out."""
    parts = _arguments(node.args)[1 if bound else 0 :]
    returns = "" if node.returns is None else f" -> {ast.unparse(node.returns)}"
    return _call(name, parts, returns)


def _arguments(arguments: ast.arguments) -> list[str]:
    """Each argument with its annotation and default; stars stand by themselves."""
    plain = [*arguments.posonlyargs, *arguments.args]
    bare: list[ast.expr | None] = [None] * (len(plain) - len(arguments.defaults))
    parts = [_argument(*pair) for pair in zip(plain, [*bare, *arguments.defaults], strict=True)]
    if arguments.vararg is not None:
        parts.append("*" + _argument(arguments.vararg, None))
    elif arguments.kwonlyargs:
        parts.append("*")
    keywords = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    parts += [_argument(*pair) for pair in keywords]
    if arguments.kwarg is not None:
        parts.append("**" + _argument(arguments.kwarg, None))
    return parts


def _argument(argument: ast.arg, default: ast.expr | None) -> str:
    text = argument.arg
    if argument.annotation is not None:
        text += f": {ast.unparse(argument.annotation)}"
    return text if default is None else f"{text} = {ast.unparse(default)}"


def _call(name: str, parts: list[str], returns: str = "") -> str:
    line = f"{name}({', '.join(parts)}){returns}"
    if len(line) <= WIDTH:
        return line
    return "\n".join([f"{name}(", *(f"    {part}," for part in parts), f"){returns}"])


def _constructor(kind: type, node: ast.ClassDef) -> str:
    """How a class is called: by its `__init__`, or by its fields."""
    functions = {part.name: part for part in node.body if isinstance(part, ast.FunctionDef)}
    if "__init__" in functions:
        return signature(kind.__name__, functions["__init__"], bound=True).replace(" -> None", "")
    parts = []
    for part in node.body:
        if not isinstance(part, ast.AnnAssign) or not isinstance(part.target, ast.Name):
            continue
        kind_of = ast.unparse(part.annotation)
        if kind_of.startswith(("ClassVar", "eqx.AbstractVar")) or part.target.id.startswith("_"):
            continue
        default = "" if part.value is None else f" = {_default(part.value)}"
        parts.append(f"{part.target.id}: {kind_of}{default}")
    return _call(kind.__name__, parts) if parts else f"class {kind.__name__}"


def _default(value: ast.expr) -> str:
    """The default of a field, also one that `field(default=...)` declares."""
    if isinstance(value, ast.Call) and ast.unparse(value.func) in ("eqx.field", "field"):
        for keyword in value.keywords:
            if keyword.arg == "default":
                return ast.unparse(keyword.value)
            if keyword.arg == "default_factory":
                return f"{ast.unparse(keyword.value)}()"
    return ast.unparse(value)


def _node(thing: Any) -> Any:
    return ast.parse(textwrap.dedent(inspect.getsource(thing))).body[0]


# The reference


def api() -> str:
    """The page of all public names."""
    import pushforward

    out = [
        NOTE,
        "# Reference",
        "",
        "Every public name, from its docstring. The examples are run by the tests.",
        "",
        "`import pushforward as pf` gives these at once; each is imported when it is first used:",
        "",
    ]
    homes = _homes()
    for name in pushforward.__all__:
        home = homes.get(name)
        link = f"pushforward.{name}" if home is None else f"{home}.{name}"
        out.append(f"- [`pf.{name}`](#{link})")
    out += ["", "## pushforward.errors", ""]
    for name in ERRORS:
        out += _entry("pushforward", name, getattr(pushforward, name))
    for package in PACKAGES:
        module = import_module(f"pushforward.{package}")
        out += [f"## pushforward.{package} {{ #pushforward.{package} }}", ""]
        out += [markdown(inspect.getdoc(module) or ""), ""]
        for name in _public(module):
            out += _entry(package, name, getattr(module, name))
    return "\n".join(out).rstrip() + "\n"


def _public(module: Any) -> list[str]:
    """The names a module offers: those of `__all__` but modules, else the classes and functions it defines."""
    if hasattr(module, "__all__"):
        return sorted(n for n in module.__all__ if not inspect.ismodule(getattr(module, n)))
    return sorted(
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__
    )


def _homes() -> dict[str, str]:
    """The package under which the reference describes a name."""
    homes = {
        name: home for home in PACKAGES for name in _public(import_module(f"pushforward.{home}"))
    }
    return {**homes, **dict.fromkeys(ERRORS, "pushforward")}


def _entry(package: str, name: str, thing: Any) -> list[str]:
    head = [f"### {name} {{ #{package}.{name} }}", ""]
    if inspect.isclass(thing):
        return head + _class(name, thing)
    if inspect.isfunction(thing):
        return [*head, *_code(signature(name, _node(thing), bound=False)), _doc(thing), ""]
    if isinstance(thing, Mapping):
        return head + _table(thing)
    return [*head, f"`{thing!r}`", ""]


def _class(name: str, kind: type) -> list[str]:
    node = _node(kind)
    protocol = getattr(kind, "_is_protocol", False)
    abstract = inspect.isabstract(kind)
    head = [f"class {name}"] if protocol or abstract else _constructor(kind, node).splitlines()
    out = [*_code("\n".join(head)), _doc(kind), ""]
    # What a class has from a base of ours that the reference does not describe is told as its own.
    inherited = [b for b in kind.__mro__[1:] if b.__module__.startswith("pushforward.")]
    bodies = [_node(base).body for base in inherited if base.__name__ not in _homes()]
    for part in itertools.chain(node.body, *bodies):
        if not isinstance(part, ast.FunctionDef) or part.name.startswith("_"):
            continue
        text = ast.get_docstring(part)
        if text is None:
            continue
        decorators = {ast.unparse(d) for d in part.decorator_list}
        if decorators & {"property", "cached_property"}:
            returns = "" if part.returns is None else f": {ast.unparse(part.returns)}"
            call = f"{name}.{part.name}{returns}"
        else:
            call = signature(f"{name}.{part.name}", part, bound="staticmethod" not in decorators)
        out += [*_code(call), markdown(text), ""]
    return out


def _table(table: Mapping[Any, Any]) -> list[str]:
    """A registry: its names and what each says of itself."""
    if not table:
        return ["An empty dictionary.", ""]
    out = ["| name | what it is |", "| --- | --- |"]
    for key, value in table.items():
        label = key.__name__ if inspect.isclass(key) else key
        out.append(f"| `{label}` | {_cell(_said(value))} |")
    return [*out, ""]


def _said(value: Any) -> str:
    """What an entry of a registry says of itself: its own words, or those of its class."""
    from pushforward.ode import Tableau
    from pushforward.paths import Path as ProbabilityPath

    if isinstance(value, str):
        return value
    if isinstance(value, Tableau):
        calls = len(value.b) - value.reuses_last
        steps = "fixed steps only" if value.error is None else "adapts its steps"
        return f"order {value.order}, {calls} call{'s' * (calls > 1)} of the field a step, {steps}"
    if isinstance(value, ProbabilityPath):
        return f"signal {first_paragraph(value.signal)}, noise {first_paragraph(value.noise)}"
    if value is None:
        return "Nothing is done."
    if getattr(value, "__name__", "") == "<lambda>":
        return first_paragraph(_made(value))
    named = inspect.isclass(value) or inspect.isfunction(value)
    text = first_paragraph(value if named else type(value))
    if not text:
        raise SystemExit(
            f"the registry's entry {value!r} says nothing of itself: it needs a docstring"
        )
    return text


def _made(make: Callable[..., Any]) -> type:
    """The class of the base distribution that a registry entry makes."""
    import jax

    return type(make((1,), jax.random.key(0)))


def _cell(text: str) -> str:
    return inlined(text).replace("|", "\\|").removesuffix(":")


def _doc(thing: Any) -> str:
    return markdown(inspect.getdoc(thing) or "") if thing.__doc__ else ""


def _code(text: str) -> list[str]:
    return ["```text", *text.splitlines(), "```", ""]


# The architectures


def architectures() -> str:
    """The page of the registry of architectures."""
    from pushforward.architectures import ARCHITECTURES, Facts, registered
    from pushforward.cli.options import architecture_defaults
    from pushforward.distributions import BASES
    from pushforward.transformers import TRANSFORMERS

    out = [
        NOTE,
        "# Architectures",
        "",
        "A name works on the command line (`--flow maf`) and in the estimators "
        '(`FlowDensity("maf")`), a class in Python (`pf.architectures.MAF(layers=8)`).',
        "",
        "## Of tables { #tables }",
        "",
        *_listed(registered(images=False)),
        "Every one of them takes events of any number of columns from 1 up, with or without a condition, and can be",
        "evaluated and sampled. They differ in cost and in what they can bend. Autoregressive layers (`maf`, `iaf`,",
        "`nsf`, `naf`, ...) let every coordinate depend on all before it; coupling layers (`nice`, `realnvp`, `glow`,",
        "the splines with `autoregressive=false`) let one half depend on the other; residual, planar, radial and",
        "Sylvester maps move all coordinates at once. Splines, mixtures, polynomials and monotone networks make",
        "several modes out of one, affine maps stretch and shift. [Which flow for which data](choosing.md) measures",
        "them side by side.",
        "",
        "Where a direction has no closed form it is a search to rounding: its result is certified, its gradients are",
        "those of the implicit function, and one that fails raises `ConvergenceError` (NaN under `jit`).",
        "",
        "## Of pictures { #pictures }",
        "",
        *_listed(registered(images=True)),
        "Their events are pictures `(h, w, c)` in grey levels, with or without a condition, such as the class.",
        "`pushforward fit` fits them to a folder of pictures, and `ImageDensity` to an array. The default is",
        "`pixel_spline`; where draws must be fast take `subscale_spline`, and where latents are to be interpolated or",
        "scaled by a temperature `image_nsf` or `image_glow`.",
        "",
    ]
    for name, kind in ARCHITECTURES.items():
        text = markdown(inspect.getdoc(kind) or "")
        facts = Facts.of(kind())
        rate = facts.learning_rate
        trained = f" Tables are fitted with a learning rate of {rate:g}." if rate else ""
        out += [
            f"## {kind.__name__} {{ #{name} }}",
            "",
            text,
            "",
            f"Source: {facts.reference}.{trained}",
            "",
            "On the command line, with the defaults:",
            "",
            "```text",
            f"--flow {name}",
            *(f"--set {key}={value}" for key, value in architecture_defaults(kind).items()),
            "```",
            "",
        ]
    out += ["## Base distributions { #bases }", "", "What `base` may be:", ""]
    out += _table(BASES)
    out += ["## Scalar maps { #transformers }", "", "What layers are made of:", ""]
    out += _table(TRANSFORMERS)
    return "\n".join(out).rstrip() + "\n"


def _listed(kinds: Mapping[str, type]) -> list[str]:
    """Architectures with what they are and what they cost."""
    out = ['<div class="words" markdown>', ""]
    out += ["| name | what it is | cost | reference |", "| --- | --- | --- | --- |"]
    for name, kind in kinds.items():
        what, *rest = paragraphs(inspect.getdoc(kind) or "")
        cost = next((p for p in rest if p.startswith(("Density", "Sampling"))), "")
        reference = getattr(kind, "reference", "")
        out.append(f"| [`{name}`](#{name}) | {_cell(what)} | {_cell(cost)} | {_cell(reference)} |")
    return [*out, "", "</div>", ""]


PAGES: dict[str, Callable[[], str]] = {
    "api.md": api,
    "architectures.md": architectures,
    "gallery.md": gallery,
}


def outdated() -> list[str]:
    """Names of the pages that are not what would be written."""

    def differs(name: str, page: str) -> bool:
        path = DOCS / name
        return not path.exists() or path.read_text() != page

    return [name for name, make in PAGES.items() if differs(name, make())]


def main(arguments: Iterable[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="only say what is out of date")
    options = parser.parse_args(None if arguments is None else list(arguments))
    if options.check:
        stale = outdated()
        for name in stale:
            print(f"docs/{name} is out of date: run python docs/generate.py", file=sys.stderr)
        return 1 if stale else 0
    for name, make in PAGES.items():
        (DOCS / name).write_text(make())
    return 0


if __name__ == "__main__":
    sys.exit(main())
