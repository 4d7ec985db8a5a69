import signal

import pytest

from mnist_lstm import errors
from mnist_lstm.errors import UserError
from mnist_lstm.signals import Stopped


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (UserError("x.gz: cut short"), "error: x.gz: cut short"),
        (OSError(28, "No space left", "a"), "error: [Errno 28] No space left: 'a'"),
    ],
)
def test_what_a_person_can_put_right_is_one_line_and_status_1(error, line):
    def main():
        raise error

    with pytest.raises(SystemExit) as caught:
        errors.run(main)
    assert caught.value.code == line  # Python prints it and exits with status 1


def test_what_a_signal_ended_says_so_with_the_shells_status(capsys):
    def main():
        raise Stopped(signal.SIGINT, "the next run resumes from epoch 2, step 3")

    with pytest.raises(SystemExit) as caught:
        errors.run(main)
    assert caught.value.code == 130
    assert capsys.readouterr().err == (
        "interrupted; the next run resumes from epoch 2, step 3\n"
    )


def test_a_bug_keeps_its_traceback():
    def main():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        errors.run(main)
