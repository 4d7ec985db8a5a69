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


@pytest.mark.parametrize("damage", [flip, lambda path: os.truncate(path, 0)])
def test_of_two_that_are_kept_a_damaged_one_is_skipped(checkpointer, capsys, damage):
    with checkpointer:
        for checkpointer.run.number in range(5):
            checkpointer.save()
    saved = sorted(checkpointer.folder.iterdir())
    assert [path.name for path in saved] == [f"0000000{i}.safetensors" for i in (3, 4)]
    (checkpointer.folder / "0copy.safetensors").touch()  # none of ours
    damage(saved[1])
    assert resumed(checkpointer) == 3
    printed = capsys.readouterr()
    assert printed.err.startswith(f"warning: skipping a checkpoint: {saved[1]}: ")
    assert printed.out == "resuming from number 3\n"
    damage(saved[0])
    assert resumed(checkpointer) == 0
    assert capsys.readouterr().out == "starting from scratch: no checkpoint is whole\n"


def test_what_is_written_late_is_the_state_that_was_saved(split, tmp_path, monkeypatch):
    """A thread writes it while the run goes on, here to its end."""
    late = threading.Event()
    wait_and_save = lambda *arguments: late.wait(60) and save_tensors(*arguments)  # noqa: E731
    monkeypatch.setattr(checkpoint, "save_tensors", wait_and_save)
    make_deterministic(0)
    model = LSTMClassifier(model_params(**MODEL))
    run = Run(model, train_params(**TRAIN), augment_params())
    with Checkpointer(tmp_path / KEY, run) as checkpointer:
        steps = fit(run, split, split)
        while len(run.losses) < 2:
            next(steps)
        expected = {name: values.clone() for name, values in run.state()[0].items()}
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


def test_the_key_is_of_params_data_code_but_the_plumbing_and_machine(tmp_path, monkeypatch):
    """A better error message does not discard the checkpoint of a long run."""
    files = {name: tmp_path / name for name in ("data", "fake", "plumbing.fake")}
    for name, file in files.items():
        file.write_text(name)
        if name != "data":
            module = SimpleNamespace(__file__=str(file))
            monkeypatch.setitem(sys.modules, f"mnist_lstm.{name}", module)

    def parts(params="lr", machine="cpu"):
        return checkpoint_key({"a": params}, [files["data"]], machine).split("-")

    before = parts()
    found = [parts(params="other"), parts(machine="cuda")]
    for file in files.values():
        text = file.read_text()
        file.write_text("changed")
        found.append(parts())
        file.write_text(text)
    changed = [[i for i in range(4) if before[i] != after[i]] for after in found]
    # "data" is a module of the code here, too
    assert changed == [[0], [3], [1], [2], []]


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


def test_they_may_lie_on_a_scratch_disk_beside_folders_of_the_users_own(tmp_path, capsys):
    """A copy of a run's checkpoints, say, with the mark that it finished."""
    scratch = tmp_path / "scratch"
    own = [scratch / f"{KEY}-backup", scratch / "my-old-run-of-monday", scratch / f"{KEY}0"]
    for folder in own:
        folder.mkdir(parents=True)
        (folder / "finished").touch()
    (tmp_path / "checkpoints").symlink_to(scratch)
    for name in ("first", "second"):
        (scratch / f"disk of {name}").mkdir()
        (scratch / key(name)).symlink_to(scratch / f"disk of {name}")
        with Checkpointer(tmp_path / "checkpoints" / key(name), Counter()) as saving:
            saving.finish()
    assert {path.name for path in scratch.glob("*-*")} == {
        key("second"),
        *(folder.name for folder in own if "-" in folder.name),
    }
    assert all((folder / "finished").exists() for folder in own)
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
