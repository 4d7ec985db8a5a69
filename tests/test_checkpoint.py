import copy
import itertools
import os
import shutil
import signal
import sys
import threading
from types import SimpleNamespace

import pytest
import torch

from defaults import ALL_ON, augment_params, model_params, train_params
from mnist_lstm.device import make_deterministic
from mnist_lstm.models.lstm import LSTMClassifier
from mnist_lstm.plumbing import script
from mnist_lstm.tensorfile import load_tensors, save_tensors
from mnist_lstm.training import checkpoint
from mnist_lstm.training.checkpoint import Checkpointer, checkpoint_key
from mnist_lstm.training.loop import Run, fit

TRAIN = {"epochs": 2, "batch_size": 16, "lr": 1e-2, "device": "cpu", "precision": "fp32"}
MODEL = {"hdim": 8}
PLAIN = {"model": MODEL, "train": TRAIN, "augment": {}}
ALL = {section: PLAIN[section] | ALL_ON[section] for section in PLAIN}
ALL["train"] = ALL["train"] | {"epoch_size": 50, "keep": "best"}


def key(name):
    """Return a key of the form that a run's has; each ``name`` has its own."""
    return checkpoint_key({"name": name}, [], "cpu")


KEY = key("ours")


class Killed(BaseException):
    """Ends a run where it stands, as `kill -9` does: it saves nothing more."""


@pytest.fixture
def learn(split, tmp_path):
    """Train, with a checkpoint after each step, until it is killed after ``kill``.

    Where it goes on, all that ``seed`` draws must give way to what was saved.
    """

    def learn(seed, kill=None, on="cpu", changes=PLAIN):
        make_deterministic(seed)
        model = LSTMClassifier(model_params(**changes["model"])).to(on)
        params = train_params(**(changes["train"] | {"seed": seed}))
        run = Run(model, params, augment_params(**changes["augment"]))
        data = split.to(torch.device(on))
        ticks = itertools.count()
        with Checkpointer(tmp_path / "checkpoints" / KEY, run) as checkpointer:
            for _ in fit(run, data, data):
                checkpointer.save()
                if next(ticks) == kill:
                    raise Killed
            checkpointer.finish()
        weights = [v.cpu() for m in run.modules.values() for v in m.parameters()]
        drawn = torch.rand(3), torch.rand(3, device=on).cpu(), run.generator.get_state()
        return SimpleNamespace(
            tensors=[*weights, *drawn], rows=run.history, ticks=next(ticks)
        )

    return learn


@pytest.mark.parametrize("on", ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
@pytest.mark.parametrize("changes", [PLAIN, ALL], ids=["plain", "all on"])
def test_killed_at_any_step_of_training_or_evaluation_it_ends_the_same(
    learn, on, changes, tmp_path
):
    whole = learn(seed=0, on=on, changes=changes)
    shutil.rmtree(tmp_path / "checkpoints")
    assert whole.ticks > 10
    for kill in range(whole.ticks):
        with pytest.raises(Killed):
            learn(0, kill, on, changes)
        went_on = learn(seed=kill + 1, on=on, changes=changes)
        assert went_on.rows == whole.rows
        for ours, theirs in zip(went_on.tensors, whole.tensors, strict=True):
            assert torch.equal(ours, theirs)
        assert went_on.ticks < whole.ticks
        shutil.rmtree(tmp_path / "checkpoints")


class Counter:
    """A run of which nothing matters but a number."""

    number = 0
    position = property(lambda self: f"number {self.number}")

    def state(self):
        return {"number": torch.tensor(self.number)}, {}

    def restore(self, tensors, metadata):
        self.number = int(tensors["number"])


@pytest.fixture
def checkpointer(tmp_path):
    return Checkpointer(tmp_path / "checkpoints" / KEY, Counter())


def resumed(checkpointer):
    """Return the number from which another process would go on."""
    run = Counter()
    with Checkpointer(checkpointer.folder, run):
        return run.number


def test_of_two_that_are_kept_a_damaged_one_is_skipped(checkpointer, capsys):
    with checkpointer:
        for checkpointer.run.number in range(5):
            checkpointer.save()
    older, newer = sorted(checkpointer.folder.iterdir())
    content = bytearray(newer.read_bytes())
    content[-1] ^= 1
    newer.write_bytes(content)
    assert resumed(checkpointer) == 3
    printed = capsys.readouterr()
    assert printed.err.startswith(f"warning: skipping a checkpoint: {newer}: ")
    assert printed.out == "resuming from number 3\n"
    os.truncate(older, 0)
    assert resumed(checkpointer) == 0
    assert capsys.readouterr().out == "starting from scratch: no checkpoint is whole\n"


def test_what_is_written_late_is_the_state_that_was_saved(split, tmp_path, monkeypatch):
    """A thread writes it while the run goes on, here to its end."""
    late = threading.Event()
    monkeypatch.setattr(
        checkpoint, "save_tensors", lambda *args: late.wait(60) and save_tensors(*args)
    )
    model = LSTMClassifier(model_params(**MODEL))
    run = Run(model, train_params(**TRAIN), augment_params())
    with Checkpointer(tmp_path / KEY, run) as checkpointer:
        steps = fit(run, split, split)
        while len(run.losses) < 2:
            next(steps)
        expected = copy.deepcopy(run.state()[0])
        checkpointer.save()
        for _ in steps:
            pass
        late.set()
        checkpointer.wait()
    (path,) = (tmp_path / KEY).iterdir()
    tensors, metadata = load_tensors(path, "train")
    assert metadata["epoch"] == 1
    assert tensors.keys() == expected.keys()
    assert all(torch.equal(tensors[name], expected[name]) for name in expected)


@pytest.mark.parametrize(("cost", "waits"), [(0.1, 20), (10, 50)])
def test_saving_takes_a_200th_of_the_time_and_waits_less_than_a_minute(
    checkpointer, monkeypatch, cost, waits
):
    now, saved_at = 1000.0, []
    monkeypatch.setattr(checkpoint.time, "monotonic", lambda: now)

    def save(*_):
        nonlocal now
        saved_at.append(now)
        now += cost

    monkeypatch.setattr(checkpoint, "save_tensors", save)
    with checkpointer:
        while len(saved_at) < 2:
            now += 0.1
            checkpointer.save_if_due()
            checkpointer.wait()
    assert saved_at[1] - cost - saved_at[0] == pytest.approx(waits, abs=0.2)


def test_the_key_is_of_the_code_but_not_of_the_plumbing(tmp_path, monkeypatch):
    """A better error message does not discard the checkpoint of a long run."""
    keys = []
    for text in ("before", "after"):
        for name in ("code", "plumbing.code"):
            keys.append(key("ours"))
            file = tmp_path / name
            file.write_text(text)
            module = SimpleNamespace(__file__=str(file))
            monkeypatch.setitem(sys.modules, f"mnist_lstm.{name}", module)
    keys.append(key("ours"))
    assert [a == b for a, b in itertools.pairwise(keys)] == [False, True, False, True]


def test_one_finished_run_keeps_one_checkpoint(tmp_path, capsys):
    """A run that died keeps its own, and so does the user who has put a copy there."""
    scratch = tmp_path / "scratch"
    copied = scratch / f"{KEY}-copy"
    copied.mkdir(parents=True)
    (copied / "finished").touch()
    (tmp_path / "checkpoints").symlink_to(scratch)
    for name in ("died", "first", "second"):
        folder = tmp_path / "checkpoints" / key(name)
        with Checkpointer(folder, Counter()) as checkpointer:
            checkpointer.save()
            checkpointer.save()
            if name != "died":
                checkpointer.finish()
    kept = {path.name: len(list(path.glob("*.safetensors"))) for path in scratch.iterdir()}
    assert kept == {key("died"): 2, key("second"): 1, copied.name: 0}
    # what it says of a change is of the run that died alone
    shutil.rmtree(scratch / key("died"))
    capsys.readouterr()
    with Checkpointer(tmp_path / "checkpoints" / key("third"), Counter()):
        assert capsys.readouterr().out == ""


@pytest.mark.parametrize("ends", [Checkpointer.save_if_due, Checkpointer.finish])
def test_a_signal_is_waited_for_until_the_step_is_taken(checkpointer, ends):
    """After the last, too: DVC records nothing of a run that was stopped."""
    with checkpointer:
        checkpointer.save_if_due()
        checkpointer.run.number = 7
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(script.Stopped) as caught:
            ends(checkpointer)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert str(caught.value) == "terminated; the next run resumes from number 7"
    assert caught.value.status == 143
    assert resumed(checkpointer) == 7
