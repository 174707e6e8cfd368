"""Pictures: distributions that sum to one, bits per dimension, architectures, files, the command line."""

import itertools
import math
import re

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import pushforward as pf
from pushforward.architectures import ARCHITECTURES, registered
from pushforward.architectures.images.noise import dequantized, noise_given_picture
from pushforward.bijections import Chain, Elementwise, initialised
from pushforward.bijections.images import Pixels, Squeeze
from pushforward.cli import main
from pushforward.cli.image_files import image_sections
from pushforward.data.pictures import as_pixels, grid, read_pictures, write_pictures
from pushforward.distributions import AbstractDistribution, Dequantized, Flow, Uniform
from pushforward.errors import InputError, InputWarning
from pushforward.fitting.fit_images import fit_images
from pushforward.models.image_file import load_image_model, save_image_model
from pushforward.networks.convolutional import convolved
from pushforward.networks.images import features_first
from pushforward.testing import perturbed
from pushforward.testing.evidence import draw
from pushforward.transformers import LevelSpline
from pushforward.trust.picture_verdict import judged
from pushforward.trust.pixels import trusted_images
from pushforward.trust.stretch import local_stretch

NAMES = tuple(registered(images=True))
SMALL = {
    **{"steps": 1, "width": 8, "bins": 4, "patch": 2, "hidden": 8, "reach": 1, "flows": 2},
    **{"layers": 1, "blocks": 1, "components": 2, "rtol": 1e-5, "atol": 1e-5, "probes": 16},
}


def small(name, **options):
    kind = ARCHITECTURES[name]
    known = kind.__dataclass_fields__
    return kind(**{key: value for key, value in (SMALL | options).items() if key in known})


@eqx.filter_jit
def scored(model, x, key=None):
    return model.log_prob(x, key=key)


def pictures(n, shape=(8, 8, 1), levels=256, seed=0):
    """Bright blocks on black, each of one level or the next."""
    rng = np.random.default_rng(seed)
    found = np.zeros((n, *shape), np.uint8)
    for picture in found:
        i, j = rng.integers(0, shape[0] - 2), rng.integers(0, shape[1] - 2)
        level = rng.integers(levels // 2, levels - 1)
        picture[i : i + 3, j : j + 3] = level + rng.integers(0, 2, (3, 3, shape[2]))
    return found


class Logistic(AbstractDistribution):
    """What "logit" makes of even grey levels: a logistic distribution within its ends."""

    event_shape: tuple[int, ...] = eqx.field(static=True)
    alpha: float = 1e-6
    condition_shape = None

    def log_prob_rows(self, x, condition, key):
        each = jax.nn.log_sigmoid(x) + jax.nn.log_sigmoid(-x) - math.log1p(-2 * self.alpha)
        return each.reshape(len(x), -1).sum(1)

    def sample_rows(self, key, n, condition):
        x = jax.random.logistic(key, (n, *self.event_shape))
        return x, self.log_prob_rows(x, condition, None)


@pytest.mark.parametrize(
    ("scale", "base"),
    [
        ("unit", Uniform((2, 2, 1), 0.0, 1.0)),
        ("centre", Uniform((2, 2, 1), -1.0, 1.0)),
        ("logit", Logistic((2, 2, 1))),
    ],
)
def test_a_uniform_density_has_eight_bits_under_every_scale(scale, base):
    x = np.random.default_rng(0).integers(0, 256, (50, 2, 2, 1))
    model = Dequantized(Flow(base, Pixels((2, 2, 1), scale=scale)))
    np.testing.assert_allclose(-scored(model, x) / (4 * math.log(2)), 8.0, atol=2e-4)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        *((name, {}) for name in NAMES),
        ("image_glow", {"mixing": "shuffle", "coupling": "additive", "sizes": (1, 3, 1)}),
    ],
)
def test_there_and_back_and_determinant(name, options):
    """With classes, away from the start, after the data pass."""
    x = jnp.asarray(pictures(12, (4, 4, 1)) + 0.5, jnp.float32)
    condition = jnp.eye(2)[jnp.arange(12) % 2]
    # One scale costs less; the others have two.
    one = ("image_ffjord", "image_flow_plus_plus", "image_glow", "image_nsf")
    scales = {"scales": 1} if name in one else {}
    flow = small(name, **scales, **options).build((4, 4, 1), 2, key=jax.random.key(0))
    bijection = perturbed(initialised(flow.bijection, x, condition), jax.random.key(1), 0.2)

    @eqx.filter_jit
    def run(bijection, x, condition):
        z, log_det = bijection.inverse_rows(x, condition, None)
        back, other = bijection.forward_rows(z, condition, None)

        def one(y):
            return bijection.inverse_rows(y[None], condition[:1], None)[0].ravel()

        return log_det, back, other, jax.jacobian(one)(x[0]).reshape(16, 16)

    log_det, back, other, jacobian = run(bijection, x, condition)
    assert (jnp.floor(back) == jnp.floor(x)).all()
    np.testing.assert_allclose(log_det, -other, atol=1e-3)
    expected = np.linalg.slogdet(np.asarray(jacobian, np.float64))[1]
    np.testing.assert_allclose(log_det[0], expected, atol=1e-3)
    turned = run(bijection, x, condition[::-1])[0]
    assert (turned != log_det).all()


def test_a_last_convolution_is_one_product():
    rng = np.random.default_rng(0)
    x, kernel = rng.normal(size=(2, 4, 5, 6)), rng.normal(size=(3, 3, 6, 2))
    weights, bias = kernel.transpose(0, 1, 3, 2).reshape(18, 6), rng.normal(size=2)
    x, kernel, weights, bias = (jnp.asarray(a, jnp.float32) for a in (x, kernel, weights, bias))
    expected = convolved(x, kernel) + bias[None, None, None]
    got = features_first(x, weights, bias, (2,))
    np.testing.assert_allclose(got.T.reshape(expected.shape), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mixing": "rotate"}, "mixing='rotate' is unknown; known: conv, shuffle, reverse"),
        ({"coupling": "cubic"}, "coupling='cubic' is unknown; known: affine, additive"),
        ({"sizes": (3, 2, 3)}, "sizes=.*three odd numbers of pixels"),
    ],
)
def test_options_of_glow_that_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        small("image_glow", **options).build((4, 4, 1), key=jax.random.key(0))


@pytest.mark.parametrize("name", ["pixel_spline", "subscale_spline"])
def test_probabilities_of_all_pictures_sum_to_one(name):
    """Densities are even within a level: the probability is exact, whatever the noise."""
    architecture = small(name, levels=3, knots=(0, 1, 2, 3), patch=1)
    flow = architecture.build((2, 2, 1), key=jax.random.key(0))
    model = Dequantized(perturbed(flow, jax.random.key(1), 1.0))
    every = np.array(list(itertools.product(range(3), repeat=4)), np.float32).reshape(-1, 2, 2, 1)
    log_prob = np.asarray(scored(model, every), np.float64)
    assert np.exp(log_prob).sum() == pytest.approx(1, abs=1e-5)
    noisy = np.asarray(scored(model, every, jax.random.key(5)))
    np.testing.assert_allclose(noisy, log_prob, atol=1e-5)
    assert log_prob.std() > 0.1
    x, of_draws = draw(model, jax.random.key(2), 81, None)
    assert set(np.unique(x)) <= {0.0, 1.0, 2.0}
    np.testing.assert_allclose(scored(model, x), of_draws, atol=1e-5)


def test_every_level_comes_back_however_improbable():
    """Latents beside 0 and 1 keep the levels apart, and none reaches 1, where the uniform density ends."""
    spline = LevelSpline(tuple(i / 256 for i in range(257)))

    @eqx.filter_jit
    def there_and_back(x, likely):
        """All levels, where nearly all mass lies in one."""
        params = jnp.where(jnp.arange(256)[:, None] == likely, 0.0, -20.0)
        z, _ = spline.inverse(x, jnp.broadcast_to(params, (256, 256)))
        return z, spline.forward(z, jnp.broadcast_to(params, (256, 256)))[0]

    levels = np.arange(256)
    for likely in (0, 1, 100, 254, 255):
        _, back = there_and_back(jnp.asarray((levels + 0.5) / 256, jnp.float32), likely)
        np.testing.assert_array_equal(np.floor(np.asarray(back) * 256), levels)
        edge = jnp.nextafter(jnp.asarray((levels + 1) / 256, jnp.float32), 0.0)
        assert float(there_and_back(edge, likely)[0].max()) < 1


def test_noise_never_reaches_the_next_level():
    """In float32, 255 + u is 256 once in 130,000 draws, beyond the map's ends, where the density is another one."""
    shape = (250, 250, 1)
    spline = Elementwise(LevelSpline((0.0, 255 / 256, 1.0)), shape)
    spline = eqx.tree_at(lambda s: s.params, spline, spline.params.at[0].set(5.0))
    model = Dequantized(Flow(Uniform(shape), Chain([spline, Pixels(shape, 256, "unit")])))
    log_prob = scored(model, jnp.full((16, *shape), 255.0), jax.random.key(0))
    np.testing.assert_allclose(log_prob, log_prob.min(), rtol=1e-6)


def test_noise_given_a_picture_is_a_density_within_the_levels():
    """It starts uniform; away from there it integrates to 1, and its draws and values agree."""
    start = noise_given_picture((1, 2, 1), steps=1, width=8, levels=4, key=jax.random.key(0))
    x = jnp.array([[[3.0], [1.0]]])
    drawn = eqx.filter_jit(lambda q: q.sample_and_log_prob(jax.random.key(2), (4000,), x))
    np.testing.assert_allclose(drawn(start)[1], 0.0, atol=1e-4)
    noise = perturbed(start, jax.random.key(1), 0.5)
    u, log_q = drawn(noise)
    assert 0 < u.min() < u.max() < 1
    sides = (jnp.arange(200.0) + 0.5) / 200
    grid = jnp.stack(jnp.meshgrid(sides, sides), -1).reshape(-1, 1, 2, 1)
    both = jnp.concatenate([u, grid])
    log_prob = eqx.filter_jit(lambda q: q.log_prob(both, x))(noise)
    np.testing.assert_allclose(log_prob[:4000], log_q, atol=1e-3)
    on_grid = log_prob[4000:]
    assert float(jnp.exp(on_grid).mean()) == pytest.approx(1, abs=2e-3)
    # The mean of log q over its draws is its integral.
    information = float((jnp.exp(on_grid) * on_grid).mean())
    assert float(log_q.mean()) == pytest.approx(information, abs=4 * float(log_q.std()) / 4000**0.5)
    assert information > 0.1


def test_probabilities_sum_to_one_by_draws_of_variational_noise():
    """The mean of p / q over draws of the noise is a picture's probability, and all of them sum to 1."""
    architecture = small("image_flow_plus_plus", levels=2, scales=1)
    model = dequantized(architecture, (2, 2, 1), None, key=jax.random.key(0))
    flow = perturbed(model.density, jax.random.key(1), 0.2)
    model = Dequantized(flow, perturbed(model.noise, jax.random.key(2), 0.2))
    n, every = 4000, np.array(list(itertools.product(range(2), repeat=4)), np.float32)
    rows = jnp.asarray(every.reshape(-1, 2, 2, 1).repeat(n, 0))
    log_ratio = np.asarray(scored(model, rows, jax.random.key(3)), np.float64)
    ratio = np.exp(log_ratio).reshape(16, n)
    error = math.sqrt(ratio.var(1).sum() / n)
    assert error < 0.02
    assert ratio.mean(1).sum() == pytest.approx(1, abs=4 * error)


def test_noise_stays_within_its_level_in_single_precision():
    """However far out its logit: 255 + u is below 256, and the density is finite there."""
    noise = noise_given_picture((2, 2, 1), steps=1, width=8, levels=256, key=jax.random.key(0))
    last = noise.bijection.bijections[-2]
    for shift in (-100.0, 100.0):
        far = eqx.tree_at(lambda e: e.params, last, last.params.at[0].set(shift))
        parts = [*noise.bijection.bijections[:-2], far, noise.bijection.bijections[-1]]
        moved = Flow(noise.base, noise.bijection.with_parts(parts))
        flow = small("image_glow", scales=1).build((2, 2, 1), key=jax.random.key(0))
        model = Dequantized(flow, moved)
        x = jnp.array([0.0, 1.0, 200.0, 255.0]).reshape(1, 2, 2, 1)
        within, log_q = model.dequantized(x, jax.random.key(1))
        assert (jnp.floor(within) == x).all()
        assert jnp.isfinite(log_q).all()
        assert jnp.isfinite(scored(model, x)).all()


def test_noise_that_does_not_fit_is_refused():
    noise = noise_given_picture((2, 2, 1), steps=1, width=4, levels=4, key=jax.random.key(0))
    with pytest.raises(InputError, match=re.escape("noise of events (2, 2, 1)")):
        Dequantized(Uniform((4, 4, 1), 0.0, 4.0), noise)
    assert (
        pf.architectures.ImageFlowPlusPlus(noise=None).noise_of((4, 4, 1), key=jax.random.key(0))
        is None
    )


def test_variational_noise_is_fitted_saved_and_reported(tmp_path):
    x = pictures(200, (4, 4, 1))
    architecture = small("image_flow_plus_plus", scales=1)
    short = pf.Training(max_steps=20, batch=32)
    model = fit_images(x, architecture=architecture, training=short, trust=False)
    fresh = dequantized(architecture, (4, 4, 1), None, key=jax.random.key(0))
    learned = model.model.noise.bijection.bijections[-2].params
    assert (learned != fresh.noise.bijection.bijections[-2].params).all()
    save_image_model(model, tmp_path / "m.safetensors")
    again = load_image_model(tmp_path / "m.safetensors")
    one, four = (again.bits_per_dim(x[:50], draws=k) for k in (1, 4))
    np.testing.assert_array_equal(one, model.bits_per_dim(x[:50]))
    assert four.mean() < one.mean()
    by_hand = Dequantized(model.model.density, model.model.noise, draws=4)
    np.testing.assert_allclose(four * -16 * math.log(2), scored(by_hand, x[:50]), rtol=1e-4)
    assert "a bound, by variational noise" in image_sections(again)["model"][1]
    with pytest.raises(InputError, match="draws"):
        model.bits_per_dim(x[:5], draws=0)


def test_more_noise_is_a_tighter_bound():
    flow = small("image_nsf", levels=4, scales=1).build((4, 4, 1), key=jax.random.key(0))
    flow = perturbed(flow, jax.random.key(1), 1.0)
    x = np.random.default_rng(0).integers(0, 4, (300, 4, 4, 1))
    one, many = (scored(Dequantized(flow, draws=k), x).mean() for k in (1, 8))
    assert many > one


def test_a_pictures_noise_does_not_depend_on_those_beside_it():
    flow = small("image_glow", scales=1).build((4, 4, 1), key=jax.random.key(0))
    model, x = Dequantized(perturbed(flow, jax.random.key(1))), pictures(20, (4, 4, 1))
    log_prob = np.asarray(scored(model, x))
    np.testing.assert_allclose(scored(model, x[::-1])[::-1], log_prob, rtol=1e-5)
    assert (np.asarray(scored(model, x, jax.random.key(3))) != log_prob).all()


def test_what_leaves_first_stands_last():
    x = jnp.arange(64.0).reshape(1, 4, 4, 4)
    first, second = Squeeze((4, 4, 4)), Squeeze((2, 2, 8))
    both = pf.bijections.images.MultiScale([first, second])
    z = both.inverse_rows(x, None, None)[0]
    whole = first.inverse_rows(x, None, None)[0]
    np.testing.assert_array_equal(z[:, 32:], whole[..., 8:].reshape(1, -1))
    expected = second.inverse_rows(whole[..., :8], None, None)[0]
    np.testing.assert_array_equal(z[:, :32], expected.reshape(1, -1))
    np.testing.assert_array_equal(both.forward_rows(z, None, None)[0], x)


@pytest.fixture(scope="module")
def fitted():
    return pf.ImageDensity(
        small("image_nsf", scales=1), training=pf.Training(max_steps=60, batch=32), random_state=0
    ).fit(pictures(400)[..., 0], ["left", "right"] * 200)


class TestImageDensity:
    def test_learns_more_than_counting_does(self, fitted):
        trust = fitted.model_.trust
        assert trust["held_out"]["bits"] < 4
        assert (
            trust["anchors"]["neighbours"]
            < trust["anchors"]["levels"]
            < trust["anchors"]["uniform"]
        )
        assert trust["round_trip"]["held_out"] == 0
        assert trust["bound"]["bits"] < trust["bound"]["by_one"]
        assert 0 <= trust["classes"]["accuracy"] <= 1

    def test_there_and_back(self, fitted, tmp_path):
        x = pictures(5, seed=1)[..., 0]
        y = ["left"] * 5
        z = fitted.encode(x, y)
        assert z.shape == (5, 64)
        np.testing.assert_array_equal(fitted.decode(z, y), x)
        fitted.save(tmp_path / "m.safetensors")
        again = pf.load(tmp_path / "m.safetensors")
        np.testing.assert_array_equal(again.score_samples(x, y), fitted.score_samples(x, y))
        np.testing.assert_array_equal(again.sample(3, 1), fitted.sample(5, 1)[:3])
        between = again.interpolate(x[0], x[1], 5, y="left")
        np.testing.assert_array_equal(between[[0, -1]], x[:2])

    def test_the_largest_stretch_is_found_from_below(self, fitted):
        model, x = fitted.model_, pictures(3, seed=2)
        labels = ["left", "right", "left"]
        z, condition = model.encode(x, labels), model.condition(labels, 3)

        @eqx.filter_jit
        def jacobians(flow, z, condition):
            def decoded(one):
                return flow.bijection.forward_rows(one.reshape(z.shape), condition, None)[0].sum(0)

            return jax.jacrev(decoded)(z.ravel())

        jacobian = np.asarray(jacobians(model.flow, z, condition), np.float64)
        each = jacobian.reshape(64, 3, 64).swapaxes(0, 1)
        exact = np.linalg.svd(each, compute_uv=False)[:, 0]
        one, many = (local_stretch(model, x, labels, rounds) for rounds in (1, 8))
        assert (many <= exact * 1.001).all()
        assert (many > 0.9 * exact).all()
        assert (one < 0.9 * exact).any()
        stretch, draws = model.trust["stretch"], model.trust["draws"]
        assert 0 < stretch["median"] <= stretch["largest"]
        assert draws["non_finite"] == 0

    def test_draws_that_are_not_finite_are_counted(self, fitted, monkeypatch):
        model, x = fitted.model_, pictures(4)
        latents = model.latents(64, 0)
        latents[:5] = np.nan
        monkeypatch.setattr(type(model), "latents", lambda *_: latents)
        report = trusted_images(model, x, x, ["left"] * 4)
        assert report["draws"]["non_finite"] == 5
        assert any("5 of 64 draws" in text for text, good in judged(report) if good is False)

    def test_bad_input(self, fitted):
        x = pictures(5)[..., 0]
        for run, words in {
            lambda: fitted.score_samples(x): "label for each of 5",
            lambda: fitted.score_samples(x, ["up"] * 5): "'up' was not seen",
            lambda: fitted.score_samples(x[:, :4], ["left"] * 5): "(4, 8, 1)",
            lambda: fitted.sample(2, 0, temperature=0): "temperature=0",
            lambda: pf.ImageDensity().fit(x / 255): "np.round(255 * x)",
            lambda: pf.ImageDensity().fit(x.astype(int) * 300): "levels from 0 to 255",
            lambda: pf.ImageDensity().fit(np.zeros((5, 3, 8, 8), np.uint8)): "channels first",
            lambda: pf.ImageDensity().fit(np.zeros((200, 8, 8), np.uint8)): "equal",
            lambda: pf.ImageDensity("maf").fit(np.resize(x, (200, 8, 8))): "of images are",
        }.items():
            with pytest.raises(InputError, match=re.escape(words)):
                run()

    def test_odd_sizes_say_what_fits(self):
        with pytest.raises(InputError, match="even height and width"):
            pf.architectures.ImageGlow(scales=2).build((6, 6, 1), key=jax.random.key(0))


class TestFiles:
    def test_folders_with_labels(self, tmp_path):
        x = pictures(6)
        write_pictures(tmp_path / "out", x, ["a", "b"] * 3)
        read = read_pictures(tmp_path / "out")
        order = np.argsort(["a", "b"] * 3, kind="stable")
        np.testing.assert_array_equal(read.pixels, x[order])
        assert read.labels == ["a"] * 3 + ["b"] * 3
        write_pictures(tmp_path / "out.npz", x)
        np.testing.assert_array_equal(read_pictures(tmp_path / "out.npz").pixels, x)

    def test_colours(self, tmp_path):
        x = np.random.default_rng(0).integers(0, 256, (3, 5, 6, 3)).astype(np.uint8)
        write_pictures(tmp_path / "c", x)
        np.testing.assert_array_equal(read_pictures(tmp_path / "c").pixels, x)

    def test_files_that_are_no_pictures_of_one_kind(self, tmp_path):
        def folder(name, **images):
            (tmp_path / name).mkdir()
            for file, image in images.items():
                image.save(tmp_path / name / f"{file}.png")
            return tmp_path / name

        grey = Image.new("L", (8, 8))
        cases = {
            folder("empty"): "no pictures",
            folder("sizes", a=grey, b=Image.new("L", (9, 8))): "b.png is 8 x 9",
            folder("kinds", a=grey, b=Image.new("RGB", (8, 8))): "b.png is 8 x 8 pixels of colour",
            folder("alpha", a=Image.new("RGBA", (8, 8))): "alpha",
            folder("palette", a=Image.new("P", (8, 8))): "palette",
            folder("bit", a=Image.new("1", (8, 8))): "one bit",
            folder("deep", a=Image.new("I;16", (8, 8))): "16 bit",
        }
        cut = folder("cut", a=Image.fromarray(pictures(1, (64, 64, 1))[0, ..., 0]))
        (cut / "a.png").write_bytes((cut / "a.png").read_bytes()[:60])
        cases[cut] = "a.png cannot be read"
        frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
        (tmp_path / "moving").mkdir()
        frames[0].save(tmp_path / "moving" / "a.png", save_all=True, append_images=frames[1:])
        cases[tmp_path / "moving"] = "animated"
        for path, words in cases.items():
            with pytest.raises(InputError, match=words):
                read_pictures(path)

    def test_too_many_pixels(self, tmp_path, monkeypatch):
        Image.new("L", (80, 80)).save(tmp_path / "a.png")
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
        with pytest.raises(InputError, match="too many pixels"):
            read_pictures(tmp_path / "a.png")

    def test_jpeg_is_lossy(self, tmp_path):
        Image.new("L", (8, 8)).save(tmp_path / "a.jpg")
        with pytest.warns(InputWarning, match="lossy"):
            read_pictures(tmp_path)

    def test_a_turned_picture_stands_upright(self, tmp_path):
        exif = Image.Exif()
        exif[0x0112] = 6
        Image.new("L", (8, 4)).save(tmp_path / "a.png", exif=exif)
        assert read_pictures(tmp_path / "a.png").pixels.shape == (1, 8, 4, 1)

    def test_grids(self):
        x = pictures(5)
        whole = grid(x)
        assert whole.shape == (18, 28, 1)
        np.testing.assert_array_equal(whole[10:18, 10:18], x[4])
        with pytest.raises(InputError, match="at most"):
            grid(np.zeros((5000, 1, 1, 1), np.uint8))

    def test_levels(self):
        assert as_pixels(np.zeros((2, 3, 4), int), "x").shape == (2, 3, 4, 1)


def test_command_line(tmp_path, capsys, monkeypatch):
    """From a folder to a grid of draws."""
    monkeypatch.chdir(tmp_path)
    write_pictures("in", pictures(150))
    settings = [word for one in ("scales=1", "steps=1", "width=8") for word in ("--set", one)]
    options = ["--flow", "image_glow", *settings, "--max-epochs", "1"]
    assert main(["fit", "in", "-o", "m.safetensors", *options]) == 0
    said = capsys.readouterr().err
    assert "bits per dimension" in said
    assert "nats" not in said
    assert main(["score", "m.safetensors", "in", "-o", "s.csv"]) == 0
    assert "(a bound)" in capsys.readouterr().err
    lines = (tmp_path / "s.csv").read_text().splitlines()
    assert lines[0] == "picture,bits_per_dim,log_prob,quantile"
    assert len(lines) == 151
    assert main(["score", "m.safetensors", "in", "-o", "t.csv", "--draws", "3"]) == 0
    assert (tmp_path / "t.csv").read_text().splitlines()[0] == "picture,bits_per_dim,log_prob"
    assert main(["sample", "m.safetensors", "-n", "5", "--grid", "g.png", "-o", "out"]) == 0
    assert read_pictures("g.png").pixels.shape == (1, 18, 28, 1)
    assert read_pictures("out").pixels.shape == (5, 8, 8, 1)
    between = ["in/000.png", "in/001.png", "--steps", "3", "--grid", "b.png"]
    assert main(["interpolate", "m.safetensors", *between]) == 0
    assert main(["inspect", "m.safetensors"]) == 0
    said = capsys.readouterr().out
    assert "ImageGlow" in said
    assert "levels per unit" in said
    assert "0 of 64 draws are not finite" in said
    for words, message in {
        ("sample", "m.safetensors", "-n", "5"): "--grid",
        ("sample", "m.safetensors", "-n", "5", "--grid", "h.png", "--temperature", "-1"): "above 0",
        ("sample", "m.safetensors", "-n", "9999999", "--grid", "h.png"): "too many",
        ("fit", "in", "-o", "n.safetensors", "--columns", "a"): "for tables",
        ("fit", "in", "-o", "n.safetensors", "--labels"): "has none",
        ("fit", "in", "-o", "n.safetensors", "--flow", "maf"): "maf: models tables; in holds",
        ("score", "m.safetensors", "g.png"): "(18, 28, 1)",
        ("interpolate", "m.safetensors", "g.png", "g.png", "--grid", "h.png"): "(18, 28, 1)",
    }.items():
        assert main(list(words)) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
