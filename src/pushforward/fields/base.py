"""The interface of vector fields that know their divergence."""

from abc import abstractmethod

import equinox as eqx
from jaxtyping import Array, ArrayLike, Float

from pushforward.rows import Shape, broadcasting


class AbstractField(eqx.Module):
    """A vector field `f(t, x)` on rows, with its divergence in closed form.

    Any module or function `f(t, x)` or `f(t, x, condition)` on rows serves as a field; one that derives from this class
    also gives its divergence, at little extra cost.

    Attributes:
        event_shape: the shape of one event.
        condition_shape: the shape of one condition, or None where none is taken.
    """

    event_shape: eqx.AbstractVar[Shape]
    condition_shape: eqx.AbstractVar[Shape | None]

    @abstractmethod
    def with_divergence(
        self, t: ArrayLike, x: Float[Array, "n ..."], condition: Array | None = None
    ) -> tuple[Float[Array, "n ..."], Float[Array, " n"] | None]:
        """The field and its exact divergence; None for the latter where there is no closed form.

        Arguments:
            t: a number, or `(n, 1, ..., 1)`, a time per row.
            x: `(n, *event)` rows.
            condition: `(n, *condition)`, if the field takes one.
        """

    @abstractmethod
    def prepared(self) -> "AbstractField":
        """The same field with all computed that depends on neither time nor rows, for many calls."""

    def __call__(
        self, t: ArrayLike, x: Float[Array, "n ..."], condition: Array | None = None
    ) -> Float[Array, "n ..."]:
        with broadcasting():
            return self.with_divergence(t, x, condition)[0]
