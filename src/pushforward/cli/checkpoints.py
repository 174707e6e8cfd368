"""The checkpoint beside the model that a fit writes."""

from pathlib import Path

from pushforward.cli.progress import say
from pushforward.errors import InputError


def checkpoint_of(output: Path) -> Path:
    """The checkpoint next to the output."""
    return output.with_name(output.name + ".checkpoint")


def refuse_complete(output: Path) -> None:
    """Raise `InputError` for a model without a checkpoint, as nothing is left to resume."""
    if output.is_file() and not checkpoint_of(output).exists():
        raise InputError(
            f"{output}: that fit is complete: there is no {checkpoint_of(output).name} to go on from; "
            "fit it anew with --force"
        )


def keep_checkpoint(checkpoint: Path, resume: bool, force: bool, quiet: bool) -> None:
    """Make sure that an existing checkpoint is not lost by accident."""
    if resume and not checkpoint.exists():
        say(f"{checkpoint}: no checkpoint; the fit starts from the beginning", quiet)
    if checkpoint.exists() and not resume:
        if not force:
            raise InputError(
                f"{checkpoint}: an unfinished fit left this checkpoint; go on with --resume or "
                "start over with --force"
            )
        from pushforward.training.checkpoint import Checkpoint, open_checkpoint

        # Under its lock, as the checkpoint of a running fit must stay.
        with open_checkpoint(Checkpoint(checkpoint, resume=True), {}):
            checkpoint.unlink()
