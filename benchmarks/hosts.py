"""Kills one of two hosts at random times, until the fit is done: the model must be the undisturbed one, bit for bit.

Each round starts two processes on loopback, kills one of them at a random moment (SIGKILL, in turn the first and the
second), waits for the other to end, and starts the same command again, which goes on from the checkpoint. Every third
start is one process alone with another number of devices.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

WORKER = Path(__file__).resolve().parents[1] / "tests" / "devices_worker.py"


def started(host: int, hosts: int, port: int, path: Path, epochs: int) -> subprocess.Popen[str]:
    """One host with two devices, or one process with one."""
    flags = f"--xla_force_host_platform_device_count={2 if hosts > 1 else 1}"
    bound = f"127.0.0.1:{port}"
    # Slow steps leave time to be killed in.
    words = ("host", host, hosts, port, path, epochs, 0.2)
    return subprocess.Popen(
        [sys.executable, "-u", str(WORKER), *map(str, words)],
        env={
            **os.environ,
            "XLA_FLAGS": flags,
            "NPROC": "2",
            "JAX_PLATFORMS": "cpu",
            "JAX_COORDINATOR_BIND_ADDRESS": bound,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def free_port() -> int:
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        port: int = trial.getsockname()[1]
        return port


def digest_of(process: subprocess.Popen[str]) -> str | None:
    """Of the model of a process, None where it ended without one."""
    said = process.communicate()[0].splitlines()
    return json.loads(said[-1])["digest"] if process.returncode == 0 else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--longest", type=float, default=20.0, help="seconds to a kill, at most")
    options = parser.parse_args()
    draw = random.Random(0)

    with tempfile.TemporaryDirectory() as folder:
        expected = digest_of(started(0, 1, 0, Path(folder) / "alone", options.epochs))
        path = Path(folder) / "fit"
        slowest, kills, wrong = 0.0, 0, 0
        for number in range(options.kills):
            hosts = 1 if number % 3 == 2 else 2
            port = free_port()
            both = [started(i, hosts, port, path, options.epochs) for i in range(hosts)]
            time.sleep(draw.uniform(0.0, options.longest))
            victim = both[number % hosts]
            if victim.poll() is not None:
                wrong += digest_of(victim) != expected
                path.unlink()
            else:
                victim.kill()
                kills += 1
            began = time.monotonic()
            for process in both:
                process.communicate()
            slowest = max(slowest, time.monotonic() - began)
            print(
                f"{number + 1}: {hosts} hosts, the rest ended after {time.monotonic() - began:.1f} s"
            )
        last = digest_of(started(0, 1, 0, path, options.epochs))
        wrong += last != expected
        print("| kills | slowest end of the rest, s | wrong models |\n| --- | --- | --- |")
        print(f"| {kills} | {slowest:.1f} | {wrong} |")
        sys.exit(wrong > 0)


if __name__ == "__main__":
    main()
