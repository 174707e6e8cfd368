"""How `make test-shapes` checks the arguments and results of every function of the package: by beartype."""

from collections.abc import Callable
from typing import TypeVar

from beartype import BeartypeConf, beartype
from beartype.roar import BeartypeDecorHintPep604Exception, BeartypeDecorHintPep673Exception

F = TypeVar("F", bound=Callable[..., object])
# A whole number is a float, as for mypy.
_check = beartype(conf=BeartypeConf(is_pep484_tower=True))
UNCHECKABLE = (BeartypeDecorHintPep604Exception, BeartypeDecorHintPep673Exception)
"""Unions with Polars' types, whose names beartype does not recognise, and `Self`, which it takes only where a whole
class is decorated; jaxtyping decorates functions."""


HAND_CLASSES_AROUND = ("pushforward.testing", "pushforward.architectures.registry")
CALLED_BY_TYPER = "pushforward.cli.app"
ESTIMATORS = "pushforward.estimators"


def checked(function: F) -> F:
    """The function with its annotations enforced, or as it is where they are of a kind that beartype does not take.

    What the contract is made of and the registry hand the classes of architectures around, which no protocol can
    recognise. The function that receives the command line's context is called by Typer with one of its own copy of
    click, which is no `typer.Context`. Constructors of estimators take anything: scikit-learn has `fit` check it.
    """
    module, name = function.__module__, function.__qualname__
    if module.startswith((*HAND_CLASSES_AROUND, CALLED_BY_TYPER)):
        return function
    if module.startswith(ESTIMATORS) and name.endswith(".__init__"):
        return function
    try:
        return _check(function)
    except UNCHECKABLE:
        return function
