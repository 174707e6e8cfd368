"""Write the golden file of a table with every kind of column: `python tests/golden/write_kinds.py`, once.

Writes kinds.safetensors, and kinds.json with probe rows and their log-densities. Every later version must load the file
and give the same numbers. It guards what files do not hold: the model of angles that stand beside other columns.
"""

import json
from pathlib import Path

import jax
import numpy as np

from pushforward.architectures import MAF
from pushforward.columns import Angle, Bounded, Columns
from pushforward.estimators.table_file import save_table_model
from pushforward.estimators.table_flow import table_flow
from pushforward.estimators.table_model import TableModel
from pushforward.testing import perturbed

HERE = Path(__file__).parent
NAMES = ["share", "year", "count", "wind", "wait"]
DECLARED = {"share": Bounded(0, 1), "wind": Angle(360), "wait": Bounded(low=0)}


def rows(n: int) -> np.ndarray:
    """Rows of the five columns."""
    rng = np.random.default_rng(2026)
    columns = (rng.beta(2, 3, n), np.full(n, 2013), rng.poisson(4, n), rng.uniform(0, 360, n))
    return np.stack([*columns, rng.exponential(5, n)], axis=1)


def main() -> None:
    """Write both files beside this script."""
    columns = Columns.fit(rows(200), NAMES, declared=DECLARED)
    architecture = MAF(layers=1, width=4, depth=1)
    flow = table_flow(architecture, 4, None, jax.random.key(0), False, columns.angles)
    model = TableModel(perturbed(flow, jax.random.key(1), 0.2), architecture, columns, cells=True)
    save_table_model(model, HERE / "kinds.safetensors", force=False)
    probe = rows(20).round(4)
    kept = {"rows": probe.tolist(), "log_prob": model.log_prob(probe).tolist()}
    (HERE / "kinds.json").write_text(json.dumps(kept) + "\n")


if __name__ == "__main__":
    main()
