"""All that a fetch needs of the net, put together."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from curate.net.answers import AnswerCache
from curate.net.api import Api, Service
from curate.net.budget import Budget
from curate.net.guard import Endpoint, Guard
from curate.net.media import Media
from curate.net.redact import Secret
from curate.net.site import Sites
from curate.net.transport import Transport
from curate.net.tries import Courier, Limits
from curate.system.progress import SILENT, Progress


@dataclass(frozen=True)
class NetOptions:
    """How servers are asked; nothing here changes what they are asked for."""

    endpoint: Endpoint | None = None  # a server on this machine that is asked instead of all others
    limits: Limits = field(default_factory=Limits)
    contact: str | None = None  # for the user agent; see `transport.check_contact`
    budget: Budget | None = None  # with a clock of its own; None: a new one
    trusted: str | None = None  # file of certificates to trust; None: those of certifi


@dataclass(frozen=True)
class Net:
    """A source's API, the images it names, and what their hosts say of all they hold."""

    api: Api
    media: Media
    sites: Sites


@contextmanager
def connect(
    service: Service,
    evidence: Path,
    *,
    key: Secret | None = None,
    options: NetOptions = NetOptions(),
    progress: Progress = SILENT,
) -> Iterator[Net]:
    """Open the net for one source; one budget a host for its API, its images and its sites.

    Args:
        service: how the source is asked.
        evidence: folder in which answers are kept.
        key: sent to the API, and taken out of all that is kept or shown.
        options: how servers are asked.
        progress: told of waits and of hosts that are left alone.
    """
    budget = options.budget or Budget(progress)
    guard = Guard(options.endpoint)
    with Transport(guard, budget, key, options.contact, options.trusted) as transport:
        courier, answers = Courier(transport, options.limits, service.name), AnswerCache(evidence)
        yield Net(
            Api(service, answers, courier),
            Media(courier, service.seconds_between),
            Sites(courier, answers, service.seconds_between),
        )
