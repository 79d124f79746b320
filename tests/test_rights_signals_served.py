"""Every opt-out signal in every state, from host to verdict: what is asked, kept, decided."""

from pathlib import Path

import pytest
from clocks import Clock
from opt_out_cases import IMAGE, ROBOTS, all_cases
from opt_out_hosts import Hosts, faults, named, serve

from curate import Dataset
from curate.commands.build import check_dataset
from curate.dataset.sample import Sample
from curate.fetch.run import FetchOptions, fetch_images
from curate.net.budget import Budget
from curate.net.connection import NetOptions
from curate.net.guard import Endpoint


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> tuple[dict[str, Sample], Hosts]:
    """The rows after a fetch and a check of all cases, by host; and what the hosts were asked."""
    dataset = Dataset(tmp_path_factory.mktemp("served") / "data")
    clock, cases = Clock(), named(all_cases())
    with serve(cases) as hosts:
        budget = Budget(clock=clock, sleep=clock.sleep)
        net = NetOptions(Endpoint.parse(hosts.url), budget=budget)
        options = FetchOptions(net=net)
        fetch_images(dataset, "openverse", "snow", limit=len(cases), fetch_options=options)
    check_dataset(dataset)
    by_id = {row.key.removeprefix("openverse-"): row for row in dataset.read().samples}
    numbers = {host: f"4bc43a04-ef46-4544-a0c1-{n:012}" for n, host in enumerate(cases)}
    return {host: by_id[numbers[host]] for host in cases}, hosts


def test_each_case_is_asked_kept_and_decided_as_it_should_be(run):
    rows, hosts = run
    wrong = {
        (case.signal, case.state): found
        for host, case in hosts.cases.items()
        if (found := faults(case, rows[host], hosts.asked[host]))
    }
    assert wrong == {}


def test_the_image_is_not_asked_for_where_robots_txt_forbids_it(run):
    rows, hosts = run
    refused = [host for host in hosts.cases if rows[host].dropped == "opt-out:robots.txt"]
    assert len(refused) == 2
    for host in refused:
        assert hosts.asked[host][0] == ROBOTS and IMAGE not in hosts.asked[host]


def test_what_was_said_is_kept_with_the_row_even_where_the_image_is_not(run):
    rows, hosts = run
    for host, case in hosts.cases.items():
        kept = {line.lower() for line in rows[host].headers}
        for name, value in case.headers if case.asked else ():
            assert not value or any(line == f"{name}: {value}".lower() for line in kept), case
        assert len(rows[host].site_evidence) == 3


def test_a_policy_may_only_record_what_a_site_says_and_nothing_lifts_an_item(run, tmp_path: Path):
    import curate.rights.policy as policies
    from curate.rights.decide import decide

    personal = (policies.POLICY_FOLDER / "personal.toml").read_text()
    lenient = tmp_path / "lenient.toml"
    for name in ("site-opt-out", "signals-contradict", "signal-unclear"):
        assert f'{name} = "hold"' in personal
        personal = personal.replace(f'{name} = "hold"', f'{name} = "record"')
    lenient.write_text(personal)
    rules = policies.read_policy(str(lenient))
    for row in run[0].values():
        refused = any(s.allows is False and s.scope == "item" for s in row.signals)
        assert decide(row, rules).train.decision == ("deny" if refused else "allow")
