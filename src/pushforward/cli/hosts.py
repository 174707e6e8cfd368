"""`pushforward fit` on several hosts: they meet, the first one talks and writes, and they part together."""

import os
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from pushforward.cli.devices import PANEL
from pushforward.errors import InputError

Command = TypeVar("Command", bound=Callable[..., None])

HEARTBEAT, WAIT = 100, 300
LONGEST = 7 * 24 * 3600 * 1000
"""Milliseconds in which the first host measures and writes the model while the others wait."""
PARTING = 5000
"""Milliseconds in which a host that fails waits for others with the same error."""
LAST = 0.5
"""Seconds in which the others leave before the first host does."""
ADVICE = "give --hosts N --host I --coordinator ADDRESS:PORT"

Hosts = Annotated[
    str | None,
    typer.Option(
        "--hosts",
        metavar="N|auto",
        help="Fit on N hosts, each of which runs this command; auto asks SLURM, Open MPI or Kubernetes. On private "
        "networks only.",
        rich_help_panel=PANEL,
    ),
]
Host = Annotated[
    int | None,
    typer.Option(
        "--host",
        min=0,
        metavar="I",
        help="Which of --hosts N this is, from 0; host 0 writes the model.",
        rich_help_panel=PANEL,
    ),
]
Coordinator = Annotated[
    str | None,
    typer.Option(
        "--coordinator",
        metavar="ADDRESS:PORT",
        help="Where the hosts meet: an address of host 0 and a free port there.",
        rich_help_panel=PANEL,
    ),
]
Wait = Annotated[
    int,
    typer.Option(
        "--wait",
        min=1,
        metavar="SECONDS",
        help="How long hosts wait for each other at the start.",
        rich_help_panel=PANEL,
    ),
]
Heartbeat = Annotated[
    int,
    typer.Option(
        "--heartbeat",
        min=1,
        metavar="SECONDS",
        help="Silence of a host after which the others end too; --resume goes on.",
        rich_help_panel=PANEL,
    ),
]

_joined = False


def on_hosts(command: Command) -> Command:
    """A decorator of a command that fits: with `--hosts`, it runs on all hosts, of which the first one writes.

    The others write into a temporary folder, so that every one does the same.
    """

    @wraps(command)
    def run(**given: Any) -> None:
        own = {name: given[name] for name in ("hosts", "host", "coordinator", "wait", "heartbeat")}
        if not _join(**own):
            command(**given)
            return
        import jax

        from pushforward.training.hosts import told

        with tempfile.TemporaryDirectory(prefix="pushforward-") as folder:
            if jax.process_index():
                given |= {"output": Path(folder) / "model", "quiet": True, "force": False}
                # Ctrl-C in a terminal reaches every process; the first one decides.
                if hasattr(signal, "pthread_sigmask"):
                    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
            with told():
                command(**given)
        _part()

    return run  # type: ignore[return-value]


def leave(code: int) -> int:
    """The exit code, of a process that may leave as others do. One that fails among several hosts leaves at once:
    Python's way out waits for the others, who wait for it."""
    if code and _joined:
        sys.stderr.flush()
        # Where all have the same error, all may say so.
        with suppress(Exception):
            _wait("failed", PARTING)
        if _first():
            # The others' last words would be JAX's, that they lost the first host.
            time.sleep(LAST)
        os._exit(code)
    return code


def _first() -> bool:
    import jax

    return jax.process_index() == 0


def among_hosts() -> bool:
    """Whether this process has met others."""
    return _joined


def _join(
    hosts: str | None, host: int | None, coordinator: str | None, wait: int, heartbeat: int
) -> bool:
    """Meet the other hosts; False where there are none.

    JAX ends the process where it finds no one, so what can be found out before is.
    """
    global _joined
    if hosts is None:
        if host is not None or coordinator is not None:
            raise InputError(
                "--host and --coordinator: say how many hosts there are, with --hosts N"
            )
        return False
    if hosts == "auto":
        if host is not None or coordinator is not None:
            raise InputError(f"--hosts auto: finds the rest by itself; else {ADVICE}")
        meeting: dict[str, Any] = {}
    else:
        meeting = _meeting(hosts, host, coordinator)
    where = coordinator or "the address that the job system gave"
    said = (
        f"{hosts if hosts != 'auto' else 'all'} hosts did not meet within {wait} s: {where} cannot be reached, or some "
        "did not come"
    )
    timer = threading.Timer(wait, _give_up, [said])
    timer.daemon = True
    import jax

    timer.start()
    try:
        jax.distributed.initialize(
            **meeting, initialization_timeout=wait + 60, heartbeat_timeout_seconds=heartbeat
        )
    except (ValueError, RuntimeError, ImportError) as error:
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        if hosts == "auto":
            raise InputError(
                f"--hosts auto: no job of SLURM, Open MPI or Kubernetes was found ({reason}); {ADVICE}"
            ) from None
        raise InputError(f"--coordinator {coordinator}: {reason}") from None
    finally:
        timer.cancel()
    _joined = True
    # Processes meet on their first use of devices.
    several: bool = jax.process_count() > 1
    return several


def _meeting(hosts: str, host: int | None, coordinator: str | None) -> dict[str, Any]:
    """The arguments of `jax.distributed.initialize`."""
    if not (hosts.isascii() and hosts.isdigit() and int(hosts)):
        raise InputError(f"--hosts {hosts}: a number of hosts, or auto, is expected")
    if host is None or coordinator is None:
        raise InputError(f"--hosts {hosts}: {ADVICE}")
    if host >= int(hosts):
        raise InputError(f"--host {host}: of {hosts} hosts the last one is {int(hosts) - 1}")
    address, _, port = coordinator.rpartition(":")
    if not (address and port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise InputError(
            f"--coordinator {coordinator}: ADDRESS:PORT is expected, such as 10.0.0.1:9999"
        )
    if host == 0:
        bound = os.environ.get("JAX_COORDINATOR_BIND_ADDRESS", f"[::]:{port}")
        _check_port(bound)
    return {
        "coordinator_address": coordinator,
        "num_processes": int(hosts),
        "process_id": host,
        # One found by a job system would be taken for a list of devices.
        "cluster_detection_method": "deactivate",
    }


def _check_port(bound: str) -> None:
    """Raise `InputError` where the first host cannot listen: JAX would end in a segmentation fault."""
    address, _, port = bound.rpartition(":")
    plain = address.strip("[]")
    family = socket.AF_INET6 if ":" in plain else socket.AF_INET
    try:
        with socket.socket(family) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind(("" if plain == "::" else plain, int(port)))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"host 0 cannot listen at {bound} ({reason}): choose another port"
        ) from None


def _give_up(said: str) -> None:
    print("pushforward:", said, file=sys.stderr, flush=True)
    os._exit(2)


def _part() -> None:
    """Wait until every host is done, the first one with the model on its disk."""
    import jax

    _wait("done", LONGEST)
    jax.distributed.shutdown()


def _wait(name: str, most: int) -> None:
    """Wait until all hosts are here, at most so many milliseconds. JAX's own barriers are steps of devices, for which
    the other hosts may not wait long, or end the process."""
    from jax._src.distributed import global_state

    client = global_state.client
    assert client is not None
    client.wait_at_barrier(f"pushforward-{name}", most)
