"""Programs as users compile them: the other tests leave most of the compiler's optimisations out (see conftest), and
XLA's own fusions have given wrong values before.

Large batches, inverses and gradients run here with the default options in a process of their own; `make test-defaults`
runs every test so.
"""

import os
import subprocess
import sys
from pathlib import Path

import jax

CONTRACT = Path(__file__).with_name("test_contract.py")
# Of what costs little to compile: sums over parameters of many kinds, a network, a search with its gradient.
FAMILIES = ("sum_of_squares", "rational_quadratic", "bernstein", "deep_sigmoid", "gaussian_mixture")
MAPS = ("Coupling", "Sylvester")
CHECKS = ("round trip", "inverse log-det", "gradients")


def contract_checks() -> list[str]:
    """The tests of the contract that run as users compile."""
    return [
        *(f"test_large_batches[{name}]" for name in FAMILIES),
        *(f"test_contract[{name}-{check}]" for name in MAPS for check in CHECKS),
    ]


def test_as_users_compile(users_environment):
    """Large batches, inverses and gradients of the contract."""
    chosen = [f"{CONTRACT}::{name}" for name in contract_checks()]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n", "0", f"{__file__}::test_options", *chosen],
        env=users_environment,
        cwd=CONTRACT.parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-1000:]
    assert "skipped" not in done.stdout


def test_options():
    """Each of the two ways to compile is the one that it says it is."""
    quick = os.environ.get("PUSHFORWARD_TEST_COMPILER") != "default"
    assert jax.config.values["jax_disable_most_optimizations"] is quick
    assert ("--xla_cpu_use_fusion_emitters=false" in os.environ.get("XLA_FLAGS", "")) is quick
    assert ("JAX_DISABLE_MOST_OPTIMIZATIONS" in os.environ) is quick
