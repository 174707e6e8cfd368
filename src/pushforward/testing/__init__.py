"""The contract: what every transformer, bijection, distribution and architecture promises, as checks anyone can call.

```python
>>> import jax
>>> from pushforward.transformers import Affine
>>> from pushforward.testing import check_transformer
>>> check_transformer(Affine())

```
"""

from pushforward.testing.architecture_checks import ARCHITECTURE_CHECKS
from pushforward.testing.bijection_checks import BIJECTION_CHECKS
from pushforward.testing.checks import (
    ARCHITECTURE_TABLE,
    BIJECTION_TABLE,
    check_architecture,
    check_bijection,
    check_distribution,
    check_large_event,
    check_transformer,
)
from pushforward.testing.contract import ContractError, run_check, run_checks
from pushforward.testing.density_checks import DENSITY_CHECKS
from pushforward.testing.examples import (
    architecture_subject,
    example_architectures,
    example_bases,
    example_bijections,
    exported_bijections,
    tiny,
    variants,
)
from pushforward.testing.perturb import perturbed
from pushforward.testing.reload import check_saving
from pushforward.testing.subjects import Subject, bijection_subject
from pushforward.testing.transformer_checks import TRANSFORMER_CHECKS, TransformerSubject

__all__ = [
    "ARCHITECTURE_CHECKS",
    "ARCHITECTURE_TABLE",
    "BIJECTION_CHECKS",
    "BIJECTION_TABLE",
    "DENSITY_CHECKS",
    "TRANSFORMER_CHECKS",
    "ContractError",
    "Subject",
    "TransformerSubject",
    "architecture_subject",
    "bijection_subject",
    "check_architecture",
    "check_bijection",
    "check_distribution",
    "check_large_event",
    "check_saving",
    "check_transformer",
    "example_architectures",
    "example_bases",
    "example_bijections",
    "exported_bijections",
    "perturbed",
    "run_check",
    "run_checks",
    "tiny",
    "variants",
]
