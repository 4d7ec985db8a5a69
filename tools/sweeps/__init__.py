"""The parts of ``tools/sweep.py``: which trials, through which remotes, run by whom."""
