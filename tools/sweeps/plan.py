"""Which trials: a grid in DVC's own grammar, or Optuna's proposals within ranges."""

import hashlib
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from dvc.exceptions import DvcException
from dvc.utils.hydra import apply_overrides, get_hydra_sweeps
from omegaconf.errors import OmegaConfBaseException

from mnist_lstm.plumbing.errors import ParamsError
from mnist_lstm.plumbing.params import Params, check_params, parse_yaml
from sweeps.errors import SweepError

PARAMS = "params.yaml"
# What says which images are learnt from and which are scored.
_IMAGES = {
    *("data.name", "prepare.valid_size", "prepare.valid_split"),
    *("prepare.test_size", "prepare.seed"),
}


@dataclass(frozen=True)
class Trial:
    """An experiment to run."""

    name: str
    overrides: tuple[str, ...]
    params: Params

    def __str__(self) -> str:
        return f"{self.name} ({' '.join(self.overrides) or 'params.yaml as it is'})"


class Result(NamedTuple):
    """What an experiment holds; no parameters where they are not this project's."""

    params: Params | None
    metrics: dict[str, Any]


@dataclass(frozen=True)
class Version:
    """What all trials of a sweep have in common: code, and the text of params.yaml."""

    code: str  # the commit, and the tree that is carried
    params: str

    def trial(self, overrides: Sequence[str]) -> Trial:
        """Return the trial with ``overrides``.

        Raises:
            UserError: one does not fit params.yaml.
        """
        params = override(self.params, overrides)
        return Trial(self.name(params), tuple(overrides), params)

    def name(self, params: Params) -> str:
        """Return the name of the experiment with ``params``: the same on every machine."""
        text = json.dumps([self.code, params.model_dump()], sort_keys=True)
        return f"sweep-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


class Plan(Protocol):
    """Trials, each of which depends on the results of those before it, or does not."""

    total: int

    def resume(self, there: Mapping[str, Result]) -> list[str]:
        """Return the names of those in ``there`` that count as trials of this plan."""

    def __iter__(self) -> Iterator[Trial]:
        """Yield the trials that are left."""

    def tell(self, trial: Trial, value: float | None) -> None:
        """Take the result of ``trial``; None where it failed or has none."""


class Grid:
    """Every combination of the values in ``overrides``, each once."""

    def __init__(self, version: Version, overrides: Sequence[str]):
        self.version = version
        trials = [version.trial(words) for words in combinations(overrides)]
        self.trials = list({trial.name: trial for trial in trials}.values())
        self.total = len(self.trials)
        if same := len(trials) - self.total:
            print(f"{same} of {len(trials)} trials repeat another, and run once")

    def resume(self, there: Mapping[str, Result]) -> list[str]:
        """Return none: they are found when they come up."""
        return []

    def __iter__(self) -> Iterator[Trial]:
        return iter(self.trials)

    def tell(self, trial: Trial, value: float | None) -> None:
        """Go on as planned."""


class Search:
    """``n`` trials that Optuna's TPE proposes, those of an earlier run of it included.

    The record of the trials is DVC's experiments: there is no other.
    """

    def __init__(self, fixed: Grid, ranges: Path, n: int, metric: str):
        """``fixed``: the one trial whose other parameters are those of all."""
        if len(fixed.trials) > 1:
            raise SweepError("--search: -S takes one value here, the ranges are in a file")
        self.version, self.base, self.total = fixed.version, fixed.trials[0], n
        self.metric = metric
        if not self.base.params.prepare.valid_size:
            raise SweepError(
                f"--search: {metric} exists only with a validation split; "
                "add -S prepare.valid_size=5000"
            )
        self.space = read_ranges(ranges, self.version, self.base.overrides)
        self.asked: dict[str, list[Any]] = {}

    def resume(self, there: Mapping[str, Result]) -> list[str]:
        """Tell Optuna of the trials that were run before."""
        import optuna

        told = {name: self._told(name, found) for name, found in there.items()}
        known = {name: trial for name, trial in told.items() if trial}
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        # Another seed for the rest: the first proposals are not made twice.
        sampler = optuna.samplers.TPESampler(seed=len(known), constant_liar=True)
        direction = "minimize" if self.metric.endswith("loss") else "maximize"
        self.study = optuna.create_study(sampler=sampler, direction=direction)
        self.study.add_trials(known.values())
        self.total = max(self.total, len(known))
        self.left = self.total - len(known)
        return sorted(known)

    def __iter__(self) -> Iterator[Trial]:
        for _ in range(self.left):
            asked = self.study.ask(self.space)
            chosen = [f"{key}={value}" for key, value in asked.params.items()]
            trial = self.version.trial([*self.base.overrides, *chosen])
            self.asked.setdefault(trial.name, []).append(asked)
            yield trial

    def tell(self, trial: Trial, value: float | None) -> None:
        """Take the result of ``trial``; None where it failed."""
        import optuna

        state = optuna.trial.TrialState
        for asked in self.asked.pop(trial.name, []):
            self.study.tell(asked, value, state.FAIL if value is None else None)

    def _told(self, name: str, result: Result) -> Any:
        """Return an earlier trial as Optuna's, or None if it is not of this search."""
        import optuna

        value = metric_of(result.metrics, self.metric)
        if value is None or not result.params or name != self.version.name(result.params):
            return None
        found, fixed = flat(result.params), flat(self.base.params)
        if any(found[key] != fixed[key] for key in found.keys() - self.space.keys()):
            return None
        chosen = {key: found[key] for key in self.space}
        try:
            return optuna.trial.create_trial(
                params=chosen, distributions=self.space, value=value
            )
        except ValueError:  # outside of the ranges
            return None


def combinations(overrides: Sequence[str]) -> list[list[str]]:
    """Return each combination of the values that DVC's grammar finds in ``overrides``.

    Raises:
        SweepError: for one that is no such override.
    """
    for word in overrides:
        if ":" in word.partition("=")[0]:
            raise SweepError(f"-S {word}: only parameters of {PARAMS} are swept")
        split(word)
    return [c[PARAMS] for c in split(*overrides)]


def split(*overrides: str) -> list[dict[str, list[str]]]:
    """Return DVC's own reading of ``overrides``."""
    from hydra.errors import HydraException

    try:
        return get_hydra_sweeps({PARAMS: list(overrides)})
    except (DvcException, HydraException, ValueError) as error:
        said = str(error).splitlines()[0]
        raise SweepError(f"-S {' '.join(overrides)}: {said}") from None


def override(text: str, overrides: Sequence[str]) -> Params:
    """Return the parameters in ``text``, a params.yaml, with ``overrides``."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, PARAMS)
        path.write_text(text)
        try:
            apply_overrides(path, list(overrides))
        except (DvcException, OmegaConfBaseException) as error:
            said = str(error.__cause__ or error).splitlines()[0]
            raise SweepError(f"-S {' '.join(overrides)}: {said}") from None
        return check_params(parse_yaml(path.read_text(), "-S"), "-S")


def read_ranges(path: Path, version: Version, fixed: Sequence[str]) -> dict[str, Any]:
    """Return Optuna's distribution of each parameter in the YAML file ``path``.

    Raises:
        UserError: no such file, or a range that is none.
    """
    try:
        ranges = parse_yaml(path.read_text(), path)
    except (OSError, ValueError) as error:
        raise SweepError(f"{path}: {getattr(error, 'strerror', error)}") from None
    if not isinstance(ranges, Mapping) or not ranges:
        raise SweepError(f"{path}: expected a mapping of parameters to ranges")
    space = {}
    for key, given in ranges.items():
        if key in _IMAGES:
            raise SweepError(f"{path}: {key}: trials on other images do not compare")
        try:
            space[key] = distribution(given)
            for value in ends(given):
                version.trial([*fixed, f"{key}={value}"])
        except (SweepError, ParamsError) as error:
            raise SweepError(f"{path}: {error.args[0].removeprefix('-S: ')}") from None
        except (TypeError, ValueError) as error:
            form = "{low: 16, high: 256}, with step or log: true, or {choices: [1, 2]}"
            raise SweepError(f"{path}: {key}: {error}; expected {form}") from None
    return space


def distribution(given: Any) -> Any:
    """Return the distribution that ``given`` describes; TypeError or ValueError if none."""
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    if not isinstance(given, Mapping):
        raise TypeError(f"got {given!r}")
    if "choices" in given:
        return CategoricalDistribution(**given)
    if not all(isinstance(value, int | float) for value in given.values()):
        raise TypeError(f"no numbers: {dict(given)}")
    whole = all(isinstance(given.get(k, 0), int) for k in ("low", "high", "step"))
    return (IntDistribution if whole else FloatDistribution)(**given)


def ends(given: Mapping[str, Any]) -> list[Any]:
    """Return the values of a range that are to be checked: all choices, or both ends."""
    return list(given["choices"]) if "choices" in given else [given["low"], given["high"]]


def flat(params: Params) -> dict[str, Any]:
    """Return the parameters by their whole names, as in ``model.hdim``."""
    sections = params.model_dump()
    return {
        f"{s}.{key}": value for s, keys in sections.items() for key, value in keys.items()
    }


def metric_of(metrics: Mapping[str, Any], metric: str) -> float | None:
    """Return ``metric``, as in ``valid.accuracy``, or None where there is none."""
    section, _, key = metric.partition(".")
    value = metrics.get(section, {}).get(key)
    return None if value is None else float(value)
