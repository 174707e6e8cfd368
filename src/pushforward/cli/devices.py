"""The options of `pushforward fit` that say on how many devices it runs."""

from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from pushforward.errors import InputError

if TYPE_CHECKING:
    from pushforward.training import Training

PANEL = "Several devices"


class Shard(StrEnum):
    """What is split among devices."""

    ROWS = "rows"
    WEIGHTS = "rows+weights"


DevicesOption = Annotated[
    str | None,
    typer.Option(
        "--devices",
        metavar="N|all",
        help="Divide every batch among N devices; default one. Rows and noise stay the same, weights to rounding.",
        rich_help_panel=PANEL,
    ),
]
ShardOption = Annotated[
    Shard,
    typer.Option(
        "--shard",
        help="Whether only the rows of a batch are divided among devices, or large weights too.",
        rich_help_panel=PANEL,
    ),
]
Lanes = Annotated[
    int | None,
    typer.Option(
        "--lanes",
        min=1,
        metavar="K",
        help="Add the gradients of K shares of a batch in a fixed order, for the same bits on 1, 2, ... K devices.",
        rich_help_panel=PANEL,
    ),
]


def on_devices(
    training: "Training", devices: str | None, shard: Shard, lanes: int | None
) -> "Training":
    """The settings with what `--devices`, `--shard` and `--lanes` ask for."""
    if devices is None and lanes is None:
        if shard is not Shard.ROWS:
            raise InputError(
                f"--shard {shard}: say among how many devices, with --devices N or all"
            )
        return training
    from pushforward.training import Devices

    n: int | None = 1
    if devices is not None:
        n = None if devices == "all" else _count(devices)
    return replace(training, devices=Devices(n, shard.value, lanes))


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text)):
        raise InputError(f"--devices {text}: a number of devices, or all, is expected")
    return int(text)
