"""A variational auto-encoder whose posterior is a flow: none, planar, radial, Sylvester, IAF, NAF, FFJORD.

As in van den Berg et al. 2018 and Grathwohl et al. 2019 (section 5.3), on Frey faces, Omniglot and dynamically
binarised MNIST, of `PUSHFORWARD_DATA`. All rows of a table have the same perceptrons, four layers of flow and the same
time, a small part of the papers'; three of them are compared after equal steps too. The encoder's features are the
condition of every layer: planar, radial and Sylvester maps (of three kinds) and FFJORD's field have weights of each
picture's own (`Amortized`, of low rank for the field), autoregressive ones see the features beside the latents. Not the
papers': perceptrons in place of gated convolutions, 32 latents, discretised logistics in place of a softmax over 256
levels, a part of Omniglot. The gate of IAF starts open and 2 nats of divergence are free, or its latents collapse.

The gaps of Cremer et al. 2018 (arXiv 1801.03558) are of one model on 100 test pictures: the bound with the posterior
tuned to these pictures, the decoder held, lies between the model's own bound and its log-likelihood.
"""

import math
import os
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from experiment import Result, main, plots, say

import pushforward as pf
from pushforward.bijections import (
    Amortized,
    Autoregressive,
    Chain,
    FlowMap,
    Invert,
    Planar,
    Radial,
    Reverse,
    Sylvester,
)
from pushforward.data.images import mnist
from pushforward.fields import MLPField
from pushforward.networks import MLP, MaskedMLP
from pushforward.ode import Solver
from pushforward.training import Batch, EvidenceBound, importance_nll
from pushforward.transformers import DeepSigmoid, Gated

LATENT, WIDTH, LAYERS, SECONDS, STEPS, DRAWS = 32, 300, 4, 60.0, 1500, 500
ROWS = (
    "none",
    "planar",
    "radial",
    "Sylvester, orthogonal",
    "Sylvester, householder",
    "Sylvester, triangular",
    "IAF",
    "NAF",
    "FFJORD",
)
# -ELBO by Grathwohl et al. and, of the kinds of Sylvester maps, van den Berg et al.; bits per dimension for faces.
PAPER = {
    "Frey faces": ("4.53", "4.40", "", "4.51", "4.46", "4.45", "4.47", "", "4.39"),
    "Omniglot": ("104.28", "102.65", "", "99.00", "99.00", "99.33", "102.41", "", "98.33"),
    "MNIST": ("86.55", "86.06", "", "83.32", "", "", "84.20", "", "82.82"),
}


def layer(row, d, width, key):
    """One layer of the posterior, from latent noise to latents, given `width` features."""
    kind, _, form = row.partition(", ")
    if kind in ("IAF", "NAF"):
        scalar = Gated() if kind == "IAF" else DeepSigmoid(units=8)
        sizes = {"condition": width, "width": max(width, 2 * d), "depth": 2}
        network = MaskedMLP(d, scalar.size, **sizes, key=key)
        if kind == "IAF":
            # The second number is the gate's logit.
            network = eqx.tree_at(
                lambda n: n.last_bias, network, replace_fn=lambda b: b.at[1].set(2.0)
            )
        return Chain([Invert(Autoregressive(network, scalar, (width,))), Reverse(d)])
    if kind == "FFJORD":
        flow = FlowMap(MLPField(d, width=64, key=key), solver=Solver(method="rk4", steps=2))

        def weights(flow):
            field = flow.field
            return field.first, field.hidden, field.last, field.bias, field.last_bias

        return Amortized(flow, width, where=weights, rank=8, key=key)
    # Their cheap direction is the inverse.
    if kind == "Sylvester":
        own = Amortized(Invert(Sylvester(d, min(d, 16), form, 8, key=key)), width, key=key)
        return Chain([own, Reverse(d)]) if form == "triangular" else own
    return Amortized(Invert({"planar": Planar, "radial": Radial}[kind](d, key=key)), width, key=key)


class VAE(eqx.Module):
    """q(z | x) = a Gaussian pushed through a flow; p(x | z) of independent pixels."""

    encoder: MLP
    gaussian: MLP
    flow: Chain | None
    decoder: MLP
    levels: bool = eqx.field(static=True)

    def __init__(self, row, pictures, levels, *, latent, width, key):
        keys, pixels = jax.random.split(key, 3 + LAYERS), pictures.shape[1]
        # Small last weights, as layers of flows start with, would hide the latents from the decoder at first; those
        # of grey levels, whose deviations are about 0.1, are of their size.
        scale = 0.1 if levels else 1.0
        self.encoder = MLP(pixels, (width,), width=width, depth=1, last_scale=1.0, key=keys[0])
        self.gaussian = MLP(width, (2, latent), width=width, depth=1, last_scale=1.0, key=keys[1])
        decoder = MLP(
            latent, (1 + levels, pixels), width=width, depth=2, last_scale=scale, key=keys[2]
        )
        # From zero the biases would take a thousand steps to the mean picture.
        mean = np.clip(pictures.mean(0), 0.01, 0.99)
        bias = [mean, np.log(pictures.std(0) / 2)] if levels else [np.log(mean / (1 - mean))]
        self.decoder = eqx.tree_at(
            lambda m: m.last_bias, decoder, jnp.concatenate(bias).astype(float)
        )
        parts = [layer(row, latent, width, k) for k in keys[3:]] if row != "none" else None
        self.flow = None if parts is None else Chain(parts)
        self.levels = levels

    def bound_terms(self, batch, key):
        features = jax.nn.relu(self.encoder(batch.x.T - 0.5)).T
        mean, raw = jnp.moveaxis(self.gaussian(features.T), 2, 1)
        scale = jax.nn.softplus(raw) + 1e-4
        noise = jax.random.normal(key, mean.shape)
        z, log_det = mean + scale * noise, 0.0
        if self.flow is not None:
            z, log_det = self.flow.forward_rows(z, features, None)
        cost = (0.5 * (jnp.square(z) - jnp.square(noise)) - jnp.log(scale)).sum(1) - log_det
        return self.log_likelihood(batch.x, self.decoder(z.T)), cost

    def log_likelihood(self, x, outputs):
        if not self.levels:
            logits = outputs[0].T
            return (x * logits - jax.nn.softplus(logits)).sum(1)
        # The mass of a logistic distribution between the edges of a grey level; the outermost ones are half-lines.
        mean, log_scale = outputs[0].T, outputs[1].T
        sharp = jnp.exp(-log_scale)
        above = jnp.where(x > 0.999, jnp.inf, (x + 0.5 / 255 - mean) * sharp)
        below = jnp.where(x < 0.001, -jnp.inf, (x - 0.5 / 255 - mean) * sharp)
        mass = jax.nn.sigmoid(above) - jax.nn.sigmoid(below)
        return jnp.log(jnp.maximum(mass, 1e-7)).sum(1)

    def pictures(self, key, n):
        """Mean pixels of draws from the prior."""
        outputs = self.decoder(jax.random.normal(key, (n, self.decoder.first.shape[1])).T)[0].T
        return jnp.clip(outputs, 0, 1) if self.levels else jax.nn.sigmoid(outputs)


def binarised(batch, key):
    """Each pixel on with its grey level as its probability, drawn anew in each step."""
    return Batch((jax.random.uniform(key, batch.x.shape) < batch.x).astype(batch.x.dtype))


def load(name):
    """Training, validation and test pictures `(n, pixels)` in [0, 1], and their shape; those to judge by are binary."""
    folder, rng = Path(os.environ.get("PUSHFORWARD_DATA", "data")), np.random.default_rng(0)
    if name == "MNIST":
        kept = mnist()
        x, held = np.concatenate([kept.train, kept.test]).reshape(-1, 784) / 255, 10_000
    elif name == "Omniglot":
        kept = np.load(folder / "omniglot_small.npz")
        n, h, w = kept["shape"]
        x = np.unpackbits(kept["images"], axis=-1)[..., :w].reshape(n, h, w)
        # Strokes are light; 105 pixels to 28, by means of squares of 4.
        x = 1 - x if x.mean() > 0.5 else x
        x = np.pad(x, ((0, 0), (3, 4), (3, 4))).reshape(-1, 28, 4, 28, 4).mean((2, 4))
        x, held = (np.clip(2 * x, 0, 1) > 0.5).reshape(-1, 784), 500
    else:
        x, held = np.load(folder / "freyfaces.npz")["images"].reshape(-1, 560) / 255, 200
    x = x.astype(np.float32)
    # MNIST's own test pictures are last.
    order = np.arange(len(x)) if name == "MNIST" else rng.permutation(len(x))
    parts = [x[some] for some in np.split(order, [-2 * held, -held])]
    if name == "MNIST":
        parts[1:] = [(rng.random(p.shape) < p).astype(np.float32) for p in parts[1:]]
    return parts, ((28, 20) if name == "Frey faces" else (28, 28))


def trained(model, train, valid, grey, limits):
    training = pf.Training(
        batch=min(100, len(train)),
        learning_rate=1e-3,
        weight_decay=0.0,
        clip=1000.0,  # gradients are of hundreds of nats
        patience=1.0,
        **limits,
    )
    return pf.fit(
        model,
        train,
        key=jax.random.key(1),
        loss=EvidenceBound(warmup=0.3, free_bits=2.0),
        training=training,
        validation=(valid, None),
        jitter=binarised if grey else None,
    ).model


def judged(model, test, draws):
    """-ELBO by 10 draws, NLL by `draws` weights, and the divergence, nats per picture."""
    bound = negative_bound(model, test, 10)
    cost = np.mean([np.asarray(terms(model, test, k)[1]).mean() for k in range(3)])
    return (
        bound,
        float(importance_nll(model, Batch(test), draws, key=jax.random.key(3)).mean()),
        cost,
    )


@eqx.filter_jit
def terms(model, x, seed):
    return model.bound_terms(Batch(jnp.asarray(x)), jax.random.fold_in(jax.random.key(2), seed))


def negative_bound(model, x, times):
    """-ELBO, nats per picture."""
    found = [terms(model, x, seed) for seed in range(times)]
    return float(np.mean([np.asarray(cost - fit, np.float64).mean() for fit, cost in found]))


def gaps(model, x, steps, draws):
    """Bounds of a model on some pictures: with its own posterior, with one tuned to them, and log p."""

    def of_posterior(model, batch, key):
        held = jax.lax.stop_gradient(model.decoder)
        return EvidenceBound()(eqx.tree_at(lambda m: m.decoder, model, held), batch, key)

    training = pf.Training(
        batch=len(x), max_steps=steps, learning_rate=1e-3, weight_decay=0.0, patience=1.0
    )
    rows = np.tile(x, (4, 1))
    tuned = pf.fit(
        model,
        rows,
        key=jax.random.key(5),
        loss=of_posterior,
        training=training,
        validation=(x, None),
    ).model
    own, best = (-negative_bound(m, x, 20) for m in (model, tuned))
    return own, best, -float(importance_nll(tuned, Batch(x), draws, key=jax.random.key(6)).mean())


def run(quick: bool) -> Result:
    rows: list[list[str]] = []
    notes: list[str] = []
    shown: dict[str, Any] = {}
    rng = np.random.default_rng(0)
    for name in ["Omniglot"] if quick else PAPER:
        if quick:
            x = (rng.random((60, 36)) < rng.random((60, 1))).astype(np.float32)
            parts, shape = [x, x[:20], x[:20]], (6, 6)
        else:
            try:
                parts, shape = load(name)
            except (FileNotFoundError, pf.InputError) as error:
                say(f"{name}: {error}; set PUSHFORWARD_DATA")
                raise SystemExit(77) from None
        train, valid, test = parts
        grey, levels = name == "MNIST", name == "Frey faces"
        limits = {"max_epochs": 2} if quick else {"max_time": SECONDS}
        sizes = {"latent": 4, "width": 16} if quick else {"latent": LATENT, "width": WIDTH}
        for row in ("planar", "IAF") if quick else ROWS:
            model = VAE(row, train, levels, **sizes, key=jax.random.key(0))
            model = trained(model, train, valid, grey, limits)
            bound, nll, cost = judged(model, test[:1000], 5 if quick else DRAWS)
            unit = train.shape[1] * math.log(2) if levels else 1.0
            said = [f"{value / unit:.2f}" for value in (bound, nll)]
            rows.append([name, row, *said, f"{cost:.1f}", PAPER[name][ROWS.index(row)]])
            say(" | ".join(rows[-1]))
            if row == "planar" and name == "Omniglot":
                own, best, log_p = gaps(model, test[:100], *((4, 5) if quick else (1500, 2000)))
                notes.append(
                    f"{name}, planar, 100 pictures: ELBO {own:.2f}, with the posterior tuned to them {best:.2f}, log p "
                    f"{log_p:.2f}: amortization gap {best - own:.2f}, approximation gap {log_p - best:.2f} nats"
                )
            if name not in shown or bound < shown[name][0]:
                pictures = np.asarray(model.pictures(jax.random.key(7), 12)).reshape(-1, *shape)
                shown[name] = bound, row, pictures
        if name != "MNIST":
            steps, said = 2 if quick else STEPS, []
            for row in ("none", "planar", "Sylvester, triangular"):
                model = VAE(row, train, levels, **sizes, key=jax.random.key(0))
                model = trained(model, train, valid, grey, {"max_steps": steps})
                said.append(f"{row} {negative_bound(model, test[:1000], 10) / unit:.2f}")
            notes.append(f"{name}, -ELBO after {steps:,} steps each: {'; '.join(said)}")
    notes.append(
        f"{SECONDS:.0f} s a row, compilation included; bits per dimension for Frey faces, else nats"
    )
    header = ["data", "posterior", "-ELBO", f"NLL, {DRAWS} weights", "divergence", "papers' -ELBO"]
    return Result(header, rows, figure(shown), notes)


def figure(shown):
    drawing, axes = plots().subplots(
        len(shown), 1, figsize=(9, 1.2 * len(shown) + 0.4), layout="constrained", squeeze=False
    )
    for axis, (name, (_, row, pictures)) in zip(axes[:, 0], shown.items(), strict=True):
        axis.imshow(np.concatenate(list(pictures), 1), cmap="gray")
        axis.set_title(f"{name}: draws from the prior, {row}", fontsize=9)
        axis.axis("off")
    return drawing


if __name__ == "__main__":
    main(__doc__, run)
