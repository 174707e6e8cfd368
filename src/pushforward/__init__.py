"""pushforward: normalizing flows behind one contract."""

__version__ = "0.1.0"
