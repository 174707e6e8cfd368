"""Models of series at irregular times."""

from pushforward.series.elbo import NegativeELBO, as_rows
from pushforward.series.latent_ode import LatentODE
from pushforward.series.observations import Observations, pack

__all__ = ["LatentODE", "NegativeELBO", "Observations", "as_rows", "pack"]
