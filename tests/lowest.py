"""The lowest versions that pyproject.toml allows, one `name==version` a line: what `make test-lowest` installs."""

import re
import tomllib
from pathlib import Path

PROJECT = Path(__file__).parents[1] / "pyproject.toml"
NOT_RUN = {"mypy", "ruff"}
"""Tools that no test imports: their versions say nothing about the package."""


def lowest(project: dict) -> list[str]:
    """The pins of all direct dependencies and of what the tests import."""
    pins = []
    for requirement in [*project["dependencies"], *project["optional-dependencies"]["dev"]]:
        found = re.fullmatch(r"([\w-]+)>=([\w.]+)", requirement)
        if found is None:
            raise SystemExit(f"pyproject.toml: {requirement!r} is not NAME>=VERSION")
        if found[1] not in NOT_RUN:
            pins.append(f"{found[1]}=={found[2]}")
    return pins


if __name__ == "__main__":
    print(*lowest(tomllib.loads(PROJECT.read_text())["project"]), sep="\n")
