"""What a host says of all that it holds: robots.txt and its kin, asked once in 24 hours."""

from dataclasses import dataclass, field

from curate.net.answers import AnswerCache
from curate.net.failure import Failure, FailureKind
from curate.net.redact import Url
from curate.net.transport import NotAnsweredError, Request
from curate.net.tries import Courier

ROBOTS = "/robots.txt"  # RFC 9309
# TDM Reservation Protocol (W3C community group, 2024), ai.txt (Spawning)
DOCUMENTS = (ROBOTS, "/.well-known/tdmrep.json", "/ai.txt")


@dataclass(frozen=True)
class Sites:
    """Asks hosts for the documents that speak of all they hold."""

    courier: Courier
    answers: AnswerCache  # where they are kept
    gap_s: float  # seconds between two requests to one host
    _broken: set[str] = field(default_factory=set)  # not to be had, and not asked for again

    def documents(self, url: str) -> tuple[str, ...] | Failure:
        """SHA-256 of the stored answers of the host of `url`, in the order of `DOCUMENTS`.

        One that the host does not have is kept as it was answered, with its status (4xx), and
        means "absent"; robots.txt that cannot be had at all is a failure, as RFC 9309, section
        2.3.1, has it: nobody knows what it says. One of the others that cannot be had is left out,
        and not asked for again by this object.
        """
        try:
            origin = self.courier.transport.read(url).origin
        except NotAnsweredError as error:
            return error.failure
        found = []
        for path in DOCUMENTS:
            if origin + path in self._broken:
                continue
            sha256 = self._document(origin, path)
            if isinstance(sha256, str):
                found.append(sha256)
            elif path == ROBOTS:
                return sha256
            elif sha256.kind is FailureKind.BROKEN:
                self._broken.add(origin + path)  # else it were asked for before every image
        return tuple(found)

    def _document(self, origin: str, path: str) -> str | Failure:
        url = Url(origin + path)
        if kept := self.answers.get_fresh(url):
            return kept[1]
        limits = self.courier.limits.site
        reply = self.courier.fetch(Request(url=str(url), limits=limits, gap_s=self.gap_s))
        if isinstance(reply, Failure):
            detail = f"its host's {path.rpartition('/')[2]} cannot be had: {reply.detail}"
            return Failure(reply.kind, detail)
        if reply.status >= 500 or reply.status == 429:
            detail = f"its host answered {reply.status} for {path.rpartition('/')[2]}"
            return Failure(FailureKind.BROKEN, detail)
        scrub = self.courier.transport.scrub
        if reply.cut:
            said = f"{origin}{path} is longer than {limits.max_bytes} bytes; the rest is not read"
            self.courier.transport.budget.progress.say(scrub(said))
        body = scrub(reply.body.decode(errors="replace"))
        return self.answers.keep(url, reply.status, reply.lines, body)
