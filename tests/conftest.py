"""How all tests run: on the CPU, with compiled programs kept between runs, and the same examples every time."""

import os
from pathlib import Path

import jax
from hypothesis import settings

jax.config.update("jax_platforms", "cpu")
# Compiling is most of what the tests cost; the folder is safe to delete.
jax.config.update("jax_compilation_cache_dir", str(Path(__file__).parents[1] / ".jax_cache"))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
# Tests compile much and run little: most of the compiler's optimisations cost more than they save.
jax.config.update("jax_disable_most_optimizations", True)
# A child process that a test starts compiles under the same conditions.
os.environ.setdefault("JAX_PLATFORMS", "cpu")

# No deadline: the first example of a test compiles. Derandomised: a run is a function of the code alone.
settings.register_profile("contract", deadline=None, max_examples=30, derandomize=True)
settings.load_profile("contract")
