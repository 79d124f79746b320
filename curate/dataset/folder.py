"""One dataset folder: manifest, journal, store, evidence and shards, side by side."""

import hashlib
import json
import shlex
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any, Concatenate

from curate.dataset import manifest
from curate.dataset.journal import append_row, read_rows
from curate.dataset.manifest import Manifest, note_step, read_history, write_groups
from curate.dataset.sample import Sample
from curate.dataset.sample_table import COLUMNS
from curate.dataset.stored_rows import StoredRows, open_rows
from curate.errors import InputError
from curate.formats.shards import PACK_OPTIONS, options_of
from curate.system.files import file_sha256, lock_folder, write_bytes

DEFAULT_FOLDER = Path("data")  # where commands work unless told otherwise
MANIFEST_NAME = "manifest.parquet"
USUAL_SETTINGS: Mapping[str, object] = {  # what an option of a step is when it is not typed
    "--policy": "personal",
    "--per-image": 4,
    "--false-matches": 1e-5,
    **PACK_OPTIONS,
}


# fills in and marks rows, same keys, same order; its keyword arguments are its configuration
Step = Callable[Concatenate[Any, ...], Any]


@dataclass(frozen=True)
class Store:
    """A folder of bytes by their SHA-256: `STORE/ab/abcdef…`. A file that exists is whole."""

    root: Path

    def path_of(self, sha256: str) -> Path:
        """Where the bytes with this hash lie, or would lie."""
        return self.root / sha256[:2] / sha256

    def put(self, data: bytes, *, sync: bool = True) -> str:
        """Keep `data`, once; return its SHA-256. Without `sync`, call `os.sync` when all is put.

        What lies there and has changed on disk is replaced.
        """
        sha256 = hashlib.sha256(data).hexdigest()
        path = self.path_of(sha256)
        if not path.is_file() or path.read_bytes() != data:
            write_bytes(path, data, sync=sync)
        return sha256

    def get(self, sha256: str) -> bytes:
        """The bytes, checked against their name.

        Raises:
            InputError: they are missing or have changed on disk.
        """
        path = self.path_of(sha256)
        try:
            data = path.read_bytes()
        except OSError as error:
            problem = f"stored image cannot be read ({error.strerror})"
            raise InputError(path, problem, fix="fetch it again") from None
        if hashlib.sha256(data).hexdigest() != sha256:
            fix = f"{shlex.join(['rm', str(path)])}, then fetch it again"
            raise InputError(path, "stored image has changed on disk", fix=fix)
        return data

    def fault_of(self, sha256: str) -> str | None:
        """What is wrong with the bytes of this name: "missing" or "changed"; None if nothing is."""
        path = self.path_of(sha256)
        try:
            return None if file_sha256(path) == sha256 else "changed"
        except OSError:
            return "changed" if path.exists() else "missing"


class Dataset:
    """The folder every command works on (`./data` unless `--data` says otherwise)."""

    def __init__(self, root: Path) -> None:
        """Name what lies in the folder `root`; nothing is read or made."""
        self.root = root
        self.manifest = root / MANIFEST_NAME  # the rows
        # rows fetched since the manifest was last written; JSON lines, append only
        self.journal = root / "journal.jsonl"
        self.store = Store(root / "store")  # the images' bytes
        self.evidence = root / "evidence"  # stored API answers
        self.shards = root / "shards"  # what the trainer reads

    @contextmanager
    def lock(self, *, existing: bool = False) -> Iterator[None]:
        """Hold the folder for one writing command; the system frees it when the process dies.

        Args:
            existing: whether a dataset must be there; otherwise the folder is made.

        Raises:
            UsageError: another command is at work here.
            InputError: the folder cannot be made or written, or holds no dataset.
        """
        if existing:
            self.require_dataset()  # before anything is left behind
        with lock_folder(self.root):
            yield

    def require_dataset(self) -> None:
        """Be sure that something was fetched into this folder.

        Raises:
            InputError: nothing was.
        """
        if not self.manifest.exists() and not self.journal.exists():
            raise self._no_dataset_error()

    def read(self) -> Manifest:
        """The manifest with the journal's rows merged in; nothing is written.

        Raises:
            InputError: nothing was ever fetched into this folder, or a file is not ours.
        """
        stored = self.open_rows()
        return Manifest(stored.rows(), stored.history)

    def read_rows(self, *names: str) -> list[Sample]:
        """The rows as `read` gives them, with `key` and the fields `names` alone, for far less.

        Raises:
            InputError: as `read`.
        """
        return self.open_rows().rows(names)

    def open_rows(self) -> StoredRows:
        """The rows as `read` gives them, their columns read when they are asked for.

        Raises:
            InputError: as `read`.
        """
        fetched = self.read_journal()
        if not fetched and not self.manifest.exists():
            raise self._no_dataset_error()
        return open_rows(self.manifest, fetched)

    def read_manifest(self) -> Manifest:
        """The manifest without the journal's rows; empty before the first is written."""
        return manifest.read_manifest(self.manifest) if self.manifest.exists() else Manifest([], [])

    def _no_dataset_error(self) -> InputError:
        is_file = self.root.exists() and not self.root.is_dir()
        problem = "is not a folder" if is_file else "no dataset here"
        fix = command_line(self.root, "fetch", "folder", "DIR")
        fix = f"{fix}; or name another folder with --data"
        if is_file:
            fix = "name a folder with --data"
        return InputError(self.root, problem, fix=fix)

    def write(self, changed: Manifest) -> None:
        """Replace the manifest, then forget the journal it contains."""
        manifest.write_manifest(self.manifest, changed)
        self.journal.unlink(missing_ok=True)

    def record_step(
        self, stored: Manifest, step: str, settings: dict[str, Any], samples: list[Sample]
    ) -> None:
        """Write the rows that a step gave, unless the manifest `stored` holds all of it."""
        changed = manifest.add_step(stored, step, settings, samples)
        if changed is stored:
            self.journal.unlink(missing_ok=True)
        else:
            self.write(changed)

    def append_row(self, sample: Sample) -> None:
        """Add one fetched row to the journal; it survives the death of the process."""
        append_row(self.journal, sample)

    def run_step(
        self,
        step: Step,
        name: str,
        settings: Mapping[str, Any],
        *,
        reads: Collection[str] = COLUMNS,
        fills: Collection[str] = COLUMNS,
    ) -> list[Sample]:
        """Run one step over the rows and replace the manifest; the caller holds the lock.

        Args:
            step: what is run; it must keep the keys and their order.
            name: of the step, for the history.
            settings: its keyword arguments.
            reads: fields the step reads; its rows have these, those of `fills`, `key` and
                `dropped`, and no other.
            fills: fields it may change. All other columns stay as they are, unconverted.

        Returns:
            The rows as they are now, with the fields they had in the step.
        """
        stored = self.open_rows()
        before = stored.rows({"key", "dropped", *(reads if fills != COLUMNS else ()), *fills})
        after: list[Sample] = step(before, **settings)
        if [s.key for s in after] != [s.key for s in before]:
            raise AssertionError(f"step {name} changed the keys")
        filled = _changed_columns(before, after)
        if odd := filled.keys() - set(fills):
            raise AssertionError(f"step {name} changed {min(odd)}, which it does not fill")
        is_new = bool(filled or stored.late)
        history = note_step(stored.history, name, dict(settings), after, is_new=is_new)
        if history is not stored.history:
            write_groups(self.manifest, stored.groups(filled=filled), history)
        self.journal.unlink(missing_ok=True)
        return after

    def read_journal(self) -> list[Sample]:
        """Rows fetched since the manifest was last written, in their order."""
        return read_rows(self.journal)


def _changed_columns(before: Sequence[Sample], after: Sequence[Sample]) -> dict[str, Sequence[Any]]:
    """The values, by field, of those fields in which rows differ."""
    changed = [n for n, (a, b) in enumerate(zip(before, after, strict=True)) if a is not b]
    if not changed:
        return {}
    found: dict[str, Sequence[Any]] = {}
    for name in before[0].__dataclass_fields__:
        get = attrgetter(name)
        if any(get(before[n]) != get(after[n]) for n in changed):
            found[name] = list(map(get, after))
    return found


def command_line(root: Path, *words: str) -> str:
    """A command of ours as a user types it, which does again what was done with `root`.

    With `--data` where it takes that to reach `root`, and the settings of the last such step where
    these are not what the command does by itself: what is typed changes nothing but what it says.
    """
    there = () if root == DEFAULT_FOLDER else ("--data", str(root))
    kept = [
        word
        for name, value in _settings_in_force(root, words[0])
        if name not in words and value != USUAL_SETTINGS[name]
        for word in (name, str(value))
    ]
    return shlex.join(["curate", *words, *kept, *there])


def _settings_in_force(root: Path, command: str) -> Iterator[tuple[str, object]]:
    """The options with which a step was last done, by the manifest and the index of the shards."""
    steps = ("check", "dedup", "caption")
    if command in (*steps, "build"):
        last = {step["step"]: step["settings"] for step in read_history(root / MANIFEST_NAME)}
        for step in steps if command == "build" else (command,):
            for name, value in last.get(step, {}).items():
                option = f"--{name.replace('_', '-')}"
                if option in USUAL_SETTINGS:
                    yield option, value
    if command in ("pack", "build"):
        with suppress(OSError, ValueError, LookupError, TypeError):
            settings = json.loads((root / "shards" / "index.json").read_bytes())["settings"]
            yield from options_of(settings).items()


def write_json(path: Path, value: object) -> None:
    """Replace `path` by `value` as indented JSON, sorted, UTF-8."""
    text = json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False)
    write_bytes(path, text.encode() + b"\n")
