"""What an architecture is, and what it may say of itself."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Protocol, Self, runtime_checkable

from jaxtyping import PRNGKeyArray

from pushforward.distributions import Flow
from pushforward.rows import Size


@runtime_checkable
class Architecture(Protocol):
    """The interface of architectures: a frozen dataclass whose fields are options, and which builds a model.

    Each option has a default, so that a name alone stands for a model. What else an architecture may say of itself, by
    class attributes or properties, is in `Facts`.
    """

    __dataclass_fields__: ClassVar[dict[str, Any]]

    def build(self, event: Size, condition: Size | None = None, *, key: PRNGKeyArray) -> Flow:
        """A model with fresh parameters.

        Arguments:
            event: size or shape of an event.
            condition: size or shape of a condition; default None, for none.
            key: JAX key from which the parameters are drawn.

        A registered class receives both as shapes. Raises `InputError` for an event or options that it cannot build.
        """
        ...


@dataclass(frozen=True)
class Facts:
    """What an architecture says of itself besides its options. Every attribute is optional; the defaults are here.

    Attributes:
        reference: where it was published; default empty.
        learning_rate: peak learning rate in fits of tables; default None, that of `Training`.
        angles: whether rows are angles in `[-pi, pi]`; default False.
        one_order: whether it is one layer in one order, so that its first coordinate depends on itself alone; default
            False.
        images: whether events are images, `(h, w, c)`; default False, vectors.
        loss: what fits minimise in place of the negative log-density, a `training.loss.Loss`; default None.
        noise_of: of images: a method `noise_of(event, *, key)` that gives the flow of the noise given a picture, see
            `distributions.Dequantized`; default None, or where it gives None, for uniform noise.

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
    images: bool = False
    loss: Callable[..., Any] | None = None
    noise_of: Callable[..., Flow | None] | None = None

    @classmethod
    def of(cls, architecture: Architecture) -> Self:
        """The facts of an architecture, given as an instance."""
        said = [field.name for field in fields(cls) if hasattr(architecture, field.name)]
        return cls(**{name: getattr(architecture, name) for name in said})
