"""Write the golden model file of this version: `python tests/golden/make.py`. Run it when the format changes, and only
then: every later version must load the file that stands here.

Writes v1_nsf.safetensors, and v1_nsf.json with probe rows and their log-densities.
"""

import json
from pathlib import Path

import jax
import numpy as np

from pushforward.architectures import NSF
from pushforward.columns import Columns
from pushforward.estimators.table_file import save_table_model
from pushforward.estimators.table_flow import table_flow
from pushforward.estimators.table_model import TableModel

HERE = Path(__file__).parent


def golden_model() -> TableModel:
    """A tiny conditional spline flow, with random parameters, for a real and a whole-number column."""
    rng = np.random.default_rng(2026)
    values = np.stack([rng.normal(3, 2, 200), rng.poisson(4, 200)], axis=1)
    given = rng.uniform(-1, 1, (200, 1))
    architecture = NSF(layers=2, width=6, depth=2, bins=4, residual=True)
    flow = table_flow(architecture, 2, (1,), jax.random.key(0))
    # Fresh layers are nearly the identity, which would hide a change.
    noisy = [
        leaf + rng.normal(0, 0.3, leaf.shape).astype(leaf.dtype) for leaf in jax.tree.leaves(flow)
    ]
    return TableModel(
        jax.tree.unflatten(jax.tree.structure(flow), noisy),
        architecture,
        Columns.fit(values, ["length", "count"]),
        Columns.fit(given, ["dose"]),
        32,
        {"epochs": 3, "stopped": "finished"},
        {},
    )


def main() -> None:
    """Write both files beside this script."""
    model = golden_model()
    rng = np.random.default_rng(7)
    values = np.stack([rng.normal(3, 2, 20), rng.poisson(4, 20)], axis=1)
    values[0] = [1e6, 4]
    given = rng.uniform(-1, 1, (20, 1))
    save_table_model(model, HERE / "v1_nsf.safetensors")
    probe = {
        "values": values.tolist(),
        "given": given.tolist(),
        "log_prob": model.log_prob(values, given).tolist(),
    }
    (HERE / "v1_nsf.json").write_text(json.dumps(probe, indent=1) + "\n")


if __name__ == "__main__":
    main()
