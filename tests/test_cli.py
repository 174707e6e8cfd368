"""The command line: what it writes where, its exit codes, and the line each mistake gets."""

import importlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import fields, replace
from unittest.mock import Mock

import jax
import numpy as np
import pandas
import polars as pl
import pytest

import pushforward as pf
from pushforward.architectures import FlowMatching
from pushforward.cli import main
from pushforward.cli.options import check_model_output, chosen_training
from pushforward.cli.programs import keep_programs
from pushforward.columns import Columns
from pushforward.fields import with_guidance
from pushforward.model_file import read_header
from pushforward.models.notes import NOTES, names_of
from pushforward.models.table_file import load_table_model, save_table_model
from pushforward.models.table_flow import table_flow
from pushforward.models.table_model import TableModel
from pushforward.ode import with_solver
from pushforward.training import Training

TINY = ["--flow", "realnvp", "--set", "layers=1", "--set", "width=8", "--max-epochs", "1"]
CACHE_LIMITS = (
    "jax_persistent_cache_min_compile_time_secs",
    "jax_persistent_cache_min_entry_size_bytes",
)
NAMES = ("x", "count", "y")


def rows(n=400, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(5.0, 2.0, n)
    return np.column_stack([x, rng.poisson(4.0, n), x**2 + rng.normal(0.0, 1.0, n)])


def write_csv(path, values, names=NAMES):
    columns = {
        name: values[:, i].astype(np.int64) if name == "count" else values[:, i]
        for i, name in enumerate(names)
    }
    pl.DataFrame(columns).write_csv(path)
    return path


def read(path):
    return pl.read_csv(path)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A directory with tables, a model of three columns and one of y given the other two."""
    folder = tmp_path_factory.mktemp("cli")
    values = rows()
    write_csv(folder / "data.csv", values)
    np.save(folder / "data.npy", values)
    data = str(folder / "data.csv")
    assert main(["fit", data, "-o", str(folder / "m.st"), *TINY, "--quiet"]) == 0
    words = ["--columns", "y", "--condition", "x,count", "--quiet"]
    assert main(["fit", data, "-o", str(folder / "c.st"), *TINY, *words]) == 0
    return folder


@pytest.fixture
def here(place, monkeypatch):
    """The working directory is a fresh one beside links to the shared files."""
    folder = place / f"at-{time.monotonic_ns()}"
    folder.mkdir()
    for name in ("data.csv", "data.npy", "m.st", "c.st"):
        os.symlink(place / name, folder / name)
    monkeypatch.chdir(folder)
    return folder


def start(*words, program=("-m", "pushforward"), **kwargs):
    command = [sys.executable, *program, *map(str, words)]
    # The child compiles as this process does (see conftest.py), or rounding would differ.
    options = ("jax_disable_most_optimizations", "jax_compilation_cache_dir", *CACHE_LIMITS)
    env = {name.upper(): str(jax.config.values[name]) for name in options}
    kwargs["env"] = os.environ | {name: text for name, text in env.items() if text != "None"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | kwargs
    return subprocess.Popen(command, **pipes)


def mistake(result):
    """The line about the user's mistake."""
    assert result.code == 2, result
    assert result.out == ""
    assert result.err.startswith("pushforward: ")
    assert result.err.count("\n") == 1
    return result.err


class TestHelp:
    @pytest.mark.parametrize(
        "command", ["fit", "score", "sample", "impute", "explain", "inspect", "report", "list"]
    )
    def test_every_command_explains_itself(self, run, command):
        result = run(command, "--help")
        assert result.code == 0
        assert f"pushforward {command}" in result.out
        assert command in run().out

    def test_version(self, run):
        from pushforward import __version__

        assert run("--version").out.strip() == __version__

    def test_list_names_every_flow_option_and_base(self, run):
        from pushforward.architectures import ARCHITECTURES, registered
        from pushforward.distributions import BASES

        out, of_pictures = run("list").out, registered(images=True)
        for name, kind in ARCHITECTURES.items():
            mark = " [pictures]" if name in of_pictures else ""
            assert f"\n{name:<17}{kind.reference}{mark}\n" in f"\n{out}"
        assert "bins=8" in out
        assert all(base in out for base in BASES)

    @pytest.mark.parametrize(
        ("words", "expected"),
        [
            (["nonsense"], "nonsense"),
            (["fit"], "DATA"),
            (["fit", "data.csv"], "output"),
            (["fit", "data.csv", "-o", "a.st", "--precision", "16"], "--precision"),
            (["fit", "data.csv", "-o", "a.st", "--max-epochs", "0"], "--max-epochs"),
            (["score", "m.st", "data.csv", "--fast"], "--fast"),
            (["sample", "m.st"], "-n"),
        ],
    )
    def test_a_wrong_command_line_is_one_line_that_says_where_help_is(self, run, words, expected):
        line = mistake(run(*words))
        assert expected in line
        assert "--help" in line


class TestTrain:
    def test_every_setting_can_be_reached(self):
        settings = {
            "batch": ("64", 64),
            "max_epochs": ("3", 3),
            "max_steps": ("none", None),
            "max_time": ("2.5", 2.5),
            "learning_rate": ("1e-3", 1e-3),
            "warmup": ("0.1", 0.1),
            "weight_decay": ("0", 0.0),
            "clip": ("2", 2.0),
            "average": ("0.9", 0.9),
            "validation": ("0.2", 0.2),
            "patience": ("0.5", 0.5),
            "stall": ("0.1", 0.1),
            "remat": ("invertible", "invertible"),
            "retries": ("2", 2),
        }
        assert [*settings, "devices"] == [field.name for field in fields(Training)]
        words = [f"{key}={text}" for key, (text, _) in settings.items()]
        wanted = Training(**{key: value for key, (_, value) in settings.items()})
        assert chosen_training(words, None, None) == wanted

    def test_it_is_what_a_fit_does(self, run):
        words = ["--train", "max_epochs=2", "--train", "validation=0.3", "--train", "patience=1"]
        run("fit", "data.csv", "-o", "a.st", *TINY[:6], *words)
        assert read_header("a.st")["summary"]["epochs"] == 2
        assert read_header("a.st")["summary"]["rows"] == pytest.approx(0.7 * 400, abs=1)


class TestFlowOrTyped:
    def test_values_that_repeat_make_a_table_typed(self, run, here):
        few = ["--train", "max_epochs=1", "--set", "width=8", "--set", "blocks=1"]
        result = run("fit", "data.csv", "-o", "a.st", "--train", "max_epochs=1")
        assert "column 'count' holds values that repeat" in result.err
        assert read_header("a.st")["kind"] == "typed"
        assert not (here / "a.st.checkpoint").exists()
        assert run("score", "a.st", "data.csv", "-o", "s.csv").code == 0
        run("fit", "data.csv", "-o", "b.st", "--flow", "typed", *few)
        assert read_header("b.st")["architecture"]["width"] == 8

    def test_real_numbers_race(self, run, here, fit_module, monkeypatch):
        """A typed table runs as long as the entrants of a race, and wins where it leads at the end too."""
        from pushforward.fitting import rival
        from pushforward.models.table_file import load_table_model
        from pushforward.models.typed_table import TypedTable

        rows = np.random.default_rng(0).normal(size=(600, 2))
        np.save("real.npy", rows)
        monkeypatch.setattr(rival, "RACE_STEPS", 2)
        asked = []

        def judged(nats):
            def fit(frame, *, training, **_):
                asked.append(training.max_steps)
                return Mock(spec=TypedTable, trust={"nats": nats})

            monkeypatch.setattr(rival, "fit_typed", fit)

        frame = pl.DataFrame(rows, schema=["a", "b"])
        flow = load_table_model(here / "m.st")
        for nats, wins, steps in ((-9.0, False, [2]), (5.0, True, [2, None])):
            asked.clear()
            judged(nats)
            flow.summary["race"] = {"validation_nats": {"splines": -3.0}, "at_the_end": {}}
            found = rival.typed_rival(frame, flow, training=Training(), seed=0)
            assert (found is not None, asked) == (wins, steps)
            assert flow.summary["race"]["validation_nats"]["typed"] == nats
        assert rival.counted_column(frame) is None
        assert rival.counted_column(frame.with_columns(pl.col("a").round(1))) == "a"


class TestFit:
    def test_writes_a_model_and_says_how_good_it_is(self, run, here):
        result = run("fit", "data.csv", "-o", "a.st", *TINY)
        assert result.code == 0
        assert result.out == ""
        assert "Gaussian" in result.err
        assert "a.st" in result.err
        assert sorted(p.name for p in here.iterdir() if "a.st" in p.name) == ["a.st"]

    def test_quiet(self, run):
        result = run("fit", "data.csv", "-o", "a.st", *TINY, "--quiet")
        assert (result.code, result.out, result.err) == (0, "", "")

    def test_same_seed_same_model(self, run):
        scores = []
        for name, seed in (("a.st", 3), ("b.st", 3), ("c2.st", 4)):
            run("fit", "data.csv", "-o", name, *TINY, "--seed", seed)
            scores.append(run("score", name, "data.csv").out)
        assert scores[0] == scores[1] != scores[2]

    def test_columns_in_the_wanted_order_and_from_a_pipe(self, run, here, monkeypatch):
        source = io.TextIOWrapper(io.BytesIO((here / "data.csv").read_bytes()))
        monkeypatch.setattr(sys, "stdin", source)
        words = ["--columns", "y,x", "--precision", "64", "--quiet"]
        assert run("fit", "-", "-o", "a.st", *TINY, *words).code == 0
        assert "p(y, x)" in run("inspect", "a.st").out
        assert "64" in run("inspect", "a.st").out

    def test_condition_takes_the_other_columns_by_default(self, run):
        run("fit", "data.csv", "-o", "a.st", *TINY, "--condition", "x")
        assert "p(count, y | x)" in run("inspect", "a.st").out

    def test_force_replaces(self, run):
        run("fit", "data.csv", "-o", "a.st", *TINY)
        assert "--force" in mistake(run("fit", "data.csv", "-o", "a.st", *TINY))
        assert run("fit", "data.csv", "-o", "a.st", *TINY, "--force").code == 0

    @pytest.mark.parametrize(
        ("words", "expected"),
        [
            (["--flow", "resnet"], ["resnet", "auto", "realnvp"]),
            (["--flow", "image_glow"], ["image_glow: models pictures; data.csv is a table", "nsf"]),
            (["--set", "layers=2"], ["--flow"]),
            (["--flow", "maf", "--set", "bins=8"], ["'bins'", "layers=5", "residual=false"]),
            (["--flow", "maf", "--set", "layers"], ["key=value"]),
            (["--flow", "maf", "--set", "layers=2.5"], ["layers=2.5", "whole number"]),
            (["--flow", "maf", "--set", "dropout=nan"], ["dropout=nan", "number"]),
            (["--flow", "maf", "--set", "residual=maybe"], ["residual=maybe", "true or false"]),
            (["--flow", "maf", "--set", "layers=1", "--set", "layers=2"], ["twice"]),
            (["--flow", "maf", "--set", "base=cauchy"], ["cauchy", "normal"]),
            (["--train", "rate=1"], ["'rate'", "batch, max_epochs", "learning_rate", "retries"]),
            (["--train", "batch"], ["key=value"]),
            (["--train", "batch=many"], ["batch=many", "whole number"]),
            (["--train", "learning_rate=-1"], ["learning_rate=-1.0", "positive"]),
            (["--train", "max_epochs=2", "--max-epochs", "1"], ["max_epochs is set twice"]),
            (["--max-time", "0"], ["0", "positive"]),
            (["--max-time", "inf"], ["--max-time", "seconds"]),
            (["--columns", "x,y", "--condition", "y"], ["'y'", "both"]),
            (["--columns", "x,,y"], ["--columns"]),
            (["--columns", "x,z"], ["'z'", "'count'"]),
            (["--condition", "z"], ["'z'", "'count'"]),
            (["--condition", "x,count,y"], ["none is left"]),
        ],
    )
    def test_options_that_do_not_fit(self, run, here, words, expected):
        line = mistake(run("fit", "data.csv", "-o", "a.st", *words))
        assert all(part in line for part in expected), line
        assert not list(here.glob("a.st*"))

    @pytest.mark.parametrize(
        ("content", "expected"),
        [
            (None, ["no such file"]),
            ("", ["empty"]),
            ("a,b\n", ["no rows"]),
            ("a,b\n1,2\n", ["1 row", "at least 3"]),
            ("a,b\n1,2\n3,nan\ninf,4\n", ["2 cells", "row 2", "'b'"]),
            ("a,b,c\n1,red,2\n2,blue,4\n", ["'b'", "red", "--columns a,c"]),
            ("a,b\n1,2\n1,2\n1,2\n", ["'a', 'b'", "constant"]),
            ("a,b\n1,1\n2,2\n5,5\n", ["'a'", "'b'", "equal"]),
            ("a,b,a\n1,1,3\n2,2,5\n5,5,6\n", ["'a'", "more than once"]),
            ("a,b\n1,2\n3\n4,5\n", ["line 3", "1 cell"]),
        ],
    )
    def test_tables_that_cannot_be_fitted(self, run, here, content, expected):
        if content is not None:
            (here / "bad.csv").write_text(content)
        line = mistake(run("fit", "bad.csv", "-o", "a.st", *TINY))
        assert all(part in line for part in expected), line
        assert not list(here.glob("a.st*"))

    @pytest.mark.parametrize("values", [np.ones((3, 2), complex), np.array([["a"]]), np.ones(())])
    def test_arrays_of_a_wrong_type(self, run, values):
        np.save("bad.npy", values)
        assert "expected" in mistake(run("fit", "bad.npy", "-o", "a.st", *TINY))

    @pytest.mark.parametrize(
        ("output", "expected"),
        [("-", "file"), ("no/a.st", "does not exist"), (".", "directory"), ("data.csv", "input")],
    )
    def test_an_output_that_cannot_be_written_is_found_before_training(
        self, run, no_training, output, expected
    ):
        assert expected in mistake(run("fit", "data.csv", "-o", output, "--force"))

    @pytest.mark.skipif(not os.path.exists("/proc/self"), reason="needs a directory like /proc")
    def test_a_directory_that_refuses_is_found_too(self, here):
        # Permissions stop nobody in a container that runs as root; /proc stops root as well.
        from pathlib import Path

        from pushforward import InputError

        with pytest.raises(InputError, match="nothing can be written"):
            check_model_output(Path("/proc/a.st"), force=False)


@pytest.fixture
def fit_module():
    return importlib.import_module("pushforward.fitting.fit_table")


@pytest.fixture
def no_training(monkeypatch, fit_module):
    def fail(*_, **__):
        raise AssertionError("the mistake was to be found before training")

    monkeypatch.setattr(fit_module, "fit_table", fail)


class TestInterrupt:
    def fit_that(self, monkeypatch, fit_module, *acts):
        """Replaces training by one that reports an epoch or receives Ctrl-C."""
        from pushforward.training import Epoch

        def fit(*_, report, **__):
            for number, act in enumerate(acts, 1):
                if act == "epoch":
                    report(Epoch(number, 10, 1.0, 1.0, 1.0, 1.0))
                else:
                    signal.raise_signal(signal.SIGINT)
            raise AssertionError("the fit was to be aborted")

        monkeypatch.setattr(fit_module, "fit_table", fit)

    @pytest.mark.parametrize(
        ("acts", "expected"),
        [
            (["ctrl-c"], "before the first epoch"),
            (["epoch", "ctrl-c", "ctrl-c"], "no model was written"),
        ],
    )
    def test_abort(self, run, here, monkeypatch, fit_module, acts, expected):
        self.fit_that(monkeypatch, fit_module, *acts)
        before = signal.getsignal(signal.SIGINT)
        result = run("fit", "data.csv", "-o", "a.st", "--flow", "nsf")
        assert result.code == 130
        assert expected in result.err
        assert "Traceback" not in result.err
        assert signal.getsignal(signal.SIGINT) is before
        assert not (here / "a.st").exists()

    def test_other_commands_leave_nothing_half_written(self, run, here, monkeypatch):
        from pushforward.models.table_model import TableModel

        def interrupted(*_):
            raise KeyboardInterrupt

        monkeypatch.setattr(TableModel, "log_prob", interrupted)
        result = run("score", "m.st", "data.csv", "-o", "s.csv")
        assert (result.code, result.err) == (130, "pushforward: interrupted\n")
        assert not (here / "s.csv").exists()

    def test_first_press_saves_the_best_model(self, here):
        words = [*TINY[:-1], "1000000"]
        process = start("fit", "data.csv", "-o", "a.st", *words, cwd=here)
        assert "epoch 1/" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        assert out == ""
        assert "Ctrl-C" in err
        assert "best model" in err
        assert main(["score", "a.st", "data.csv", "-o", "s.csv", "--quiet"]) == 0
        assert not (here / "a.st.checkpoint").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows ends processes without a signal")
class TestTerminated:
    """`kill`, `timeout`, a closed terminal: nothing half-written stays."""

    @pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGXCPU"])
    @pytest.mark.parametrize("suffix", ["csv", "parquet", "npy", "npz"])
    def test_leaves_nothing(self, run, here, monkeypatch, name, suffix):
        number = getattr(signal, name)

        def blocks(*_, **__):
            yield np.ones((10, 3))
            assert list(here.glob(".pushforward*"))
            # As `timeout` does: twice.
            signal.raise_signal(number)
            signal.raise_signal(number)

        monkeypatch.setattr(TableModel, "sample_blocks", blocks)
        result = run("sample", "m.st", "-n", "1000", "-o", f"d.{suffix}", "--quiet")
        assert (result.code, result.err) == (128 + number, "pushforward: terminated\n")
        assert not list(here.glob("d.*")) + list(here.glob(".pushforward*"))
        assert signal.getsignal(number) is signal.SIG_DFL

    def test_a_second_one_does_not_interrupt_cleaning_up(self, run, here, monkeypatch):
        def removed(*words, **more):
            signal.raise_signal(signal.SIGTERM)
            rmtree(*words, **more)

        def blocks(*_, **__):
            signal.raise_signal(signal.SIGTERM)
            yield np.ones((10, 3))

        rmtree = shutil.rmtree
        monkeypatch.setattr(shutil, "rmtree", removed)
        monkeypatch.setattr(TableModel, "sample_blocks", blocks)
        assert run("sample", "m.st", "-n", "9", "-o", "d.csv").code == 143
        assert not list(here.glob("d.*")) + list(here.glob(".pushforward*"))

    def test_who_ignores_them_is_left_alone(self, run, here, monkeypatch):
        def blocks(*_, **__):
            signal.raise_signal(signal.SIGHUP)
            yield np.ones((10, 3))

        monkeypatch.setattr(TableModel, "sample_blocks", blocks)
        before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
        try:
            assert run("sample", "m.st", "-n", "10", "-o", "d.csv").code == 0
        finally:
            signal.signal(signal.SIGHUP, before)

    def test_a_fit_says_what_is_kept(self, run, here, monkeypatch, fit_module):
        def fit(*_, checkpoint, **__):
            checkpoint.touch()
            signal.raise_signal(signal.SIGTERM)

        monkeypatch.setattr(fit_module, "fit_table", fit)
        result = run("fit", "data.csv", "-o", "a.st", "--flow", "nsf", "--quiet")
        assert result.code == 143
        assert result.err == (
            "pushforward: terminated before the first epoch was done: no model was written; "
            "--resume goes on from a.st.checkpoint\n"
        )

    def test_a_process_that_is_drawing(self, here):
        process = start("sample", "m.st", "-n", "300000000", "-o", "d.csv", cwd=here)
        assert process.stderr.readline().startswith("sampling 0%")
        assert list(here.glob(".pushforward*"))
        process.terminate()
        out, err = process.communicate(timeout=60)
        assert (process.returncode, out) == (143, "")
        assert err.endswith("pushforward: terminated\n")
        assert not list(here.glob("d.csv")) + list(here.glob(".pushforward*"))


class TestKeptPrograms:
    @pytest.fixture
    def home(self, tmp_path):
        """The environment of a user who has said nothing of JAX's cache, and whose own folder is this one."""
        ours = ("JAX_COMPILATION_CACHE_DIR", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS")
        kept = {name: text for name, text in os.environ.items() if name not in ours}
        return kept | {"XDG_CACHE_HOME": str(tmp_path), "HOME": str(tmp_path)}

    @staticmethod
    def scored(env, cwd):
        words = [sys.executable, "-m", "pushforward", "score", "m.st", "data.csv", "-q"]
        return subprocess.run(words, env=env, cwd=cwd, capture_output=True, text=True, check=True)

    def test_a_second_command_compiles_nothing_anew(self, home, here, tmp_path):
        env = home | {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
        first, kept = self.scored(env, here), {}
        for path in tmp_path.rglob("*-cache"):
            kept[path] = path.stat().st_mtime_ns
        assert any("_log_prob" in path.name for path in kept)
        second = self.scored(env, here)
        assert (second.stdout, second.stderr) == (first.stdout, first.stderr)
        assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*-cache")} == kept

    @pytest.mark.parametrize(
        ("name", "value"),
        [("JAX_ENABLE_COMPILATION_CACHE", "0"), ("JAX_COMPILATION_CACHE_DIR", "elsewhere")],
    )
    def test_who_has_said_where_is_left_alone(self, monkeypatch, tmp_path, name, value):
        monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        monkeypatch.setenv(name, value)
        keep_programs()
        assert os.environ.get("JAX_COMPILATION_CACHE_DIR") in (None, value)
        assert not list(tmp_path.iterdir())

    def test_a_home_that_cannot_be_written_to(self, monkeypatch, tmp_path):
        monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR")
        (tmp_path / "file").touch()
        for name in ("XDG_CACHE_HOME", "HOME"):
            monkeypatch.setenv(name, str(tmp_path / "file"))
        keep_programs()
        assert "JAX_COMPILATION_CACHE_DIR" not in os.environ


# The command with a checkpoint after every few steps instead of twice a minute.
EAGER = """
import sys
from pushforward.cli import main
from pushforward.training.checkpoint import Checkpoint
Checkpoint.__init__.__defaults__ = (0.0, False)
sys.exit(main())
"""


class TestResume:
    def test_killed_and_resumed_is_the_same_model(self, run, here, monkeypatch):
        """In three processes: one that is killed, one that goes on from there, and one that fits undisturbed."""
        # Bits are promised for one number of threads only; without this one it would be that of the cores.
        monkeypatch.setenv("NPROC", "2")
        words = ["fit", "data.csv", *TINY[:-1], "500", "--seed", "5", "--quiet"]
        process = start(*words, "-o", "a.st", program=("-c", EAGER), cwd=here)
        while not (here / "a.st.checkpoint").exists() and process.poll() is None:
            time.sleep(0.01)
        process.kill()
        process.communicate()
        assert not (here / "a.st").exists(), "the fit was to be killed before its end"
        assert "--resume" in mistake(run(*words, "-o", "a.st"))
        for more in (["-o", "a.st", "--resume"], ["-o", "b.st"]):
            process = start(*words, *more, cwd=here)
            assert process.communicate() == ("", "")
            assert process.returncode == 0
        assert (here / "a.st").read_bytes() == (here / "b.st").read_bytes()
        assert [p.name for p in here.glob("a.st*")] == ["a.st"]
        assert "that fit is complete" in mistake(run(*words, "-o", "a.st", "--resume"))

    def test_nothing_to_resume_starts_from_the_beginning_and_says_so(self, run):
        result = run("fit", "data.csv", "-o", "a.st", *TINY, "--resume")
        assert result.code == 0
        assert "no checkpoint" in result.err

    def test_a_checkpoint_is_not_lost_by_accident(self, run, here, no_training):
        (here / "a.st.checkpoint").write_bytes(b"state")
        line = mistake(run("fit", "data.csv", "-o", "a.st", *TINY))
        assert "--resume" in line
        assert "--force" in line
        assert (here / "a.st.checkpoint").read_bytes() == b"state"

    def test_two_processes_on_one_checkpoint(self, run, here):
        # Another process, as far as the lock of the operating system can tell.
        from pushforward.training.checkpoint import Checkpoint, open_checkpoint

        path = here / "a.st.checkpoint"
        with open_checkpoint(Checkpoint(path, resume=True), {}) as file:
            for write in (False, True):
                if write:
                    file.write([np.ones(2)], {})
                for option in ("--resume", "--force"):
                    words = ["fit", "data.csv", "-o", "a.st", *TINY, option, "--quiet"]
                    assert "another process" in mistake(run(*words))
        assert path.exists()


class TestScore:
    def test_one_column_on_stdout_and_a_summary_on_stderr(self, run):
        result = run("score", "m.st", "data.csv")
        frame = read(io.StringIO(result.out))
        assert frame.columns == ["log_prob"]
        assert frame.height == 400
        assert "400 rows" in result.err
        assert f"{frame['log_prob'].mean():.4f}" in result.err
        assert f"{frame['log_prob'].min():.4f}" in result.err
        assert run("score", "m.st", "data.csv", "--quiet").err == ""

    def test_columns_are_matched_by_name(self, run):
        expected = run("score", "m.st", "data.csv").out
        frame = read("data.csv")
        frame.select("y", pl.lit("text").alias("other"), "count", "x").write_csv("b.csv")
        assert run("score", "m.st", "b.csv").out == expected
        frame.write_parquet("b.parquet")
        assert run("score", "m.st", "b.parquet").out == expected
        assert run("score", "m.st", "data.npy").out == expected

    def test_condition_is_read_from_the_same_table(self, run):
        result = run("score", "c.st", "data.csv")
        by_position = rows()[:, [2, 0, 1]]
        np.save("b.npy", by_position)
        assert run("score", "c.st", "b.npy").out == result.out

    def test_blocks_give_what_one_pass_gives(self, run, monkeypatch):
        expected = read(io.StringIO(run("score", "m.st", "data.csv").out))
        monkeypatch.setattr(sys.modules["pushforward.cli.scorers"], "ROWS", 64)
        result = run("score", "m.st", "data.csv", "-o", "b.npy")
        assert np.allclose(np.load("b.npy")[:, 0], expected["log_prob"].to_numpy(), atol=1e-4)
        assert "scoring" in result.err

    def test_far_outside_is_finite_and_very_low(self, run, here):
        far = ["1e6,3,5", "5,4,1e300", "-1e308,1e18,0", "5,4,25"]
        (here / "far.csv").write_text("\n".join(["x,count,y", *far]) + "\n")
        values = read(io.StringIO(run("score", "m.st", "far.csv").out))["log_prob"].to_numpy()
        assert np.isfinite(values).all()
        assert (values[:3] < values[3] - 20).all()

    @pytest.mark.parametrize(
        ("model", "content", "expected"),
        [
            ("m.st", "x,y\n1,2\n", ["'count'"]),
            ("m.st", "x,Count,y\n1,2,3\n", ["'count'", "did you mean 'Count'"]),
            ("m.st", "x,count,y\n1,2,three\n", ["'y'", "not numeric"]),
            ("m.st", "x,count,y\n", ["no rows"]),
            ("c.st", "y\n1\n", ["'x'", "'count'"]),
            ("data.csv", "x,count,y\n1,2,3\n", ["data.csv"]),
            ("none.st", "x,count,y\n1,2,3\n", ["none.st"]),
            ("broken.st", "x,count,y\n1,2,3\n", ["broken.st"]),
        ],
    )
    def test_mistakes(self, run, here, model, content, expected):
        (here / "broken.st").write_bytes((here / "m.st").read_bytes()[:-40])
        (here / "b.csv").write_text(content)
        line = mistake(run("score", model, "b.csv", "-o", "s.csv"))
        assert all(part in line for part in expected), line
        assert not (here / "s.csv").exists()

    def test_wrong_number_of_features(self, run):
        np.save("b.npy", np.ones((5, 4)))
        line = mistake(run("score", "m.st", "b.npy"))
        assert "4" in line
        assert "3" in line

    def test_a_bad_cell_leaves_no_half_written_file(self, run, here, monkeypatch):
        monkeypatch.setattr(sys.modules["pushforward.cli.scorers"], "ROWS", 2)
        (here / "b.csv").write_text("x,count,y\n" + "1,2,3\n" * 9 + "1,,3\n")
        line = mistake(run("score", "m.st", "b.csv", "-o", "s.csv", "--quiet"))
        assert "row 10" in line
        assert "'count'" in line
        assert not list(here.glob("s.csv*")) + list(here.glob(".pushforward*"))

    def test_outputs_are_not_overwritten(self, run, here):
        (here / "s.csv").write_text("precious")
        assert "--force" in mistake(run("score", "m.st", "data.csv", "-o", "s.csv"))
        assert (here / "s.csv").read_text() == "precious"
        assert run("score", "m.st", "data.csv", "-o", "s.csv", "--force").code == 0
        for source in ("s.csv", "./s.csv"):
            assert "input" in mistake(run("score", "m.st", source, "-o", "s.csv", "--force"))
        assert "format" in mistake(run("score", "m.st", "data.csv", "-o", "s.xlsx"))
        assert "does not exist" in mistake(run("score", "m.st", "data.csv", "-o", "no/s.csv"))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has other permissions")
class TestForce:
    """What replaces a private file is private."""

    @pytest.mark.parametrize("mode", [0o600, 0o640, 0o664, 0o444])
    def test_keeps_permissions(self, run, here, mode):
        words = {
            "a.st": ("fit", "data.csv", *TINY),
            "s.csv": ("score", "m.st", "data.csv"),
            "s.npz": ("score", "m.st", "data.csv"),
            "d.parquet": ("sample", "m.st", "-n", "5"),
        }
        for name, command in words.items():
            (here / name).write_bytes(b"old")
            (here / name).chmod(mode)
            assert run(*command, "-o", name, "--force", "--quiet").code == 0
            assert (here / name).stat().st_mode & 0o777 == mode
            assert (here / name).read_bytes() != b"old"

    def test_a_new_file_gets_those_that_are_usual(self, run, here):
        (here / "usual").touch()
        run("score", "m.st", "data.csv", "-o", "s.csv")
        assert (here / "s.csv").stat().st_mode == (here / "usual").stat().st_mode


class TestOddNames:
    """Names with blanks at their ends, commas or numbers for names: what a command writes, the next one reads."""

    @pytest.mark.parametrize("suffix", ["csv", "tsv", "parquet", "npz", "npy"])
    @pytest.mark.parametrize("names", [(" a", "b "), ("a,b", 'c"'), ("2019", "2020"), ("a", " a")])
    def test_there_and_back(self, run, names, suffix):
        pl.DataFrame(dict(zip(names, rows()[:, [0, 2]].T, strict=True))).write_parquet("p.parquet")
        assert run("fit", "p.parquet", "-o", "p.st", *TINY).code == 0
        assert run("sample", "p.st", "-n", "3", "-o", f"d.{suffix}").code == 0
        assert run("score", "p.st", f"d.{suffix}").out.count("\n") == 4
        assert tuple(pf.load("p.st").feature_names_in_) == names

    @pytest.mark.parametrize("word", ["a", " a", '" a"', '"a "'])
    def test_columns_are_found_without_their_blanks(self, run, word):
        pl.DataFrame(dict(zip((" a", "b "), rows()[:, [0, 2]].T, strict=True))).write_parquet(
            "p.parquet"
        )
        for words, density in (
            (("--columns", word), "p( a)"),
            (("--condition", word), "p(b  |  a)"),
            (("--columns", f"b,{word}"), "p(b ,  a)"),
        ):
            assert run("fit", "p.parquet", "-o", "q.st", *TINY, *words, "--force").code == 0
            assert density in run("inspect", "q.st").out
        both = ("--columns", "a", "--condition", '" a"')
        assert "twice" in mistake(run("fit", "p.parquet", "-o", "r.st", *TINY, *both))

    def test_a_header_of_numbers(self, run, here):
        values = rows()[:, [0, 2]]
        np.savetxt("y.csv", values, delimiter=",", header="2019,2020", comments="")
        line = mistake(run("fit", "y.csv", "-o", "y.st", *TINY))
        assert line.endswith("choose them: --columns 2019,2020\n")
        assert run("fit", "y.csv", "-o", "y.st", *TINY, "--columns", "2019,2020").code == 0
        assert run("score", "y.st", "y.csv").out.count("\n") == 401
        words = ("--columns", "2020", "--condition", "2019")
        assert run("fit", "y.csv", "-o", "c2.st", *TINY, *words).code == 0
        drawn = run("sample", "c2.st", "-n", "1", "--condition", "y.csv").out
        assert drawn.startswith("2019,2020\n")


class TestNamesOfColumns:
    """A model knows whether the table held its names, even where they look like stand-ins for names."""

    @pytest.mark.parametrize("names", [("x1", "x2"), ("x1", "x0"), ("a", "b")])
    def test_python_knows_the_names_of_the_file(self, run, names):
        write_csv("n.csv", rows()[:, [0, 2]], names)
        assert run("fit", "n.csv", "-o", "n.st", *TINY).code == 0
        model, frame = pf.load("n.st"), pandas.read_csv("n.csv")
        assert tuple(model.feature_names_in_) == names
        assert np.isfinite(model.score(frame))
        with pytest.raises(ValueError, match="same order"):
            model.score(frame[[names[1], names[0]]])
        # And so does what Python saves again.
        model.save("again.st")
        assert tuple(pf.load("again.st").feature_names_in_) == names

    def test_a_condition_s_names_too(self, run):
        write_csv("n.csv", rows(), ("x2", "x0", "x1"))
        words = ("--columns", "x1", "--condition", "x2,x0")
        assert run("fit", "n.csv", "-o", "n.st", *TINY, *words).code == 0
        model = pf.load("n.st")
        assert tuple(model.feature_names_in_) == ("x2", "x0")
        assert model.target_names_ == ("x1",)
        expected = run("score", "n.st", "n.csv").out
        np.save("n.npy", rows()[:, [2, 0, 1]])
        assert run("score", "n.st", "n.npy").out == expected
        drawn = run("sample", "n.st", "-n", "2", "--condition", "n.csv").out
        np.save("given.npy", rows()[:, :2])
        again = run("sample", "n.st", "-n", "2", "--condition", "given.npy").out
        assert read(io.StringIO(again))["x1"].equals(read(io.StringIO(drawn))["x1"])

    def test_names_that_look_like_stand_ins_take_an_array_by_position(self, run):
        values = rows()[:, [0, 2]]
        write_csv("n.csv", values, ("x1", "x0"))
        np.save("n.npy", values)
        assert run("fit", "n.csv", "-o", "n.st", *TINY).code == 0
        assert run("score", "n.st", "n.npy").out == run("score", "n.st", "n.csv").out

    def test_a_file_without_names_gives_none(self, run):
        assert run("fit", "data.npy", "-o", "n.st", *TINY, "--columns", "x2,x0").code == 0
        model = pf.load("n.st")
        assert not hasattr(model, "feature_names_in_")
        expected = model.score_samples(rows()[:, [2, 0]])
        scores = read(io.StringIO(run("score", "n.st", "data.npy").out))["log_prob"].to_numpy()
        np.testing.assert_allclose(scores, expected, rtol=1e-5)

    def test_of_an_older_file_they_are_guessed(self, run):
        model = load_table_model("m.st")
        summary = {key: value for key, value in model.summary.items() if key != NOTES}
        for names, expected in ((("x1", "x0", "x2"), None), (("x", "x0", "x1"), ("x", "x0", "x1"))):
            older = replace(model, columns=replace(model.columns, names=names), summary=summary)
            assert names_of(older) == (expected, None)


class TestSample:
    def test_same_columns_whole_numbers_same_seed(self, run):
        first = run("sample", "m.st", "-n", "50")
        frame = read(io.StringIO(first.out))
        assert tuple(frame.columns) == NAMES
        assert frame.height == 50
        assert frame.schema["count"] == pl.Int64
        assert run("sample", "m.st", "-n", "50").out == first.out
        assert run("sample", "m.st", "-n", "50", "--seed", "1").out != first.out

    def test_draws_for_each_row_of_a_condition(self, run, here):
        (here / "g.csv").write_text("count,x,extra\n3,4.5,1\n7,6.5,2\n")
        result = run("sample", "c.st", "-n", "3", "--condition", "g.csv")
        before = run("sample", "c.st", "-n", "3", "--given", "g.csv")
        assert before.out == result.out
        assert before.err == (
            "warning: --given is now --condition; the old name goes with the next version\n"
            + result.err
        )
        both = ("sample", "c.st", "-n", "3", "--given", "g.csv", "--condition", "g.csv")
        assert "--given g.csv: is the old name of --condition" in mistake(run(*both))
        frame = read(io.StringIO(result.out))
        assert frame.columns == ["x", "count", "y"]
        assert frame["x"].to_list() == [4.5] * 3 + [6.5] * 3
        assert frame["count"].to_list() == [3] * 3 + [7] * 3
        assert frame["y"].n_unique() == 6

    def test_solved_in_another_way(self, run, here):
        """Options of the solver and of guidance change what is drawn as they do in Python."""
        values = rows()
        architecture = FlowMatching(width=4, depth=1, drop_condition=0.1)
        columns, given = (
            Columns.fit(values[:, 2:]),
            Columns.fit(values[:, :2], NAMES[:2]),
        )
        flow = table_flow(architecture, 1, (2,), jax.random.key(0))
        model = TableModel(flow, architecture, columns, given)
        save_table_model(model, "f.st")
        (here / "g.csv").write_text("x,count\n4.5,3\n")
        words = ("sample", "f.st", "-n", "3", "--condition", "g.csv")
        changed = run(*words, "--solver", "method=euler", "--solver", "steps=2", "--guidance", "3")
        same = with_guidance(with_solver(model, method="euler", steps=2), 3.0)
        drawn = same.sample(3, 0, np.array([[4.5, 3.0]]))
        np.testing.assert_allclose(read(io.StringIO(changed.out))["x0"], drawn[:, 0], rtol=1e-6)
        assert run(*words).out != changed.out
        for option, expected in (
            (
                ("--solver", "tolerance=1"),
                "a solver has no 'tolerance'; it has method, steps, rtol, atol, max_steps",
            ),
            (("--solver", "steps=few"), "--solver steps=few: a whole number"),
            (("--solver", "steps"), "key=value"),
            (("--guidance", "-3"), "weight=-3.0"),
        ):
            assert expected in mistake(run(*words, *option))
        for task in (("sample", "m.st", "-n", "1"), ("score", "m.st", "data.csv")):
            assert "m.st: the model holds no continuous" in mistake(
                run(*task, "--solver", "steps=2")
            )

    def test_a_label_that_training_never_had_is_warned_of_once(self, run, here):
        rng = np.random.default_rng(0)
        label = rng.integers(0, 3, 200)
        table = pl.DataFrame({"g": label, "y": label + rng.normal(size=200)})
        table.write_csv("labels.csv")
        assert run("fit", "labels.csv", "--condition", "g", "-o", "l.st", *TINY, "-q").code == 0
        (here / "new.csv").write_text("g,y\n" + "7,1.5\n" * 3)
        for words in (
            ("score", "l.st", "new.csv"),
            ("sample", "l.st", "-n", "1", "--condition", "new.csv"),
        ):
            result = run(*words, "-q")
            assert result.code == 0
            assert result.err.count("\n") == 1
            assert result.err.startswith("pushforward: warning: condition 'g' holds 7")
        assert run("score", "l.st", "labels.csv", "-q").err == ""

    def test_any_format(self, run):
        for name in ("d.csv", "d.tsv", "d.parquet", "d.npy", "d.npz"):
            assert run("sample", "m.st", "-n", "7", "-o", name).code == 0
            assert run("score", "m.st", name).out.count("\n") == 8
        assert "--force" in mistake(run("sample", "m.st", "-n", "7", "-o", "d.csv"))

    @pytest.mark.parametrize(
        ("words", "expected"),
        [
            (["m.st", "-n", "0"], ["-n 0", "at least 1"]),
            (["m.st", "-n", "-5"], ["-n -5", "at least 1"]),
            (["m.st", "-n", "10000000000000"], ["too many"]),
            (["m.st", "-n", "many"], ["-n"]),
            (["c.st", "-n", "999999999999", "--condition", "data.csv"], ["too many", "400 rows"]),
            (["c.st", "-n", "5"], ["--condition", "x, count"]),
            (["c.st", "-n", "5", "--condition", "narrow.csv"], ["'count'"]),
            (["c.st", "-n", "5", "--condition", "none.csv"], ["no such file"]),
            (["c.st", "-n", "5", "--condition", "data.npy"], ["3 columns", "2 are expected"]),
            (["m.st", "-n", "5", "--condition", "data.csv"], ["leave --condition out"]),
            (["data.csv", "-n", "5"], ["data.csv"]),
        ],
    )
    def test_mistakes(self, run, here, words, expected):
        (here / "narrow.csv").write_text("x\n1\n")
        line = mistake(run("sample", *words, "-o", "d.csv"))
        assert all(part in line for part in expected), line
        assert not (here / "d.csv").exists()


class TestKinds:
    """Columns that are declared: from the command line to the draws, and what goes wrong."""

    TABLE = "share,wait,age,year,wind\n"

    @pytest.fixture
    def kinds(self, run, here):
        rng = np.random.default_rng(0)
        share, wait, age = rng.beta(1, 3, 200), rng.exponential(5, 200), rng.poisson(40, 200)
        wind = rng.uniform(0, 360, 200)
        rows = [
            f"{s!r},{w!r},{a},2013,{d!r}"
            for s, w, a, d in zip(*(v.tolist() for v in (share, wait, age, wind)), strict=True)
        ]
        (here / "k.csv").write_text(self.TABLE + "\n".join(rows) + "\n")
        words = ["share=bounded:0,1", "wait=bounded:0,", "age=continuous", "wind=angle:360"]
        options = [word for kind in words for word in ("--column", kind)]
        run("fit", "k.csv", "-o", "k.st", *options, *TINY)
        return "k.st"

    def test_inspect_shows_kinds_and_reasons(self, run, kinds):
        text = run("inspect", kinds).out
        for name, kind, reason in (
            ("share", "bounded", "real numbers between 0 and 1 (declared)"),
            ("wait", "bounded", "real numbers above 0 (declared)"),
            ("age", "continuous", "real numbers (declared)"),
            ("year", "constant", "the constant 2013 (every row holds 2013)"),
            ("wind", "angle", "angles of period 360 (declared)"),
        ):
            line = next(line for line in text.splitlines() if f"{name} " in line and kind in line)
            assert reason in line

    def test_draws_and_scores(self, run, here, kinds):
        run("sample", kinds, "-n", "500", "-o", "d.csv")
        draws = pl.read_csv(here / "d.csv")
        assert draws.columns == ["share", "wait", "age", "year", "wind"]
        assert draws["year"].to_list() == [2013] * 500
        assert draws["share"].min() > 0
        assert draws["share"].max() < 1
        assert draws["wait"].min() > 0
        assert draws["wind"].is_between(0, 360).all()
        done = run("score", kinds, "d.csv", "-o", "s.csv")
        assert "500 rows, mean " in done.err
        rows = ["0.5,1,40,2013,10", "1.5,1,40,2013,10", "0.5,1,40,2014,370", "0.5,1,40,2013,370"]
        (here / "odd.csv").write_text(self.TABLE + "\n".join(rows) + "\n")
        done = run("score", kinds, "odd.csv", "-o", "o.csv")
        scores = pl.read_csv(here / "o.csv")["log_prob"].to_numpy()
        assert np.isneginf(scores).tolist() == [False, True, True, False]
        assert scores[0] == pytest.approx(scores[3], abs=1e-4)
        assert (
            "2 of 4 rows are impossible (-inf), the first in row 2: column 'share' holds 1.5, not real numbers between "
            "0 and 1" in done.err
        )
        assert "2 other rows, mean " in done.err

    @pytest.mark.parametrize(
        ("kind", "expected"),
        [
            ("x=whole", ["'x' is declared whole", "row 1 holds"]),
            ("x=bounded:0,1", ["'x' is declared bounded:0,1", "beyond the bounds"]),
            ("age=whole", ["data.csv: no column 'age'", "it holds"]),
            ("x=integer", ["--column x=integer", "unknown", "known are continuous"]),
            ("x", ["--column x: NAME=KIND"]),
        ],
    )
    def test_mistakes(self, run, here, kind, expected):
        line = mistake(run("fit", "data.csv", "-o", "a.st", "--column", kind, *TINY))
        assert all(part in line for part in expected), line
        assert not (here / "a.st").exists()


class TestInspect:
    def test_says_what_the_model_is(self, run):
        out = run("inspect", "m.st").out
        for part in ("RealNVP", "layers=1", "width=8", "p(x, count, y)", "32", "Gaussian"):
            assert part in out, part
        line = next(line for line in out.splitlines() if " count " in line)
        assert "dequantized" in line
        assert "rounded back" in line

    def test_json(self, run):
        header = json.loads(run("inspect", "c.st", "--json").out)
        text = json.dumps(header)
        assert "count" in text
        assert "layers" in text

    @pytest.mark.parametrize("name", ["data.csv", "none.st", "."])
    def test_not_a_model(self, run, name):
        assert name in mistake(run("inspect", name))


class TestFailures:
    """What is nobody's mistake in the input is one line too, with exit code 1."""

    @pytest.mark.parametrize(
        ("error", "asked"),
        [
            (
                RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 44812783184 bytes."),
                "44.8 GB",
            ),
            (
                RuntimeError(
                    "RESOURCE_EXHAUSTED: Failed to allocate request for 1.50GiB (1610612736B)"
                ),
                None,
            ),
            (RuntimeError("Out of memory while trying to allocate 4096 bytes."), "4.1 kB"),
            (MemoryError("Unable to allocate 8.19 TiB for an array with shape (3, 3)"), "9.005 TB"),
            (MemoryError(), None),
        ],
    )
    @pytest.mark.parametrize(
        "words",
        [("fit", "data.csv", "-o", "a.st", "--flow", "nsf"), ("score", "m.st", "data.csv")],
    )
    def test_too_little_memory(self, run, here, monkeypatch, fit_module, words, error, asked):
        def fail(*_, **__):
            raise error

        monkeypatch.setattr(fit_module, "fit_table", fail)
        monkeypatch.setattr(TableModel, "log_prob", fail)
        result = run(*words, "--quiet")
        assert (result.code, result.err.count("\n")) == (1, 1)
        assert result.err.startswith("pushforward: out of memory")
        assert "a smaller flow" in result.err
        if asked is not None:
            assert f": {asked} were asked for at once" in result.err
        assert not list(here.glob("a.st*"))

    def test_a_flow_beyond_all_memory(self, run, here):
        """A size that no machine can address, as NumPy itself refuses it."""
        words = ("--flow", "nsf", "--set", f"bins={10**18}")
        result = run("fit", "data.csv", "-o", "a.st", *words, "--quiet")
        assert (result.code, result.err.count("\n")) == (1, 1)
        assert "out of memory" in result.err
        assert not list(here.glob("a.st*"))

    def test_what_a_traceback_explains_better_keeps_it(self, run, monkeypatch):
        def fail(*_, **__):
            raise RuntimeError("a fault of ours")

        monkeypatch.setattr(TableModel, "log_prob", fail)
        with pytest.raises(RuntimeError, match="a fault of ours"):
            run("score", "m.st", "data.csv")

    @pytest.mark.parametrize(
        ("name", "value", "expected"),
        [
            ("JAX_PLATFORMS", "nonsense", "JAX finds no such device here"),
            pytest.param(
                "JAX_PLATFORMS",
                "cuda",
                "JAX finds no such device here",
                marks=pytest.mark.skipif(os.path.exists("/dev/nvidia0"), reason="has one"),
            ),
            ("JAX_ENABLE_X64", "maybe", "JAX does not take this"),
        ],
    )
    def test_an_environment_that_jax_does_not_take(self, here, monkeypatch, name, value, expected):
        monkeypatch.setenv(name, value)
        process = start("score", "m.st", "data.csv", cwd=here)
        out, err = process.communicate(timeout=60)
        assert (process.returncode, out, err.count("\n")) == (1, "", 1)
        assert err.startswith(f"pushforward: {name}={value}: {expected}")
        assert "unset it" in err

    def test_broadcasting_that_jax_is_set_to_refuse(self, run, here, monkeypatch):
        expected = run("score", "m.st", "data.csv").out
        monkeypatch.setenv("JAX_NUMPY_RANK_PROMOTION", "raise")
        process = start("score", "m.st", "data.csv", "-q", cwd=here)
        out, err = process.communicate(timeout=60)
        assert (process.returncode, out, err) == (0, expected, "")

    @pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
    def test_letters_that_the_terminal_has_not(self, run, monkeypatch, encoding):
        write_csv("g.csv", rows()[:, [0, 2]], ("größe", "\u0394t"))
        assert run("fit", "g.csv", "-o", "g.st", *TINY).code == 0
        for words in (
            ("inspect", "g.st"),
            ("inspect", "g.st", "--json"),
            ("sample", "g.st", "-n", "1"),
        ):
            out = io.BytesIO()
            monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(out, encoding=encoding))
            assert main(list(words)) == 0
            sys.stdout.flush()
            # A table is UTF-8 whatever the terminal is.
            sign = "\u0394t".encode() if words[0] == "sample" else rb"\u0394t"
            assert sign in out.getvalue()


class TestProcess:
    """What only a process of its own can show."""

    def test_pipes_exit_codes_and_pure_streams(self, here):
        sampling = start("sample", "m.st", "-n", "20", cwd=here)
        scoring = start("score", "m.st", "-", cwd=here, stdin=sampling.stdout)
        sampling.stdout.close()
        out, err = scoring.communicate(timeout=60)
        assert scoring.returncode == 0, err
        assert out.splitlines()[0] == "log_prob"
        assert all(np.isfinite(float(line)) for line in out.splitlines()[1:])
        assert len(out.splitlines()) == 21
        assert len(err.splitlines()) == 1
        assert sampling.stderr.read() == "20 rows\n"
        assert sampling.wait() == 0

    def test_a_reader_that_leaves_ends_it_quietly(self, here):
        process = start("sample", "m.st", "-n", "100000000", "--quiet", cwd=here)
        assert process.stdout.readline() == "x,count,y\n"
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(timeout=60) == 0

    def test_closed_standard_input(self, run, here, monkeypatch):
        expected = (1, "", "pushforward: standard input is closed\n")
        closed = ["sh", "-c", f"exec {sys.executable} -m pushforward score m.st - <&-"]
        found = subprocess.run(closed, capture_output=True, text=True, check=False)
        assert (found.returncode, found.stdout, found.stderr) == expected
        # As Python has it in such a process.
        monkeypatch.setattr(sys, "stdin", None)
        for words in (
            ("fit", "-", "-o", "a.st"),
            ("sample", "c.st", "-n", "1", "--condition", "-"),
        ):
            result = run(*words)
            assert (result.code, result.out, result.err) == expected
        assert run("score", "m.st", "data.csv").code == 0

    @pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux has a disk that is full")
    def test_closed_streams(self, here):
        script = "exec {} -m pushforward sample m.st -n 2 {}"
        closed = ["sh", "-c", script.format(sys.executable, ">&-")]
        found = subprocess.run(closed, capture_output=True, text=True, check=False)
        assert (found.returncode, found.stderr) == (1, "pushforward: standard output is closed\n")
        to_file = ["sh", "-c", script.format(sys.executable, "-o d.csv >&- 2>&-")]
        assert subprocess.run(to_file, check=False).returncode == 0
        assert read("d.csv").height == 2

    def test_a_full_disk_is_one_line(self, here):
        with open("/dev/full", "w") as full:
            process = start("sample", "m.st", "-n", "5", "--quiet", cwd=here, stdout=full)
            _, err = process.communicate(timeout=60)
        assert process.returncode == 1
        assert err == "pushforward: No space left on device\n"

    @pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on the size of files")
    @pytest.mark.parametrize("name", ["s.csv", "s.parquet", "s.npy", "s.npz"])
    def test_a_full_disk_is_one_line_with_the_file_s_name(self, run, here, name):
        import resource

        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
        try:
            result = run("score", "m.st", "data.csv", "-o", name, "--quiet")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert (result.code, result.err) == (1, f"pushforward: {name}: File too large\n")
        assert not list(here.glob("s.*")) + list(here.glob(".pushforward*"))

    def test_a_mistake_has_no_traceback(self, here):
        process = start("score", "m.st", "none.csv", cwd=here)
        out, err = process.communicate(timeout=60)
        assert (process.returncode, out) == (2, "")
        assert err == "pushforward: none.csv: no such file\n"
