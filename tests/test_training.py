"""The training loop: deterministic, resumable to the bit, rolled back where a loss is not finite."""

import errno
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pushforward as pf
from pushforward.draws import spawn
from pushforward.testing import perturbed
from pushforward.training import Batch, negative_log_prob, step
from pushforward.training import checkpoint as checkpoint_module
from pushforward.training.batches import holdout
from pushforward.training.checkpoint import open_checkpoint, spelled

KEY = jax.random.key(0)
X = np.asarray(jax.random.normal(KEY, (300, 2))) * np.float32(0.7) + np.float32(0.2)
TINY = pf.architectures.RealNVP(layers=2, width=8)
SETTINGS = pf.Training(max_epochs=6, batch=32)


def model():
    return TINY.build(2, key=jax.random.key(1))


def same(a, b) -> bool:
    leaves = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return all(np.array_equal(x, y) for x, y in leaves if eqx.is_array(x))


def test_a_fit_lowers_the_loss_and_is_a_function_of_its_key():
    first = pf.fit(model(), X, key=KEY, training=SETTINGS)
    assert first.stopped == "finished"
    assert first.history[-1].validation_loss < first.history[0].validation_loss
    assert first.best_loss == min(e.validation_loss for e in first.history)
    assert same(first.model, pf.fit(model(), X, key=KEY, training=SETTINGS).model)
    assert not same(first.model, pf.fit(model(), X, key=jax.random.key(9), training=SETTINGS).model)


def test_validation_is_as_large_as_its_rows():
    """To a power of two; the mean is that of the rows, whatever pads them."""
    seen = []

    def watched(model, batch, key):
        if key is None:
            seen.append(len(batch.x))
        return negative_log_prob(model, batch, key)

    for rows, block in ((100, 128), (3, 64), (2500, 2048)):
        x = np.resize(X, (rows, 2)) + np.linspace(0, 1, rows, dtype=np.float32)[:, None]
        fitted = pf.fit(
            model(),
            X,
            key=KEY,
            loss=watched,
            training=pf.Training(max_epochs=1),
            validation=(x, None),
        )
        assert seen.pop() == block
        np.testing.assert_allclose(
            fitted.best_loss, -fitted.model.log_prob(x).mean(), rtol=1e-5, err_msg=str(rows)
        )


def test_the_fitted_density_finds_a_gaussian():
    """The mean log-density of 300 rows is within 0.1 nats of the Gaussian they come from."""
    training = pf.Training(max_epochs=40, batch=32)
    fitted = pf.fit(model(), X, key=KEY, training=training)
    truth = -0.5 * ((X - 0.2) / 0.7) ** 2 - np.log(0.7) - 0.5 * np.log(2 * np.pi)
    assert abs(float(fitted.model.log_prob(X).mean()) - truth.sum(1).mean()) < 0.1


@pytest.mark.parametrize("stop_after", [1, 4])
def test_a_resumed_fit_ends_at_the_same_bits(tmp_path: Path, stop_after: int):
    whole = pf.fit(model(), X, key=KEY, training=SETTINGS)
    checkpoint = pf.Checkpoint(tmp_path / "c", every=0.0)
    cut = pf.fit(
        model(), X, key=KEY, training=SETTINGS, checkpoint=checkpoint,
        report=lambda epoch: epoch.epoch == stop_after,
    )  # fmt: skip
    assert cut.stopped == "interrupted"
    assert len(cut.history) == stop_after
    resume = pf.Checkpoint(tmp_path / "c", every=0.0, resume=True)
    resumed = pf.fit(model(), X, key=KEY, training=SETTINGS, checkpoint=resume)
    assert len(resumed.history) == 6
    assert same(resumed.model, whole.model)
    # A finished fit is resumed at its end: nothing more is trained.
    again = pf.fit(model(), X, key=KEY, training=SETTINGS, checkpoint=resume, report=pytest.fail)
    assert same(again.model, whole.model)


def test_a_kill_in_the_middle_of_an_epoch_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """With segments of 3 steps an epoch of 8 is written in three parts; the second is where the fit dies."""
    monkeypatch.setattr(step, "SEGMENT", 3)
    whole = pf.fit(model(), X, key=KEY, training=SETTINGS)
    writes = []
    write = checkpoint_module.CheckpointFile.write

    def dying(self, arrays, progress):
        write(self, arrays, progress)
        writes.append(progress["step"])
        if len(writes) == 5:
            raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint_module.CheckpointFile, "write", dying)
    path = tmp_path / "c"
    with pytest.raises(KeyboardInterrupt):
        pf.fit(model(), X, key=KEY, training=SETTINGS, checkpoint=pf.Checkpoint(path, every=0.0))
    assert writes[-1] not in (0, 8)
    monkeypatch.setattr(checkpoint_module.CheckpointFile, "write", write)
    resume = pf.Checkpoint(path, resume=True)
    assert same(
        pf.fit(model(), X, key=KEY, training=SETTINGS, checkpoint=resume).model, whole.model
    )


@pytest.mark.parametrize("fails", ["open", "fsync", "replace", "removed"])
def test_a_fit_outlives_its_checkpoint(fails: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A disk that fills up in the middle, or a folder that is gone: one warning, and the same model."""
    whole = pf.fit(model(), X, key=KEY, training=SETTINGS)
    folder = tmp_path / "folder"
    folder.mkdir()

    def full(*args, **options):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def fill(epoch):
        if epoch.epoch == 2 and fails == "open":
            monkeypatch.setattr(checkpoint_module, "open", full, raising=False)
        elif epoch.epoch == 2 and fails == "removed":
            shutil.rmtree(folder)
        elif epoch.epoch == 2:
            monkeypatch.setattr(os, fails, full)

    path = folder / "c"
    with pytest.warns(pf.errors.InputWarning, match=f"checkpoint {path} cannot be wr") as caught:
        fitted = pf.fit(
            model(), X, key=KEY, training=SETTINGS, checkpoint=pf.Checkpoint(path, every=0.0),
            report=fill,
        )  # fmt: skip
    monkeypatch.undo()
    assert len(caught) == 1
    assert fitted.stopped == "finished"
    assert same(fitted.model, whole.model)
    # What was written before stays whole, and nothing else.
    assert [*folder.glob("*")] == ([] if fails == "removed" else [path])
    if fails != "removed":
        resume = pf.Checkpoint(path, resume=True)
        again = pf.fit(model(), X, key=KEY, training=SETTINGS, checkpoint=resume)
        assert same(again.model, whole.model)


def test_checkpoints_of_other_fits_are_refused(tmp_path: Path):
    path = tmp_path / "c"
    pf.fit(model(), X, key=KEY, training=SETTINGS, checkpoint=pf.Checkpoint(path))
    with pytest.raises(pf.InputError, match="exists: resume from it"):
        pf.fit(model(), X, key=KEY, training=SETTINGS, checkpoint=pf.Checkpoint(path))
    resume = pf.Checkpoint(path, resume=True)
    with pytest.raises(pf.InputError, match="another fit: data differ"):
        pf.fit(model(), X[1:], key=KEY, training=SETTINGS, checkpoint=resume)
    with pytest.raises(pf.InputError, match="another fit: settings differ"):
        pf.fit(model(), X, key=KEY, training=pf.Training(max_epochs=5, batch=32), checkpoint=resume)
    wider = pf.architectures.RealNVP(layers=2, width=9).build(2, key=KEY)
    with pytest.raises(pf.InputError, match="another fit: model differ"):
        pf.fit(wider, X, key=KEY, training=SETTINGS, checkpoint=resume)
    with pytest.raises(pf.InputError, match="another fit: data and settings differ"):
        pf.fit(model(), X, key=KEY, training=SETTINGS, checkpoint=resume, jitter=[1.0, 1.0])
    with pytest.raises(pf.InputError, match="another fit: loss differ"):
        pf.fit(model(), X, key=KEY, training=SETTINGS, checkpoint=resume, loss=explosive_loss)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(pf.InputError, match="not a usable checkpoint"):
        pf.fit(model(), X, key=KEY, training=SETTINGS, checkpoint=resume)
    assert list(tmp_path.iterdir()) == [path]


def test_two_fits_cannot_share_a_checkpoint(tmp_path: Path):
    checkpoint = pf.Checkpoint(tmp_path / "c")
    with (
        open_checkpoint(checkpoint, {}),
        pytest.raises(pf.InputError, match="another process is writing"),
    ):
        pf.fit(model(), X, key=KEY, training=SETTINGS, checkpoint=checkpoint)


class Explosive(eqx.Module):
    """A scalar whose loss is not finite once it goes below zero, where its gradient drives it."""

    weight: jax.Array

    def loss(self, x):
        return jnp.where(self.weight > 0, self.weight, jnp.nan) + 0 * x[:, 0]


def explosive_loss(model, batch, key):
    return model.loss(batch.x)


def test_a_non_finite_loss_is_rolled_back_with_a_smaller_step():
    training = pf.Training(max_epochs=30, batch=32, learning_rate=0.02, warmup=0.0, retries=50)
    notes = []
    fitted = pf.fit(
        Explosive(jnp.asarray(0.1)), X, key=KEY, loss=explosive_loss, training=training,
        report=lambda epoch: notes.append(epoch.note),
    )  # fmt: skip
    assert any("non-finite loss: went back, step size x 0.5" in note for note in notes)
    assert np.isfinite(fitted.best_loss)
    assert float(fitted.model.weight) > 0


def test_a_loss_that_stays_non_finite_ends_the_fit_with_the_best_model():
    training = pf.Training(max_epochs=3, batch=32)
    start = Explosive(jnp.asarray(-1.0))
    with pytest.warns(pf.InputWarning, match="the fit diverged: no loss was finite"):
        fitted = pf.fit(start, X, key=KEY, loss=explosive_loss, training=training)
    assert fitted.stopped == "diverged"
    assert float(fitted.model.weight) == -1.0


def test_losses_are_told_apart_and_known_again():
    def scaled(factor):
        return lambda model, batch, key: factor * negative_log_prob(model, batch, key)

    one, same_one, two = (str(spelled(scaled(f))) for f in (1.0, 1.0, 2.0))
    assert one == same_one != two
    first, second = (pf.paths.FlowMatchingLoss(coupling=c) for c in ("independent", "exact_ot"))
    assert str(spelled(first)) != str(spelled(second))


def test_a_validation_that_is_never_finite_is_no_success():
    def unjudged(model, batch, key):
        losses = negative_log_prob(model, batch, key)
        return losses * jnp.nan if key is None else losses

    with pytest.warns(pf.InputWarning, match="no loss was finite"):
        fitted = pf.fit(model(), X, key=KEY, loss=unjudged, training=SETTINGS)
    assert fitted.stopped == "diverged"
    assert all(epoch.note == "validation is not finite" for epoch in fitted.history)


def test_early_stopping_keeps_the_best_weights():
    """Pure noise cannot be learnt: the validation loss turns, and the fit ends at its best."""
    wide = pf.architectures.NSF(layers=1, width=64, bins=4).build(2, key=KEY)
    training = pf.Training(max_epochs=200, batch=32, patience=0.05, weight_decay=0.0)
    fitted = pf.fit(wide, X[:100], key=KEY, training=training)
    assert fitted.stopped == "early"
    assert len(fitted.history) < 200
    train, held = holdout(100, 0.1, spawn(KEY, 2)[0])
    judge = X[held]
    assert len(train) == 90
    assert -float(fitted.model.log_prob(judge).mean()) == pytest.approx(fitted.best_loss, abs=1e-5)


def test_a_fit_that_stalls_is_annealed():
    """The rate falls to zero over a quarter of the steps so far: the last epochs change the weights less and less."""
    wide = pf.architectures.NSF(layers=1, width=64, bins=4).build(2, key=KEY)
    training = pf.Training(max_epochs=200, batch=32, stall=0.05, average=0.0, weight_decay=0.0)
    fitted = pf.fit(wide, X[:100], key=KEY, training=training)
    ends = [epoch.epochs for epoch in fitted.history]
    assert fitted.stopped == "finished"
    began = ends.index(ends[-1])
    assert ends[0] == 200
    assert len(fitted.history) == ends[-1] == began + max(1, -(-began // 4))
    losses = np.array([epoch.validation_loss for epoch in fitted.history])
    assert began - 1 - losses[:began].argmin() == 10
    assert abs(losses[-1] - losses[-2]) < np.abs(np.diff(losses[:began])).mean() / 4


def test_time_limit():
    training = pf.Training(max_epochs=10**6, batch=32, max_time=1.0)
    fitted = pf.fit(model(), X, key=KEY, training=training)
    assert fitted.stopped == "time"
    assert len(fitted.history) < 10**6


def test_given_validation_rows_and_conditions():
    conditional = TINY.build(1, 1, key=KEY)
    x, c = X[:, :1], X[:, 1:]
    fitted = pf.fit(
        conditional, x[:200], c[:200], key=KEY, training=SETTINGS, validation=(x[200:], c[200:])
    )
    expected = -float(fitted.model.log_prob(x[200:], c[200:]).mean())
    assert expected == pytest.approx(fitted.best_loss, abs=1e-5)


def test_jitter_widens_what_is_learnt():
    """Rows on two points, each spread over a cell by the noise: the density cannot collapse."""
    points = np.where(X > 0.2, 1.0, 0.0).astype(np.float32)
    training = pf.Training(max_epochs=30, batch=32)
    fitted = pf.fit(model(), points, key=KEY, training=training, jitter=np.ones(2))
    # A density on cells of width 1 in two columns of two points each cannot beat -log 4 by more than chance.
    assert -np.log(4) - 0.7 < -fitted.best_loss < -np.log(4) + 0.35


class Bare(eqx.Module):
    """Nothing that the default loss could use."""

    weight: jax.Array


class Keyless(Bare):
    """A density that takes no key."""

    def log_prob(self, x, condition=None):
        return -jnp.square(x - self.weight).sum(1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: pf.fit(model(), X[:1], key=KEY), "at least 2 rows"),
        (
            lambda: pf.fit(model(), np.full((9, 2), np.nan, np.float32), key=KEY),
            "18 values that are not finite",
        ),
        (lambda: pf.fit(model(), np.zeros((9, 2), int), key=KEY), "floating-point rows"),
        (lambda: pf.fit(model(), X, X[:5], key=KEY), "300 rows in x, but 5 conditions"),
        (lambda: pf.Training(batch=0), "batch=0: a whole number of at least 1"),
        (lambda: pf.Training(batch=20.0), "batch=20.0: a whole number"),
        (lambda: pf.Training(max_epochs="3"), "max_epochs='3': a whole number"),
        (lambda: pf.Training(max_epochs=True), "max_epochs=True: a whole number"),
        (lambda: pf.Training(max_time="a"), "max_time='a': a finite number"),
        (lambda: pf.Training(learning_rate=np.inf), "learning_rate=inf: a finite number"),
        (lambda: pf.fit(model(), X, key=KEY, validation=X[:9]), "a pair .x, condition., or"),
        (
            lambda: pf.fit(model(), X, key=KEY, validation=(X[:9, :1], None)),
            r"rows of shape \(1,\), but x has \(2,\)",
        ),
        (
            lambda: pf.fit(
                model(), X, key=KEY, loss=lambda m, b, k: negative_log_prob(m, b, k).sum()
            ),
            r"shape \(\) for 128 rows: one number per row",
        ),
        (lambda: pf.fit(model(), key=KEY), "give rows to fit to, or steps="),
        (lambda: pf.fit(model(), X, key=KEY, steps=3), "steps= is for a fit without rows"),
        (lambda: pf.fit(model(), steps=3, validation=X, key=KEY), "validation: not expected"),
        (lambda: pf.fit(model(), {"x": X}, key=KEY), "takes the rows of fit.*not a dict"),
        (lambda: pf.fit(model(), {"x": X, "y": X[:5]}, key=KEY), r"one leading axis.*\(5, 2\)"),
        (lambda: pf.fit(model(), {"x": 3.0}, key=KEY), "one leading axis"),
        (lambda: pf.fit(model(), {"x": X}, X, key=KEY), "put it into the rows"),
        (lambda: pf.fit(model(), X, key=KEY, loss=lambda a: a), r"\(model, batch, key\) was"),
        pytest.param(
            lambda: pf.fit(model(), X, key=KEY, loss=3),
            "loss=3: a function",
            marks=pytest.mark.mistyped,
        ),
        pytest.param(
            lambda: pf.fit(model(), X, key=0),
            r"key=0: a key was expected, such as jax\.random",
            marks=pytest.mark.mistyped,
        ),
        pytest.param(
            lambda: model().sample(7), "key=7: a key was expected", marks=pytest.mark.mistyped
        ),
        (lambda: pf.fit(model(), X[:, 0], key=KEY), r"x has shape \(300,\)"),
        (lambda: pf.fit(TINY.build(2, 1, key=KEY), X, key=KEY), "needs a condition of shape"),
        (lambda: pf.fit(Bare(jnp.ones(2)), X, key=KEY), "Bare has no log_prob"),
        (lambda: pf.fit(Keyless(jnp.ones(2)), X, key=KEY), "Keyless.log_prob must take .* 'key'"),
        (
            lambda: pf.fit(model(), np.ma.masked_array(X, mask=X > 2), key=KEY),
            "values that are not finite",
        ),
        pytest.param(
            lambda: TINY.build(2.5, key=KEY),
            r"event shape \(2\.5,\): every size must be a whole",
            marks=pytest.mark.mistyped,
        ),
        pytest.param(
            lambda: replace(TINY, layers=2.5).build(2, key=KEY),
            "layers=2.5: a whole number",
            marks=pytest.mark.mistyped,
        ),
        pytest.param(
            lambda: replace(TINY, width="a").build(2, key=KEY),
            "width='a': a whole number",
            marks=pytest.mark.mistyped,
        ),
        (lambda: pf.Training(validation=1.0), "validation=1.0"),
        (lambda: pf.Training(weight_decay=-1.0), "weight_decay=-1.0"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(pf.InputError, match=message):
        call()


def test_settings_follow_the_rows():
    assert pf.Training().for_rows(3_283).batch == 128
    assert pf.Training().for_rows(18_000).batch == 256
    assert pf.Training(batch=64).for_rows(18_000).batch == 64
    assert pf.Training().for_rows(10).batch == 10
    assert pf.Training().for_rows(200_000).max_steps == 8000
    assert pf.Training().for_rows(10**6).max_steps == 11_963
    # A time limit is used, however many steps it allows.
    assert pf.Training(max_time=60.0).for_rows(10**6).max_steps == 390_625


def test_settings_take_numpys_numbers():
    """A search over an array of them gives such."""
    plain = pf.Training(batch=16, max_epochs=1, learning_rate=0.5)
    given = pf.Training(batch=np.int64(16), max_epochs=np.uint8(1), learning_rate=np.float32(0.5))
    assert repr(given) == repr(plain)
    ours, theirs = (pf.fit(model(), X, key=KEY, training=each) for each in (plain, given))
    assert same(ours.model, theirs.model)


@pytest.mark.parametrize("kind", ["float16", "bfloat16", "float32", "float64", "longdouble"])
def test_rows_of_any_precision(kind):
    """They are widened to the model's, as where densities are computed; conditions and judges too."""
    x = np.asarray(X.astype(jnp.dtype(kind)))
    conditional = TINY.build(2, 1, key=jax.random.key(1))
    short = pf.Training(max_epochs=1, batch=32)
    fitted = pf.fit(
        conditional, x, x[:, :1], key=KEY, training=short, validation=(x[:50], x[:50, :1])
    )
    assert {a.dtype for a in jax.tree.leaves(fitted.model) if eqx.is_array(a)} == {
        jnp.dtype("float32")
    }
    single = x.astype(np.float32)
    same_rows = pf.fit(
        conditional, single, X[:, :1].astype(x.dtype), key=KEY, training=short,
        validation=(single[:50], single[:50, :1]),
    )  # fmt: skip
    assert same(fitted.model, same_rows.model)
    with jax.enable_x64(True):
        wide = TINY.build(2, key=jax.random.key(1))
        assert np.isfinite(pf.fit(wide, x, key=KEY, training=short).best_loss)


def test_any_loss():
    def squared_latents(model, batch, key):
        z, _ = model.inverse(batch.x)
        return (z**2).sum(-1)

    fitted = pf.fit(model(), X, key=KEY, loss=squared_latents, training=SETTINGS)
    assert fitted.best_loss < float(squared_latents(model(), Batch(X), None).mean())
    assert negative_log_prob(fitted.model, Batch(X)).shape == (300,)


class TestRowsOfAnyKind:
    """Rows are a pytree of arrays with one leading axis; a loss receives some of them."""

    @staticmethod
    def weighted(model, batch, key):
        return batch["weight"] * negative_log_prob(model, Batch(batch["x"]), key)

    def test_equal_weights_change_nothing(self):
        """The same rows, in the same order, with the same noise: the same bits."""
        rows = {"x": X, "weight": np.ones(300, np.float32)}
        plain = pf.fit(model(), X, key=KEY, training=SETTINGS)
        fitted = pf.fit(model(), rows, key=KEY, loss=self.weighted, training=SETTINGS)
        for a, b in zip(*map(jax.tree.leaves, (plain.model, fitted.model)), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
        assert fitted.best_loss == pytest.approx(plain.best_loss, rel=1e-5)

    def test_weights_count(self):
        """Rows without weight are not fitted."""
        rows = {"x": np.r_[X, X + 9.0], "weight": np.repeat(np.float32([1, 0]), 300)}
        fitted = pf.fit(model(), rows, key=KEY, loss=self.weighted, training=SETTINGS)
        assert fitted.model.log_prob(X).mean() > fitted.model.log_prob(X + 9.0).mean() + 5

    def test_whole_numbers_stay_whole(self):
        """Row numbers beyond 2^24, bytes and booleans reach the loss as they are."""
        seen = []

        def loss(model, batch, key):
            seen.append({name: a.dtype.name for name, a in batch.items()})
            return negative_log_prob(model, Batch(jnp.asarray(X)[batch["number"]]), key)

        rows = {
            "number": np.arange(300, dtype=np.int32),
            "byte": np.zeros(300, np.uint8),
            "kept": np.ones((300, 2), bool),
        }
        fitted = pf.fit(model(), rows, key=KEY, loss=loss, training=SETTINGS)
        assert seen[0] == {"number": "int32", "byte": "uint8", "kept": "bool"}
        assert fitted.history[-1].validation_loss < fitted.history[0].validation_loss

    def test_bytes_are_dequantized_in_the_step(self):
        """Noise is a function of the batch: uniform bytes of 4 levels have 2 log 4 nats in two columns."""
        levels = np.random.default_rng(0).integers(0, 4, (2000, 2)).astype(np.uint8)

        def noisy(batch, key):
            x = batch.x.astype(float) + jax.random.uniform(key, batch.x.shape)
            return Batch((x - 2.0) / 2.0)

        training = pf.Training(max_epochs=20, batch=200)
        flow = pf.architectures.NSF(layers=1, width=8, bins=8).build(2, key=KEY)
        fitted = pf.fit(flow, levels, key=KEY, jitter=noisy, training=training)
        # A Gaussian is 0.35 nats off.
        assert -0.05 < fitted.best_loss + 2 * np.log(2) - 2 * np.log(4) < 0.2

    def test_judges_of_their_own(self):
        rows = {"x": X[:200], "weight": np.ones(200, np.float32)}
        judge = {"x": X[200:], "weight": np.ones(100, np.float32)}
        fitted = pf.fit(
            model(), rows, key=KEY, loss=self.weighted, training=SETTINGS, validation=judge
        )
        expected = -float(fitted.model.log_prob(X[200:]).mean())
        assert fitted.best_loss == pytest.approx(expected, abs=1e-5)

    def test_a_single_row_is_enough_with_a_judge(self):
        fitted = pf.fit(model(), X[:1], key=KEY, training=SETTINGS, validation=(X, None))
        assert np.isfinite(fitted.best_loss)

    def test_a_loss_of_one_number(self):
        """It sees its batch as a whole, and says so; in validation blocks are never filled up."""
        sizes = set()

        class Spread:
            scalar = True

            def __call__(self, model, batch, key):
                if key is None:
                    sizes.add(len(batch.x))
                return negative_log_prob(model, batch, key).mean()

        many = np.resize(X, (2500, 2))
        fitted = pf.fit(
            model(), X, key=KEY, loss=Spread(), training=SETTINGS, validation=(many, None)
        )
        assert sizes == {2048, 452}
        expected = -float(fitted.model.log_prob(many).mean())
        assert fitted.best_loss == pytest.approx(expected, abs=1e-5)

    def test_a_fit_resumes(self, tmp_path):
        rows = {"x": X, "weight": np.ones(300, np.float32)}
        options = {"key": KEY, "loss": self.weighted, "training": SETTINGS}
        whole = pf.fit(model(), rows, **options)
        path = tmp_path / "c"
        pf.fit(
            model(), rows, **options, checkpoint=pf.Checkpoint(path), report=lambda e: e.epoch == 2
        )
        resume = pf.Checkpoint(path, resume=True)
        assert same(pf.fit(model(), rows, **options, checkpoint=resume).model, whole.model)
        rows["weight"] = rows["weight"] * 2
        with pytest.raises(pf.InputError, match="another fit: data differ"):
            pf.fit(model(), rows, **options, checkpoint=resume)


class TestWithoutRows:
    """A loss that draws its own takes steps."""

    @staticmethod
    def reverse_kl(model, batch, key):
        assert batch is None
        draws, log_prob = model.sample_and_log_prob(key, (64,))
        return log_prob + 0.5 * ((draws - 3.0) ** 2).sum(-1)

    def test_finds_a_normal(self):
        fitted = pf.fit(model(), steps=300, key=KEY, loss=self.reverse_kl)
        draws = np.asarray(fitted.model.sample(KEY, 2000))
        np.testing.assert_allclose(draws.mean(0), 3.0, atol=0.2)
        # The least divergence is minus the log of the target's integral.
        assert fitted.best_loss == pytest.approx(-np.log(2 * np.pi), abs=0.05)

    def test_takes_as_many_steps_as_asked(self):
        told = []
        for steps in (1, 100, 256, 300):
            pf.fit(
                model(), steps=steps, key=KEY, loss=self.reverse_kl, training=pf.Training(patience=1.0),
                progress=lambda at: told.append((at.epoch, at.epochs, at.step)),
            )  # fmt: skip
        assert told == [(1, 1, 1), (1, 1, 100), (1, 2, 128), (2, 2, 128)] + [
            (i, 3, 100) for i in (1, 2, 3)
        ]

    def test_validation_always_has_the_same_noise(self):
        """A model that cannot learn is judged equal in all epochs."""
        still = pf.Training(learning_rate=1e-12, patience=1.0)
        fitted = pf.fit(model(), steps=384, key=KEY, loss=self.reverse_kl, training=still)
        assert np.ptp([e.validation_loss for e in fitted.history]) < 1e-4
        assert len({e.train_loss for e in fitted.history}) == 3


def test_losses_of_the_old_form_are_taken_with_a_warning():
    def old(model, x, condition, key):
        return -model.log_prob(x, condition, key=key)

    with pytest.warns(DeprecationWarning, match=r"losses take \(model, batch, key\)"):
        fitted = pf.fit(model(), X, key=KEY, loss=old, training=SETTINGS)
    plain = pf.fit(model(), X, key=KEY, training=SETTINGS)
    assert fitted.best_loss == pytest.approx(plain.best_loss, rel=1e-5)


class TestDecay:
    """What decays is a weight, whatever its rank."""

    @staticmethod
    def shrunk(start):
        """The leaves that a step without a gradient makes smaller."""
        optimiser = step.optimiser_of(pf.Training(weight_decay=1.0))
        params = eqx.filter(start, eqx.is_inexact_array)
        still = jax.tree.map(jnp.zeros_like, params)
        with jax.numpy_dtype_promotion("standard"):  # optax mixes types
            updates, _ = optimiser.update(still, optimiser.init(params), params)
        return {
            jax.tree_util.keystr(path)
            for path, update in jax.tree_util.tree_leaves_with_path(updates)
            if (update != 0).any()
        }

    def test_a_users_own_network(self):
        network = eqx.nn.MLP(2, 2, 4, 2, key=KEY)
        assert self.shrunk(network) == {f".layers[{i}].weight" for i in range(3)}

    def test_networks_and_no_splines(self):
        flow = pf.architectures.NSF(layers=2, width=8, bins=4).build(2, key=KEY)
        found = self.shrunk(perturbed(flow, KEY))
        assert {name.rsplit(".", 1)[1] for name in found} == {
            "first", "hidden", "last", "lower", "upper",
        }  # fmt: skip
        spline = pf.bijections.Stack(
            lambda key: pf.bijections.Elementwise(pf.transformers.RationalQuadratic(bins=4), 2),
            2,
            key=KEY,
        )
        assert not self.shrunk(perturbed(spline, KEY))


def test_actnorm_is_set_from_the_table_before_training():
    """The untrained Glow of a fit with (nearly) no steps already has standardised latents."""
    from pushforward.fitting.fit_table import fit_table

    # A table whose standardised columns are skewed: median 0, mean well off it.
    rows = np.random.default_rng(0).exponential(size=(500, 3))
    training = pf.Training(max_epochs=1, batch=450, learning_rate=1e-12)
    fitted = fit_table(
        rows, architecture=pf.architectures.Glow(layers=2, width=8), training=training, trust=False
    )
    z, _ = fitted.flow.inverse(fitted.columns.encode(rows).astype(np.float32))
    assert np.abs(np.asarray(z).mean(0)).max() < 0.1
    assert np.abs(np.asarray(z).std(0) - 1).max() < 0.1


def test_batch_norm_is_measured_on_training_rows():
    """The stored statistics are those of the rows, whatever the last batch was; batches are used while training."""
    x = np.random.default_rng(0).normal(5.0, 3.0, (400, 2)).astype(np.float32)
    model = pf.architectures.MAF(layers=2, width=8, batch_norm=True).build(2, key=KEY)
    training = pf.Training(max_epochs=4, average=0.0, validation=0.25)
    fitted = pf.fit(model, x, key=KEY, training=training)
    stack: Any = fitted.model.bijection
    norm = stack.unstack()[-1].bijections[-1]
    # The last layer is the first that data meets: its statistics are the table's.
    np.testing.assert_allclose(norm.mean, 5.0, atol=0.6)
    np.testing.assert_allclose(norm.variance, 9.0, atol=2.0)
    # 2 log(3 sqrt(2 pi e)) = 5.03 nats is the rows' entropy.
    assert fitted.history[-1].best_loss < 5.2
    while_training = model.log_prob(x[:8], key=KEY)
    assert not np.allclose(while_training, model.log_prob(x[:8]))


class TestProgress:
    def test_is_told_within_epochs_and_stops_with_a_validation(self, monkeypatch):
        monkeypatch.setattr(step, "SEGMENT", 4)
        told = []

        def progress(at):
            told.append((at.epoch, at.step, at.steps))
            return len(told) == 5

        training = replace(SETTINGS, max_epochs=9, batch=32)
        fitted = pf.fit(model(), X, key=KEY, training=training, progress=progress)
        assert fitted.stopped == "interrupted"
        # 270 rows in batches of 32: 8 steps an epoch, two segments.
        assert told == [(1, 4, 8), (1, 8, 8), (2, 4, 8), (2, 8, 8), (3, 4, 8)]
        assert len(fitted.history) == 3
        assert np.isfinite(fitted.history[-1].validation_loss)

    def test_a_fit_stopped_within_an_epoch_resumes_to_the_same_bits(self, tmp_path, monkeypatch):
        monkeypatch.setattr(step, "SEGMENT", 4)
        training = replace(SETTINGS, max_epochs=4, batch=32)
        whole = pf.fit(model(), X, key=KEY, training=training)
        path, calls = tmp_path / "c", iter(range(99))
        stopped = pf.fit(
            model(), X, key=KEY, training=training, checkpoint=pf.Checkpoint(path),
            progress=lambda at: next(calls) == 2,
        )  # fmt: skip
        assert stopped.stopped == "interrupted"
        resumed = pf.fit(
            model(), X, key=KEY, training=training, checkpoint=pf.Checkpoint(path, resume=True)
        )
        assert same(resumed.model, whole.model)

    def test_a_time_limit_ends_within_an_epoch(self, monkeypatch):
        monkeypatch.setattr(step, "SEGMENT", 4)
        training = pf.Training(max_epochs=2, batch=2, max_time=0.3)
        wide = np.tile(X, (2000, 1))
        fitted = pf.fit(model(), wide, key=KEY, training=training)
        assert fitted.stopped == "time"
        assert len(fitted.history) == 1


def test_rows_that_are_made_as_they_are_taken_are_the_same_rows():
    from pushforward.training import RowSource

    taken = []

    def take(rows):
        taken.append(len(rows))
        return Batch(X[rows])

    training = replace(SETTINGS, max_epochs=3, batch=32)
    held = (X[:30], None)
    by_array = pf.fit(model(), X[30:], key=KEY, training=training, validation=held)
    source = RowSource(270, lambda rows: take(rows + 30))
    by_source = pf.fit(model(), source, key=KEY, training=training, validation=held)
    assert same(by_array.model, by_source.model)
    assert max(taken) <= 270


def test_segments_follow_from_sizes():
    row, small, large = np.zeros((1, 8), np.float32), [np.zeros(1000)], [np.zeros(2_000_000)]
    assert step.segment_steps(10_000, 256, row, small) == step.SEGMENT
    assert step.segment_steps(25, 128, row, small) == 32
    # A step of many weights takes long: fewer of them between two signs.
    assert step.segment_steps(10_000, 1024, row, large) == 16
    assert step.segment_steps(1, 10**9, row, large) == 1
