"""What tests/test_devices.py runs in processes of their own; prints JSON."""

import hashlib
import json
import sys
from typing import Any

import equinox as eqx
import jax
import numpy as np

import pushforward as pf


def rows() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(500, 2)).astype(np.float32)


def model(width: int = 64) -> Any:
    return pf.architectures.MAF(layers=1, width=width).build(2, key=jax.random.key(1))


def fit(devices: pf.Devices | None, **options: Any) -> dict[str, Any]:
    """The outcome of a fit, with all bits of its weights."""
    training = pf.Training(max_epochs=2, batch=32, devices=devices)
    fitted = pf.fit(
        model(), rows(), key=jax.random.key(2), jitter=[0.1, 0.1], training=training, **options
    )
    leaves = [np.asarray(a) for a in jax.tree.leaves(fitted.model) if eqx.is_array(a)]
    digest = hashlib.sha256(b"".join(leaf.tobytes() for leaf in leaves)).hexdigest()
    return {"digest": digest, "nats": -fitted.best_loss}


def fits() -> dict[str, Any]:
    layouts = {
        "none": None,
        "one": pf.Devices(1),
        "four": pf.Devices(4),
        "split": pf.Devices(4, shard="rows+weights"),
        **{f"{n} of 4 lanes": pf.Devices(n, lanes=4) for n in (1, 2, 4)},
    }
    return {name: fit(devices) for name, devices in layouts.items()}


if __name__ == "__main__":
    print(json.dumps(globals()[sys.argv[1]]()))
