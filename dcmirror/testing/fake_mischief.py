"""What happens to files at the fake door while a request for them is under way.

The latest moments that HTTP allows to an adversary: when a request has arrived and is
not carried out yet, and when its answer has just left.
"""

from __future__ import annotations

from functools import partial

from dcmirror.testing.fake_faults import Fault, Kind
from dcmirror.testing.fake_http import Exchange
from dcmirror.testing.fake_site import Site
from dcmirror.testing.fake_uploads import Uploader


def before(site: Site, exchange: Exchange, path: str, fault: Fault | None) -> None:
    """The request is accepted, and about to be carried out."""
    watcher = site.watchers.get(exchange.head.method)
    if watcher is not None:
        watcher(path)
    match fault.kind if fault else None:
        case Kind.VANISH:
            site.namespace.remove(path)
        case Kind.REPLACE if fault:
            _replace(site, path, fault)
        case Kind.STALL_ANSWER if fault:
            exchange.before_answer = partial(exchange.pause, fault.seconds)
        case Kind.LOSE_ANSWER:
            exchange.before_answer = exchange.reset
        case _:
            pass


def after(site: Site, path: str, fault: Fault | None) -> None:
    """The answer has left."""
    if fault is not None and fault.kind is Kind.REPLACE_AFTER:
        _replace(site, path, fault)


def _replace(site: Site, path: str, fault: Fault) -> None:
    if site.namespace.get(path) is not None:
        Uploader(site, "/DC=org/DC=dcmirror/CN=Adversary").replace(
            path, publish=fault.publish
        )
