"""Cells of one column, from values to what heads and networks see."""

import numpy as np

from pushforward.columns.marginal import Place
from pushforward.columns.typed import TypedColumn, harmonics_of, missing_cells
from pushforward.distributions.typed_layout import Cells, Seen

# Spreads from the median from where on the distance is compressed.
_FAR = 5.0


def seen_of(cells: Cells) -> Seen:
    """One column's cells as later columns read them."""
    return Seen(*cells[:6], cells.extra)


def cells_of(column: TypedColumn, values: np.ndarray, gap: bool) -> Cells:
    """One of the model's columns: arrays `(n,)`, further features `(n, k)`.

    Arguments:
        column: the table's column.
        values: as its spelling reads them.
        gap: whether the cells say which values are missing, instead of the values.
    """
    n = len(values)
    gone = missing_cells(values)
    zero, none = np.zeros(n, np.float32), np.zeros((n, 0), np.float32)
    if gap:
        marginal = column.log_gaps[gone.astype(int)].astype(np.float32)
        return Cells(
            gone.astype(np.int32), zero, zero, zero, marginal, zero, np.ones(n, bool), none
        )
    code, place, scaled, extra = np.zeros(n, np.int32), Place(zero, zero, zero), zero, none
    log_prob = np.zeros(n)
    slope = np.zeros(n)
    labels, numbers = column.labels, column.numbers
    if numbers is not None:
        x = np.where(gone, numbers.center, values)
        place = numbers.encode(x)
        away = (x - numbers.center) / numbers.spread
        size = np.abs(away)
        scaled = np.sign(away) * np.where(
            size < _FAR, size, _FAR + np.log1p(np.maximum(size - _FAR, 0))
        )
        slope = place.log_slope
        if labels is None:
            log_prob = numbers.log_prob_at(place)
        if column.harmonics:
            extra = harmonics_of(column, x).astype(np.float32)
    if labels is not None:
        code = labels.codes(np.where(gone, labels.levels[0], values).tolist())
        other = code == len(labels)
        # "Other" is all labels without a level of their own. Of numbers each has its share of the smooth part.
        slope = np.where(other, -np.log(labels.unseen), 0.0)
        if numbers is not None and other.any():
            slope[other] = numbers.log_share(x[other])
        log_prob = labels.log_prob[np.minimum(code, labels.size - 1)] + slope
    f32 = np.float32
    return Cells(
        code.astype(np.int32), place.z.astype(f32), place.width.astype(f32), slope.astype(f32),
        log_prob.astype(f32), scaled.astype(f32), ~gone, extra,
    )  # fmt: skip
