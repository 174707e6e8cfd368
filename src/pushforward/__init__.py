"""pushforward: normalizing flows behind one contract."""

from pushforward import architectures, bijections, distributions
from pushforward.errors import InputError
from pushforward.training import Training, fit

__version__ = "0.1.0"
__all__ = ["InputError", "Training", "architectures", "bijections", "distributions", "fit"]
