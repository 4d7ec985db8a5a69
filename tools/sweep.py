"""Run a sweep: experiments side by side on the CPUs or GPUs of a machine or a Ray cluster.

    python tools/sweep.py -S 'model.hdim=16,32,64' -S prepare.valid_size=5000
    python tools/sweep.py --search 20 -S prepare.valid_size=5000

Ray Tune schedules the trials, and Optuna proposes those of a search. Each trial is a DVC
experiment that runs in a clone of its own and is pushed as it ends. More: docs/sweeps.md.
"""

import argparse
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from dvc.repo import Repo
from dvc.utils.hydra import apply_overrides, get_hydra_sweeps

from mnist_lstm.plumbing import script
from mnist_lstm.plumbing.errors import UserError, one_line
from mnist_lstm.plumbing.params import check_params, parse_yaml

os.environ |= {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_process_group_cleanup_enabled": "1",  # a killed actor's experiment ends as well
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
}
try:
    import optuna
    import ray
    from ray import tune
    from ray.tune.search.optuna import OptunaSearch
except ImportError as missing:
    sys.exit(f"error: {missing.name or missing}: `make scale` installs Ray Tune and Optuna")

PARAMS = "params.yaml"
METRIC = "valid.accuracy"
SCRATCH = Path(".dvc/tmp/sweep")  # logs of failed trials, and Optuna's journal
RANGE = "{low: 16, high: 256}, with step or log: true, or {choices: [1, 2]}"

Config = Mapping[str, Any]  # of a trial: "overrides", and what a search has chosen


def main() -> None:
    """Plan the trials, run those that are missing, report what came of them."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add = parser.add_argument
    add("-S", dest="overrides", action="append", default=[], metavar="KEY=VALUES")
    add("--address", help="a Ray cluster's, or auto; without it: this machine")
    add("--search", type=int, default=0, metavar="N", help="N trials that Optuna proposes")
    add("--ranges", type=Path, default=Path("runs/ranges.yaml"), help="of its proposals")
    options = parser.parse_args()
    script.end_in_one_line()
    if (mirror := os.environ.get("DATA_MIRROR")) and Path(mirror).is_dir():
        os.environ["DATA_MIRROR"] = str(Path(mirror).resolve())  # for the clones
    project = Project.here(options.address)
    SCRATCH.mkdir(parents=True, exist_ok=True)
    if options.search:
        search = make_search(project, options.overrides, options.ranges)
        space, report = options.overrides, Report(project, options.search)
    else:
        trials = project.grid(options.overrides)
        search, space, report = None, tune.grid_search(trials), Report(project, len(trials))
    try:
        run(project, space, search, report, options.address)
    except KeyboardInterrupt:
        raise script.Stopped(signal.SIGINT, "the same command goes on") from None
    finally:
        project.pull(report.done)
    report.conclude()


@dataclass(frozen=True)
class Project:
    """The commit that a sweep runs, and where its clones come from and push to.

    On this machine that is the project's own folder and DVC cache. On a cluster it is the
    Git remote `origin` and the default DVC remote, if the project has both.
    """

    commit: str
    params: str  # the text of params.yaml
    url: str
    cache: str  # of DVC; "" with remotes: each host has its own

    @classmethod
    def here(cls, address: str | None) -> "Project":
        """Return the project for a sweep at ``address``; refuse what a clone would lack."""
        if changed := git("diff", "--name-only", "HEAD"):
            raise UserError(f"uncommitted: {one_line(changed, 60)}; commit it first")
        commit, repo = git("rev-parse", "HEAD"), Repo()
        url, cache = repo.root_dir, repo.cache.local_cache_dir
        if address and repo.config["core"].get("remote") and "origin" in git("remote"):
            if not git("branch", "--remotes", "--contains", commit, "--list", "origin/*"):
                raise UserError("origin does not have this commit: git push")
            url, cache = git("remote", "get-url", "origin"), ""
        return cls(commit, Path(PARAMS).read_text(), url, cache)

    def grid(self, overrides: Sequence[str]) -> list[list[str]]:
        """Return the overrides of a trial for each combination of the values in them."""
        combinations = asked(get_hydra_sweeps, {PARAMS: list(overrides)})
        trials = {self.name(words[PARAMS]): words[PARAMS] for words in combinations}
        return list(trials.values())

    def name(self, overrides: Sequence[str]) -> str:
        """Return the name of a trial, the same on every machine."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, PARAMS)
            path.write_text(self.params)
            asked(apply_overrides, path, list(overrides))
            params = check_params(parse_yaml(path.read_text(), "-S"), "-S")
        if not params.prepare.valid_size:
            raise UserError(
                f"{METRIC} judges the trials, and there is no validation split: "
                "add -S prepare.valid_size=5000"
            )
        text = json.dumps([self.commit, params.model_dump()], sort_keys=True)
        return f"sweep-{hashlib.sha256(text.encode()).hexdigest()[:12]}"

    def ref(self, name: str) -> str:
        """Return where Git has the experiment ``name``."""
        return f"refs/exps/{self.commit[:2]}/{self.commit[2:]}/{name}"

    def pull(self, names: Collection[str]) -> None:
        """Pull the experiments ``names``; none may be missing afterwards."""
        if names and not self.cache:
            subprocess.run(["dvc", "exp", "pull", "--quiet", "origin", *names], check=False)
        here = git("for-each-ref", "--format=%(refname)", self.ref("*")).splitlines()
        if lost := [name for name in names if self.ref(name) not in here]:
            raise UserError(f"not in this clone: {', '.join(lost)}; run this again")


def make_search(project: Project, overrides: list[str], ranges: Path) -> OptunaSearch:
    """Return Optuna's TPE over ``ranges``, for trials that share ``overrides``.

    Its journal keeps the trials of earlier calls.
    """
    try:
        given: Any = parse_yaml(ranges.read_text(), ranges)
        space = {key: distribution(**values) for key, values in given.items()}
    except (OSError, AttributeError, TypeError, ValueError) as error:
        raise UserError(f"{ranges}: {error}; expected model.hdim: {RANGE}") from None
    for key, values in given.items():
        for value in values.get("choices") or (values["low"], values["high"]):
            project.name([*overrides, f"{key}={value}"])  # refuses what does not fit
    journal = optuna.storages.journal.JournalFileBackend(str(SCRATCH / "optuna.log"))
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return OptunaSearch(
        space,
        metric=METRIC,
        mode="max",
        sampler=optuna.samplers.TPESampler(constant_liar=True),  # for parallel trials
        study_name=f"{project.name(overrides)}: {ranges.read_text()}",
        storage=optuna.storages.JournalStorage(journal),
    )


def distribution(**given: Any) -> Any:
    """Return Optuna's distribution for a range or for choices."""
    kinds = optuna.distributions
    if "choices" in given:
        return kinds.CategoricalDistribution(**given)
    whole = {type(value) for value in given.values()} <= {int, bool}
    return (kinds.IntDistribution if whole else kinds.FloatDistribution)(**given)


def overrides_of(config: Config) -> list[str]:
    """Return the overrides of a trial."""
    chosen = [f"{key}={value}" for key, value in config.items() if key != "overrides"]
    return [*config["overrides"], *chosen]


def asked(reader: Any, *arguments: Any) -> Any:
    """Return what ``reader`` makes of -S; DVC, Hydra and OmegaConf each have own errors."""
    try:
        return reader(*arguments)
    except Exception as error:
        raise UserError(f"-S: {str(error.__cause__ or error).splitlines()[0]}") from None


def run_trial(project: Project, config: Config) -> dict[str, Any]:
    """Return the accuracy of a trial, or the output of a command that failed.

    Tune tries again a trial that raises or dies; a command that fails would fail again.
    """
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as clone:
        env = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        env |= {"GIT_TERMINAL_PROMPT": "0", "DVC_SITE_CACHE_DIR": f"{clone}/.git/dvc"}
        run = partial(said_by, cwd=clone, env=env)
        try:
            run_experiment(run, Path(clone), overrides_of(config), project)
            metrics = json.loads(run("git", "show", "FETCH_HEAD:metrics/evaluate.json"))
        except subprocess.CalledProcessError as error:
            return {METRIC: float("nan"), "error": f"{error}\n{error.stdout}{error.stderr}"}
    return {METRIC: metrics["valid"]["accuracy"]}


def run_experiment(run: Any, clone: Path, words: Sequence[str], project: Project) -> None:
    """Run a trial in ``clone`` and push it, unless it is there; fetch it."""
    name = project.name(words)
    ref = project.ref(name)
    run("git", "clone", "--quiet", "--no-checkout", project.url, ".")
    if not run("git", "ls-remote", "origin", ref):
        run("git", "checkout", "--quiet", "--detach", project.commit)
        host = Path(tempfile.gettempdir(), f"mnist-lstm-sweep-{os.getuid()}")
        config = f'[cache]\n    dir = "{project.cache or host}"\n'
        (clone / ".dvc/config.local").write_text(config)
        pull = [] if project.cache else ["--pull"]
        settings = [word for override in words for word in ("-S", override)]
        run("dvc", "exp", "run", *pull, "--name", name, *settings)
        if not project.cache:
            run("dvc", "push")  # first: a ref says that the data are there
        run("git", "push", "--quiet", "origin", ref)
    run("git", "fetch", "--quiet", "origin", ref)


def run(
    project: Project, space: Any, search: Any, report: "Report", address: str | None
) -> None:
    """Let Tune run the trials, one on each GPU or, where there is none, on each CPU."""
    with tempfile.TemporaryDirectory(prefix="sweep-", dir="/tmp") as folder:  # a short path
        local = {} if address else {"include_dashboard": False, "_temp_dir": folder}
        with ray.init(address or "local", log_to_driver=False, logging_level=50, **local):
            signal.signal(signal.SIGINT, signal.default_int_handler)  # as Ray expects it
            kind = "gpu" if ray.cluster_resources().get("GPU") else "cpu"
            tune.Tuner(
                tune.with_resources(partial(run_trial, project), {"cpu": 0, kind: 1}),
                param_space={"overrides": space},
                tune_config=tune.TuneConfig(
                    search_alg=search,
                    num_samples=report.total if search else 1,
                    reuse_actors=True,  # a new process takes seconds
                    trial_dirname_creator=lambda trial: trial.trial_id,
                ),
                run_config=tune.RunConfig(
                    storage_path=folder,
                    failure_config=tune.FailureConfig(max_failures=2),
                    callbacks=[report],
                    verbose=0,
                ),
            ).fit()


class Report(tune.Callback):
    """Print a line for each trial that ends, and keep what came of it."""

    def __init__(self, project: Project, total: int):
        self.project, self.total, self.failed = project, total, 0
        self.done: dict[str, float] = {}

    def on_trial_complete(self, trial: Any, **_: Any) -> None:
        """Take the result of a trial that returned."""
        self.end(trial.config, trial.last_result)

    def on_trial_error(self, trial: Any, **_: Any) -> None:
        """Take a trial that Tune gives up."""
        self.end(trial.config, {"error": Path(trial.error_file).read_text()})

    def end(self, config: Config, result: Mapping[str, Any]) -> None:
        """Take the ``result`` of a trial, as `run_trial` returns it."""
        words = overrides_of(config)
        name = self.project.name(words)
        if output := result.get("error"):
            self.failed += 1
            (log := SCRATCH / f"{name}.log").write_text(output)
            said = f"failed: {reason(output)}; see {log}"
        else:
            self.done[name] = result[METRIC]
            said = f"{METRIC} {result[METRIC]:.4f}"
        n = len(self.done) + self.failed
        print(f"[{n}/{self.total}] {name} ({' '.join(words)}): {said}", flush=True)

    def conclude(self) -> None:
        """Say what came of it all."""
        print(f"{len(self.done)} experiments are in `dvc exp show`")
        if self.done:
            best = max(self.done, key=self.done.__getitem__)
            print(f"best {METRIC}: {self.done[best]:.4f}; dvc exp apply {best}")
        if self.failed:
            raise UserError(f"{self.failed} of {self.total} trials failed")


def reason(output: str) -> str:
    """Return the line of a failed command's ``output`` that says why."""
    lines = output.strip().splitlines()
    said = [line for line in lines if line.lower().startswith(("error: ", "fatal: "))]
    return one_line((said or lines[-1:] or [""])[0])


def said_by(*command: str, **settings: Any) -> str:
    """Return what ``command`` prints; raise CalledProcessError if it fails."""
    done = subprocess.run(command, check=True, text=True, capture_output=True, **settings)
    return done.stdout.strip()


def git(*arguments: str) -> str:
    """Return what Git prints."""
    try:
        return said_by("git", *arguments)
    except subprocess.CalledProcessError as error:
        raise UserError(f"git {arguments[0]}: {reason(error.stderr)}") from None


if __name__ == "__main__":
    script.run(main)
