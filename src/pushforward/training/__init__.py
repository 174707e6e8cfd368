"""One training loop that knows no model."""

from pushforward.training.batches import Batch, RowSource
from pushforward.training.bounds import EvidenceBound, LatentVariableModel, importance_nll
from pushforward.training.checkpoint import Checkpoint
from pushforward.training.devices import Devices
from pushforward.training.loop import Fitted, fit
from pushforward.training.loss import negative_log_prob
from pushforward.training.settings import Epoch, Step, Training

__all__ = [
    "Batch",
    "Checkpoint",
    "Devices",
    "Epoch",
    "EvidenceBound",
    "Fitted",
    "LatentVariableModel",
    "RowSource",
    "Step",
    "Training",
    "fit",
    "importance_nll",
    "negative_log_prob",
]
