import subprocess
import sys

import pytest


def page_faults(prepare):
    """Return how many pages the system hands out for 20 buffers of 64 MB, in turn."""
    code = (
        "import resource, torch\n"
        "from mnist_lstm import device\n"
        f"{prepare}\n"
        "for _ in range(20): torch.ones(2**24)\n"  # until the heap has its size
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "for _ in range(20): torch.ones(2**24)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)"
    )
    command = [sys.executable, "-c", code]
    return int(subprocess.run(command, check=True, capture_output=True).stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's setting")
def test_a_buffer_that_is_freed_is_not_asked_for_again():
    assert page_faults("device.retain_freed_memory()") < 0.2 * page_faults("")
