"""The check of a release sees what it is for: each fault, seeded, is named."""

import io
import re
import tarfile
import zipfile
from pathlib import Path

import pytest

import pushforward
from release import ROOT, SCRIPT, faults, version

INFO = "pushforward-1.2.3.dist-info"
METADATA = "\n".join(
    (
        "Metadata-Version: 2.4",
        "Name: pushforward",
        "Version: 1.2.3",
        "License-Expression: Apache-2.0",
        "Description-Content-Type: text/markdown",
        "",
        "text",
    )
)
PACKAGE = ["pushforward/__init__.py", "pushforward/cli/__init__.py", "pushforward/py.typed"]
BESIDE = ["LICENSE", "README.md", "pyproject.toml", "constraints.txt", "Makefile"]


@pytest.fixture
def tree(tmp_path) -> Path:
    """A working tree of version 1.2.3 and, in dist/, what is built from it."""
    for name in [*(f"src/{name}" for name in PACKAGE), *BESIDE, "tests/test_a.py", "dist/x"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "dist/x").unlink()
    (tmp_path / "src/pushforward/__init__.py").write_text('__version__ = "1.2.3"\n')
    (tmp_path / "CHANGELOG.md").write_text("# Changelog\n\n## 1.2.3\n\n- News.\n\n## 1.2.2\n")
    return tmp_path


def build(root: Path, lacks: str = "", extra: str = "", metadata: str = METADATA) -> None:
    in_wheel = {
        **dict.fromkeys(PACKAGE, ""),
        f"{INFO}/METADATA": metadata,
        f"{INFO}/entry_points.txt": f"[console_scripts]\n{SCRIPT}\n",
        f"{INFO}/licenses/LICENSE": "",
    }
    with zipfile.ZipFile(root / "dist/pushforward-1.2.3-py3-none-any.whl", "w") as wheel:
        for name, text in in_wheel.items():
            if name != lacks:
                wheel.writestr(name, text)
        if extra:
            wheel.writestr(extra, "")
    beside = [*BESIDE, "CHANGELOG.md", "tests/test_a.py", *(f"src/{name}" for name in PACKAGE)]
    with tarfile.open(root / "dist/pushforward-1.2.3.tar.gz", "w:gz") as source:
        for name in beside:
            if name != lacks:
                source.addfile(tarfile.TarInfo(f"pushforward-1.2.3/{name}"), io.BytesIO())


def test_a_release_in_order(tree):
    build(tree)
    assert faults(tree / "dist", tree) == []
    assert faults(tree / "dist", tree, "v1.2.3") == []


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"lacks": "pushforward/py.typed"}, "the wheel lacks pushforward/py.typed"),
        ({"extra": "tests/test_a.py"}, "the wheel also holds tests/test_a.py"),
        ({"lacks": f"{INFO}/licenses/LICENSE"}, "the wheel lacks .*LICENSE"),
        ({"lacks": "Makefile"}, "the source distribution lacks Makefile"),
        ({"lacks": "tests/test_a.py"}, "the source distribution lacks tests/test_a.py"),
        ({"metadata": METADATA.replace("1.2.3", "1.2.4")}, "the wheel's Version is 1.2.4"),
        (
            {"metadata": METADATA.replace("text/markdown", "text/plain")},
            "Content-Type is text/plain",
        ),
    ],
)
def test_faults_of_what_was_built(how, words, tree):
    build(tree, **how)
    found = faults(tree / "dist", tree)
    assert len(found) == 1
    assert re.search(words, found[0]), found[0]


def test_faults_of_versions(tree):
    build(tree)
    assert faults(tree / "dist", tree, "v1.2.4") == [
        "the tag is v1.2.4, the version 1.2.3: expected v1.2.3"
    ]
    (tree / "dist/pushforward-1.2.2.tar.gz").touch()
    assert "holds pushforward-1.2.2.tar.gz, " in faults(tree / "dist", tree)[0]
    (tree / "CHANGELOG.md").write_text("# Changelog\n\n## 1.2.2\n")
    assert faults(tree / "dist", tree)[0] == "CHANGELOG.md begins with 1.2.2, the version is 1.2.3"


def test_the_version_is_the_packages():
    assert version(ROOT) == pushforward.__version__
    assert f"\nversion: {pushforward.__version__}\n" in (ROOT / "CITATION.cff").read_text()
