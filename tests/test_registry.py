"""Architectures of others: registered by a call or an installed package, they are as good as our own."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import jax
import numpy as np
import pytest

import pushforward as pf
from one_line import line
from pushforward.architectures import ARCHITECTURES, NSF, RealNVP, register, registered
from pushforward.cli import main
from pushforward.saving import architecture_from_json, architecture_to_json, read_header
from pushforward.testing import check_architecture

pytestmark = pytest.mark.usefixtures("same_registry")
KEY = jax.random.key(0)
SOURCE = '''
from dataclasses import dataclass
from typing import ClassVar
import pushforward as pf

@dataclass(frozen=True, kw_only=True)
class Mine:
    """Two of them."""
    layers: int = 2
    width: int = 8
    learning_rate: ClassVar[float] = 1e-3

    def build(self, event, condition=None, *, key):
        inner = pf.architectures.RealNVP(layers=self.layers, width=self.width)
        return inner.build(event, condition, key=key)
'''


@dataclass(frozen=True, kw_only=True)
class Mine:
    layers: int = 2
    width: int = 8

    def build(self, event, condition=None, *, key):
        flow = RealNVP(layers=self.layers, width=self.width).build(event, condition, key=key)
        return pf.distributions.Flow(flow.base, flow.bijection)


def package(folder: Path, name: str, value: str, distribution: str, source: str = SOURCE) -> Path:
    """A folder that looks as if a package with an entry point were installed there."""
    folder.mkdir(exist_ok=True)
    (folder / f"{value.partition(':')[0]}.py").write_text(source)
    kept = folder / f"{distribution}-1.0.dist-info"
    kept.mkdir()
    (kept / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
    (kept / "entry_points.txt").write_text(f"[pushforward.architectures]\n{name} = {value}\n")
    return folder


class TestByACall:
    def test_a_file_brings_it_back(self, tmp_path):
        register("mine", Mine)
        flow = Mine(layers=1).build(2, 1, key=KEY)
        assert flow.architecture == Mine(layers=1)
        pf.save(tmp_path / "m", flow)
        again = pf.load(tmp_path / "m")
        assert again.architecture == Mine(layers=1)
        x, c = np.ones((3, 2)), np.zeros(1)
        assert again.log_prob(x, c).tobytes() == flow.log_prob(x, c).tobytes()

    def test_estimators_take_the_name_and_an_instance(self, tmp_path):
        register("mine", Mine)
        X = np.random.default_rng(0).normal(size=(60, 2))
        for choice in ("mine", Mine(layers=1)):
            density = pf.FlowDensity(choice, max_epochs=1, random_state=0).fit(X)
            pf.save(tmp_path / "m", density)
            assert pf.load(tmp_path / "m").score(X) == density.score(X)

    def test_the_mapping_is_live_and_read_only(self):
        before = len(ARCHITECTURES)
        register("mine", Mine)
        assert (len(ARCHITECTURES), list(ARCHITECTURES)[-1]) == (before + 1, "mine")
        assert ARCHITECTURES["mine"] is Mine
        assert "other" not in ARCHITECTURES
        assert ARCHITECTURES.get("other") is None
        with pytest.raises(TypeError):
            ARCHITECTURES["other"] = Mine  # type: ignore[index]

    def test_it_keeps_the_contract(self):
        register("mine", Mine)
        check_architecture(Mine(layers=3), cases=[(2, None)])


class TestBadInput:
    def test_names(self):
        register("mine", Mine)
        assert "'mine' is registered already" in line(register, "mine", Mine)
        assert "'nsf' is registered already" in line(register, "nsf", Mine)
        for name in ("auto", "Mine", "my flow", "", 3):
            assert "lower-case letters" in line(register, name, Mine)

    def test_classes(self):
        @dataclass
        class Thawed:
            layers: int = 2

        @dataclass(frozen=True)
        class Idle:
            layers: int = 2

        @dataclass(frozen=True)
        class Undecided:
            layers: int

            def build(self, event, condition=None, *, key): ...

        assert "Thawed is not a frozen dataclass" in line(register, "mine", Thawed)
        assert "int is not a frozen dataclass" in line(register, "mine", int)
        assert "not a frozen dataclass" in line(register, "mine", Mine())
        assert "Idle has no method build(event, condition" in line(register, "mine", Idle)
        assert "the field 'layers' needs a default" in line(register, "mine", Undecided)
        assert "mine" not in ARCHITECTURES

    def test_what_it_builds(self):
        @dataclass(frozen=True)
        class Wrong:
            sizes: list = field(default_factory=list)

            def build(self, event, condition=None, *, key):
                return NSF(layers=1, width=4).build(event, key=key) if self.sizes else None

        register("wrong", Wrong)
        assert "Wrong.build returned a NoneType; a Flow is expected" in line(
            Wrong().build, 2, key=KEY
        )
        assert "must be hashable" in line(Wrong(sizes=[1]).build, 2, key=KEY)

    def test_unregistered(self, tmp_path):
        X = np.random.default_rng(0).normal(size=(60, 2))
        assert "register(name, class)" in line(pf.FlowDensity(Mine()).fit, X)
        assert "register(name, class)" in line(architecture_to_json, Mine())
        flow = pf.distributions.Flow(pf.distributions.StandardNormal(2), pf.bijections.LULinear(2))
        assert "put together from parts" in line(pf.save, tmp_path / "m", flow)
        assert "not a dict" in line(pf.save, tmp_path / "m", {})

    def test_a_field_that_a_file_cannot_hold(self):
        @dataclass(frozen=True)
        class Odd(Mine):
            activation: object = np.tanh

        register("odd", Odd)
        assert "a file holds numbers and words" in line(architecture_to_json, Odd())

    def test_a_file_never_imports_what_it_names(self, tmp_path, monkeypatch):
        package(tmp_path / "p", "other", "elsewhere:Mine", "elsewhere-flows")
        monkeypatch.syspath_prepend(tmp_path / "p")
        data = {
            "name": "theirs",
            "fields": {},
            "source": "elsewhere:Mine",
            "package": "their-flows",
        }
        said = line(architecture_from_json, data)
        assert "'theirs' is unknown here; it is 'elsewhere:Mine': install the package" in said
        assert "'their-flows' and import 'elsewhere'" in said
        assert "elsewhere" not in sys.modules
        evil = {**data, "source": "os\n\x1b[2J:system", "package": ["x"]}
        assert "\x1b" not in line(architecture_from_json, evil)


class TestByAPackage:
    def test_the_command_line(self, tmp_path):
        """In processes of their own, as a user has it: fit, list, score, and one line where it is not installed."""
        place = package(tmp_path / "p", "mine", "minepkg:Mine", "mine-flows")
        rows = np.random.default_rng(0).normal(size=(60, 2))
        np.savetxt(tmp_path / "d.csv", rows, delimiter=",", header="a,b", comments="")

        def run(*words: str, installed: bool = True) -> subprocess.CompletedProcess:
            path = os.pathsep.join([str(place)] * installed + [p for p in sys.path if p])
            command = [sys.executable, "-m", "pushforward", *words]
            env = {**os.environ, "PYTHONPATH": path}
            return subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)

        words = [
            "fit",
            "d.csv",
            "--flow",
            "mine",
            "--set",
            "layers=1",
            "--max-epochs",
            "1",
            "-q",
            "-o",
            "m",
        ]
        assert run(*words).stderr == ""
        header = read_header(tmp_path / "m")["architecture"]
        assert header == {
            "name": "mine",
            "fields": {"layers": 1, "width": 8},
            "source": "minepkg:Mine",
            "package": "mine-flows",
        }
        assert run("score", "m", "d.csv", "-o", "s.csv", "-q").stderr == ""
        assert "mine\n         Two of them." in run("list").stdout
        assert "Mine\n" in run("inspect", "m").stdout
        bare = run("score", "m", "d.csv", "-o", "t.csv", installed=False)
        assert bare.returncode == 2
        assert bare.stderr == (
            "pushforward: m: architecture 'mine' is unknown here; it is 'minepkg:Mine': install the package "
            "'mine-flows' and import 'minepkg' before loading\n"
        )

    def test_images_or_vectors(self, tmp_path, monkeypatch):
        source = SOURCE + "    images = True\n"
        place = package(tmp_path / "p", "seen", "seenpkg:Mine", "seen-flows", source)
        monkeypatch.syspath_prepend(place)
        both = registered(images=True), registered(images=False)
        assert [list(kinds)[-1] for kinds in both] == ["seen", "flow_matching"]
        assert {**both[1], **both[0]} == dict(ARCHITECTURES)

    def test_it_is_imported_when_it_is_asked_for(self, tmp_path, monkeypatch):
        monkeypatch.syspath_prepend(package(tmp_path / "p", "lazy", "lazypkg:Mine", "lazy-flows"))
        assert "lazy" in ARCHITECTURES
        assert list(ARCHITECTURES)[-1] == "lazy"
        assert "lazypkg" not in sys.modules
        assert ARCHITECTURES["lazy"] is sys.modules["lazypkg"].Mine

    def test_a_class_is_known_before_its_name_was_asked_for(self, tmp_path, monkeypatch):
        monkeypatch.syspath_prepend(package(tmp_path / "p", "soon", "soonpkg:Mine", "soon-flows"))
        import soonpkg

        assert architecture_to_json(soonpkg.Mine())["name"] == "soon"

    def test_a_module_may_register_its_class_itself(self, tmp_path, monkeypatch):
        source = SOURCE + '\npf.architectures.register("self", Mine)\n'
        monkeypatch.syspath_prepend(
            package(tmp_path / "p", "self", "selfpkg:Mine", "self-flows", source)
        )
        assert ARCHITECTURES["self"]().layers == 2

    def test_names_that_clash(self, tmp_path, monkeypatch):
        monkeypatch.syspath_prepend(package(tmp_path / "p", "both", "onepkg:Mine", "one"))
        assert "'both' is registered already (onepkg:Mine)" in line(register, "both", Mine)
        monkeypatch.syspath_prepend(package(tmp_path / "q", "both", "twopkg:Mine", "two"))
        assert "brought by several packages (two, one)" in line(ARCHITECTURES.get, "both")

    def test_a_broken_package(self, tmp_path, monkeypatch, capsys):
        source = "raise OSError('no such library\\nanywhere')"
        place = package(tmp_path / "p", "broken", "brokenpkg:Mine", "broken-flows", source)
        monkeypatch.syspath_prepend(place)
        said = line(ARCHITECTURES.get, "broken")
        assert "'broken' of the package broken-flows cannot be imported (OSError: no such" in said
        assert main(["list"]) == 0
        shown = capsys.readouterr()
        assert "broken-flows cannot be imported" in shown.err
        assert "broken" not in registered(images=False)
        assert "flow_matching" in shown.out


def test_own_files_say_nothing_of_a_source():
    assert json.dumps(architecture_to_json(NSF())).count("source") == 0
