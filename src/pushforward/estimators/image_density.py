"""The distribution of pictures, as a scikit-learn estimator."""

from collections.abc import Sequence
from os import PathLike
from typing import Any, Self

import numpy as np
from jaxtyping import Float, UInt8
from sklearn.base import DensityMixin
from sklearn.utils.validation import check_is_fitted

from pushforward.architectures import Architecture
from pushforward.data.pictures import as_pixels
from pushforward.errors import InputError
from pushforward.estimators.nested import NestedParameters
from pushforward.estimators.shared import RandomSource, StagePrinter, print_epoch, seed_from
from pushforward.fitting.fit_images import fit_images
from pushforward.models.image_file import load_image_model, save_image_model
from pushforward.models.image_model import ImageModel
from pushforward.training import Training


class ImageDensity(DensityMixin, NestedParameters):
    """The distribution of pictures of one size, of grey levels or colours, with or without classes.

        bits per dimension = -log2 P(x) / (h w c),    P(x) >= exp E[log p(x + u) / q(u | x)]

    A flow's density p of real numbers gives every picture of whole levels a probability. What is reported is an
    estimate of the bound by `draws` of the noise u (default 1), the same for a picture every time; more of them are
    tighter. The noise is uniform, but for `image_flow_plus_plus`, which learns it. Likelihood is not familiarity: flat
    pictures are probable under any such model, whatever it was fitted to.

    Arguments:
        architecture: "auto" (`pixel_spline`, the best likelihood), the name of another one of images, or an instance.
            `subscale_spline` draws fast, `image_nsf` and `image_glow` have latents that interpolate.
        levels: grey levels; default 256. An instance of an architecture has its own.
        training: how to train; default None for 6,000 steps of 16 pictures.
        random_state: an int for a fit that repeats on one machine, a RandomState or Generator, or None (default) for
            NumPy's global state.
        verbose: whether to write a line for every epoch to stderr; default False.

    Attributes:
        model_: the fitted `models.image_model.ImageModel`, with its `trust` report.
        classes_: the classes, if `fit` was given any.

    Raises `InputError`, a `ValueError`, for arrays that are no pictures.

    Sources: Dinh et al. 2017, arXiv 1605.08803; Theis et al. 2016, arXiv 1511.01844 (dequantization).

    ```python
    >>> import numpy as np, pushforward as pf
    >>> X = np.random.default_rng(0).integers(0, 16, (200, 4, 4)).astype(np.uint8)
    >>> small = pf.architectures.ImageNSF(scales=1, steps=1, width=8, bins=4, levels=16)
    >>> density = pf.ImageDensity(small, training=pf.Training(max_epochs=1), random_state=0).fit(X)
    >>> density.bits_per_dim(X[:5]).shape, density.sample(3, random_state=1).shape
    ((5,), (3, 4, 4))

    ```
    """

    def __init__(
        self,
        architecture: str | Architecture = "auto",
        *,
        levels: int = 256,
        training: Training | None = None,
        random_state: RandomSource = None,
        verbose: bool = False,
    ):
        self.architecture = architecture
        self.levels = levels
        self.training = training
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: Any, y: Any = None) -> Self:
        """Fit the distribution of pictures, given their classes if there are any.

        Arguments:
            X: `(n, h, w)` or `(n, h, w, c)` with c 1 or 3, whole levels.
            y: `(n,)` classes; default None.

        Returns the estimator. Raises `InputError` (see the class).
        """
        pixels = as_pixels(X, "X")
        self.flat_ = np.ndim(X) == 3
        labels = None if y is None else list(map(str, np.asarray(y).tolist()))
        self.model_ = fit_images(
            pixels,
            labels,
            architecture=self.architecture,
            levels=self.levels,
            training=self.training,
            seed=seed_from(self.random_state),
            report=print_epoch if self.verbose else None,
            progress=StagePrinter() if self.verbose else None,
        )
        if y is not None:
            # In the order of the model's labels, and of the type that they came in.
            by_label = {str(value): value for value in np.unique(np.asarray(y)).tolist()}
            assert self.model_.labels is not None
            self.classes_ = np.array([by_label[label] for label in self.model_.labels])
        return self

    def score_samples(self, X: Any, y: Any = None, *, draws: int = 1) -> Float[np.ndarray, " n"]:
        """Estimated log-probability of each picture in nats, a bound in expectation; float64.

        Arguments:
            X: pictures of the fitted size.
            y: their classes, where the fit had any.
            draws: of the noise, by which the bound is estimated; default 1.

        Raises `InputError` for another size, levels beyond the fitted ones, classes that are missing, unknown or not
        taken, or fewer than 1 draw; `NotFittedError` before `fit`.
        """
        check_is_fitted(self)
        return self.model_.log_prob(as_pixels(X, "X"), self._labels(y), draws=draws)

    def score(self, X: Any, y: Any = None) -> float:
        """The mean of `score_samples`, nats per picture; arguments and errors as there."""
        return float(self.score_samples(X, y).mean())

    def bits_per_dim(self, X: Any, y: Any = None, *, draws: int = 1) -> Float[np.ndarray, " n"]:
        """Bits per dimension of each picture, less is better; arguments and errors as of `score_samples`."""
        check_is_fitted(self)
        return self.model_.bits_per_dim(as_pixels(X, "X"), self._labels(y), draws=draws)

    def log_prob_of_classes(self, X: Any) -> Float[np.ndarray, "n classes"]:
        """`score_samples` of each picture given each of `classes_`; the largest one's class is a classifier's answer.

        Raises `InputError` where the fit had no classes, and as `score_samples` does.
        """
        check_is_fitted(self)
        return self.model_.log_prob_of_labels(as_pixels(X, "X"))

    def sample(
        self,
        n_samples: int = 1,
        random_state: RandomSource = None,
        *,
        y: Any = None,
        temperature: float = 1.0,
    ) -> UInt8[np.ndarray, "n h w *c"]:
        """Draw pictures, of the shape that `fit` was given.

        Arguments:
            n_samples: how many.
            random_state: as of the class.
            y: their classes; default, where the fit had any, these in turn.
            temperature: factor on the latents; default 1. It needs normal latents (`image_nsf`, `image_glow`).

        Raises `InputError` for a temperature that is not positive, and as `score_samples` does.
        """
        check_is_fitted(self)
        labels = self._labels(y)
        drawn = self.model_.sample(
            n_samples, seed_from(random_state), labels, temperature=temperature
        )
        return self._as_it_came(drawn)

    def encode(self, X: Any, y: Any = None) -> Float[np.ndarray, "n latent"]:
        """Latents of pictures; arguments and errors as of `score_samples`."""
        check_is_fitted(self)
        z = self.model_.encode(as_pixels(X, "X"), self._labels(y))
        return z.reshape(len(z), -1)

    def decode(self, z: Any, y: Any = None) -> UInt8[np.ndarray, "n h w *c"]:
        """Pictures from latents: of those of `encode`, the same pictures.

        Raises `InputError` for latents of another size, and as `score_samples` does.
        """
        check_is_fitted(self)
        rows = np.asarray(z, np.float32)
        if rows.ndim != 2 or rows.shape[1] != self.model_.size:
            raise InputError(f"z has shape {rows.shape}: (n, {self.model_.size}) was expected")
        latents = rows.reshape(len(rows), *self.model_.flow.base.event_shape)
        return self._as_it_came(self.model_.decode(latents, self._labels(y)))

    def interpolate(
        self, one: Any, other: Any, steps: int = 9, *, y: Any = None
    ) -> UInt8[np.ndarray, "steps h w *c"]:
        """Pictures between two, along the great circle between their latents.

        Arguments:
            one, other: pictures.
            steps: how many, both ends included; default 9.
            y: the class of all, where the fit had any.

        Raises `InputError` where latents are uniform, for fewer than 2 steps, and as `score_samples` does.
        """
        check_is_fitted(self)
        a, b = (as_pixels(np.asarray(picture)[None], "a picture")[0] for picture in (one, other))
        return self._as_it_came(self.model_.interpolate(a, b, steps, None if y is None else str(y)))

    def save(self, path: str | PathLike[str], *, force: bool = True) -> None:
        """Write the fitted distribution to a safetensors file, which `pushforward.load` and the command line read.

        Arguments:
            path: the file.
            force: whether an existing file may be replaced; default True.

        Raises `NotFittedError` before `fit`, `InputError` where the file cannot be written.
        """
        check_is_fitted(self)
        save_image_model(self.model_, path, force)

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Self:
        """Read a distribution from a file; so does `pushforward.load`. Raises `InputError` as that does."""
        return cls.from_model(load_image_model(path))

    @classmethod
    def from_model(cls, model: ImageModel) -> Self:
        """An estimator around a fitted model. Classes are text."""
        estimator = cls(model.architecture, levels=model.levels)
        estimator.model_, estimator.flat_ = model, model.shape[2] == 1
        if model.labels is not None:
            estimator.classes_ = np.array(model.labels)
        return estimator

    def _labels(self, y: Any) -> Sequence[str] | None:
        return None if y is None else list(map(str, np.asarray(y).tolist()))

    def _as_it_came(self, pixels: np.ndarray) -> np.ndarray:
        return pixels[..., 0] if self.flat_ else pixels
