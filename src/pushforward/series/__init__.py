"""Models of series at irregular times."""

from pushforward.series.observations import Observations, pack

__all__ = ["Observations", "pack"]
