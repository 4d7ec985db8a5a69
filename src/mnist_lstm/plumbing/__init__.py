"""What can change no byte of a result: no stage depends on it, so it may change freely.

It reads parameters, refuses, reports, renames and waits. It imports nothing that computes
and nothing of the project outside itself; a test holds that. To copy it into a project of
your own, copy the folder.
"""
