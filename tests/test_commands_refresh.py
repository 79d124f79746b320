"""`curate check --refresh`: what sources say later is asked, told, and decided."""

import json
from dataclasses import replace

import pytest
from servers import Answer, image_bytes, openverse_page, openverse_result, run_server

from curate import sources
from curate.cli import main
from curate.dataset.folder import Dataset
from curate.fetch import refresh as module
from curate.fetch.run import FetchOptions, fetch_images
from curate.net.connection import NetOptions
from curate.net.guard import Endpoint
from curate.sources import openverse

QUICK = replace(openverse.SOURCE, requests_per_minute=1_000_000, seconds_between=0.0)


def test_what_drifted_vanished_and_opted_out_is_told_and_no_longer_allowed(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(module, "SOURCES", (sources.folder.SOURCE, QUICK))
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    data = Dataset(tmp_path / "data")
    with run_server() as server:
        found = [openverse_result(server, number) for number in range(4)]
        server.routes["/v1/images/"] = lambda query: openverse_page(found)

        def record(number: int, result: dict[str, object]) -> None:
            path = f"/v1/images/4bc43a04-ef46-4544-a0c1-{number:012}/"
            server.routes[path] = lambda query: Answer(json.dumps(result).encode())

        for n, result in enumerate(found):
            server.routes[f"/pictures/{n}.png"] = lambda query, n=n: Answer(image_bytes(n))
            record(n, result)
        net = NetOptions(Endpoint.parse(server.url))
        fetch_images(data, QUICK, "snow", fetch_options=FetchOptions(net=net))
        check(data, server.url)
        assert [s.train.decision for s in data.read().samples] == ["allow"] * 4
        monkeypatch.setenv("SOURCE_DATE_EPOCH", str(1700000000 + 24 * 3600))
        record(0, openverse_result(server, 0, license="by-nc-nd", license_url=None))
        server.routes["/pictures/1.png"] = lambda query: Answer(b"", 410)
        server.routes["/pictures/2.png"] = lambda query: Answer(
            image_bytes(2), headers={"X-Robots-Tag": "noai"}
        )
        capsys.readouterr()
        check(data, server.url, "--refresh")
    told = capsys.readouterr()
    keys = [s.key for s in data.read().samples]
    assert f"1 state another licence: {keys[0]}" in told.err
    assert f"1 are gone at their source: {keys[1]}" in told.err
    assert f"1 have something new said about training: {keys[2]}" in told.err
    assert told.out.splitlines()[0] == "train\t1\t2\t1"
    reasons = [s.train.reasons for s in data.read().samples]
    assert reasons[:3] == [("drift",), ("gone-at-source",), ("opt-out:x-robots-tag:noai",)]


def check(data: Dataset, url: str, *words: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["check", *words, "--endpoint", url, "--data", str(data.root)])
    assert ended.value.code == 0


@pytest.mark.parametrize("words", [["--policy", "persnal"], ["--data", "gone"]])
def test_nothing_is_asked_where_the_check_cannot_be_done(tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    with run_server() as server, pytest.raises(SystemExit) as ended:
        main(["check", "--refresh", "--endpoint", server.url, *words])
    assert ended.value.code in (2, 3)
    assert server.asked == []
    assert not (tmp_path / "gone").exists()
