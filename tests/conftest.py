"""What every test shares: the folder of real data, and how hypothesis looks for examples."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# the suite runs in as many processes as there are cores; more threads only wait for each other
os.environ["OMP_NUM_THREADS"] = "1"

# a busy machine is no failure, and the same code gives the same result on every run; to look for
# new examples: pytest --hypothesis-profile=explore
settings.register_profile("fubuki", deadline=None, derandomize=True)
settings.register_profile("explore", deadline=None, print_blob=True, max_examples=500)
settings.load_profile("fubuki")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--corpora", help="folder of real data, for tests marked `corpora`")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Without the folder, the tests that need it are not part of the suite."""
    if config.getoption("--corpora"):
        return
    left_out = [item for item in items if item.get_closest_marker("corpora")]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Indexes are kept in a folder of this run, never in the user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def corpora(request: pytest.FixtureRequest) -> Path:
    """The folder of real data; a test that asks for it is marked `corpora`."""
    given = request.config.getoption("--corpora")
    assert given, "tests marked `corpora` need --corpora DIR (make test-corpora CORPORA=DIR)"
    return Path(given)
