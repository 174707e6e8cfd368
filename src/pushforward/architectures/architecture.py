"""What an architecture is, and what it may say of itself."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Protocol, Self, runtime_checkable

from jaxtyping import PRNGKeyArray

from pushforward.distributions import Flow
from pushforward.rows import Size


@runtime_checkable
class Architecture(Protocol):
    """What every architecture is: a frozen dataclass whose fields are its configuration, able to build its model.

    Each field has a default, so that a name alone stands for a model. What else it may say of itself, as attributes of
    the class or as properties, is in `Facts`.
    """

    __dataclass_fields__: ClassVar[dict[str, Any]]

    def build(self, event: Size, condition: Size | None = None, *, key: PRNGKeyArray) -> Flow:
        """The model with fresh parameters.

        Arguments:
            event: the size or the shape of an event.
            condition: that of a condition, or None (default) for none.
            key: what the parameters are drawn from.

        A registered class receives both as shapes. Raises `InputError` for an event or options that it cannot build.
        """
        ...


@dataclass(frozen=True)
class Facts:
    """What an architecture says of itself beside its configuration. Each attribute is optional; the defaults are here.

    Attributes:
        reference: where it was published; default empty.
        learning_rate: the peak of the learning rate when tables are fitted; default None, that of `Training`.
        angles: whether its rows are angles in `[-pi, pi]`; default False.
        one_order: whether it is one layer in one order, so that its first coordinate depends on itself alone; default
            False.
        loss: what a fit minimises in place of the negative log-density, as `training.loss.Loss`; default None.

    ```python
    >>> import pushforward as pf
    >>> pf.architectures.Facts.of(pf.architectures.PlanarFlow()).learning_rate
    0.02

    ```
    """

    reference: str = ""
    learning_rate: float | None = None
    angles: bool = False
    one_order: bool = False
    loss: Callable[..., Any] | None = None

    @classmethod
    def of(cls, architecture: Architecture) -> Self:
        """What an architecture, an instance, says of itself."""
        said = [field.name for field in fields(cls) if hasattr(architecture, field.name)]
        return cls(**{name: getattr(architecture, name) for name in said})
