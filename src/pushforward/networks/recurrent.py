"""Recurrent networks over series with gaps."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


class RecurrentNetwork(eqx.Module):
    """A cell run over the steps of series; steps that do not count leave the memory as it is.

        h_i = cell(input_i, h_{i-1}) where step i counts, else h_{i-1}

    Cost: one pass of the cell per step, in sequence, for all series at once.

    Arguments:
        cell: an Equinox cell, `cell(input, memory) -> memory`, such as `equinox.nn.GRUCell`.
        width: size of the memory.
        reverse: whether the last step comes first; default False.

    ```python
    >>> import equinox as eqx, jax, jax.numpy as jnp
    >>> from pushforward.networks.recurrent import RecurrentNetwork
    >>> network = RecurrentNetwork(eqx.nn.GRUCell(3, 8, key=jax.random.key(0)), 8, reverse=True)
    >>> last, all_steps = network(jnp.ones((5, 7, 3)), jnp.ones((5, 7), bool))
    >>> last.shape, all_steps.shape
    ((5, 8), (5, 7, 8))

    ```
    """

    cell: Callable[[Array, Array], Array]
    width: int = eqx.field(static=True)
    reverse: bool = eqx.field(static=True, default=False)

    def __call__(
        self,
        inputs: Float[Array, "n k m"],
        counts: Bool[Array, "n k"],
        memory: Float[Array, "n width"] | None = None,
    ) -> tuple[Float[Array, "n width"], Float[Array, "n k width"]]:
        """The memory after the last step, and after each step (in the order of the inputs).

        Arguments:
            inputs: `(n, k, m)`.
            counts: `(n, k)`, whether a step counts.
            memory: `(n, width)` before the first step; default zero.
        """
        if memory is None:
            memory = jnp.zeros((len(inputs), self.width), inputs.dtype)

        def step(h: Array, at: tuple[Array, Array]) -> tuple[Array, Array]:
            value, count = at
            h = jnp.where(count[:, None], jax.vmap(self.cell)(value, h), h)
            return h, h

        steps = (jnp.swapaxes(inputs, 0, 1), counts.T)
        last, every = jax.lax.scan(step, memory, steps, reverse=self.reverse)
        return last, jnp.swapaxes(every, 0, 1)
