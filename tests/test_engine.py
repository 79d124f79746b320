"""Jobs on this machine and on a cluster: the same answers, whoever is killed."""

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rows import row

from curate.captions.clean import caption
from curate.commands.build import build_dataset
from curate.dataset import cluster as cluster_module
from curate.dataset import engine
from curate.dataset.engine import LOCAL, Engine, run_jobs, run_unordered
from curate.dataset.folder import Dataset
from curate.dataset.sample import Verdict
from curate.errors import InputError, UsageError
from curate.shards.pack import pack
from curate.system.sandbox import WorkerFailure
from tests.packable import dataset_of, fetch_pictures

HERE = Path(__file__).parent
needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs Ray")
# what Ray itself does in its own modules
quiet = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning",
                                   "ignore::pytest.PytestUnraisableExceptionWarning")  # fmt: skip


@pytest.fixture(scope="module")
def cluster() -> Iterator[Engine]:
    """Two machines of one CPU each, as far as Ray can tell."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(HERE), str(HERE.parent)]))
        patch.setenv("PIXABAY_API_KEY", "not-to-be-told")
        for name, value in {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
                            "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}.items():  # fmt: skip
            patch.setenv(name, value)
        import ray
        from ray.cluster_utils import Cluster

        patch.delenv("PIXABAY_API_KEY")
        both = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
        both.add_node(num_cpus=1)
        patch.setenv("PIXABAY_API_KEY", "not-to-be-told")
        yield Engine("ray", both.address)
        ray.shutdown()
        both.shutdown()


def answers(jobs: list[dict[str, Any]], engine: Engine) -> list[Any]:
    return list(run_jobs("engine_jobs:square", jobs, processes=1, engine=engine))


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(HERE), str(HERE.parent)]))


@needs_ray
@quiet
def test_a_cluster_answers_what_this_machine_does(cluster: Engine) -> None:
    jobs = [{"number": n, "fatal": 7} for n in range(24)]
    here, there = answers(jobs, LOCAL), answers(jobs, cluster)
    assert there == here
    assert [a for a in here if isinstance(a, WorkerFailure)] == [here[7]]
    assert here[7] == WorkerFailure("decoder died (SIGSEGV)")
    assert [a[0]["square"] for n, a in enumerate(there) if n != 7] == [
        n * n for n in range(24) if n != 7
    ]
    numbered = run_unordered("engine_jobs:square", jobs, engine=cluster)
    assert sorted(numbered, key=lambda pair: pair[0]) == list(enumerate(here))
    assert answers([], cluster) == []


@needs_ray
@quiet
def test_a_worker_of_the_cluster_that_dies_is_no_matter(cluster: Engine, tmp_path: Path) -> None:
    jobs = [{"number": n, "seconds": 0.2, "pids": str(tmp_path)} for n in range(24)]
    running = run_unordered("engine_jobs:square", jobs, engine=cluster)
    found = [next(running)]
    until = time.monotonic() + 60
    while not (late := [p for p in tmp_path.iterdir() if int(p.name) > 8 and p.stat().st_size]):
        assert time.monotonic() < until
        time.sleep(0.02)
    os.kill(int(late[0].read_text()), signal.SIGKILL)  # while its task is at work
    found += running
    assert sorted(n for n, _ in found) == list(range(24))
    assert all(a == ({"square": n * n}, str(n).encode()) for n, a in found)
    assert len(set(late[0].read_text().split())) == 2, "what the dead worker held was done again"


@needs_ray
@quiet
def test_what_a_job_raises_on_a_cluster_is_raised_here(cluster: Engine) -> None:
    for where in (LOCAL, cluster):
        with pytest.raises(InputError) as caught:
            list(run_jobs("engine_jobs:fail", [{"kind": "input"}], engine=where))
        assert caught.value.lines()[0] == "a.png: is gone"
        with pytest.raises(RuntimeError, match="ValueError: a bug"):
            list(run_jobs("engine_jobs:fail", [{"kind": "bug"}], engine=where))
        refused = list(run_jobs("engine_jobs:refuse", [{"number": 1}, {"number": 2}], engine=where))
        assert refused == [WorkerFailure("1 is odd"), ({}, b"")]


@needs_ray
@quiet
def test_no_key_travels(cluster: Engine) -> None:
    assert os.environ["PYTHONPATH"]
    ((seen, _),) = run_jobs("engine_jobs:environment", [{}], engine=cluster)  # type: ignore[misc]
    assert "not-to-be-told" not in str(seen)


@needs_ray
@quiet
def test_every_machine_must_see_the_folder(
    cluster: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.require_shared(cluster, tmp_path)
    assert list(tmp_path.iterdir()) == []
    outside = HERE.parent / "curate" / "dataset"
    with monkeypatch.context() as patch:  # a path that is another folder for every process
        patch.chdir(tmp_path)
        with pytest.raises(InputError, match="does not see /proc/self/cwd") as caught:
            engine.require_shared(cluster, Path("/proc/self/cwd"))
    assert caught.value.subject.startswith("the cluster's machine ")
    assert list(tmp_path.iterdir()) == [] and not list(outside.glob(".seen*"))


OWN_CLUSTER = """
from curate.dataset.engine import Engine, run_jobs
jobs = [{"number": n} for n in range(3)]
for answer in run_jobs("engine_jobs:square", jobs, engine=Engine("ray")):
    print(answer[0]["square"])
(seen, _), = run_jobs("engine_jobs:environment", [{}], engine=Engine("ray"))
print("HOME" in seen, "not-to-be-told" in str(seen))
"""


@needs_ray
def test_a_cluster_of_its_own_is_quiet_and_is_told_no_key() -> None:
    env = os.environ | {"PIXABAY_API_KEY": "not-to-be-told", "RAY_ADDRESS": "192.0.2.1:9"}
    done = subprocess.run([sys.executable, "-c", OWN_CLUSTER], env=env, capture_output=True)
    assert done.stdout.decode().split("\n") == ["0", "1", "4", "True False", ""]
    assert done.stderr == b""


@needs_ray
@pytest.mark.parametrize(
    ("address", "problem"),
    [
        ("nowhere", "is not HOST:PORT or auto"),
        ("ray://head:10001", "is not HOST:PORT or auto"),
        ("127.0.0.1:x", "is not HOST:PORT or auto"),
        ("127.0.0.1:1", "no cluster answers there (Connection refused)"),
        ("127.0.0.1:99999", "no cluster answers there"),
    ],
)
def test_an_address_where_no_cluster_is_is_named(address: str, problem: str) -> None:
    program = (
        "import sys; from curate.dataset.cluster import connect; from curate.errors import *\n"
        "try: connect(sys.argv[1])\nexcept UsageError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, address], capture_output=True, text=True, check=True
    )
    assert address in done.stdout and problem in done.stdout
    assert "fix: start one with ray start --head" in done.stdout and done.stderr == ""


@needs_ray
def test_what_answers_but_is_no_ray_is_told_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"

        def answer() -> None:
            with server.accept()[0] as connection:
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        threading.Thread(target=answer, daemon=True).start()
        with pytest.raises(UsageError, match="what answers is no head of Ray"):
            cluster_module._require_answer(address)


def test_without_ray_a_sentence_says_how_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match=r"needs Ray, which is not installed") as caught:
        list(run_jobs("engine_jobs:square", [{"number": 1}], engine=Engine("ray")))
    assert caught.value.fix == "pip install 'fubuki[ray]', or without --engine"


@needs_ray
@quiet
def test_captions_are_the_same_on_a_cluster(cluster: Engine) -> None:
    rows = [
        row(f"{n:04}", title=f"A lamp of {n} cats, 4k wallpaper", tags=("cat", f"n{n % 7}"),
            train=Verdict("allow", ()),
            dropped=f"duplicate:test-{n - 1:04}" if n % 5 == 1 else None)
        for n in range(1500)
    ]  # fmt: skip
    here = caption(rows, per_image=3)
    assert caption(rows, per_image=3, engine=cluster) == here
    assert any(c.origin.startswith("copy:") for s in here for c in s.captions)


@needs_ray
@quiet
def test_shards_are_the_same_bytes_from_a_cluster(cluster: Engine, tmp_path: Path) -> None:
    made = []
    for name, where in (("here", LOCAL), ("there", cluster)):
        dataset = dataset_of(tmp_path / name, 40)
        pack(dataset, size=32, shard_size=0.01, engine=where)
        made.append({p.name: p.read_bytes() for p in dataset.shards.iterdir() if p.is_file()})
    assert made[0] == made[1] and len(made[0]) > 2


@needs_ray
@quiet
def test_a_build_on_a_cluster_ends_in_the_same_bytes(
    cluster: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch_pictures(tmp_path, monkeypatch)
    shutil.copytree(tmp_path / "data", tmp_path / "there")
    made = []
    for name, where in (("data", LOCAL), ("there", cluster)):
        dataset = Dataset(tmp_path / name)
        built = build_dataset(dataset, size=32, engine=where)
        files = [dataset.manifest, *sorted(dataset.shards.iterdir())]
        made.append((built.as_rows()[:-1], {p.name: p.read_bytes() for p in files}))
    assert made[0] == made[1] and built.pack.samples == 2
