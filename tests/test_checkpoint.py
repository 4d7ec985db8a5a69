import collections
import itertools
import os
import shutil
import signal
import sys
import threading
import time
from types import SimpleNamespace

import pytest
import torch

from defaults import ALL_ON, augment_params, model_params, train_params
from mnist_lstm.device import make_deterministic
from mnist_lstm.models.lstm import LSTMClassifier
from mnist_lstm.plumbing import script
from mnist_lstm.plumbing.errors import UserError
from mnist_lstm.tensorfile import load_tensors, save_tensors
from mnist_lstm.training import checkpoint
from mnist_lstm.training.checkpoint import Checkpointer, checkpoint_key
from mnist_lstm.training.loop import Run, fit

TRAIN = {"epochs": 2, "batch_size": 16, "lr": 1e-2, "device": "cpu", "precision": "fp32"}
MODEL = {"hdim": 8}
PLAIN = {"model": MODEL, "train": TRAIN, "augment": {}}
ALL = {section: PLAIN[section] | ALL_ON[section] for section in PLAIN}
ALL["train"] = ALL["train"] | {"epoch_size": 50}


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
        weights = {
            f"{owner}.{name}": values.cpu()
            for owner, module in {"model": run.model, "ema_model": run.ema_model}.items()
            for name, values in module.state_dict().items()
        }
        drawn = torch.rand(3), torch.rand(3, device=on).cpu(), run.generator.get_state()
        return SimpleNamespace(
            tensors=[*weights.values(), *drawn], rows=run.history, ticks=next(ticks)
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
    ],
)
def test_a_damaged_checkpoint_is_skipped(checkpointer, capsys, damage):
    with checkpointer:
        for checkpointer.run.number in (1, 2):
            checkpointer.save()
    older, newest = sorted(checkpointer.folder.iterdir())
    (checkpointer.folder / "0copy.safetensors").touch()  # none of ours
    damage(newest)
    assert resumed(checkpointer) == 1
    printed = capsys.readouterr()
    assert printed.err.startswith(f"warning: skipping a checkpoint: {newest}: ")
    assert printed.out == "resuming from number 1\n"
    assert older.exists()


def test_a_checkpoint_waits_for_the_device_a_few_times_alone(split, monkeypatch):
    """Once for each type of tensor, for the losses, and to know that weights are finite."""
    make_deterministic(0)
    model = LSTMClassifier(model_params(**ALL["model"]))
    run = Run(model, train_params(**ALL["train"]), augment_params(**ALL["augment"]))
    steps = fit(run, split, split)
    while len(run.losses) < 2:
        next(steps)
    waits = collections.Counter()
    for name in ("cpu", "item", "numpy", "tolist", "__bool__", "__float__", "__int__"):
        counted = waiting(waits, name, getattr(torch.Tensor, name))
        monkeypatch.setattr(torch.Tensor, name, counted)
    tensors, _ = run.state()
    copies = checkpoint._copy(tensors)
    monkeypatch.undo()
    assert waits == {"tolist": 1, "__bool__": 1, "cpu": 3}
    assert {values.dtype for values in tensors.values()} == {
        torch.float32,
        torch.int64,
        torch.uint8,
    }
    for name, values in tensors.items():
        assert torch.equal(copies[name], values)


def waiting(waits, name, call):
    def counted(self, *arguments):
        waits[name] += 1
        return call(self, *arguments)

    return counted


def test_two_are_kept_and_none_is_half_written(checkpointer):
    with checkpointer:
        for checkpointer.run.number in range(5):
            checkpointer.save()
        checkpointer.wait()
        names = sorted(path.name for path in checkpointer.folder.iterdir())
    assert names == ["00000003.safetensors", "00000004.safetensors"]


def test_it_saves_what_the_run_was_at_the_time(checkpointer):
    """A thread writes it while the run goes on."""
    checkpointer.run.state = lambda: ({"number": number}, {})
    number = torch.zeros(2_000_000)
    with checkpointer:
        checkpointer.save()
        number += 1
    (path,) = checkpointer.folder.iterdir()
    assert torch.equal(load_tensors(path, "train")[0]["number"], torch.zeros(2_000_000))


def test_what_goes_wrong_as_a_checkpoint_is_written_ends_the_run(checkpointer, monkeypatch):
    def refuse(*_):
        raise UserError("disk full")

    monkeypatch.setattr(checkpoint, "save_tensors", refuse)
    with checkpointer:
        checkpointer.save()
        while not checkpointer.written.done():
            time.sleep(0.01)
        with pytest.raises(UserError, match="disk full"):
            checkpointer.save_if_due()


def test_saving_takes_a_200th_of_the_time_and_waits_less_than_a_minute(
    checkpointer, monkeypatch
):
    now = 1000.0
    saved_at = []
    cost = 0.2
    monkeypatch.setattr(checkpoint.time, "monotonic", lambda: now)

    def save(*_):
        nonlocal now
        now += cost
        saved_at.append(now)

    monkeypatch.setattr(checkpoint, "save_tensors", save)
    with checkpointer:
        now += 1
        checkpointer.save_if_due()
        checkpointer.wait()
        saved_at.clear()
        for cost, waits in ((0.1, 20), (10, 50)):
            checkpointer.save()
            checkpointer.wait()
            for _ in range(600):
                now += 0.1
                checkpointer.save_if_due()
                checkpointer.wait()
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
    before = checkpoint_key(params, [data], machine).split("-")
    match part:
        case 0:
            params = {"lr": 2}
        case 1:
            data.write_text("others")
        case 2:
            module.write_text("changed")
        case 3:
            machine = "cuda"
    after = checkpoint_key(params, [data], machine).split("-")
    assert [i for i in range(4) if before[i] != after[i]] == [part]


def test_the_plumbing_is_no_part_of_the_key(monkeypatch, tmp_path):
    """A better error message does not discard the checkpoint of a long run."""
    module = tmp_path / "errors.py"
    fake = SimpleNamespace(__file__=str(module))
    monkeypatch.setitem(sys.modules, "mnist_lstm.plumbing.errors", fake)
    keys = []
    for text in ("message", "better message"):
        module.write_text(text)
        keys.append(checkpoint_key({}, [], "cpu"))
    assert keys[0] == keys[1]


def test_one_finished_run_keeps_one_checkpoint(tmp_path, capsys):
    """A run that died keeps its own; what it says of a change concerns those alone."""
    scratch = tmp_path / "checkpoints"
    for name in ("died", "first", "second"):
        with Checkpointer(scratch / key(name), Counter()) as checkpointer:
            checkpointer.save()
            checkpointer.save()
            if name != "died":
                checkpointer.finish()
    kept = {path.name: len(list(path.glob("*.safetensors"))) for path in scratch.iterdir()}
    assert kept == {key("died"): 2, key("second"): 1}
    shutil.rmtree(scratch / key("died"))
    capsys.readouterr()
    with Checkpointer(scratch / key("third"), Counter()):
        assert capsys.readouterr().out == ""


@pytest.mark.parametrize("name", [f"{KEY}-backup", "my-old-run-of-monday", f"{KEY}0"])
def test_a_folder_of_the_users_own_beside_them_is_left_alone(tmp_path, capsys, name):
    """A copy of a run's checkpoints, say, with the mark that it finished, or without."""
    own = tmp_path / "checkpoints" / name
    own.mkdir(parents=True)
    with Checkpointer(tmp_path / "checkpoints" / KEY, Counter()) as checkpointer:
        (own / "finished").touch()
        checkpointer.finish()
    assert (own / "finished").exists()
    assert capsys.readouterr().out == ""


def test_a_signal_is_waited_for_until_the_step_is_taken(checkpointer):
    with checkpointer:
        checkpointer.save_if_due()
        checkpointer.run.number = 7
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(script.Stopped) as caught:
            checkpointer.save_if_due()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert str(caught.value) == "terminated; the next run resumes from number 7"
    assert caught.value.status == 143
    assert resumed(checkpointer) == 7


def test_a_signal_after_the_last_step_still_ends_the_run(checkpointer):
    """Its checkpoints stay: DVC records nothing of a run that was stopped."""
    with checkpointer:
        checkpointer.run.number = 7
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(script.Stopped):
            checkpointer.finish()
    assert resumed(checkpointer) == 7


def test_what_is_written_late_is_the_state_that_was_saved(split, tmp_path, monkeypatch):
    """A thread writes it while the run goes on, here to its end."""
    late = threading.Event()
    wait_and_save = lambda *arguments: late.wait(60) and save_tensors(*arguments)  # noqa: E731
    monkeypatch.setattr(checkpoint, "save_tensors", wait_and_save)
    runs = []
    for _ in range(2):
        make_deterministic(0)
        model = LSTMClassifier(model_params(**MODEL))
        runs.append(Run(model, train_params(**TRAIN), augment_params()))
    first, second = runs
    with Checkpointer(tmp_path / KEY, first) as checkpointer:
        steps = fit(first, split, split)
        while len(first.losses) < 2:
            next(steps)
        saved = first.position
        checkpointer.save()
        for _ in steps:
            pass
        late.set()
        checkpointer.wait()
    with Checkpointer(tmp_path / KEY, second):
        assert second.position == saved


def test_checkpoints_behind_a_link_are_found_and_go(tmp_path):
    """They may lie on a scratch disk."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    (tmp_path / "checkpoints").symlink_to(scratch)
    for name in ("first", "second"):
        (scratch / f"disk of {name}").mkdir()
        (scratch / key(name)).symlink_to(scratch / f"disk of {name}")
        with Checkpointer(tmp_path / "checkpoints" / key(name), Counter()) as saving:
            saving.finish()
    assert [path.name for path in scratch.glob("*-*")] == [key("second")]
