"""The race for the default flow: short fits of all entrants, and the mixture that the winner has to beat."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from pushforward.architectures import Mixture
from pushforward.distributions import Flow
from pushforward.fitting import em
from pushforward.fitting.auto import LARGE, RACE_ROWS, RACE_STEPS, Entrant
from pushforward.fitting.prepared import Prepared, Teller
from pushforward.training import Checkpoint, Fitted, Training
from pushforward.training.batches import jittered, taken
from pushforward.training.hosts import agreed

CLOSE = 0.1
"""Nats by which a mixture may lag and still be worth a correction."""
RATE = 2e-3
"""Peak of the learning rate of such a correction."""
WIDEST = 64
"""Columns beyond which full covariances are not tried."""


RACE_TIME, RACE_TIME_LARGE = 120.0, 240.0
"""Seconds of a time limit from which on there is time for a race and a mixture, so that the race is a tenth of them: it
takes a dozen with a program to compile, and twice as many where tables are large."""


@dataclass(frozen=True)
class Choice:
    """What a table is fitted with.

    Attributes:
        entrant: the model that was chosen.
        fitted: its fit.
        at_the_end: validation log-densities after the fit in full, in the model's units, where a mixture was compared.
        raced: the same after the race; empty without one.
    """

    entrant: Entrant
    fitted: Fitted[Flow]
    at_the_end: dict[str, float]
    raced: dict[str, float]


def chosen(
    entrants: Sequence[Entrant],
    rows: Prepared,
    training: Training,
    tell: Teller,
    checkpoint: Checkpoint | None = None,
) -> Choice:
    """Choose between entrants by validation, and fit the best.

    With more than one, and time for it, there is a race; the winner is fitted in full, and a mixture compared with it.

    Arguments:
        entrants: the models to choose between.
        rows: what they are fitted to.
        training: of the fit in full; a time limit counts the race.
        tell: hears of progress.
        checkpoint: of the fit in full, or None.
    """
    enough = RACE_TIME if rows.count < LARGE else RACE_TIME_LARGE
    hurried = training.max_time is not None and training.max_time < enough
    raced = {} if len(entrants) == 1 or hurried else race(entrants, rows, training, tell)
    best = winner(entrants, raced, rows.columns.width)
    left = training
    if training.max_time is not None:
        left = replace(training, max_time=max(training.max_time - tell.seconds(), 1.0))
    fitted = rows.fit(best, left, tell, checkpoint=checkpoint)
    # A mixture models no conditional density, and one entrant without a name was asked for.
    alone = not best.name or rows.condition is not None
    if alone or training.validation == 0 or hurried:
        return Choice(best, fitted, {}, raced)
    return Choice(*against_mixture(best, fitted, rows, training, tell), raced)


def race(
    entrants: Sequence[Entrant], rows: Prepared, training: Training, tell: Teller
) -> dict[str, float]:
    """The validation log-density of every entrant after a short fit, in the model's units."""
    whole = training.for_rows(rows.count)
    batch = whole.batch or 1
    # Never on the clock: the order of the entrants must not depend on how long they take to compile.
    short = replace(
        training,
        batch=batch,
        weight_decay=whole.weight_decay,
        max_time=None,
        max_epochs=None,
        max_steps=RACE_STEPS,
        patience=1.0,
    )
    sample = replace(
        rows,
        train=rows.train.some(np.arange(min(rows.train.count, RACE_STEPS * batch))),
        judge=taken(rows.judge, slice(RACE_ROWS)),
        stream=None,
    )
    quiet = tell.of_steps()
    return {e.name: -sample.fit(e, short, quiet, "race: ").best_loss for e in entrants}


def winner(entrants: Sequence[Entrant], tried: dict[str, float], columns: int) -> Entrant:
    """The entrant to go on with: an earlier one, unless a later one leads it by its `lead` per column. Without a race
    the first."""
    best = entrants[0]
    for entrant in entrants[1:] if tried else ():
        if tried[entrant.name] > tried[best.name] + entrant.lead * columns:
            best = entrant
    return best


def against_mixture(
    entrant: Entrant, fitted: Fitted[Flow], rows: Prepared, training: Training, tell: Teller
) -> tuple[Entrant, Fitted[Flow], dict[str, float]]:
    """The fitted flow, or a Gaussian mixture where that is better on validation rows.

    A mixture by EM takes seconds. Where it comes within `CLOSE` of the flow, splines are fitted that start from it and
    correct it, unless there is a time limit; they have to gain more than two standard errors.

    Returns the winner, its fit, and the validation log-densities of the three in the model's units.
    """
    if rows.width > WIDEST or any(rows.columns.angles) or fitted.stopped == "interrupted":
        return entrant, fitted, {}
    tell.stage("fitting a Gaussian mixture to compare with")
    flow_nats = float(agreed(training.devices, rows.judged(fitted.model)).mean())
    if not np.isfinite(flow_nats):
        # A fit that diverged: any mixture is better.
        flow_nats = -np.inf
    some, judge = rows.some(em.ROWS)[0], jittered(rows.judge, rows.jitter)[0]
    mixture = em.best_mixture(some, judge, flow_nats, rows.seed)
    if mixture is None:
        return entrant, fitted, {}
    components = len(mixture.weights)
    alone = Entrant("Gaussian mixture", Mixture(components=components, layers=0), "none")
    flow = em.starting_from(rows.built(alone), mixture)
    of_mixture = agreed(training.devices, rows.judged(flow))
    found = {entrant.name: flow_nats, alone.name: of_mixture.mean()}
    if not of_mixture.mean() > flow_nats - CLOSE:
        return entrant, fitted, found
    if training.max_time is None:
        corrected = Entrant(
            "splines over a Gaussian mixture", Mixture(components=components), "none"
        )
        try:
            longer = rows.fit(corrected, replace(training, learning_rate=RATE), tell.of_steps())
        except em.NoMixtureError:
            # EM begins anew behind the layers. Where it fails there, what is fitted already must not be lost.
            longer = None
        if longer is not None:
            of_longer = agreed(training.devices, rows.judged(longer.model))
            found[corrected.name] = of_longer.mean()
            gain = of_longer - of_mixture
            if gain.mean() > 2 * gain.std() / np.sqrt(len(gain)):
                alone, of_mixture, flow = corrected, of_longer, longer.model
    if not of_mixture.mean() > flow_nats:
        return entrant, fitted, found
    return alone, replace(fitted, model=flow, best_loss=-float(of_mixture.mean())), found
