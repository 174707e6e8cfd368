"""A residual masked network that also reads a context, whole or one column at a time."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from pushforward.draws import spawn, uniform
from pushforward.networks.layers import check_network, dropout, split


class KnownColumns(eqx.Module):
    """What the network knows once some columns are revealed.

    Attributes:
        context: the encoder's output, `(context, n)`, or `(context, 1)` where it is that of all rows.
        first: the first layer before its activation, `(width, n)`, with the features of all revealed columns.
        inner: activations within each block, `(width, n)` each.
        outer: activations between blocks, one more; entries of later columns are never read.
    """

    context: Array
    first: Array
    inner: tuple[Array, ...]
    outer: tuple[Array, ...]


class ContextMADE(eqx.Module):
    """A network whose outputs for the column of rank r read only columns of lower rank, and a context.

        e = encoder(context),    h_0 = M_0 x + P_0 e,    h_(i+1) = h_i + W_i silu(V_i silu(h_i) + P_i e),
        outputs = L silu(h)

    A column has any number of features and of outputs. Units are sorted by degree: one of degree g reads columns of
    rank below g, so that the matrices V, W are block-triangular. The context is read by all.

    Cost, per row: `width (f + outputs) + 2 blocks width^2` multiply-adds, and those of the encoder; `start`, `reveal`
    and `outputs` for every column together the same.

    MADE (Germain et al. 2015, arXiv 1502.03509) with residual blocks of units of equal degree.

    Arguments:
        feature_ranks: the rank of the column that each feature belongs to, from 0.
        output_ranks: the rank of the column that each output belongs to.
        width, blocks: of the masked network; default 256 and 3.
        context, context_blocks: width and blocks of the encoder; default 192 and 2.
        dropout: share of units zeroed within blocks when called with a key; default 0.
        start: initial outputs, without any input; default zeros.

    Raises `InputError` for a width or number of blocks below 1, or a dropout outside [0, 1).
    """

    decaying = ("first", "inner", "outer", "last", "encoder_first", "encoder_inner", "encoder_outer",
                "read_first", "read")  # fmt: skip
    first: Float[Array, "width f"]
    first_bias: Float[Array, " width"]
    inner: Float[Array, "blocks width width"]
    inner_bias: Float[Array, "blocks width"]
    outer: Float[Array, "blocks width width"]
    outer_bias: Float[Array, "blocks width"]
    last: Float[Array, "outputs width"]
    last_bias: Float[Array, " outputs"]
    encoder_first: Float[Array, "context f"]
    encoder_first_bias: Float[Array, " context"]
    encoder_inner: Float[Array, "context_blocks context context"]
    encoder_inner_bias: Float[Array, "context_blocks context"]
    encoder_outer: Float[Array, "context_blocks context context"]
    encoder_outer_bias: Float[Array, "context_blocks context"]
    read_first: Float[Array, "width context"]
    read: Float[Array, "blocks width context"]
    feature_ranks: tuple[int, ...] = eqx.field(static=True)
    output_ranks: tuple[int, ...] = eqx.field(static=True)
    dropout: float = eqx.field(static=True)

    def __init__(
        self,
        feature_ranks: tuple[int, ...],
        output_ranks: tuple[int, ...],
        *,
        width: int = 256,
        blocks: int = 3,
        context: int = 192,
        context_blocks: int = 2,
        dropout: float = 0.0,
        start: np.ndarray | None = None,
        key: PRNGKeyArray,
    ):
        check_network(width, blocks, "silu", dropout)
        check_network(context, context_blocks, "silu", dropout)
        self.feature_ranks, self.output_ranks = tuple(feature_ranks), tuple(output_ranks)
        self.dropout = dropout
        f, outputs, d = len(feature_ranks), len(output_ranks), max(output_ranks) + 1
        keys = spawn(key, 9)
        self.first = _weights(keys[0], (width, f), 2 * d)
        self.first_bias = jnp.zeros(width)
        # Half of a masked matrix is zero.
        self.inner = _weights(keys[1], (blocks, width, width), width / 2)
        self.inner_bias = jnp.zeros((blocks, width))
        self.outer = 0.3 * _weights(keys[2], (blocks, width, width), width / 2)
        self.outer_bias = jnp.zeros((blocks, width))
        self.last = 0.05 * _weights(keys[3], (outputs, width), width)
        zeros = np.zeros(outputs) if start is None else np.asarray(start)
        self.last_bias = jnp.asarray(zeros, jnp.zeros(()).dtype)
        self.encoder_first = _weights(keys[4], (context, f), 4 * d)
        self.encoder_first_bias = jnp.zeros(context)
        self.encoder_inner = _weights(keys[5], (context_blocks, context, context), context)
        self.encoder_inner_bias = jnp.zeros((context_blocks, context))
        self.encoder_outer = 0.3 * _weights(keys[6], (context_blocks, context, context), context)
        self.encoder_outer_bias = jnp.zeros((context_blocks, context))
        self.read_first = 0.7 * _weights(keys[7], (width, context), context)
        self.read = 0.5 * _weights(keys[8], (blocks, width, context), context)

    @property
    def columns(self) -> int:
        """The number of columns."""
        return max(self.output_ranks) + 1

    @property
    def _degree(self) -> Int[np.ndarray, " width"]:
        width = self.first_bias.shape[-1]
        return np.arange(width) * self.columns // width

    def unread(self) -> dict[str, Bool[np.ndarray, "..."]]:
        """The weights that the order of the columns forbids."""
        degree = self._degree
        ranks, outputs = np.array(self.feature_ranks), np.array(self.output_ranks)
        below = degree[None, :] > degree[:, None]
        return {
            "first": ranks[None, :] >= degree[:, None],
            "inner": below,
            "outer": below,
            "last": degree[None, :] > outputs[:, None],
        }

    def _masked(self) -> tuple[Array, Array, Array, Array]:
        unread = self.unread()
        first, inner, outer, last = (
            jnp.where(unread[name], 0.0, getattr(self, name))
            for name in ("first", "inner", "outer", "last")
        )
        return first, inner, outer, last

    def __call__(
        self,
        x: Float[Array, "f n"],
        context: Float[Array, "f known"],
        key: PRNGKeyArray | None = None,
    ) -> Float[Array, "outputs n"]:
        """All outputs in one pass.

        Arguments:
            x: features of the columns that later columns read; zeros where there is nothing to read.
            context: features of the columns that all columns read; zeros likewise. Of the last rows: the encoder is
                not run for the rows before them, which have no context.
            key: of the dropout; default None, without.
        """
        act = jax.nn.silu
        first, inner, outer, last = self._masked()
        encoder_key, key = split(key, 2)
        without = x.shape[1] - context.shape[1]
        found = [self._encoded(context, encoder_key)] if context.shape[1] else []
        blank = [self._encoded(jnp.zeros((x.shape[0], 1), x.dtype), None)] if without else []

        def read(matrix: Array) -> Array:
            alike = [jnp.broadcast_to(matrix @ e, (len(matrix), without)) for e in blank]
            return jnp.concatenate([*alike, *(matrix @ e for e in found)], axis=1)

        keys = split(key, len(inner))
        h = first @ x + read(self.read_first) + self.first_bias[:, None]
        for i in range(len(inner)):
            u = act(inner[i] @ act(h) + read(self.read[i]) + self.inner_bias[i][:, None])
            h = h + outer[i] @ dropout(u, self.dropout, keys[i]) + self.outer_bias[i][:, None]
        return last @ act(h) + self.last_bias[:, None]

    def _encoded(self, context: Array, key: PRNGKeyArray | None) -> Array:
        act, keys = jax.nn.silu, split(key, len(self.encoder_inner))
        e = self.encoder_first @ context + self.encoder_first_bias[:, None]
        for i in range(len(self.encoder_inner)):
            u = act(self.encoder_inner[i] @ act(e) + self.encoder_inner_bias[i][:, None])
            u = dropout(u, self.dropout, keys[i])
            e = e + self.encoder_outer[i] @ u + self.encoder_outer_bias[i][:, None]
        return act(e)

    def start(self, context: Float[Array, "f n"], rows: int) -> KnownColumns:
        """What is known before any column is revealed.

        Arguments:
            context: features of the columns that all columns read; one row stands for all where all are alike.
            rows: their number, n.
        """
        e = self._encoded(context, None)
        width, blocks = self.first.shape[0], len(self.inner)
        first = self.read_first @ e + self.first_bias[:, None]
        blank = jnp.zeros((width, rows), e.dtype)
        known = KnownColumns(
            e, jnp.broadcast_to(first, blank.shape), (blank,) * blocks, (blank,) * (blocks + 1)
        )
        return self._units(known, jnp.asarray(0))

    def reveal(
        self, known: KnownColumns, rank: Array, read: Float[Array, "width n"]
    ) -> KnownColumns:
        """What is known with the column of that rank too.

        Arguments:
            known: what was known.
            rank: of the column, the next one.
            read: its features through the first layer, as all units read them.
        """
        later = jnp.asarray(self._degree)[:, None] > rank
        first = known.first + jnp.where(later, read, 0.0)
        return self._units(eqx.tree_at(lambda k: k.first, known, first), rank + 1)

    def outputs(self, known: KnownColumns, first: Array, size: int) -> Float[Array, "size n"]:
        """Outputs of the next column, or of an earlier one.

        Arguments:
            known: what is known, with all columns before it.
            first: the number of its first output.
            size: how many there are.
        """
        rows, bias = (
            jax.lax.dynamic_slice_in_dim(array, first, size)
            for array in (self._masked()[3], self.last_bias)
        )
        return rows @ known.outer[-1] + bias[:, None]

    def _units(self, known: KnownColumns, degree: Array) -> KnownColumns:
        """With the units of a degree, a slice of fixed size. It may run into units of later degrees, which are
        overwritten when their turn comes."""
        act, degrees = jax.nn.silu, self._degree
        _, inner, outer, _ = self._masked()
        group = int(np.bincount(degrees).max())
        starts = np.minimum(
            np.searchsorted(degrees, np.arange(self.columns + 1)), len(degrees) - group
        )
        at = jnp.asarray(starts)[degree]

        def part(array: Array) -> Array:
            return jax.lax.dynamic_slice_in_dim(array, at, group)

        def put(array: Array, rows: Array) -> Array:
            return jax.lax.dynamic_update_slice_in_dim(array, rows, at, 0)

        h = part(known.first)
        inners, outers = [], [put(known.outer[0], act(h))]
        for i in range(len(inner)):
            # The context may have one column, for all rows.
            of_context = part(self.read[i]) @ known.context + part(self.inner_bias[i])[:, None]
            u = part(inner[i]) @ outers[i] + of_context
            inners.append(put(known.inner[i], act(u)))
            h = h + part(outer[i]) @ inners[i] + part(self.outer_bias[i])[:, None]
            outers.append(put(known.outer[i + 1], act(h)))
        return KnownColumns(known.context, known.first, tuple(inners), tuple(outers))


def _weights(key: PRNGKeyArray, shape: tuple[int, ...], fan_in: float) -> Array:
    """Uniform, with variance 1 / fan_in."""
    bound = (3 / fan_in) ** 0.5
    return uniform(key, shape, -bound, bound)
