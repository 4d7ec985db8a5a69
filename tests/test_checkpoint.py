import itertools
import os
import sys
from types import SimpleNamespace

import pytest
import torch

from mnist_lstm import checkpoint, device, signals, tensorfile, training
from mnist_lstm.checkpoint import Keeper
from mnist_lstm.model import LSTMClassifier
from mnist_lstm.params import Params
from project import ALL_ON, DEFAULT

TRAIN = {"epochs": 2, "batch_size": 16, "lr": 1e-2, "device": "cpu", "precision": "fp32"}
MODEL = {"hdim": 8}
PLAIN = {"model": MODEL, "train": TRAIN, "augment": {}}
ALL = {section: PLAIN[section] | ALL_ON[section] for section in PLAIN}
KEY = "params-data-code-machine"


class Killed(BaseException):
    """Ends a run where it stands, as `kill -9` does: it saves nothing more."""


@pytest.fixture
def learn(split, tmp_path):
    """Train, with a checkpoint at each tick, until it is killed at tick ``kill``.

    Where it goes on, all that ``seed`` draws must give way to what was saved.
    """

    def learn(seed, kill=None, on="cpu", changes=PLAIN):
        device.make_deterministic(seed)
        values = {k: DEFAULT[k] | changes.get(k, {}) for k in DEFAULT}
        values["train"]["seed"] = seed
        params = Params.model_validate(values)
        classifier = LSTMClassifier(**params.model.model_dump()).to(on)
        run = training.Run(classifier, params.train, params.augment)
        data = split.to(torch.device(on))
        ticks = itertools.count()
        with Keeper(tmp_path / "checkpoints", KEY, run) as keeper:

            def tick():
                keeper.save()
                if next(ticks) == kill:
                    raise Killed

            keeper.resume()
            for _ in training.fit(run, data, data, tick):
                pass
            keeper.remove()
        weights = {
            f"{owner}.{name}": values.cpu()
            for owner, module in {"model": run.model, "averaged": run.averaged}.items()
            for name, values in module.state_dict().items()
        }
        drawn = torch.rand(3), torch.rand(3, device=on).cpu(), run.generator.get_state()
        return SimpleNamespace(
            tensors=[*weights.values(), *drawn], rows=run.history, ticks=next(ticks)
        )

    return learn


@pytest.mark.parametrize("on", ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
@pytest.mark.parametrize("changes", [PLAIN, ALL], ids=["plain", "all on"])
def test_killed_at_any_step_of_training_or_judging_it_ends_the_same(
    learn, on, changes, tmp_path
):
    whole = learn(seed=0, on=on, changes=changes)
    assert whole.ticks > 10
    for kill in range(whole.ticks):
        with pytest.raises(Killed):
            learn(0, kill, on, changes)
        went_on = learn(seed=kill + 1, on=on, changes=changes)
        assert went_on.rows == whole.rows
        for ours, theirs in zip(went_on.tensors, whole.tensors, strict=True):
            assert torch.equal(ours, theirs)
        assert went_on.ticks < whole.ticks
        assert not (tmp_path / "checkpoints").exists()


@pytest.fixture
def keeper(tmp_path):
    """A keeper of a run of which nothing matters but a number."""

    class Run:
        number = 0
        place = property(lambda self: f"number {self.number}")

        def state(self):
            return {"number": torch.tensor(self.number)}, {}

        def restore(self, tensors, about):
            self.number = int(tensors["number"])

    return Keeper(tmp_path / "checkpoints", KEY, Run())


def flip(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    "damage",
    [
        flip,
        lambda path: os.truncate(path, 0),
        lambda path: os.truncate(path, path.stat().st_size - 1),
        lambda path: tensorfile.save(path, {"lin.bias": torch.zeros(3)}, {"model": {}}),
    ],
)
def test_a_damaged_or_foreign_checkpoint_is_passed_over(keeper, capsys, damage):
    with keeper:
        for keeper.run.number in (1, 2):
            keeper.save()
    older, newest = sorted(keeper.folder.iterdir())
    (keeper.folder / "0copy.safetensors").touch()  # none of ours
    damage(newest)
    keeper.resume()
    assert keeper.run.number == 1
    printed = capsys.readouterr()
    assert printed.err.startswith(f"warning: passing over a checkpoint: {newest}: ")
    assert printed.out == "resuming from number 1\n"
    assert older.exists()


def test_two_are_kept_and_none_is_half_written(keeper):
    with keeper:
        for keeper.run.number in range(5):
            keeper.save()
        names = sorted(path.name for path in keeper.folder.iterdir())
    assert names == ["00000003.safetensors", "00000004.safetensors"]


def test_saving_takes_a_200th_of_the_time_and_waits_less_than_a_minute(keeper, monkeypatch):
    now = 1000.0
    saved_at = []
    cost = 0.2
    monkeypatch.setattr(checkpoint.time, "monotonic", lambda: now)

    def save(*_):
        nonlocal now
        now += cost
        saved_at.append(now)

    monkeypatch.setattr(tensorfile, "save", save)
    with keeper:
        for cost, waits in ((0.1, 20), (10, 50)):
            keeper.save()
            for _ in range(600):
                now += 0.1
                keeper.tick()
            assert saved_at[1] - cost - saved_at[0] == pytest.approx(waits, abs=0.2)
            saved_at.clear()


@pytest.mark.parametrize("part", range(4))
def test_the_key_is_of_params_data_code_and_machine(tmp_path, monkeypatch, part):
    data = tmp_path / "data"
    module = tmp_path / "module.py"
    data.write_text("data")
    module.write_text("code")
    fake = SimpleNamespace(__file__=str(module))
    monkeypatch.setitem(sys.modules, "mnist_lstm.fake", fake)
    params, machine = {"lr": 1}, "cpu"
    before = checkpoint.key(params, [data], machine).split("-")
    match part:
        case 0:
            params = {"lr": 2}
        case 1:
            data.write_text("others")
        case 2:
            module.write_text("changed")
        case 3:
            machine = "cuda"
    after = checkpoint.key(params, [data], machine).split("-")
    assert [i for i in range(4) if before[i] != after[i]] == [part]


def test_a_signal_is_waited_for_until_the_step_is_taken(keeper):
    with keeper:
        keeper.due = float("inf")
        keeper.tick()
        keeper.run.number = 7
        os.kill(os.getpid(), signals.signal.SIGTERM)
        with pytest.raises(signals.Stopped) as caught:
            keeper.tick()
    assert signals.signal.getsignal(signals.signal.SIGTERM) is signals.signal.SIG_DFL
    assert str(caught.value) == "terminated; the next run resumes from number 7"
    assert caught.value.status == 143
    keeper.run.number = 0
    keeper.resume()
    assert keeper.run.number == 7


def test_a_signal_after_the_last_step_still_ends_the_run(keeper):
    """Its checkpoints stay: DVC records nothing of a run that was stopped."""
    with keeper:
        os.kill(os.getpid(), signals.signal.SIGTERM)
        with pytest.raises(signals.Stopped):
            keeper.remove()
    keeper.run.number = 7
    keeper.resume()
    assert keeper.run.number == 0
