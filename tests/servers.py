"""Servers on 127.0.0.1 that stand in for sources, with the documented shapes and real faults."""

import io
import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from PIL import Image

KEY = "12345678-canary0cafe0babe0deadbeef"


@dataclass
class Answer:
    """What a route gives back; `drip` sends the body byte by byte, so many seconds apart."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    drip: float = 0.0
    promised: int | None = None  # Content-Length, if it is not the truth


Route = Callable[[dict[str, str]], Answer]


@dataclass
class Server:
    """A running server: its routes by path, and what it was asked."""

    routes: dict[str, Route] = field(default_factory=dict)
    asked: list[tuple[float, str, dict[str, str]]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    url: str = ""

    def paths(self) -> list[str]:
        """The paths asked for, in order."""
        return [path for _, path, _ in self.asked]


@contextmanager
def listening(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """The address of a free port where `handler` answers until the block ends."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=lambda: server.serve_forever(poll_interval=0.01))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def run_server() -> Iterator[Server]:
    """Run a server on a free port until the block ends."""
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def handle(self) -> None:
            try:
                super().handle()
            except OSError:
                self.close_connection = True  # the client hung up between two requests

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            state.asked.append((time.monotonic(), parts.path, query))
            state.headers.append({k.lower(): v for k, v in self.headers.items()})
            route = state.routes.get(parts.path, lambda query: Answer(b"not here", 404))
            try:
                self._send(route(query))
            except OSError:
                self.close_connection = True  # the client hung up, as some tests want

        def _send(self, answer: Answer) -> None:
            self.send_response(answer.status)
            length = len(answer.body) if answer.promised is None else answer.promised
            chunked = "Transfer-Encoding" in answer.headers
            stated = {} if chunked else {"Content-Length": str(length)}
            for name, value in {**stated, **answer.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if not answer.drip:
                self.wfile.write(answer.body)
            for byte in answer.body if answer.drip else b"":
                self.wfile.write(bytes([byte]))
                time.sleep(answer.drip)
            if answer.promised is not None:
                self.close_connection = True

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with listening(Handler) as state.url:
        yield state


def image_bytes(number: int, *, kind: str = "PNG", side: int = 8) -> bytes:
    """A small image of one colour, different for each number."""
    colour = (number * 37 % 256, number * 91 % 256, number % 256)
    file = io.BytesIO()
    Image.new("RGB", (side, side), colour).save(file, kind)
    return file.getvalue()


@dataclass
class Pixabay:
    """A Pixabay with `count` images of anything one asks for."""

    server: Server
    count: int = 5
    delay: float = 0.0  # seconds before each image
    changes: dict[int, dict[str, Any]] = field(default_factory=dict)  # hit number -> fields

    def __post_init__(self) -> None:
        self.server.routes["/api/"] = self.search
        for number in range(self.count):
            self.server.routes[f"/get/{number}_1280.png"] = self._picture(number)

    def hit(self, number: int) -> dict[str, Any]:
        """One hit with the fields of the API's documentation."""
        hit = {
            "id": 1000 + number,
            "pageURL": f"https://pixabay.com/photos/blizzard-snow-{1000 + number}/",
            "type": "photo",
            "tags": "blizzard, snow, 4k wallpaper",
            "previewURL": f"https://cdn.pixabay.com/photo/{number}_150.jpg",
            "webformatURL": f"{self.server.url}/get/{number}_640.png",
            "largeImageURL": f"{self.server.url}/get/{number}_1280.png",
            "imageWidth": 4000,
            "imageHeight": 3000,
            "views": 7,
            "user_id": 42,
            "user": "Anna",
            "userImageURL": "",
            "noAiTraining": False,
            "isAiGenerated": False,
        }
        return {**hit, **self.changes.get(number, {})}

    def search(self, query: dict[str, str]) -> Answer:
        """Answer as the API does: JSON, or plain text with status 400."""
        if query.get("key") != KEY:
            text = "[ERROR 400] Invalid or missing API key (https://pixabay.com/api/docs/)."
            return Answer(text.encode(), 400)
        page, size = int(query.get("page", 1)), int(query.get("per_page", 20))
        if page > 1 and (page - 1) * size >= self.count:
            return Answer(b'[ERROR 400] "page" is out of valid range.', 400)
        numbers = range((page - 1) * size, min(page * size, self.count))
        body = {
            "total": self.count * 3,
            "totalHits": self.count,
            "hits": [self.hit(number) for number in numbers],
        }
        left = {"X-RateLimit-Limit": "100", "X-RateLimit-Remaining": "99", "X-RateLimit-Reset": "9"}
        return Answer(json.dumps(body).encode(), headers=left)

    def _picture(self, number: int) -> Route:
        data = image_bytes(number)

        def route(query: dict[str, str]) -> Answer:
            time.sleep(self.delay)
            return Answer(data, headers={"Content-Type": "image/png"})

        return route


def openverse_result(server: Server, number: int, **changes: object) -> dict[str, object]:
    """One image of a catalogue of Openverse, with the fields of the API's documentation."""
    return {
        "id": f"4bc43a04-ef46-4544-a0c1-{number:012}",
        "title": f"Blizzard {number}",
        "indexed_on": "2022-08-27T17:39:48Z",
        "foreign_landing_url": f"https://museum.example/{number}",
        "url": f"{server.url}/pictures/{number}.png",
        "creator": "Ida",
        "creator_url": "https://museum.example/ida",
        "license": "by",
        "license_version": "4.0",
        "license_url": "https://creativecommons.org/licenses/by/4.0/",
        "provider": "museum",
        "source": "museum",
        "tags": [{"accuracy": None, "name": "snow"}],
        "mature": False,
        **changes,
    }


def openverse_page(
    results: Sequence[dict[str, object]], *, page: int = 1, size: int = 20
) -> Answer:
    """A page of the results of a search in Openverse."""
    body = {
        "result_count": len(results),
        "page_count": -(-len(results) // size),
        "page_size": size,
        "page": page,
        "results": results[(page - 1) * size : page * size],
    }
    return Answer(json.dumps(body).encode())
