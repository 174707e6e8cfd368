"""The former place of `pushforward.transformers`."""

from pushforward import transformers
from pushforward.deprecated import renamed

__getattr__ = renamed(
    __name__, {name: f"{transformers.__name__}:{name}" for name in transformers.__all__}
)
