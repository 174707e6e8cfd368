"""One training loop that knows no model."""

from pushforward.training.checkpoint import Checkpoint
from pushforward.training.loop import Fitted, fit
from pushforward.training.loss import negative_log_prob
from pushforward.training.settings import Epoch, Training

__all__ = ["Checkpoint", "Epoch", "Fitted", "Training", "fit", "negative_log_prob"]
