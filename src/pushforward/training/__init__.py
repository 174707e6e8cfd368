"""One training loop that knows no model."""

from pushforward.training.batches import Batch, RowSource
from pushforward.training.checkpoint import Checkpoint
from pushforward.training.loop import Fitted, fit
from pushforward.training.loss import negative_log_prob
from pushforward.training.settings import Epoch, Step, Training

__all__ = [
    "Batch",
    "Checkpoint",
    "Epoch",
    "Fitted",
    "RowSource",
    "Step",
    "Training",
    "fit",
    "negative_log_prob",
]
