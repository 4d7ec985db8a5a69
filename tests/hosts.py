"""Two hosts on one machine: network namespaces, joined by a cable or by a slow link.

It takes root and Linux. A slow link is a relay in this process between two TUN devices, as
not every kernel has netem.
"""

import contextlib
import fcntl
import os
import queue
import select
import struct
import subprocess
import threading
import time
from collections.abc import Iterator

ADDRESSES = ("10.77.0.1", "10.77.0.2")
_TUNSETIFF = 0x400454CA  # from linux/if_tun.h
_IFF_TUN_NO_PI = 0x1001


class Host:
    """A network namespace with one device beside the loopback."""

    def __init__(self, name: str, address: str):
        self.name = name
        self.device = f"{name}-0"
        self.address = address

    def command(self, *words: str) -> list[str]:
        """Return the command that runs ``words`` on this host."""
        return ["ip", "netns", "exec", self.name, *words]

    def cut(self) -> None:
        """Take its device down."""
        ip("-netns", self.name, "link", "set", self.device, "down")


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


def available() -> str:
    """Return why two hosts cannot be had here; nothing where they can."""
    if os.geteuid() != 0:
        return "not root"
    try:
        with two_hosts(delay=0.001):
            return ""
    except (OSError, subprocess.CalledProcessError) as error:
        return f"no network namespaces: {error}"


@contextlib.contextmanager
def two_hosts(delay: float = 0.0) -> Iterator[tuple[Host, Host]]:
    """Give two hosts; a packet takes ``delay`` seconds each way."""
    names = [f"host{os.getpid()}{letter}" for letter in "ab"]
    a, b = (Host(*pair) for pair in zip(names, ADDRESSES, strict=True))
    with contextlib.ExitStack() as stack:
        for host in (a, b):
            ip("netns", "add", host.name)
            stack.callback(ip, "netns", "delete", host.name)
        if delay:
            stack.enter_context(_relay(a, b, delay))
        else:
            ip("link", "add", a.device, "type", "veth", "peer", "name", b.device)
        for host in (a, b):
            ip("link", "set", host.device, "netns", host.name)
            for words in (
                ("addr", "add", f"{host.address}/24", "dev", host.device),
                ("link", "set", host.device, "up"),
                ("link", "set", "lo", "up"),
            ):
                ip("-netns", host.name, *words)
        yield a, b


@contextlib.contextmanager
def _relay(a: Host, b: Host, delay: float) -> Iterator[None]:
    """Join ``a`` and ``b`` by threads that hand on each packet after ``delay``."""
    with contextlib.ExitStack() as stack:
        ends = []
        for host in (a, b):
            end = os.open("/dev/net/tun", os.O_RDWR)
            stack.callback(os.close, end)
            request = struct.pack("16sH", host.device.encode(), _IFF_TUN_NO_PI)
            fcntl.ioctl(end, _TUNSETIFF, request)
            ends.append(end)
        over = threading.Event()
        for source, target in (ends, ends[::-1]):
            packets: queue.Queue[tuple[float, bytes]] = queue.Queue()
            for work in (
                lambda s=source, q=packets: _take(s, q, delay, over),
                lambda t=target, q=packets: _give(t, q, over),
            ):
                thread = threading.Thread(target=work)
                thread.start()
                stack.callback(thread.join)
        stack.callback(over.set)
        yield


def _take(source: int, packets: queue.Queue, delay: float, over: threading.Event) -> None:
    while not over.is_set():
        if select.select([source], [], [], 0.1)[0]:
            with contextlib.suppress(OSError):  # a device that is down
                packets.put((time.monotonic() + delay, os.read(source, 65536)))


def _give(target: int, packets: queue.Queue, over: threading.Event) -> None:
    while not over.is_set():
        try:
            due, packet = packets.get(timeout=0.1)
        except queue.Empty:
            continue
        time.sleep(max(0.0, due - time.monotonic()))
        with contextlib.suppress(OSError):
            os.write(target, packet)
