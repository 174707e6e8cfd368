"""Every file that a version wrote (`tests/golden/write.py`) loads, and gives the numbers that it gave then."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pushforward as pf
from pushforward.architectures import ARCHITECTURES, registered
from pushforward.data.frames import read_frame
from pushforward.models.image_file import load_image_model
from pushforward.models.table_file import load_table_model
from pushforward.models.typed_file import load_typed_table
from pushforward.testing import perturbed
from pushforward.testing.evidence import log_prob

GOLDEN = Path(__file__).parent / "golden"
VERSIONS = sorted(path.name for path in GOLDEN.iterdir() if (path / "expected.json").exists())
OTHERS = (
    *("table", "angles", "kinds", "equation", "typed", "products", "pictures", "noisy_pictures"),
    *("posterior", "posterior_of_sets", "posterior_of_series"),
)
FLOWS = [
    (version, path.stem)
    for version in VERSIONS
    for path in sorted((GOLDEN / version).glob("*.safetensors"))
    if path.stem not in OTHERS
]
CLOSE = 3e-4
"""Single precision and the solvers' tolerance, on another machine."""


def expected(version: str, name: str) -> dict[str, np.ndarray]:
    kept = json.loads((GOLDEN / version / "expected.json").read_text())
    return {key: np.asarray(value) for key, value in kept[name].items()}


def differences(flow, version: str, name: str) -> None:
    probe = expected(version, "images" if name in registered(images=True) else "flows")
    found = log_prob(flow, *(jnp.asarray(probe[k], jnp.float32) for k in ("rows", "given")))
    np.testing.assert_allclose(found, expected(version, name)["log_prob"], rtol=CLOSE, atol=CLOSE)


@pytest.mark.parametrize(("version", "name"), FLOWS)
def test_flows(version, name):
    differences(pf.load(GOLDEN / version / f"{name}.safetensors"), version, name)


def test_a_changed_flow_is_seen():
    flow = pf.load(GOLDEN / "0.5.0" / "nsf.safetensors")
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        differences(perturbed(flow, jax.random.key(0), 0.003), "0.5.0", "nsf")


@pytest.mark.parametrize("version", VERSIONS)
def test_tables(version):
    folder = GOLDEN / version
    kept = expected(version, "table")
    found = pf.load(folder / "table.safetensors").log_prob(kept["given"], kept["rows"])
    np.testing.assert_allclose(found, kept["log_prob"], rtol=CLOSE, atol=CLOSE)
    kept = expected(version, "angles")
    found = pf.load(folder / "angles.safetensors").score_samples(kept["rows"])
    np.testing.assert_allclose(found, kept["log_prob"], rtol=CLOSE, atol=CLOSE)
    kept = expected(version, "kinds")
    found = load_table_model(folder / "kinds.safetensors").log_prob(kept["rows"])
    np.testing.assert_allclose(found, kept["log_prob"], rtol=CLOSE, atol=CLOSE)


@pytest.mark.parametrize("version", VERSIONS)
def test_typed_tables(version):
    folder = GOLDEN / version
    rows = read_frame(folder / "typed.csv")
    for name in ("typed", "products"):
        model, kept = load_typed_table(folder / f"{name}.safetensors"), expected(version, name)
        own = rows.select(name for name in model.columns.names)
        given = ["city", "wind"] if name == "typed" else ["city"]
        found = {"joint": model.log_prob(own), "given": model.log_prob(own, given)}
        if name == "typed":
            found["with_gaps"] = model.log_prob(own, gaps=True)
        for what, values in found.items():
            np.testing.assert_allclose(values, kept[what], rtol=CLOSE, atol=CLOSE)


@pytest.mark.parametrize("version", VERSIONS)
def test_equations(version):
    kept = expected(version, "equation")
    model = pf.NeuralODERegressor.load(GOLDEN / version / "equation.safetensors")
    np.testing.assert_allclose(model.predict(kept["times"]), kept["values"], rtol=CLOSE, atol=CLOSE)


@pytest.mark.parametrize("version", VERSIONS)
def test_pictures(version):
    kept = expected(version, "pictures")
    model = load_image_model(GOLDEN / version / "pictures.safetensors")
    found = model.log_prob_of_labels(kept["pixels"].astype(np.uint8))
    np.testing.assert_allclose(found, kept["log_prob"], rtol=CLOSE, atol=CLOSE)
    kept = expected(version, "noisy_pictures")
    model = load_image_model(GOLDEN / version / "noisy_pictures.safetensors")
    found = model.log_prob(kept["pixels"].astype(np.uint8), draws=2)
    np.testing.assert_allclose(found, kept["log_prob"], rtol=CLOSE, atol=CLOSE)


@pytest.mark.parametrize("version", VERSIONS)
def test_posteriors(version):
    kept = expected(version, "posterior")
    post = pf.load(GOLDEN / version / "posterior.safetensors")
    found = post.log_prob({name: kept[name] for name in ("m", "s", "w")})
    np.testing.assert_allclose(found, kept["log_prob"], rtol=CLOSE, atol=CLOSE)
    mean = post.expect(lambda p: p["s"]).value
    np.testing.assert_allclose(mean, kept["mean"], rtol=CLOSE, atol=CLOSE)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", ["sets", "series"])
def test_amortized_posteriors(version, kind):
    kept = expected(version, f"posterior_of_{kind}")
    model = pf.load(GOLDEN / version / f"posterior_of_{kind}.safetensors")
    # The model's own: its weights were changed since it was fitted, so that observations look strange to it.
    found = model.model_.log_prob(kept["rows"], kept["given"])
    np.testing.assert_allclose(found, kept["log_prob"], rtol=CLOSE, atol=CLOSE)


def test_every_architecture_has_a_file():
    """Run `make golden`."""
    assert {name for _, name in FLOWS} >= set(ARCHITECTURES)


def test_files_stay_small():
    assert sum(path.stat().st_size for path in GOLDEN.rglob("*") if path.is_file()) < 2**20
