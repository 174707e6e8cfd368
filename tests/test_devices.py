"""Fits on several devices, in processes that see one CPU as eight."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

WORKER = Path(__file__).with_name("devices_worker.py")


def environment(devices: int) -> dict[str, str]:
    """Of a process with so many devices, and with as many threads as any other: bits follow their number."""
    flags = os.environ.get("XLA_FLAGS", "")
    flags += f" --xla_force_host_platform_device_count={devices}"
    return {**os.environ, "XLA_FLAGS": flags, "NPROC": "2"}


def found_by(part: str, devices: int = 8) -> Any:
    """What a part of the worker prints."""
    command = [sys.executable, str(WORKER), part]
    run = subprocess.run(command, env=environment(devices), capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-3000:]
    return json.loads(run.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def fits() -> Any:
    return found_by("fits")


def test_one_device_is_what_it_was(fits: Any) -> None:
    assert fits["one"] == fits["none"]


def test_devices_agree_to_rounding(fits: Any) -> None:
    """Same rows in the same order with the same noise: nothing else could be as near."""
    for name in ("four", "split"):
        assert fits[name]["nats"] == pytest.approx(fits["none"]["nats"], abs=1e-5)
        assert fits[name]["digest"] != fits["none"]["digest"]


def test_lanes_agree_to_the_bit(fits: Any) -> None:
    assert fits["1 of 4 lanes"] == fits["2 of 4 lanes"] == fits["4 of 4 lanes"]
