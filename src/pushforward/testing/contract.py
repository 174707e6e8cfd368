"""What a broken promise looks like, who is excused from one, and how a table of checks is run on a subject."""

from collections.abc import Callable, Mapping
from typing import Protocol, TypeVar, runtime_checkable


@runtime_checkable
class Named(Protocol):
    """Anything under test: it has a name to report."""

    @property
    def name(self) -> str: ...


S = TypeVar("S", bound=Named, contravariant=True)
Check = Callable[[S], str | None]
"""One promise: from a subject to None where it is kept, or to a sentence with the numbers that break it."""

_ONE_LAYER = (
    "one layer in one order: the first coordinate depends on itself alone, which is the model"
)
EXCUSED: dict[tuple[str, str], str] = {
    (name, "interaction"): _ONE_LAYER for name in ("made d=2", "made d=3 given 2")
}
"""`(subject, check) -> reason`: the checks that a subject need not pass. `run_check` still runs an excused check; the
`check_...` functions skip it. Everything excused anywhere is named here, and nowhere else."""


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
        checks: the table that the check's name is looked up in.
        check: its name.
        subject: what is checked.

    Raises `ContractError` where the promise is broken, or where the subject raises while it is checked.
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
    """Hold one subject to every check of a table, but those that `EXCUSED` names. Raises as `run_check`."""
    for check in checks:
        if (subject.name, check) not in EXCUSED:
            run_check(checks, check, subject)
