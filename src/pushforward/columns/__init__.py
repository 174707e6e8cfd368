"""Kinds of columns: what the values of a table's columns are, and how they are converted to a model's units and
back."""

from pushforward.columns.angle import Angle
from pushforward.columns.base import AbstractColumn
from pushforward.columns.bounded import Bounded
from pushforward.columns.columns import Columns
from pushforward.columns.constant import Constant
from pushforward.columns.continuous import Continuous
from pushforward.columns.guess import guess
from pushforward.columns.kinds import KINDS, declared_column
from pushforward.columns.whole import Whole

__all__ = [
    "KINDS",
    "AbstractColumn",
    "Angle",
    "Bounded",
    "Columns",
    "Constant",
    "Continuous",
    "Whole",
    "declared_column",
    "guess",
]
