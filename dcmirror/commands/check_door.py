"""What ``dcmirror check`` asks of the door, and of the pool that it redirects to."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from dcmirror.adapters.curl_probe import Prober
from dcmirror.adapters.requests import Answer
from dcmirror.commands.check_report import Finding, fail, ok, size, warn
from dcmirror.core import diagnosis
from dcmirror.core.door_errors import REMEDIES
from dcmirror.core.failures import FailureClass
from dcmirror.core.http_values import REDIRECTS
from dcmirror.core.paths import path_map_of
from dcmirror.core.policy import MAX_HOPS, check_redirect, place_of
from dcmirror.errors import ExitStatus, UnsafePathError
from dcmirror.settings import Settings

_RESETS = frozenset(
    {diagnosis.CURL_TLS_CONNECT, diagnosis.CURL_SEND, diagnosis.CURL_RECEIVE}
)
_MORE_TRIES = 4


def check_door(settings: Settings, prober: Prober) -> Finding:
    """PROPFIND of ``folder``."""
    paths = path_map_of(settings.dcache)
    url = paths.directory_url(paths.root)
    return ask_folder(url, prober)


def ask_folder(url: str, prober: Prober) -> Finding:
    """What the door says of a directory."""
    answer = _patiently(lambda: prober.propfind(url))
    milliseconds = round(answer.total_ms)
    if answer.curl_code:
        return _unreachable("door", url, answer)
    status = answer.headers.status
    if status == 207:
        return ok("door", f"{url}: shows the folder ({milliseconds} ms)")
    if status in (405, 501) or status in REDIRECTS:
        text = f"{url}: answers, but does no PROPFIND (status {status})"
        return warn("door", text, "name a file with --file to see more")
    return _refused("door", url, status)


def _patiently(ask: Callable[[], Answer]) -> Answer:
    """Ask again when a reset may have swallowed the alert that says what is wrong."""
    answer = ask()
    for _ in range(_MORE_TRIES):
        if answer.curl_code not in _RESETS or "alert" in answer.message:
            break
        answer = ask()
    return answer


def _refused(name: str, url: str, status: int) -> Finding:
    is_ours = diagnosis.of_status(status) in (
        FailureClass.CREDENTIAL,
        FailureClass.FORBIDDEN,
    )
    kind = ExitStatus.CREDENTIAL if is_ours else ExitStatus.DOOR
    text = f"{url}: status {status}"
    return fail(name, kind, text, REMEDIES.get(status, "ask the door's operator"))


def _unreachable(name: str, url: str, answer: Answer) -> Finding:
    """A request that had no answer: name, network, their certificate or ours."""
    code, message = answer.curl_code, answer.message
    kind = diagnosis.of_curl(code, message, is_connected=answer.is_connected)
    text = f"{url}: {message}"
    if kind is FailureClass.CREDENTIAL:
        remedy = "the server refuses our certificate: look at the proxy"
        return fail(name, ExitStatus.CREDENTIAL, text, remedy)
    if code == diagnosis.CURL_PEER_CERTIFICATE:
        remedy = "look at [local] capath, and at the certificate of the server"
        return fail(name, ExitStatus.CREDENTIAL, text, remedy)
    if code == diagnosis.CURL_RESOLVE:
        return fail(name, ExitStatus.DOOR, text, "look at [dcache] url and at the DNS")
    return fail(name, ExitStatus.DOOR, text, "is it up, and does a firewall let us by?")


def check_file(settings: Settings, prober: Prober, path: str) -> Iterator[Finding]:
    """Ask for one file as a transfer would, and leave after its first bytes."""
    paths = path_map_of(settings.dcache)
    relative = paths.relative(path)
    if relative is None:
        text = f"{path}: not below {paths.root}"
        yield fail("file", ExitStatus.BAD_CONFIGURATION, text, "name one that is")
        return
    try:
        url = paths.url(path)
    except UnsafePathError as error:
        yield fail("file", ExitStatus.BAD_CONFIGURATION, str(error))
        return
    answer = prober.get(url, at_door=True)
    if answer.curl_code:
        yield _unreachable("file", path, answer)
    elif answer.headers.status == 200:
        yield ok("file", f"{path}: the door sends it itself, {_size(answer)}")
        yield _judge_digest(answer)
    elif answer.headers.status in REDIRECTS and answer.location:
        yield from _follow(settings, prober, url, answer)
    else:
        yield _refused("file", path, answer.headers.status)


def _follow(
    settings: Settings, prober: Prober, url: str, answer: Answer
) -> Iterator[Finding]:
    """Go where the door sends us, as far as policy allows; back to itself it may."""
    door, door_ip = place_of(url), answer.ip
    at_door = True
    for _ in range(MAX_HOPS):
        location = answer.location or ""
        place = place_of(location)
        name = f"{place.scheme}://{place.name}" if place else "an unreadable place"
        if place == door:
            location = location if at_door else url
        elif refusal := check_redirect(
            settings.dcache.url,
            location,
            settings.source.redirect_schemes,
            settings.source.redirect_hosts,
            door_ip=door_ip,
        ):
            remedy = "look at [source] redirect_schemes and redirect_hosts"
            yield fail("redirect", ExitStatus.DOOR, refusal, remedy)
            return
        at_door = place == door
        yield _judge_scheme(name)
        answer = prober.get(location, at_door=at_door)
        if answer.headers.status not in REDIRECTS or answer.curl_code:
            yield from _judge_pool(name, answer)
            return
    yield fail("redirect", ExitStatus.DOOR, f"more than {MAX_HOPS} hops", "")


def _judge_scheme(name: str) -> Finding:
    if name.startswith("http:"):
        remedy = "have the source encrypt transfers, if that matters"
        return warn("redirect", f"to {name}: data travel in clear", remedy)
    return ok("redirect", f"to {name}")


def _judge_pool(name: str, answer: Answer) -> Iterator[Finding]:
    if answer.curl_code:
        yield _unreachable("pool", name, answer)
    elif answer.headers.status != 200:
        yield fail("pool", ExitStatus.DOOR, f"{name}: status {answer.headers.status}")
    else:
        yield ok("pool", f"{name}: sends {_size(answer)}")
        yield _judge_digest(answer)


def _judge_digest(answer: Answer) -> Finding:
    if answer.headers.adler32 is None:
        remedy = 'see [source] missing_digest; the source should compute "adler32"'
        return warn("digest", "no Adler-32 came with the file", remedy)
    return ok("digest", "Adler-32 comes with the file")


def _size(answer: Answer) -> str:
    length = answer.headers.content_length
    return "a file of unknown size" if length is None else size(length)
