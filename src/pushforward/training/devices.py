"""Several devices: what a fit lays on which of them."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, PRNGKeyArray, PyTree

from pushforward.bijections import has_statistics
from pushforward.errors import InputError, check_choice, check_count
from pushforward.training.loss import Loss, is_scalar

SHARDS = ("rows", "rows+weights")
AXIS = "data"
SPLIT_SIZE = 4096
"""Numbers of an array from which on it is split: below, the message costs more than the memory."""


@dataclass(frozen=True)
class Devices:
    """The devices of a fit. Each takes its share of every batch; gradients are added over all of them.

    The order of rows and all noise are the same on any number of devices. Weights are the same to the bit on one number
    of devices and threads, and to rounding on another one, as sums are taken in another order. With `lanes=K` a batch
    is K shares of rows whatever the number of devices; their gradients are added in a fixed order, so that weights are
    the same to the bit on any number that divides K (on CPUs with equal `NPROC`).

    Arguments:
        n: how many; default None for all there are, those of other hosts too (`jax.distributed`).
        shard: what is split: `"rows"` (default) keeps all weights on every device; `"rows+weights"` also splits large
            weights, their averages and Adam's moments, for large models: each device keeps its share of these, and
            fetches the whole weights while it takes a gradient.
        lanes: K, a multiple of the number of devices; default None. Noise is drawn per lane, so that K is part of what
            determines the model. K gradients travel in every step in place of one.

    Cost: a step sends the gradient around once (K times with lanes). It pays where a device has some milliseconds of
    work in each step, on CPUs hardly ever: XLA uses all cores for one device already.

    Raises `InputError` for counts below 1, an unknown `shard`, and lanes with split weights. A fit raises it where
    there are fewer devices, where the batch or the lanes do not divide, and with lanes for models and losses that look
    at a batch as a whole: batch norm, couplings by optimal transport, scalar losses.

    Sources: Xu et al. 2021, arXiv 2105.04663 (GSPMD); Zhao et al. 2023, arXiv 2304.11277 (split weights).

    ```python
    >>> import pushforward as pf
    >>> pf.Training(max_epochs=5, devices=pf.Devices(1, lanes=4)).devices
    Devices(n=1, shard='rows', lanes=4)

    ```
    """

    n: int | None = None
    shard: str = "rows"
    lanes: int | None = None

    def __post_init__(self) -> None:
        if self.n is not None:
            check_count("devices", self.n)
        check_choice("shard", self.shard, SHARDS)
        if self.lanes is None:
            return
        check_count("lanes", self.lanes)
        if self.shard != "rows":
            raise InputError(
                "lanes go with shard='rows': split weights are added by each device as they arrive"
            )


@dataclass(frozen=True)
class Layout:
    """Where arrays of one fit lie. Compiled programs take it as a constant.

    Attributes:
        mesh: the devices, along one axis.
        split: whether large weights are split too.
        lanes: shares of a batch, or None.
    """

    mesh: Mesh
    split: bool
    lanes: int | None

    @property
    def count(self) -> int:
        """The number of devices."""
        return self.mesh.size

    def rows(self, taken: Callable[[int, int], PyTree], steps: int, batch: int) -> PyTree:
        """The rows of a segment, `(steps, batch, ...)`: each device has its columns, and the host makes those of its
        own devices only, by `taken(first, last)`."""
        sharding = NamedSharding(self.mesh, PartitionSpec(None, AXIS))

        def span(index: Any) -> tuple[int, int]:
            start, end, _ = index[1].indices(batch)
            return start, end

        spans = [span(i) for i in sharding.addressable_devices_indices_map((steps, batch)).values()]
        first, last = min(start for start, _ in spans), max(end for _, end in spans)
        own = taken(first, last)

        def whole(leaf: Any) -> Array:
            leaf = np.asarray(leaf)
            event = leaf.shape[1:]
            leaf = leaf.reshape(steps, last - first, *event)

            def part(index: Any) -> Any:
                start, end = span(index)
                return leaf[:, start - first : end - first]

            return jax.make_array_from_callback((steps, batch, *event), sharding, part)

        return jax.tree.map(whole, own)

    def block(self, rows: PyTree, whole: bool) -> PyTree:
        """Rows `(n, ...)` that are evaluated once: split if they divide, unless the loss sees them as a `whole`."""
        divides = self.divides(rows) and not whole
        return self._put(rows, lambda a: self._of(AXIS if divides else None))

    def divides(self, rows: PyTree) -> bool:
        """Whether each lane, or each device, has as many of these rows."""
        leaves = jax.tree.leaves(rows)
        return bool(leaves) and len(leaves[0]) % (self.lanes or self.count) == 0

    def each(self) -> Array | None:
        """How many lanes a device has."""
        if self.lanes is None:
            return None
        each: Array = self.everywhere(jnp.asarray(self.lanes // self.count))
        return each

    def everywhere(self, tree: PyTree) -> PyTree:
        """The arrays of a tree, whole on every device."""
        return self._put(tree, lambda a: self._of(None))

    def weights(self, tree: PyTree) -> PyTree:
        """Arrays that have the shapes of weights, split as these are."""
        return self._put(tree, lambda a: self._weight(a.shape))

    def fetched(self, tree: PyTree) -> PyTree:
        """The arrays of a tree as arrays of the first device of this process."""
        arrays, rest = eqx.partition(tree, eqx.is_array)
        if self.split:
            arrays = _replicated(arrays, self._of(None))
        return eqx.combine(jax.tree.map(lambda a: jnp.asarray(np.asarray(a)), arrays), rest)

    def span(self, first: int, last: int) -> Array:
        """The steps of a segment, and with lanes how many of them a device has."""
        return jnp.asarray(
            [first, last, *([] if self.lanes is None else [self.lanes // self.count])]
        )

    # Within compiled programs.

    def constrained(self, tree: PyTree) -> PyTree:
        """Weights stay where they are."""
        return jax.tree.map(lambda a: _constrained(a, self._weight(a.shape)), tree)

    def of_step(self, rows: PyTree, at: Array) -> PyTree:
        """The batch of a step, from the rows of a segment."""

        def one(leaf: Array) -> Array:
            batch = jax.lax.dynamic_index_in_dim(leaf, at, keepdims=False)
            return _constrained(batch, self._of(AXIS))

        return jax.tree.map(one, rows)

    def gathered(self, tree: PyTree) -> PyTree:
        """Arrays, whole on every device."""
        return jax.tree.map(lambda a: _constrained(a, self._of(None)), tree)

    def _of(self, axis: str | None) -> NamedSharding:
        return NamedSharding(self.mesh, PartitionSpec(axis) if axis else PartitionSpec())

    def _weight(self, shape: tuple[int, ...]) -> NamedSharding:
        """Along the longest axis that divides, where splitting pays."""
        axes = [i for i, length in enumerate(shape) if length % self.count == 0]
        if not (self.split and axes and math.prod(shape) >= SPLIT_SIZE):
            return self._of(None)
        axis = max(axes, key=lambda i: shape[i])
        return NamedSharding(self.mesh, PartitionSpec(*(None,) * axis, AXIS))

    def _put(self, tree: PyTree, sharding: Callable[[Any], NamedSharding]) -> PyTree:
        arrays, rest = eqx.partition(tree, eqx.is_array)
        if jax.process_count() == 1:
            placed = jax.tree.map(lambda a: jax.device_put(a, sharding(a)), arrays)
        else:
            placed = jax.tree.map(lambda a: _global(a, sharding(a)), arrays)
        return eqx.combine(placed, rest)


def laned(
    layout: Layout,
    gradient: Callable[[PyTree, PyTree, PyTree, PRNGKeyArray], PyTree],
    params: PyTree,
    rows: PyTree,
    others: PyTree,
    key: PRNGKeyArray,
    each: Array,
) -> PyTree:
    """The mean of `gradient(params, rows, others, key)` over the lanes of a batch, added in the lanes' order.

    Arguments:
        layout: with lanes.
        gradient: of one lane's rows, a pytree of arrays.
        params, others: arrays that are whole on every device.
        rows: `(batch, ...)`, split.
        key: from which each lane's is derived by its number.
        each: lanes of a device, a number that the compiler does not know: a loop of one step would become other code
            than one of two, with other bits.
    """
    lanes = layout.lanes
    assert lanes is not None
    here = lanes // layout.count

    def own(params: PyTree, rows: PyTree, others: PyTree, key: PRNGKeyArray, each: Array) -> PyTree:
        size = len(jax.tree.leaves(rows)[0]) // here
        first = jax.lax.axis_index(AXIS) * here

        def one(j: Array) -> PyTree:
            part = jax.tree.map(lambda a: jax.lax.dynamic_slice_in_dim(a, j * size, size), rows)
            return gradient(params, part, others, jax.random.fold_in(key, first + j))

        def put(j: Array, found: PyTree) -> PyTree:
            return jax.tree.map(lambda every, new: every.at[j].set(new), found, one(j))

        shapes = jax.eval_shape(one, jnp.zeros((), each.dtype))
        start = jax.tree.map(lambda a: jnp.zeros((here, *a.shape), a.dtype), shapes)
        found = jax.lax.fori_loop(jnp.zeros((), each.dtype), each, put, start)
        every = jax.tree.map(lambda a: jax.lax.all_gather(a, AXIS, tiled=True), found)

        def add(j: Array, total: PyTree) -> PyTree:
            return jax.tree.map(lambda t, a: t + a[j], total, every)

        zero = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), shapes)
        total = jax.lax.fori_loop(0, lanes, add, zero)
        return jax.tree.map(lambda a: a / lanes, total)

    spec = PartitionSpec()
    mapped = jax.shard_map(
        own,
        mesh=layout.mesh,
        in_specs=(spec, PartitionSpec(AXIS), spec, spec, spec),
        out_specs=spec,
        check_vma=False,
    )
    return mapped(params, rows, others, key, each)


def laned_values(
    layout: Layout,
    values: Callable[[PyTree, PyTree, PyTree], Array],
    params: PyTree,
    rows: PyTree,
    others: PyTree,
    each: Array,
) -> Array:
    """`values(params, rows, others)` of all rows, one number for each, lane by lane; see `laned`."""
    assert layout.lanes is not None
    here = layout.lanes // layout.count

    def own(params: PyTree, rows: PyTree, others: PyTree, each: Array) -> Array:
        size = len(jax.tree.leaves(rows)[0]) // here

        def one(j: Array) -> Array:
            part = jax.tree.map(lambda a: jax.lax.dynamic_slice_in_dim(a, j * size, size), rows)
            return values(params, part, others)

        found = jnp.zeros((here, size), jax.eval_shape(one, jnp.zeros((), each.dtype)).dtype)
        first = jnp.zeros((), each.dtype)
        every: Array = jax.lax.fori_loop(first, each, lambda j, f: f.at[j].set(one(j)), found)
        return every.ravel()

    spec, split = PartitionSpec(), PartitionSpec(AXIS)
    specs = spec, split, spec, spec
    mapped = jax.shard_map(own, mesh=layout.mesh, in_specs=specs, out_specs=split, check_vma=False)
    found: Array = mapped(params, rows, others, each)
    return found


def layout_of(devices: Devices | None, model: Any, loss: Loss, batch: int) -> Layout | None:
    """Where the arrays of a fit lie; None for one device as ever.

    Raises `InputError` for devices that there are not, a batch that does not divide, and lanes where a model or a loss
    looks at a batch as a whole.
    """
    if devices is None:
        return None
    found = _found(devices)
    lanes, n = devices.lanes, len(found)
    if n == 1 and lanes is None and jax.process_count() == 1:
        return None
    if lanes is not None and lanes % n:
        raise InputError(
            f"lanes={lanes} do not divide among {n} devices: take a multiple of {n}, or a number of devices that "
            f"divides {lanes}"
        )
    of, what = (n, "devices") if lanes is None else (lanes, "lanes")
    if batch % of:
        less = batch // of * of
        more = f"{less} or {less + of}" if less else str(of)
        raise InputError(
            f"a batch of {batch} rows does not divide among {of} {what}: set batch to {more}, or take fewer {what}"
        )
    if lanes is not None and (why := _looks_at_batch(model, loss)):
        raise InputError(f"lanes={lanes}: {why}, which lanes would change: fit without lanes")
    return Layout(Mesh(np.array(found), (AXIS,)), devices.shard == "rows+weights", lanes)


def _found(devices: Devices) -> list[Any]:
    """The devices themselves."""
    found = jax.devices()
    n = len(found) if devices.n is None else devices.n
    if n > len(found):
        hint = ""
        if found[0].platform == "cpu":
            hint = (
                f"; XLA_FLAGS=--xla_force_host_platform_device_count={n} makes the CPU {n} devices"
            )
        verb = "is" if len(found) == 1 else "are"
        raise InputError(f"{n} devices were asked for, and there {verb} {len(found)}{hint}")
    hosts = jax.process_count()
    if hosts > 1 and n != len(found):
        raise InputError(f"on {hosts} hosts a fit takes all {len(found)} devices, not {n}")
    return list(found[:n])


def _looks_at_batch(model: Any, loss: Loss) -> str:
    """What looks at a batch as a whole, or nothing."""
    if has_statistics(model):
        return "the model has batch norm, whose statistics are those of a batch"
    if is_scalar(loss):
        return "the loss sees its batch as a whole"
    if getattr(loss, "coupling", "independent") != "independent":
        return "the loss couples the rows of a batch by optimal transport"
    return ""


def _constrained(array: Array, sharding: NamedSharding) -> Array:
    constrained: Array = jax.lax.with_sharding_constraint(array, sharding)
    return constrained


@partial(jax.jit, static_argnums=1)
def _replicated(tree: PyTree, sharding: NamedSharding) -> PyTree:
    return jax.tree.map(lambda a: _constrained(a, sharding), tree)


def _global(array: Any, sharding: NamedSharding) -> Array:
    """An array over the devices of several processes, of which each has all of it."""
    if jnp.issubdtype(array.dtype, jax.dtypes.prng_key):
        words = _global(jax.random.key_data(array), sharding)
        wrapped: Array = jax.random.wrap_key_data(words, impl=jax.random.key_impl(array))
        return wrapped
    host = np.asarray(array)
    return jax.make_array_from_callback(host.shape, sharding, lambda index: host[index])
