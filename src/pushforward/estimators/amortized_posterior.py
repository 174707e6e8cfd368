"""Posteriors of a simulator's parameters for any observation, from simulations alone."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from sklearn.utils.validation import check_is_fitted

from pushforward.architectures import Architecture
from pushforward.errors import InputError, warn
from pushforward.estimators.nested import NestedParameters
from pushforward.estimators.shared import (
    OfTableModel,
    RandomSource,
    checked_count,
    fit_options,
    seed_from,
    warn_of_outside,
)
from pushforward.estimators.simulations import (
    elements_of,
    features_of,
    fitting_observations,
    fitting_rows,
    simulated,
    unlike_simulations,
)
from pushforward.estimators.supports import Support, support_columns
from pushforward.fitting.fit_table import fit_table, split_of
from pushforward.inference.weights import (
    LogZ,
    effective_share,
    importance_log_z,
    k_threshold,
    smoothed_weights,
)
from pushforward.models.elements import KINDS as EMBEDDINGS
from pushforward.models.elements import Embedding
from pushforward.models.notes import with_notes
from pushforward.models.reach import Reach
from pushforward.models.table_model import TableModel
from pushforward.training import Training
from pushforward.trust.calibration import DRAWS, FEWEST, Calibration, calibration
from pushforward.words import plural, quoted

CHECKED = 300
"""Held-out simulations on which a fit is checked."""


@dataclass(frozen=True)
class WeightedDraws:
    """Draws of a posterior with importance weights.

    Attributes:
        draws: `(n, d)`, in the units of theta.
        log_weights: `(n,)`, nats, smoothed and normalised: their exponentials sum to 1.
        ess: effective share of the draws, in (0, 1].
        k: how heavy the largest weights are, see `inference.smoothed_weights`: above 0.7 they cannot be trusted.
        log_z: the logarithm of the evidence, nats, with its standard error; None where no log-density was given.
    """

    draws: Float[np.ndarray, "n d"]
    log_weights: Float[np.ndarray, " n"]
    ess: float
    k: float
    log_z: LogZ | None


class AmortizedPosterior(OfTableModel, NestedParameters):
    """The posterior of a simulator's parameters given any observation, learnt from simulations alone.

    A conditional flow is fitted to pairs of parameters, drawn from the prior, and what was simulated with them:

        q = argmax sum_i log q(theta_i | x_i),   (theta_i, x_i) ~ p(theta) p(x | theta)

    For enough simulations it is `p(theta | x)`, for every x at the cost of a pass: neural posterior estimation. Whether
    it is right is `check`'s to say.

    Arguments:
        architecture: "auto" (default), a name in `pushforward.architectures.ARCHITECTURES`, or an instance.
        support: where the prior lives, so that no draw leaves it: "positive", `(low, high)` (None for no bound),
            "real", or a column such as `pf.columns.Angle()`, for all parameters; a sequence of these; or some by name,
            `{"rate": "positive"}`. Parameters without names are `theta0, theta1, ...`. Default None: kinds are guessed,
            without bounds.
        embedding: where an observation is a set or a series of k elements, `(k, c)`: "set", "series" or an `Embedding`
            with its sizes. Elements may be missing (NaN), so that sets of any size up to k are padded. Default None:
            an observation is a row of numbers.
        training: how to train; default `Training()`.
        max_epochs: passes over the simulations, in place of the one in `training`; default None.
        max_time: seconds, in place of those in `training`; default None.
        precision: bits of the arithmetic, 32 (default) or 64.
        random_state: an int for a fit that repeats on one machine, a RandomState or Generator, or None (default).
        verbose: whether to write a line for every epoch to stderr; default False.

    Attributes:
        model_: the fitted `TableModel`.
        parameters_: names of theta's columns.
        held_out_: `(theta, x)`, the simulations that were held out, by which the fit was stopped.

    Raises `InputError`, a `ValueError`, for fewer simulations than columns, for parameters outside of their support,
    and for missing or infinite cells.

    Sources: Papamakarios & Murray 2016, arXiv 1605.06376; Greenberg et al. 2019, arXiv 1905.07488.

    ```python
    >>> import numpy as np, pushforward as pf
    >>> rng = np.random.default_rng(0)
    >>> theta = rng.uniform(0, 2, (500, 1))
    >>> x = theta + 0.3 * rng.normal(size=(500, 2))
    >>> small = pf.architectures.RealNVP(layers=2, width=16)
    >>> posterior = pf.AmortizedPosterior(small, support=(0, 2), max_epochs=3, random_state=0)
    >>> draws = posterior.fit(theta, x).sample([1.0, 1.2], 100, random_state=1)
    >>> draws.shape, bool(((draws > 0) & (draws < 2)).all())
    ((100, 1), True)

    ```
    """

    # Kinds are declared by `support`.
    columns: ClassVar[None] = None

    def __init__(
        self,
        architecture: str | Architecture = "auto",
        *,
        support: Support | Mapping[str, Support] = None,
        embedding: str | Embedding | None = None,
        training: Training | None = None,
        max_epochs: int | None = None,
        max_time: float | None = None,
        precision: int = 32,
        random_state: RandomSource = None,
        verbose: bool = False,
    ):
        self.architecture = architecture
        self.support = support
        self.embedding = embedding
        self.training = training
        self.max_epochs = max_epochs
        self.max_time = max_time
        self.precision = precision
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, theta: Any, x: Any) -> Self:
        """Fit the posterior to simulations.

        Arguments:
            theta: `(n, d)` parameters, drawn from the prior: an array or a frame; `(n,)` for one.
            x: `(n, c)`, what was simulated with each; `(n,)` for one number; with an `embedding` `(n, k, c)`, or
                `(n, k)` for elements of one number.

        Returns the estimator. Raises `InputError` (see the class).
        """
        parameters, names, named = simulated(theta, "theta")
        embedding = self._embedding()
        if embedding is None:
            observed, x_names, x_named = simulated(x, "x")
        else:
            observed, x_named = elements_of(x, of_one_number=True), False
            x_names = tuple(f"x{i}" for i in range(observed.shape[2]))
        if len(parameters) != len(observed):
            raise InputError(
                f"theta has {plural(len(parameters), 'row')}, x {len(observed):,}: one of each for every simulation is "
                "expected"
            )
        width = len(names) + len(x_names)
        if len(parameters) < width:
            raise InputError(
                f"{plural(len(parameters), 'simulation')} of {plural(width, 'column')} ({len(names)} "
                f"of theta, {len(x_names)} of x): more simulations than columns are needed, thousands are usual"
            )
        if both := [name for name in names if name in x_names]:
            raise InputError(f"{quoted(both)} stands in both theta and x: rename it in one")
        columns = support_columns(self.support, names)
        options = {**fit_options(self), "columns": columns}
        model = fit_table(
            parameters,
            observed,
            names=names,
            condition_names=x_names,
            called=("theta", "x"),
            embedding=embedding,
            # `check` says what matters of a posterior.
            trust=False,
            **options,
        )
        reach = Reach.of(features_of(model, observed))
        self.model_ = with_notes(
            model,
            posterior=True,
            named=x_named,
            target_named=named,
            reach=None if reach is None else reach.to_json(),
        )
        training = options["training"] or Training()
        held = split_of(len(parameters), training, options["seed"])[1]
        if training.validation == 0:
            # No row was held out: these are all.
            held = held[:0]
        self.held_out_ = parameters[held], observed[held]
        return self

    @property
    def parameters_(self) -> tuple[str, ...]:
        """The names of theta's columns."""
        check_is_fitted(self, "model_")
        return self.model_.columns.names

    def log_prob(self, theta: Any, x: Any) -> Float[np.ndarray, " n"]:
        """Log-density of the posterior, in nats, in the units of theta; `(n,)` float64.

        `-inf`, with a warning, for parameters outside of their support. Warns of observations unlike all that was
        simulated.

        Arguments:
            theta: `(n, d)`, or `(d,)` for one.
            x: `(n, c)`, or `(c,)` for the same observation throughout.

        Raises `InputError` where columns differ from the fitted ones or cells are not finite, `NotFittedError` before
        `fit`.
        """
        observed, _ = self._observed(x)
        parameters = fitting_rows(theta, "theta", self.model_)
        n = max(len(parameters), len(observed))
        if not {len(parameters), len(observed)} <= {1, n}:
            raise InputError(
                f"theta has {plural(len(parameters), 'row')}, x {len(observed)}: as many of each, or one of either, "
                "are expected"
            )
        parameters, observed = (
            np.broadcast_to(rows, (n, *rows.shape[1:])) for rows in (parameters, observed)
        )
        log_prob = self.model_.log_prob(parameters, observed)
        warn_of_outside(self.model_, parameters)
        return log_prob

    def score(self, theta: Any, x: Any) -> float:
        """Mean log-density, nats per simulation; arguments and errors as in `log_prob`."""
        return float(self.log_prob(theta, x).mean())

    def sample(self, x: Any, n: int = 1000, random_state: RandomSource = None) -> np.ndarray:
        """Draw from the posterior; warns of observations unlike all that was simulated.

        Arguments:
            x: `(c,)`, one observation, or `(m, c)`.
            n: draws for each; default 1000.
            random_state: an int for draws that repeat, a RandomState or Generator, or None (default).

        Returns `(n, d)` for one observation, else `(m, n, d)`. Raises as `log_prob`, and for n below 1.
        """
        observed, single = self._observed(x)
        draws = self.model_.sample(checked_count(n), seed_from(random_state), observed)
        draws = draws.reshape(len(observed), n, -1)
        return draws[0] if single else draws

    def posterior(
        self,
        x: Any,
        log_density: Callable[[Array, Array], Array] | None = None,
        *,
        n: int = 2000,
        random_state: RandomSource = None,
    ) -> WeightedDraws:
        """Draws of the posterior of one observation; where a density is known, weighted to be exact in the limit.

            w_i = p(theta_i, x) / q(theta_i | x),   p(x) = E[w]

        Arguments:
            x: `(c,)`, the observation.
            log_density: from one theta `(d,)` and x `(c,)` to `log p(theta) + log p(x | theta)`, nats, a function in
                JAX; default None: equal weights.
            n: draws, at least 25 where they are weighted; default 2000.
            random_state: as of `sample`.

        Raises as `sample`, and where `log_density` returns anything but one number, or is nowhere finite.
        """
        observed, _ = self._observed(x)
        if len(observed) != 1:
            raise InputError(f"one observation is expected; x has {len(observed)} rows")
        draws = self.model_.sample(checked_count(n), seed_from(random_state), observed)
        if log_density is None:
            return WeightedDraws(draws, np.full(n, -np.log(n)), 1.0, -np.inf, None)
        given = self.model_.log_prob(draws, np.repeat(observed, n, 0))
        with jax.enable_x64(self.model_.precision == 64):
            log_weights = _log_densities(log_density, draws, observed[0]) - given
        if not np.isfinite(log_weights).any():
            raise InputError(f"log_density is -inf at all {n} draws of the posterior for this x")
        smoothed = smoothed_weights(log_weights)
        if smoothed.k > k_threshold(n):
            warn(
                f"a few draws carry the weight (k = {smoothed.k:.2f}, above {k_threshold(n):.2f}): neither weights nor "
                "evidence can be trusted for this observation"
            )
        log_z = importance_log_z(log_weights, smoothed.k)
        return WeightedDraws(
            draws, smoothed.log_weights, effective_share(log_weights), smoothed.k, log_z
        )

    def check(
        self,
        theta: Any = None,
        x: Any = None,
        *,
        draws: int = DRAWS,
        random_state: int = 0,
    ) -> Calibration:
        """Whether the posterior is calibrated: ranks of the truth, coverage, contraction; print it to read it.

        Arguments:
            theta, x: simulations that the fit has not seen, from the same prior; default up to 300 of those held out,
                which chose when to stop.
            draws: for each simulation; default 199.
            random_state: seed of the draws.

        Raises `InputError` as `log_prob`, for fewer than 20 simulations, and without theta and x for a posterior from a
        file.
        """
        check_is_fitted(self, "model_")
        if (theta is None) != (x is None):
            raise InputError("check takes both theta and x, or neither")
        if theta is None:
            if not hasattr(self, "held_out_") or len(self.held_out_[0]) < FEWEST:
                raise InputError(
                    f"check: fewer than {FEWEST} simulations were held out, or the posterior is from a file; give it "
                    "simulations, check(theta, x)"
                )
            parameters, observed = (rows[:CHECKED] for rows in self.held_out_)
        else:
            parameters = fitting_rows(theta, "theta", self.model_)
            observed, _ = fitting_observations(x, self.model_)
        return calibration(self.model_, parameters, observed, draws=draws, seed=random_state)

    @classmethod
    def from_model(cls, model: TableModel) -> Self:
        """A fitted estimator around a fitted conditional model, such as `pushforward.fit_table` returns.

        Arguments:
            model: a `TableModel` with a condition.

        Raises `InputError` for a model without a condition.
        """
        if model.condition is None:
            raise InputError("this model has no condition: FlowDensity takes it")
        estimator = cls(model.architecture, precision=model.precision)
        estimator.model_ = model
        return estimator

    def _observed(self, x: Any) -> tuple[np.ndarray, bool]:
        """Observations, and whether x is a single one; warns of those unlike all that was simulated."""
        check_is_fitted(self, "model_")
        observed, single = fitting_observations(x, self.model_)
        if what := unlike_simulations(self.model_, observed):
            warn(
                f"{what}: its posterior is a guess; simulate there, or look for what the simulator leaves out"
            )
        return observed, single

    def _embedding(self) -> Embedding | None:
        """The network that `embedding` asks for."""
        if self.embedding is None or isinstance(self.embedding, Embedding):
            return self.embedding
        if self.embedding in EMBEDDINGS:
            return Embedding(kind=self.embedding)  # type: ignore[arg-type]
        raise InputError(
            f"embedding={self.embedding!r}: 'set', 'series' or pushforward.estimators.Embedding(...) is expected"
        )


def _log_densities(
    log_density: Callable[[Array, Array], Array], draws: np.ndarray, x: np.ndarray
) -> Float[np.ndarray, " n"]:
    """The user's log-density at each draw."""
    shape = jax.eval_shape(log_density, jnp.asarray(draws[0]), jnp.asarray(x)).shape
    if shape != ():
        raise InputError(
            f"log_density(theta, x) returns shape {shape} for one theta and one x; one number, log p(theta, x), is "
            "expected"
        )
    found = jax.jit(jax.vmap(log_density, (0, None)))(jnp.asarray(draws), jnp.asarray(x))
    values = np.asarray(found, np.float64)
    if (bad := np.isnan(values) | (values == np.inf)).any():
        raise InputError(
            f"log_density is NaN or infinite at {int(bad.sum())} of {len(draws)} draws of the posterior"
        )
    return values
