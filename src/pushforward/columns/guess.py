"""Guess the kind of a column from its values."""

import numpy as np
from jaxtyping import Float

from pushforward.columns.base import AbstractColumn
from pushforward.columns.constant import Constant
from pushforward.columns.continuous import Continuous
from pushforward.columns.values import LARGEST_EXACT_INTEGER
from pushforward.columns.whole import Whole, first_not_whole


def guess(values: Float[np.ndarray, " n"]) -> tuple[AbstractColumn, str]:
    """The kind of a column and the reason for it: constant, whole numbers up to 2^53 in size, or else continuous.

    Bounds, angles and columns rounded to decimals are never guessed: only their meaning tells them from other numbers.

    Arguments:
        values: the finite values of the column, in any order.

    ```python
    >>> import numpy as np, pushforward as pf
    >>> kind, reason = pf.columns.guess(np.array([1.0, 2.5]))
    >>> kind.kind, reason
    ('continuous', 'holds 2.5')

    ```
    """
    if (values == values[0]).all():
        return Constant(), f"every row holds {values[0]:.6g}"
    row = first_not_whole(values)
    if row is None:
        return Whole(), "holds whole numbers only"
    beyond = abs(values[row]) > LARGEST_EXACT_INTEGER
    return Continuous(), f"holds {values[row]:.6g}" + (", beyond 2**53" if beyond else "")
