"""The gradient of a convolution on a batch of images: ours, XLA's own reverse, and equinox's `Conv2d` under `vmap`.

Images of 7 x 7 pixels, kernels of 3 x 3, batch 128; gradients by images and kernel: four in a compiled loop, as a fit
has them, or one by itself.
"""

from __future__ import annotations

import argparse
import itertools
from statistics import median
from typing import Any

import harness

CHANNELS, STEPS = (16, 32, 64), 4


def run(channels: int, loop: bool, rounds: int) -> dict[str, Any]:
    import equinox as eqx
    import jax
    import jax.numpy as jnp

    from pushforward.networks.convolutional import convolved

    keys = jax.random.split(jax.random.key(0), 3)
    x = jax.random.normal(keys[0], (128, 7, 7, channels))
    kernel = 0.1 * jax.random.normal(keys[1], (3, 3, channels, channels))
    layer = eqx.nn.Conv2d(channels, channels, 3, padding=1, use_bias=False, key=keys[2])

    def own_reverse(x, kernel):
        axes = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=axes)

    def gradient(f):
        by_both = jax.grad(lambda x, w: jnp.tanh(f(x, w)).sum(), (0, 1))

        def step(i, pair):
            return tuple(p - 1e-3 * g for p, g in zip(pair, by_both(*pair), strict=True))

        return jax.jit(
            lambda x, w: jax.lax.fori_loop(0, STEPS, step, (x, w)) if loop else by_both(x, w)
        )

    cases = {
        "ours": (gradient(convolved), x, kernel),
        "lax": (gradient(own_reverse), x, kernel),
        "equinox": (
            gradient(lambda x, w: jax.vmap(eqx.tree_at(lambda m: m.weight, layer, w))(x)),
            jnp.moveaxis(x, -1, 1),
            layer.weight,
        ),
    }
    tasks = {}
    for name, (step, *arguments) in cases.items():
        compiled = step.lower(*arguments).compile()
        tasks[name] = lambda compiled=compiled, arguments=arguments: jax.block_until_ready(
            compiled(*arguments)
        )
    return {"figures": harness.interleaved(tasks, rounds=rounds)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    rows = []
    for channels, loop in itertools.product(CHANNELS, (True, False)):
        case = {"channels": channels, "loop": loop, "rounds": options.rounds}
        answer = harness.worker("convolution.py", **case)
        if answer is None:
            continue
        harness.record("convolution", **case, **answer)
        figures = answer["figures"]
        rows.append(
            [
                f"{channels}, {'in a loop' if loop else 'by itself'}",
                *(harness.cell(1e3 * median(f) / (STEPS if loop else 1)) for f in figures.values()),
                *(harness.cell(harness.ratio(figures, n, "ours"), 1) for n in ("lax", "equinox")),
            ]
        )
    header = ["channels", "ours, ms", "lax, ms", "equinox, ms", "lax / ours", "equinox / ours"]
    print(harness.table(header, rows))


if __name__ == "__main__" and not harness.is_worker(run):
    main()
