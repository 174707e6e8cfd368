"""Heads: the distribution of one cell of a table, given the outputs of a network."""

from pushforward.heads.base import AbstractHead, AbstractNumberHead, Cell, Cut
from pushforward.heads.logistics import Logistics
from pushforward.heads.softmax import Softmax
from pushforward.heads.wrapped import WrappedCauchy

HEADS: dict[str, type[AbstractHead]] = {
    "logistics": Logistics,
    "softmax": Softmax,
    "wrapped": WrappedCauchy,
}
"""The heads by name; the contract reads it."""

__all__ = [
    "HEADS",
    "AbstractHead",
    "AbstractNumberHead",
    "Cell",
    "Cut",
    "Logistics",
    "Softmax",
    "WrappedCauchy",
]
