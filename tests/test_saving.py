"""Model files: what goes in comes out bit for bit, and nothing but a whole, unchanged file of ours is loaded."""

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load, save

from one_line import line
from pushforward import model_file
from pushforward.architectures import ARCHITECTURES, MAF, NSF, RealNVP, registered
from pushforward.bijections import Permutation
from pushforward.columns import Columns
from pushforward.distributions import Flow
from pushforward.models.table_file import load_table_model, save_table_model
from pushforward.models.table_flow import table_flow
from pushforward.models.table_model import TableModel
from pushforward.saving import (
    architecture_from_json,
    architecture_to_json,
    check_target,
    load_flow,
    read_flow,
    read_header,
    read_model,
    save_flow,
    write_flow,
    write_model,
)
from pushforward.testing import tiny
from pushforward.testing.examples import IMAGE

GOLDEN = Path(__file__).parent / "golden"
ROWS = np.stack([np.random.default_rng(0).normal(5, 3, 60), np.arange(60.0) % 7], axis=1)
GIVEN = np.random.default_rng(1).normal(size=(60, 1))
TINY = MAF(layers=2, width=4, depth=1)


def table_model(architecture=TINY, conditional=False, precision=32) -> TableModel:
    with jax.enable_x64(precision == 64):
        shape = (1,) if conditional else None
        flow = table_flow(architecture, 2, shape, jax.random.key(3))
    columns = Columns.fit(ROWS, ["a", "n"])
    given = Columns.fit(GIVEN, ["c"]) if conditional else None
    summary = {"epochs": 2, "loss": np.float32(0.1), "curve": np.arange(2.0)}
    return TableModel(flow, architecture, columns, given, precision, summary, {"nats": -1.5})


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("model") / "m.safetensors"
    save_table_model(table_model(), path)
    return path


def refused(path: Path) -> str:
    """The line that a bad file gives; it names the file."""
    text = line(load_table_model, path)
    assert text.startswith(f"{path}: ")
    return text


def rewritten(source: Path, target: Path, change, arrays=None, seal=True) -> Path:
    """A file whose header is changed, with a fitting checksum: damage that only later checks can find."""
    data = source.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["pushforward"])
    header["sha256"] = "0" * 64
    change(header)
    stored = load(data)
    if arrays is not None:
        arrays(stored)
    fresh = save(stored, {"pushforward": json.dumps(header)})
    if seal:
        digest = hashlib.sha256(fresh).hexdigest().encode()
        fresh = fresh.replace(b"0" * 64, digest, 1)
    target.write_bytes(fresh)
    return target


class TestRoundTrip:
    @pytest.mark.parametrize("name", ARCHITECTURES)
    def test_every_architecture_bit_for_bit(self, name, tmp_path):
        architecture = tiny(ARCHITECTURES[name])
        if hasattr(architecture, "base"):
            architecture = replace(architecture, base="mixture")
        event = IMAGE if name in registered(images=True) else 3
        flow = architecture.build(event, 2, key=jax.random.key(0))
        write_flow(tmp_path / "flow", flow)
        again = read_flow(tmp_path / "flow")
        assert jax.tree.structure(again) == jax.tree.structure(flow)
        for ours, theirs in zip(jax.tree.leaves(again), jax.tree.leaves(flow), strict=True):
            assert ours.dtype == theirs.dtype
            assert np.asarray(ours).tobytes() == np.asarray(theirs).tobytes()

    def test_the_old_names_warn(self, tmp_path):
        flow = TINY.build(2, key=jax.random.key(0))
        with pytest.warns(DeprecationWarning, match=r"is now pushforward\.save\(path, flow\)"):
            save_flow(tmp_path / "f", Flow(flow.base, flow.bijection), TINY)
        with pytest.warns(DeprecationWarning, match=r"is now pushforward\.load\(path\)"):
            assert load_flow(tmp_path / "f").architecture == TINY

    @pytest.mark.parametrize(("conditional", "precision"), [(False, 32), (True, 64)])
    def test_a_fresh_process_gives_the_same_bits(self, conditional, precision, tmp_path):
        model = table_model(conditional=conditional, precision=precision)
        path = tmp_path / "m.safetensors"
        save_table_model(model, path)
        given = GIVEN if conditional else None
        np.savez(tmp_path / "rows.npz", rows=ROWS, given=GIVEN)
        program = (
            "import sys, numpy as np\n"
            "from pushforward.models.table_file import load_table_model\n"
            "rows = np.load(sys.argv[2])\n"
            "model = load_table_model(sys.argv[1])\n"
            "given = None if model.condition is None else rows['given']\n"
            "np.save(sys.argv[3], model.log_prob(rows['rows'], given))\n"
        )
        out = tmp_path / "out.npy"
        command = [sys.executable, "-c", program, path, tmp_path / "rows.npz", out]
        # Other optimisations would give other roundings.
        plain = str(int(jax.config.values["jax_disable_most_optimizations"]))
        environment = {**os.environ, "JAX_DISABLE_MOST_OPTIMIZATIONS": plain}
        subprocess.run(command, check=True, timeout=120, env=environment)
        assert np.load(out).tobytes() == model.log_prob(ROWS, given).tobytes()

    def test_everything_of_a_table_model_comes_back(self, tmp_path):
        model = table_model(NSF(layers=1, width=4, bins=3, bound=4), conditional=True)
        save_table_model(model, tmp_path / "m")
        again = load_table_model(tmp_path / "m")
        assert again.architecture == model.architecture
        assert (again.columns, again.condition) == (model.columns, model.condition)
        assert (again.precision, again.trust) == (32, model.trust)
        assert again.summary == {"epochs": 2, "loss": float(np.float32(0.1)), "curve": [0.0, 1.0]}

    def test_64_bits_stay(self, tmp_path):
        save_table_model(table_model(precision=64), tmp_path / "m")
        again = load_table_model(tmp_path / "m")
        assert {leaf.dtype for leaf in jax.tree.leaves(again.flow)} == {np.dtype("float64")}

    def test_integers_and_other_models(self, tmp_path):
        model = Permutation(jnp.array([2, 0, 1]))

        def skeleton(header):
            return Permutation(np.arange(header["d"]))

        write_model(tmp_path / "m", {"kind": "order", "d": 3}, model, skeleton=skeleton)
        header, again = read_model(tmp_path / "m", skeleton)
        assert (header["kind"], header["schema"]) == ("order", 2)
        assert again.order.dtype == jnp.int32
        assert again.order.tolist() == [2, 0, 1]

    def test_equal_models_give_equal_files(self, saved, tmp_path):
        save_table_model(table_model(), tmp_path / "m")
        assert (tmp_path / "m").read_bytes() == saved.read_bytes()

    def test_odd_names_and_a_checksum_like_text(self, tmp_path):
        model = table_model()
        names = ('"sha256": "' + "0" * 64, "\u00e9\n\\\U0001f600")
        columns = replace(model.columns, names=names)
        summary = {"sha256": "0" * 64}
        save_table_model(replace(model, columns=columns, summary=summary), tmp_path / "m")
        again = load_table_model(tmp_path / "m")
        assert again.columns.names == names
        assert again.summary == summary

    def test_the_header_is_read_without_the_arrays(self, saved, monkeypatch):
        monkeypatch.setattr(model_file, "_decoded", None)
        header = read_header(saved)
        assert header["format"] == "pushforward"
        assert header["architecture"]["name"] == "maf"
        assert header["columns"]["names"] == ["a", "n"]

    def test_golden_file(self):
        probe = json.loads((GOLDEN / "v1_nsf.json").read_text())
        model = load_table_model(GOLDEN / "v1_nsf.safetensors")
        found = model.log_prob(np.array(probe["values"]), np.array(probe["given"]))
        np.testing.assert_allclose(found, probe["log_prob"], rtol=1e-5, atol=1e-5)


class TestBadFiles:
    def test_missing_directory_empty_pipe(self, tmp_path):
        assert "no such file" in refused(tmp_path / "none")
        assert "directory" in refused(tmp_path)
        (tmp_path / "empty").touch()
        assert "is empty" in refused(tmp_path / "empty")
        os.mkfifo(tmp_path / "pipe")
        assert "not a regular file" in refused(tmp_path / "pipe")
        assert "no such file" in line(read_header, tmp_path / "none")

    @pytest.mark.parametrize(
        "content",
        [
            b"a,b\n1,2\n",
            b"x",
            b"\x80\x04\x95" + b"p" * 40,
            b"\xff" * 64,
            (2**40).to_bytes(8, "little") + b"{}",
            (2).to_bytes(8, "little") + b"{}",
            (2).to_bytes(8, "little") + b"[]",
            (4).to_bytes(8, "little") + b"\xff\xfe\x00\x01",
            (90_000).to_bytes(8, "little") + b"[" * 90_000,
            save({"a": np.zeros(3)}),
            save({"a": np.zeros(3)}, {"pushforward": "not json"}),
            save({"a": np.zeros(3)}, {"pushforward": "[1]"}),
            save({"a": np.zeros(3)}, {"pushforward": '{"format": "other"}'}),
            save({"a": np.zeros(3)}, {"pushforward": "[" * 90_000}),
            save({"a": np.zeros(3)}, {"format": "pt"}),
        ],
    )
    def test_foreign(self, content, tmp_path):
        (tmp_path / "f").write_bytes(content)
        assert "not a pushforward model file" in refused(tmp_path / "f")

    def test_truncated_anywhere(self, saved, tmp_path):
        data = saved.read_bytes()
        header_end = 8 + int.from_bytes(data[:8], "little")
        for cut in [*range(0, len(data), 53), header_end - 1, header_end, len(data) - 1]:
            (tmp_path / "f").write_bytes(data[:cut])
            refused(tmp_path / "f")
        assert f"{cut} of {len(data)} bytes" in refused(tmp_path / "f")
        (tmp_path / "f").write_bytes(data + b"x")
        assert "1 bytes too many" in refused(tmp_path / "f")

    def test_any_changed_byte_is_found(self, saved, tmp_path):
        data = saved.read_bytes()
        for at in [*range(0, 60), *range(60, len(data), 17), len(data) - 1]:
            changed = bytearray(data)
            changed[at] ^= 1
            (tmp_path / "f").write_bytes(changed)
            refused(tmp_path / "f")

    def test_an_unsealed_change_of_a_number_is_found(self, saved, tmp_path):
        def change(header):
            header["columns"]["kinds"][0]["scale"] *= 2

        assert "checksum" in refused(rewritten(saved, tmp_path / "f", change, seal=False))

    def test_newer_schema(self, saved, tmp_path):
        def change(header):
            header.update(schema=7, version="9.1.0")

        text = refused(rewritten(saved, tmp_path / "f", change, seal=False))
        assert "written by pushforward 9.1.0 with schema 7" in text
        assert "up to 2: upgrade" in text

    @pytest.mark.parametrize(
        ("change", "says"),
        [
            (lambda h: h.update(kind="flow"), "kind 'flow', not 'table'"),
            (lambda h: h.pop("architecture"), "builds no model"),
            (lambda h: h.update(architecture="maf"), "name and fields"),
            (lambda h: h["architecture"].update(name="os.system"), "'os.system' is unknown"),
            (lambda h: h["architecture"].update(name=["maf"]), "is unknown"),
            (lambda h: h["architecture"]["fields"].update(evil=1), "no field 'evil'"),
            (lambda h: h["architecture"]["fields"].update(layers="2"), "must be int"),
            (lambda h: h["architecture"]["fields"].update(layers=True), "must be int"),
            (lambda h: h["architecture"]["fields"].update(layers=3), "is damaged: array"),
            (lambda h: h["architecture"]["fields"].update(width=-1), "width=-1: a whole number"),
            (lambda h: h["architecture"]["fields"].update(base="cauchy"), "'cauchy' is unknown"),
            (lambda h: h["columns"]["kinds"].pop(), "columns are damaged"),
            (lambda h: h.update(columns=3), "damaged"),
            (lambda h: h.update(given=h["columns"]), "array"),
            (lambda h: h.update(precision=16), "32 or 64"),
            (lambda h: h.update(trust=[1]), "'trust'"),
            (lambda h: h.pop("summary"), "builds no model"),
        ],
    )
    def test_a_wrong_header_with_a_fitting_checksum(self, change, says, saved, tmp_path):
        assert says in refused(rewritten(saved, tmp_path / "f", change))

    @pytest.mark.parametrize(
        ("arrays", "says"),
        [
            (lambda a: a.pop(min(a)), "is missing"),
            (lambda a: a.update(more=np.zeros(2)), "has no place"),
            (lambda a: a.update({max(a): np.zeros((2, 2, 3), np.float32)}), "not float32[2, 2, 2]"),
            (lambda a: a.update({max(a): a[max(a)].astype(np.float16)}), "is float16"),
        ],
    )
    def test_wrong_arrays_with_a_fitting_checksum(self, arrays, says, saved, tmp_path):
        assert says in refused(rewritten(saved, tmp_path / "f", lambda h: None, arrays))

    def test_a_flow_file_is_no_table_file(self, tmp_path):
        write_flow(tmp_path / "f", TINY.build(2, key=jax.random.key(0)))
        assert "kind 'flow', not 'table'" in refused(tmp_path / "f")


class TestWriting:
    def test_a_failure_leaves_the_old_file_and_no_litter(self, tmp_path, monkeypatch):
        path = tmp_path / "m"
        save_table_model(table_model(), path)
        before = path.read_bytes()

        def full(*_):
            raise OSError(28, "No space left on device")

        for call in ("fsync", "replace"):
            with monkeypatch.context() as patch:
                patch.setattr(os, call, full)
                assert "No space left" in line(save_table_model, table_model(), path)
        assert path.read_bytes() == before
        assert os.listdir(tmp_path) == ["m"]

    def test_targets_that_cannot_be_written(self, saved, tmp_path):
        assert "is a directory" in line(check_target, tmp_path)
        assert "does not exist" in line(check_target, tmp_path / "no" / "m")
        assert "exists already" in line(save_table_model, table_model(), saved, force=False)
        assert "not a regular file" in line(check_target, os.devnull)

    def test_a_link_stays_a_link(self, tmp_path):
        save_table_model(table_model(), tmp_path / "real")
        (tmp_path / "link").symlink_to("real")
        save_table_model(table_model(), tmp_path / "link")
        assert (tmp_path / "link").is_symlink()
        load_table_model(tmp_path / "real")

    def test_a_model_that_its_header_does_not_build_is_not_written(self, tmp_path):
        model = table_model()
        for other in (MAF(layers=2, width=5, depth=1), NSF(layers=2, width=4), RealNVP()):
            text = line(save_table_model, replace(model, architecture=other), tmp_path / "m")
            assert "not what its header would build" in text
        spline = NSF(layers=1, width=4, bins=3)
        wider = replace(table_model(spline), architecture=replace(spline, bound=2.0))
        assert "settings differ" in line(save_table_model, wider, tmp_path / "m")
        assert os.listdir(tmp_path) == []

    @pytest.mark.mistyped
    def test_what_a_header_cannot_hold(self, tmp_path):
        with pytest.raises(TypeError, match="a header cannot hold a set"):
            write_model(tmp_path / "m", {"kind": {1}}, Permutation(np.array([0])))

    def test_what_cannot_be_stored(self, tmp_path):
        half = eqx.tree_at(lambda p: p.order, Permutation(np.array([0])), jnp.zeros(1, jnp.float16))
        with pytest.raises(TypeError, match="float16"):
            write_model(tmp_path / "m", {}, half)


class TestArchitectures:
    @pytest.mark.parametrize("name", ARCHITECTURES)
    def test_json_and_back(self, name):
        architecture = ARCHITECTURES[name]()
        data = json.loads(json.dumps(architecture_to_json(architecture)))
        assert data["name"] == name
        assert architecture_from_json(data) == architecture

    def test_numpy_numbers_and_missing_fields(self):
        data = architecture_to_json(MAF(layers=np.int64(3)))
        assert data["fields"]["layers"] == 3
        assert architecture_from_json({"name": "maf", "fields": {"layers": 3}}) == MAF(layers=3)

    @pytest.mark.mistyped
    def test_strangers_are_refused(self):
        class Mine:
            pass

        assert "not in the registry" in line(architecture_to_json, Mine())
