"""What tests/test_devices.py and benchmarks/hosts.py run in processes of their own; prints JSON."""

import hashlib
import json
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import numpy as np

import pushforward as pf
from pushforward.training import run as run_module
from pushforward.training import step

LANES = 4


def rows() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(500, 2)).astype(np.float32)


def model() -> Any:
    return pf.architectures.MAF(layers=1, width=64).build(2, key=jax.random.key(1))


def fit(devices: pf.Devices | None, epochs: int = 2, batch: int = 52, **options: Any) -> Any:
    """The outcome of a fit."""
    training = pf.Training(max_epochs=epochs, batch=batch, devices=devices)
    return pf.fit(
        model(), rows(), key=jax.random.key(2), jitter=[0.1, 0.1], training=training, **options
    )


def outcome(fitted: Any) -> dict[str, Any]:
    """All bits of the weights, and the figure."""
    leaves = [np.asarray(a) for a in jax.tree.leaves(fitted.model) if eqx.is_array(a)]
    digest = hashlib.sha256(b"".join(leaf.tobytes() for leaf in leaves)).hexdigest()
    return {"digest": digest, "nats": -fitted.best_loss}


def resumed(stopped_on: pf.Devices, resumed_on: pf.Devices) -> Any:
    """A fit that was stopped after its first epoch and went on elsewhere."""
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = pf.Checkpoint(Path(folder) / "fit", resume=True)
        fit(stopped_on, checkpoint=checkpoint, report=lambda epoch: True)
        return fit(resumed_on, checkpoint=checkpoint)


def fits() -> dict[str, Any]:
    """Outcomes by name, and what is in the program for four devices."""
    programs = {}
    run = step.run

    def kept(*arguments: Any) -> Any:
        programs[arguments[-1]] = arguments
        return run(*arguments)

    run_module.run = kept
    layouts = {
        "none": None,
        "one": pf.Devices(1),
        "split": pf.Devices(4, shard="rows+weights"),
        **{f"{n} of 4 lanes": pf.Devices(n, lanes=LANES) for n in (1, 2, 4)},
        "four": pf.Devices(4),
    }
    found = {name: outcome(fit(devices)) for name, devices in layouts.items()}
    found["elastic"] = outcome(resumed(pf.Devices(4, lanes=LANES), pf.Devices(1, lanes=LANES)))
    last = list(programs)[-3:]
    rows_only = next(p for p in last if p is not None and not p.split and p.lanes is None)
    text = run.lower(*programs[rows_only]).compile().compiled.as_text()
    found["messages"] = sorted(set(re.findall(r"\b(all-[a-z]+|reduce-scatter)(?:-start)?\(", text)))
    sizes = re.findall(r"\b[a-z]+\d*\[([\d,]+)\]", text)
    found["sizes"] = sorted({int(n) for size in sizes for n in size.split(",")})
    return found


def lanes() -> dict[str, Any]:
    """With eight lanes, on as many devices as divide them."""
    return {n: outcome(fit(pf.Devices(n, lanes=8), batch=56)) for n in (1, 2, 4, 8)}


def host(number: str, hosts: str, port: str, path: str, epochs: str, pause: str) -> dict[str, Any]:
    """One of several hosts; says each step."""
    if int(hosts) > 1:
        jax.distributed.initialize(
            f"127.0.0.1:{port}", int(hosts), int(number), heartbeat_timeout_seconds=5
        )

    def slow(step: Any) -> None:
        print(f"step {step.step} of epoch {step.epoch}", flush=True)
        time.sleep(float(pause))

    checkpoint = pf.Checkpoint(Path(path), every=0.0, resume=True)
    devices = pf.Devices(lanes=LANES)
    return outcome(fit(devices, int(epochs), progress=slow, checkpoint=checkpoint))


if __name__ == "__main__":
    name, *arguments = sys.argv[1:]
    print(json.dumps(globals()[name](*arguments)))
