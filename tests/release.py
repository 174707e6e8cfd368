"""What a release is held to, run by `make release-check`.

python tests/release.py built DIST   compares the wheel and the source distribution in DIST with the working tree
python tests/release.py example      runs README's first Python example on the package that is installed
"""

import os
import re
import sys
import tarfile
import zipfile
from email.parser import Parser
from pathlib import Path

ROOT = Path(__file__).parents[1]
NEEDED = ("LICENSE", "README.md", "CHANGELOG.md", "pyproject.toml", "constraints.txt", "Makefile")
"""What a source distribution holds beside the package and its tests."""
SCRIPT = "pushforward = pushforward.cli:main"


def version(root: Path) -> str:
    """The version that the package says it is."""
    found = re.search(
        r'^__version__ = "(.+)"$', (root / "src/pushforward/__init__.py").read_text(), re.M
    )
    assert found is not None, "pushforward/__init__.py has no __version__"
    return found[1]


def modules(root: Path) -> set[str]:
    """Files of the package, by their names within a wheel."""
    source = root / "src"
    every = (source / "pushforward").rglob("*")
    return {
        str(path.relative_to(source))
        for path in every
        if path.suffix == ".py" or path.name == "py.typed"
    }


def faults(dist: Path, root: Path = ROOT, tag: str | None = None) -> list[str]:
    """What is wrong with the files that were built: a sentence for each fault.

    Arguments:
        dist: folder of one wheel and one source distribution.
        root: the working tree.
        tag: of the release, such as `"v1.2.3"`; None where there is none.
    """
    now = version(root)
    found = []
    if tag is not None and tag != f"v{now}":
        found.append(f"the tag is {tag}, the version {now}: expected v{now}")
    first = re.search(r"^## (\S+)", (root / "CHANGELOG.md").read_text(), re.M)
    if first is None or first[1] != now:
        found.append(f"CHANGELOG.md begins with {first and first[1]}, the version is {now}")
    wheel = dist / f"pushforward-{now}-py3-none-any.whl"
    source = dist / f"pushforward-{now}.tar.gz"
    if sorted(dist.iterdir()) != sorted([wheel, source]):
        names = ", ".join(sorted(path.name for path in dist.iterdir()))
        return [*found, f"{dist} holds {names}; expected {wheel.name} and {source.name} alone"]
    with zipfile.ZipFile(wheel) as archive:
        found += _wheel_faults(archive, f"pushforward-{now}.dist-info", root)
    with tarfile.open(source) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {*NEEDED, *(f"src/{name}" for name in modules(root))}
    wanted |= {f"tests/{path.name}" for path in (root / "tests").glob("*.py")}
    missing = sorted(wanted - held)
    if missing:
        found.append(f"the source distribution lacks {', '.join(missing)}")
    return found


def _wheel_faults(archive: zipfile.ZipFile, info: str, root: Path) -> list[str]:
    found, names = [], set(archive.namelist())
    held = {name for name in names if not name.startswith(f"{info}/")}
    for what, some in (("lacks", modules(root) - held), ("also holds", held - modules(root))):
        if some:
            found.append(f"the wheel {what} {', '.join(sorted(some))}")
    for name in (f"{info}/{end}" for end in ("METADATA", "entry_points.txt", "licenses/LICENSE")):
        if name not in names:
            found.append(f"the wheel lacks {name}")
    if found:
        return found
    if SCRIPT not in archive.read(f"{info}/entry_points.txt").decode():
        found.append(f"the wheel installs no command: expected {SCRIPT!r}")
    about = Parser().parsestr(archive.read(f"{info}/METADATA").decode())
    wanted = {
        "Version": version(root),
        "License-Expression": "Apache-2.0",
        "Description-Content-Type": "text/markdown",
    }
    for name, value in wanted.items():
        if about[name] != value:
            found.append(f"the wheel's {name} is {about[name]}; expected {value}")
    return found


def example(root: Path = ROOT) -> None:
    """Run README's first Python example on the installed package, not on the working tree."""
    import pushforward

    home = Path(pushforward.__file__)
    assert home.is_relative_to(sys.prefix), f"{home} is not the installed package"
    block = re.search(r"^```python\n(.*?)^```$", (root / "README.md").read_text(), re.M | re.S)
    assert block is not None, "README.md has no Python example"
    exec(compile(block[1], "README.md", "exec"), {"__name__": "example"})


def main() -> None:
    """The command line above."""
    if sys.argv[1:2] == ["built"] and len(sys.argv) == 3:
        found = faults(Path(sys.argv[2]), tag=os.environ.get("RELEASE_TAG"))
        if found:
            raise SystemExit("\n".join(found))
    elif sys.argv[1:] == ["example"]:
        example()
    else:
        raise SystemExit(__doc__)


if __name__ == "__main__":
    main()
