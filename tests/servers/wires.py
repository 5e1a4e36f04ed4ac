"""A network namespace for a server that insists on listening everywhere.

The namespace has one neighbour, this machine, at the other end of a pair of virtual
network cards; it lives as long as the server in it.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess

from servers.ladder import Unavailable

# reserved for tests of network devices (RFC 2544): in nobody's routing table
NETWORKS = "198.18.{}.{}"

WAIT_FOR_WIRE = 'read -r ready; exec "$@"'


class Wire:
    """Our end and the server's end; ``host`` is where the server is reached."""

    prefix = ("unshare", "--net", "--", "sh", "-c", WAIT_FOR_WIRE, "sh")

    def __init__(self) -> None:
        if os.geteuid() != 0:
            raise Unavailable("a network namespace needs root")
        for tool in ("ip", "unshare", "nsenter", "setpriv"):
            if shutil.which(tool) is None:
                raise Unavailable(f"{tool} is not installed")
        pick = random.SystemRandom()
        third, fourth = pick.randrange(256), pick.randrange(64) * 4
        self.gateway = NETWORKS.format(third, fourth + 1)
        self.host = NETWORKS.format(third, fourth + 2)
        self.card = f"dcm{pick.randrange(16**8):08x}"

    def connect(self, process: subprocess.Popen[bytes]) -> None:
        """Wire the namespace of ``process``, which waits with ``prefix``; let it go."""
        inside = ["nsenter", "--net", "-t", str(process.pid), "--"]
        _await_namespace(process.pid)
        # a killed server's namespace, and the card with it, goes a little later
        subprocess.run(["ip", "link", "del", self.card], stderr=subprocess.DEVNULL)
        peer = ["peer", "name", "wire", "netns", str(process.pid)]
        _run("ip", "link", "add", self.card, "type", "veth", *peer)
        _run("ip", "addr", "add", f"{self.gateway}/30", "dev", self.card)
        _run("ip", "link", "set", self.card, "up")
        _run(*inside, "ip", "link", "set", "lo", "up")
        _run(*inside, "ip", "addr", "add", f"{self.host}/30", "dev", "wire")
        _run(*inside, "ip", "link", "set", "wire", "up")
        assert process.stdin is not None
        process.stdin.write(b"ready\n")
        process.stdin.close()


def _await_namespace(pid: int) -> None:
    from helpers import wait_until

    ours = os.readlink("/proc/self/ns/net")
    wait_until(lambda: os.readlink(f"/proc/{pid}/ns/net") != ours, what="unshare")


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise Unavailable(f"{' '.join(command)}: {done.stderr.strip()}")
