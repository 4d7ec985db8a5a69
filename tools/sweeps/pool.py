"""Ray actors that run trials, as many as the machine or the cluster has room for."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray.exceptions import RayActorError, RayError

from mnist_lstm.plumbing import script
from mnist_lstm.plumbing.errors import one_line
from sweeps import actor
from sweeps.errors import SweepError
from sweeps.plan import Trial
from sweeps.record import ATTEMPTS, Record

# The hosts do not have this module.
ray.cloudpickle.register_pickle_by_value(actor)


class Pool:
    """Places for trials of ``gpus`` (None: 1 where there are any) and ``cpus`` each."""

    def __init__(self, address: str | None, gpus: float | None, cpus: float):
        self.address, self.gpus, self.cpus = address, gpus, cpus
        self.lost = 0  # places on hosts that cannot be set up
        self.stillborn = 0
        self.awaited: dict[Any, tuple[Any, Trial | None]] = {}

    @contextmanager
    def connected(self) -> Iterator[None]:
        """Start Ray here, or connect to the cluster; end all of it at the end.

        Raises:
            SweepError: no cluster there, or one without room for a trial.
        """
        settings: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
        if not self.address:
            settings["include_dashboard"] = False
        where = f"--address {self.address}" if self.address else "Ray"
        try:
            try:
                if self.address and self.address != "auto":
                    knock(self.address)
                with silent():  # what it says there comes as an exception, too
                    ray.init(self.address or "local", **settings)
            except (RayError, OSError, ValueError, RuntimeError) as error:
                raise SweepError(f"{where}: no cluster: {one_line(error, 200)}") from None
            script.end_in_one_line()  # Ray has taken the signals
            self._check()
            yield
        finally:
            ray.shutdown()

    def run(self, source: actor.Source, record: Record) -> None:
        """Run the trials of ``record`` until none is left.

        Raises:
            SweepError: no host is left that can run them.
        """
        home = ray.get_runtime_context().get_node_id()
        worker = ray.remote(actor.Worker).options(num_gpus=self.gpus, num_cpus=self.cpus)
        with script.Request() as request:  # Ray would turn it into another exception
            while record.left:
                if request.signum:
                    raise script.Stopped(request.signum, "the same command goes on")
                places = min(self.places() - self.lost, record.left)
                while len(self.awaited) < places:
                    new = worker.remote(source, home)
                    self.awaited[new.set_up.remote()] = (new, None)
                if not self.awaited:
                    raise SweepError("no host is left that can run a trial, see above")
                for ended in ray.wait([*self.awaited], timeout=1)[0]:
                    self._step(ended, record)

    def _step(self, ended: Any, record: Record) -> None:
        """Take what ``ended``; give the actor its next trial."""
        worker, trial = self.awaited.pop(ended)
        try:
            result = ray.get(ended)
        except RayActorError:
            if trial:
                record.died(trial)
            else:
                self._stillborn()
            return
        except RayError as error:  # none that the actor foresees
            said = one_line(error)
            result = {"error": said, "log": str(error)} if trial else said
        if trial:
            record.ended(trial, result)
        elif result:
            record.bar.write(f"left out: {result}")
            self.lost += 1
            return
        following = record.next()
        if following:
            data = following.params.data.name
            begun = worker.run.remote(following.name, list(following.overrides), data)
            self.awaited[begun] = (worker, following)
        else:
            ray.get(worker.close.remote())

    def _stillborn(self) -> None:
        """Count an actor that died in its set-up; something kills them all, perhaps."""
        self.stillborn += 1
        if self.stillborn == ATTEMPTS:
            raise SweepError(f"{ATTEMPTS} actors died before their first trial")

    def places(self) -> int:
        """Return how many trials the cluster has room for."""
        rooms = [
            (node["Resources"].get("GPU", 0), node["Resources"].get("CPU", 0))
            for node in ray.nodes()
            if node["Alive"]
        ]
        wanted = [(i, need) for i, need in enumerate((self.gpus, self.cpus)) if need]
        return sum(int(min(room[i] / need for i, need in wanted)) for room in rooms)

    def _check(self) -> None:
        """Refuse to wait for what the cluster never has."""
        has = ray.cluster_resources()
        if self.gpus is None:
            self.gpus = 1 if has.get("GPU") else 0
        if not self.gpus and not self.cpus:
            raise SweepError("--gpus-each 0 --cpus-each 0: a trial needs some of either")
        if not self.places():
            most = {
                kind: max((n["Resources"].get(kind, 0) for n in ray.nodes()), default=0)
                for kind in ("GPU", "CPU")
            }
            raise SweepError(
                f"--gpus-each {self.gpus:g} --cpus-each {self.cpus:g}: no host has that "
                f"many; the most are {most['GPU']:g} GPUs and {most['CPU']:g} CPUs"
            )


def knock(address: str) -> None:
    """Raise OSError or ValueError where nothing listens; Ray itself tries for a minute."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise ValueError("expected HOST:PORT or auto")
    socket.create_connection((host, int(port)), timeout=5).close()


@contextmanager
def silent() -> Iterator[None]:
    """Drop what is written to standard error, also by other than Python."""
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
