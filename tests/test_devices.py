"""Fits on several devices and hosts, in processes that see one CPU as many devices."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import pushforward as pf

WORKER = Path(__file__).with_name("devices_worker.py")
HEARTBEAT = 5


def environment(devices: int, port: int = 0) -> dict[str, str]:
    """Of a process with so many devices, and with as many threads as any other: bits follow their number."""
    flags = os.environ.get("XLA_FLAGS", "")
    flags += f" --xla_force_host_platform_device_count={devices}"
    bound = {"JAX_COORDINATOR_BIND_ADDRESS": f"127.0.0.1:{port}"} if port else {}
    return {**os.environ, "XLA_FLAGS": flags, "NPROC": "2", **bound}


def found_by(*arguments: str, devices: int = 8) -> Any:
    """What a part of the worker prints."""
    command = [sys.executable, str(WORKER), *arguments]
    run = subprocess.run(command, env=environment(devices), capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-3000:]
    return json.loads(run.stdout.splitlines()[-1])


def free_port() -> int:
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        port: int = trial.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def fits() -> Any:
    return found_by("fits")


class TestDevices:
    def test_one_device_is_what_it_was(self, fits: Any) -> None:
        assert fits["one"] == fits["none"]

    def test_devices_agree_to_rounding(self, fits: Any) -> None:
        """Same rows in the same order with the same noise: nothing else could be as near."""
        for name in ("four", "split"):
            assert fits[name]["nats"] == pytest.approx(fits["none"]["nats"], abs=1e-5)
            assert fits[name]["digest"] != fits["none"]["digest"]

    def test_lanes_agree_to_the_bit(self, fits: Any) -> None:
        assert fits["1 of 4 lanes"] == fits["2 of 4 lanes"] == fits["4 of 4 lanes"]
        assert fits["1 of 4 lanes"]["digest"] != fits["none"]["digest"]

    def test_a_fit_goes_on_on_fewer_devices_to_the_same_bits(self, fits: Any) -> None:
        assert fits["elastic"] == fits["4 of 4 lanes"]

    def test_a_device_sees_its_rows_only(self, fits: Any) -> None:
        """A batch has 52 rows, of which each of four devices has 13; gradients are all that travels."""
        assert fits["messages"] == ["all-reduce"]
        assert 13 in fits["sizes"]
        assert 52 not in fits["sizes"]


class Whole:
    """A loss that sees its batch as a whole."""

    scalar = True

    def __call__(self, model: Any, batch: Any, key: Any) -> Any:
        return -model.log_prob(batch.x).mean()


LANES = pf.Devices(1, lanes=4)


@pytest.mark.parametrize(
    ("devices", "options", "message"),
    [
        (pf.Devices(1000), {}, "1000 devices were asked for, .*device_count=1000 makes"),
        (
            pf.Devices(1, lanes=3),
            {},
            "32 rows does not divide among 3 lanes: set batch to 30 or 33",
        ),
        (LANES, {"loss": Whole()}, "lanes=4: the loss sees its batch as a whole"),
        (LANES, {"loss": pf.paths.FlowMatchingLoss(coupling="sinkhorn")}, "couples the rows"),
        (LANES, {"model": "batch norm"}, "batch norm, whose statistics are those of a batch"),
    ],
)
def test_bad_input(devices: Any, options: dict[str, Any], message: str) -> None:
    flow = pf.architectures.RealNVP(layers=1, width=8).build(2, key=jax.random.key(0))
    if "coupling" in repr(options):
        flow = pf.architectures.FlowMatching(width=8).build(2, key=jax.random.key(0))
    options = dict(options)
    if options.pop("model", None):
        flow = pf.architectures.MAF(layers=1, width=8, batch_norm=True).build(
            2, key=jax.random.key(0)
        )
    x = np.zeros((64, 2), np.float32)
    training = pf.Training(batch=32, max_epochs=1, devices=devices)
    with pytest.raises(pf.InputError, match=message):
        pf.fit(flow, x, key=jax.random.key(0), training=training, **options)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: pf.Devices(0), "devices=0: a whole number of at least 1"),
        (lambda: pf.Devices(shard="columns"), "shard='columns' is unknown"),
        (lambda: pf.Devices(shard="rows+weights", lanes=2), "lanes go with shard='rows'"),
        (lambda: pf.Training(devices=2), "devices=2: pf.Devices"),
    ],
)
def test_bad_settings(made: Any, message: str) -> None:
    with pytest.raises(pf.InputError, match=message):
        made()


def test_a_fit_without_rows_takes_one_device() -> None:
    flow = pf.architectures.RealNVP(layers=1, width=8).build(2, key=jax.random.key(0))
    training = pf.Training(devices=pf.Devices())
    with pytest.raises(pf.InputError, match="devices: not expected in a fit without rows"):
        pf.fit(flow, key=jax.random.key(0), steps=2, loss=Whole(), training=training)


def command(*arguments: str, devices: int = 1, port: int = 0) -> subprocess.Popen[str]:
    """`pushforward` in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "pushforward", *arguments],
        env=environment(devices, port),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """The exit code and the last line of errors."""
    errors = process.communicate(timeout=300)[1]
    return process.returncode, (errors.splitlines() or [""])[-1]


@pytest.fixture
def table(tmp_path: Path) -> str:
    path = tmp_path / "x.csv"
    np.savetxt(path, np.random.default_rng(0).normal(size=(300, 2)), delimiter=",", header="a,b")
    return str(path)


def test_hosts_that_do_not_meet(table: str) -> None:
    """JAX would abort with a stack of C++."""
    port = free_port()
    output = str(Path(table).with_name("m"))
    own = ("--hosts", "2", "--host", "1", "--coordinator", f"127.0.0.1:{port}", "--wait", "1")
    code, line = ended(command("fit", table, "-o", output, *own, port=port))
    assert code == 2
    assert line.startswith("pushforward: 2 hosts did not meet within 1 s: 127.0.0.1:")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--devices", "x"], "--devices x: a number of devices, or all"),
        (["--shard", "rows+weights"], "say among how many devices"),
        (["--hosts", "2"], "--hosts 2: give --hosts N --host I --coordinator"),
        (["--host", "1"], "say how many hosts there are"),
        (["--hosts", "auto"], "no job of SLURM, Open MPI or Kubernetes was found"),
        (["--hosts", "2", "--host", "2", "--coordinator", "a:1"], "the last one is 1"),
        (["--hosts", "2", "--host", "0", "--coordinator", "a"], "ADDRESS:PORT is expected"),
    ],
)
def test_bad_options(
    options: list[str], message: str, table: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from pushforward.cli import main

    assert main(["fit", table, "-o", table + ".model", *options]) == 2
    assert message in capsys.readouterr().err


def test_a_port_that_is_taken(table: str, capsys: pytest.CaptureFixture[str]) -> None:
    """JAX would end in a segmentation fault."""
    from pushforward.cli import main

    with socket.socket() as taken, pytest.MonkeyPatch.context() as patch:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        patch.setenv("JAX_COORDINATOR_BIND_ADDRESS", where)
        options = ["--hosts", "2", "--host", "0", "--coordinator", where]
        assert main(["fit", table, "-o", table + ".model", *options]) == 2
    assert f"host 0 cannot listen at {where}" in capsys.readouterr().err


def hosts(path: Path, epochs: int, pause: float) -> list[subprocess.Popen[str]]:
    """Two hosts of two devices that fit together."""
    port = free_port()
    return [
        subprocess.Popen(
            [
                sys.executable,
                "-u",
                str(WORKER),
                "host",
                *map(str, (i, 2, port, path, epochs, pause)),
            ],
            env=environment(2, port),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        for i in range(2)
    ]


@pytest.mark.nightly
class TestHosts:
    def test_lanes_on_any_number_of_devices(self) -> None:
        digests = {found["digest"] for found in found_by("lanes").values()}
        assert len(digests) == 1

    def test_two_hosts_are_one(self, tmp_path: Path) -> None:
        """To the bit, and one of them writes."""
        both = hosts(tmp_path / "both", 2, 0.0)
        found = [json.loads(p.communicate(timeout=300)[0].splitlines()[-1]) for p in both]
        alone = found_by("host", "0", "1", "0", str(tmp_path / "alone"), "2", "0", devices=4)
        assert found[0] == found[1] == alone
        assert sorted(p.name for p in tmp_path.iterdir()) == ["alone", "both"]

    @pytest.mark.parametrize("victim", [0, 1])
    @pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
    def test_a_host_that_dies_ends_the_other(
        self, victim: int, how: signal.Signals, tmp_path: Path
    ) -> None:
        """Within a heartbeat; on one device the fit then goes on to the bits of a run that nobody disturbed."""
        path = tmp_path / "fit"
        both = hosts(path, 4, 0.3)
        for line in both[0].stdout or ():
            if line.startswith("step") and "epoch 2" in line:
                break
        both[victim].send_signal(how)
        began = time.monotonic()
        assert both[1 - victim].wait(timeout=60) != 0
        assert time.monotonic() - began < HEARTBEAT + 10
        both[victim].kill()
        both[victim].wait()
        again = found_by("host", "0", "1", "0", str(path), "4", "0", devices=1)
        alone = found_by("host", "0", "1", "0", str(tmp_path / "alone"), "4", "0", devices=1)
        assert again == alone

    def test_the_command(self, table: str, tmp_path: Path) -> None:
        """One model, one voice; a mistake that one host makes is said by both."""
        output, port = tmp_path / "m", free_port()
        own = ["--flow", "maf", "--set", "layers=1", "--max-epochs", "1", "--train", "batch=64"]

        def both(*more: str) -> list[tuple[int, str]]:
            meeting = ("--hosts", "2", "--coordinator", f"127.0.0.1:{port}")
            run = [
                command(
                    "fit", table, "-o", str(output), *own, *meeting, "--host", i, *more, port=port
                )
                for i in ("0", "1")
            ]
            return [ended(process) for process in run]

        (code, said), (other, quiet) = both()
        assert (code, other) == (0, 0)
        assert said.startswith("done after 1 epoch")
        assert not quiet.startswith("done")
        assert output.is_file()
        assert sorted(p.name for p in tmp_path.iterdir()) == ["m", "x.csv"]
        for code, said in both():
            assert code == 2
            assert "exists already" in said

    def test_hosts_with_other_rows(self, table: str, tmp_path: Path) -> None:
        """Both say so, and no model is written."""
        other, output, port = tmp_path / "other.csv", tmp_path / "m", free_port()
        rows = np.random.default_rng(1).normal(size=(300, 2))
        np.savetxt(other, rows, delimiter=",", header="a,b")
        options = ["--flow", "maf", "--max-epochs", "1", "-o", str(output)]
        options += ["--hosts", "2", "--coordinator", f"127.0.0.1:{port}", "--host"]
        both = [
            command("fit", data, *options, str(i), port=port)
            for i, data in enumerate((table, str(other)))
        ]
        for code, said in map(ended, both):
            assert code == 2
            assert "of host 1 differ from those of host 0: give all hosts the same" in said
        assert not output.exists()

    def test_one_interrupt_ends_all_with_the_best_model(self, table: str, tmp_path: Path) -> None:
        output, port = tmp_path / "m", free_port()
        options = ["--flow", "maf", "--set", "layers=1", "--train", "batch=32"]
        options += ["--max-epochs", "100000", "--train", "patience=1", "-o", str(output)]
        options += ["--hosts", "2", "--coordinator", f"127.0.0.1:{port}", "--host"]
        both = [command("fit", table, *options, str(i), port=port) for i in range(2)]
        said = ""
        for line in both[0].stderr or ():
            said += line
            if "epoch 2" in line:
                break
        both[0].send_signal(signal.SIGINT)
        codes = [ended(process) for process in both]
        assert [code for code, _ in codes] == [0, 0], (said, codes)
        assert codes[0][1].startswith("stopped by Ctrl-C with the best model so far")
        assert output.is_file()
