"""The error of a broken promise, and running a table of checks on a subject."""

from collections.abc import Callable, Mapping
from typing import Protocol, TypeVar, runtime_checkable


@runtime_checkable
class Named(Protocol):
    """Anything under test: it has a name for reports."""

    @property
    def name(self) -> str: ...


S = TypeVar("S", bound=Named, contravariant=True)
Check = Callable[[S], str | None]
"""One promise: from a subject to None where it holds, or to a sentence with the numbers that break it."""


class ContractError(AssertionError):
    """A subject breaks a promise of the contract.

    Attributes:
        subject: name of what was checked.
        check: name of the promise.
        detail: what was found, with numbers.
    """

    def __init__(self, subject: str, check: str, detail: str):
        self.subject, self.check, self.detail = subject, check, detail
        super().__init__(f"{subject}: {check}: {detail}")


def run_check(checks: Mapping[str, Check[S]], check: str, subject: S) -> None:
    """Hold one subject to one check.

    Arguments:
        checks: a table of checks by name.
        check: the name of one.
        subject: what is checked.

    Raises `ContractError` where the promise is broken, or the subject raises while it is checked.
    """
    try:
        detail = checks[check](subject)
    except ContractError:
        raise
    except Exception as error:
        detail = f"raised {type(error).__name__}: {error}"
        raise ContractError(subject.name, check, detail) from error
    if detail is not None:
        raise ContractError(subject.name, check, detail)


def run_checks(checks: Mapping[str, Check[S]], subject: S) -> None:
    """Hold one subject to every check of a table. Raises as `run_check`."""
    for check in checks:
        run_check(checks, check, subject)
