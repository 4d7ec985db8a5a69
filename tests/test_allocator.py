import subprocess
import sys

import pytest


def page_faults(prepare):
    """Return how many pages the system hands out for 20 buffers of 64 MB, in turn."""
    code = (
        "import resource, torch\n"
        "from mnist_lstm import allocator\n"
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
    assert page_faults("allocator.retain_freed_memory()") < 0.2 * page_faults("")


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's function")
def test_what_is_kept_and_not_used_can_be_given_back():
    code = (
        "import re, torch\n"
        "from pathlib import Path\n"
        "from mnist_lstm import allocator\n"
        "def held():\n"
        "    status = Path('/proc/self/status').read_text()\n"
        "    return int(re.search(r'VmRSS:\\s+(\\d+)', status)[1]) / 1024\n"
        "allocator.retain_freed_memory()\n"
        "before = held()\n"
        "big = [torch.ones(2**24) for _ in range(4)]\n"
        "small = torch.ones(2**10)\n"  # lies above, so that the heap cannot shrink
        "del big\n"
        "kept = held()\n"
        "allocator.release_freed_memory()\n"
        "print(kept - before > 200, held() - before < 50)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "True True\n", done.stdout + done.stderr
