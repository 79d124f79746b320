"""A trained model as a folder that can be given on: weights, description, card, credits.

    model.safetensors   the run's file, byte for byte
    config.json         stages, text encoder, words, licences, convergence, settings, figures
    README.md           the model card
    CREDITS.md          each training image's title, creator, licence and page
    verify-WORD.png     images before and after, where a verification has them

The folder is whole or not there, and equal inputs give equal bytes.
"""

import filecmp
import json
import re
import shlex
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from curate.errors import InputError, LicenceError, UsageError, storage_error
from curate.formats.model import MODEL_FILE, find_model
from curate.system.files import atomic_write, write_bytes
from curate.system.progress import SILENT, Progress
from train.checkpoints import checkpoint
from train.checkpoints.checkpoint import Cascade
from train.publish import card
from train.sampling.sampler import SamplingConfig
from train.size import Size

EXPORT_VERSION = "fubuki-export/2"
CONFIG, CARD, CREDITS = "config.json", "README.md", "CREDITS.md"
COVERAGE_SCHEMA = "vocab-gaps/1"  # reports of coverage that are understood
VERIFY_KEYS = ("word", "verdict", "samples", "figures", "judges", "findings")  # of a verification
MISSING_NAMED = 20  # words that the card names as not taught


def export_model(
    run: Path,
    out: Path,
    *,
    verify: Sequence[Path] = (),
    gaps: Path | None = None,
    rights_basis: str | None = None,
    progress: Progress = SILENT,
) -> list[Path]:
    """Write the folder `out` from a finished run; returns the files in it.

    The same command again changes nothing.

    Args:
        run: run folder or model file.
        out: folder to write; must not exist, be empty, or hold exactly this.
        verify: folders or `verify.json` files of `train verify` for this model, one a word.
        gaps: report of `curate vocab-gaps --json FILE`.
        rights_basis: why a model of images may be given on that no policy judged; the card tells
            it. It lifts no verdict.
        progress: told what a user should know of the licence and the text encoder.

    Raises:
        InputError: an unfinished run, a report of another model or of another kind, a full disk.
        LicenceError: a licence asks for credit, and the model's file names no creators; an image
            may not be given on in a model; or no policy judged one, and no basis is given.
        UsageError: `out` holds something else, or the basis is blank.
    """
    file = find_model(run)
    cascade = checkpoint.load(file)
    credits = checkpoint.read_credits(file)
    _refuse_forbidden(file, cascade, credits)
    basis = _read_basis(run, out, credits, rights_basis)
    checked = [_read_verification(path, cascade.digest) for path in verify]
    coverage = _read_coverage(gaps) if gaps else None
    facts = _card_facts(out, cascade, credits, [report for report, _ in checked], coverage)
    facts["basis"] = basis
    config = _export_config(file, cascade, facts)
    written: dict[str, bytes | Path] = {
        MODEL_FILE: file,
        CONFIG: json.dumps(config, indent=1, sort_keys=True, ensure_ascii=False).encode() + b"\n",
        CARD: card.render_card(facts).encode("utf-8", "replace"),
        CREDITS: card.render_credits(facts["name"], credits).encode("utf-8", "replace"),
        **{report["picture"]: image for report, image in checked if image},
    }
    _write_folder(out, written)
    if rights_basis and not basis:
        progress.say("--rights-basis: not told, for a policy judged the rights of every image")
    for caution in _cautions(out, cascade, facts):
        progress.say(caution)
    return [out / name for name in written]


def _cautions(out: Path, cascade: Cascade, facts: Mapping[str, Any]) -> Iterator[str]:
    """What a user should know of the licence and the text encoder."""
    if facts["claim"].name == "not-stated":
        yield f"{out / CARD}: no licence is claimed for the weights. {facts['claim'].because}"
    if facts["encoder_in_folder"]:
        yield (
            f"{out}: the text encoder lies in {cascade.encoder}; whoever samples needs it at "
            "the same place. An encoder named as on a model hub is found by itself"
        )
    if facts["held"]:
        yield (
            f"{out / CARD}: the policy has not decided whether a model of {facts['held']} of these "
            "images may be given on; it says so"
        )
    if facts["unjudged"]:
        yield (
            f"{out / CARD}: no policy judged the rights of {facts['unjudged']} of these images; it "
            "says so, and the basis you gave"
        )


def _refuse_forbidden(file: Path, cascade: Cascade, credits: Sequence[Mapping[str, str]]) -> None:
    images = [credit for credit in credits if not credit.get("copy_of")]
    denied = [c["key"] for c in images if c["share_model"] == "deny"]
    if denied:
        several = f"{len(denied)} of its images, such as {denied[0]}"
        fix = "train without them: curate check --policy POLICY, then curate pack"
        raise LicenceError(file, f"the policy forbids to give on a model of {several}", fix=fix)
    asking = sorted(filter(card.needs_credit, cascade.facts.licences))
    if asking and not credits:
        problem = f"{asking[0]} asks for credit, and this file names no creators"
        fix = "train again: newer model files carry the credits of their images"
        raise LicenceError(file, problem, fix=fix)


def _read_basis(
    run: Path, out: Path, credits: Sequence[Mapping[str, str]], basis: str | None
) -> str | None:
    """Why a model of images that no policy judged may be given on; None where all were judged."""
    if basis is not None and not basis.strip():
        raise UsageError(
            "--rights-basis", "says nothing", fix="--rights-basis 'my own photographs'"
        )
    unjudged = [credit for credit in credits if "unjudged" in credit]
    if not unjudged:
        return None
    if basis:
        return basis
    unknown = sum(not credit["license"] for credit in unjudged)
    stated = f"the licence of {unknown} is unknown" if unknown else "their files state a licence"
    problem = f"no policy judged the rights of {len(unjudged)} of its images ({stated}), such as "
    words = ["train", "export", str(run), "--out", str(out), "--rights-basis", "WHY YOU MAY"]
    raise LicenceError(
        run,
        f"{problem}{unjudged[0]['key']}: whoever publishes the model passes on something of them",
        fix=f"{shlex.join(words)}; or train on shards that curate build has judged",
    )


def _read_verification(path: Path, digest: str) -> tuple[dict[str, Any], Path | None]:
    """What a report of `train verify` found, and its images where there are some."""
    file = path / "verify.json" if path.is_dir() else path
    report = _read_report(file, "train verify CHECKPOINT --word WORD --shards DIR")
    try:
        kept = {name: report[name] for name in VERIFY_KEYS}
        for judge in kept["judges"]:
            _ = judge["name"], judge["sentence"]
        for found in kept["findings"]:
            _ = found["verdict"], found["sentence"]
        for figure in kept["figures"]:
            before = figure["before"] and figure["before"]["share"]
            for share in (
                figure["after"]["share"],
                before,
                figure["real"],
                (figure["change"] or {}).get("share"),
            ):
                _ = share and (share["value"], share["low"], share["high"], share["n"])
        of = [model["digest"] for model in report["after"]]
    except (KeyError, TypeError):
        fix = "name its verify.json or the folder with it"
        raise InputError(file, "not a report of train verify", fix=fix) from None
    if digest not in of:
        problem = "verifies another model than the one to be exported"
        raise InputError(file, problem, fix="type train verify for this model again")
    image = file.with_suffix(".png")
    if not image.is_file():
        return {**kept, "picture": None}, None
    slug = "-".join(re.findall(r"[^\W_]+", str(kept["word"]).casefold()))[:40]  # safe in a link
    return {**kept, "picture": f"verify-{slug or 'word'}.png"}, image


def _read_coverage(path: Path) -> dict[str, Any]:
    """What a report of `curate vocab-gaps` found, as the card tells it."""
    command = "curate vocab-gaps PROMPTS --json FILE.json"
    report = _read_report(path, command)
    if report.get("schema") != COVERAGE_SCHEMA:
        raise InputError(path, "not a report of curate vocab-gaps", fix=command)
    missing = [item["unit"] for item in report["items"] if item["severity"] == "error"]
    return {
        "prompts": report["prompts"]["count"],
        "images": report["data"]["images"],
        "summary": _by_count(report["summary"]),
        "missing": missing[:MISSING_NAMED],
        "more": len(missing) > MISSING_NAMED,
    }


def _read_report(path: Path, command: str) -> dict[str, Any]:
    try:
        value = json.loads(path.read_bytes())
    except OSError as error:
        problem = f"cannot be read ({error.strerror or error})"
        raise InputError(path, problem, fix=command) from None
    except ValueError as error:
        raise InputError(path, f"is not JSON ({error})", fix=command) from None
    if not isinstance(value, dict):
        raise InputError(path, "is no report", fix=command)
    return value


def _card_facts(
    out: Path,
    cascade: Cascade,
    credits: Sequence[Mapping[str, str]],
    verified: Sequence[Mapping[str, Any]],
    coverage: Mapping[str, Any] | None,
) -> dict[str, Any]:
    name, facts = out.resolve().name, cascade.facts
    licences, words = facts.licences, facts.words
    images = [credit for credit in credits if not credit.get("copy_of")]
    unjudged = [credit for credit in images if "unjudged" in credit]
    shown = sum(licences.values()) - (len(credits) - len(images))  # a copy is counted there, too
    return {
        "name": name,
        "folder": name if re.fullmatch(r"[\w.-]+", name) else "FOLDER",
        "claim": card.claim_licence(licences, len(unjudged)),
        "unjudged": len(unjudged),
        "unstated": sum(not credit["license"] for credit in unjudged),
        "held": sum(c["share_model"] == "hold" for c in images),
        "encoder": _encoder_name(cascade.encoder),
        "encoder_in_folder": Path(cascade.encoder).is_absolute(),
        "encoder_digest": cascade.encoder_digest,
        "size": _describe_size(cascade.stages[-1].size),
        "stages": [
            {
                "size": _describe_size(stage.size),
                "parameters": sum(p.numel() for p in stage.network.parameters()),
                "images_seen": stage.images_seen,
                "convergence": facts.convergence.get(str(stage.size)),
            }
            for stage in cascade.stages
        ],
        "images": len(images) or shown,
        "shown": shown,
        "licences": _by_count(licences),
        "words": _by_count(words),
        "rarest": sorted(words.items(), key=lambda pair: (pair[1], pair[0])),
        "verified": list(verified),
        "coverage": coverage,
    }


def _by_count(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))


def _encoder_name(name: str) -> str:
    """Its name; of one in a folder of this machine, the folder's own name."""
    return Path(name).name if Path(name).is_absolute() else name


def _describe_size(size: Size) -> str:
    return f"{size.width} x {size.height}"


def _export_config(file: Path, cascade: Cascade, facts: Mapping[str, Any]) -> dict[str, Any]:
    """`config.json`: all about the model but weights, credits, and folders of this machine."""
    settings = dict(cascade.facts.settings)
    if "text_encoder" in settings:
        settings["text_encoder"] = _encoder_name(settings["text_encoder"])
    return {
        "format": EXPORT_VERSION,
        "model": {"file": MODEL_FILE, "sha256": cascade.digest, "bytes": file.stat().st_size},
        "encoder": facts["encoder"],
        "encoder_digest": cascade.encoder_digest,
        "stages": [
            {
                "size": [stage.size.width, stage.size.height],
                "sigma_data": stage.sigma_data,
                "unet": stage.network.config.to_json(),
                "images_seen": stage_facts["images_seen"],
                "parameters": stage_facts["parameters"],
            }
            for stage, stage_facts in zip(cascade.stages, facts["stages"], strict=True)
        ],
        "sampling": asdict(SamplingConfig()),
        "license": asdict(facts["claim"]),
        **({"rights_basis": facts["basis"]} if facts["basis"] else {}),
        "facts": {**asdict(cascade.facts), "settings": settings},
        "verified": facts["verified"],
        "coverage": facts["coverage"],
    }


def _write_folder(out: Path, files: Mapping[str, bytes | Path]) -> None:
    """Put the folder there in one step; leave one alone that holds exactly this."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        if not out.is_dir() or not _holds_exactly(out, files):
            raise UsageError(out, "holds something else", fix="remove it or name a new --out")
        return
    part = out.parent / f".{out.name}.part"
    try:
        shutil.rmtree(part, ignore_errors=True)  # of a killed export
        part.mkdir(parents=True)
        for name, content in files.items():
            if isinstance(content, bytes):
                write_bytes(part / name, content)
            else:
                with atomic_write(part / name) as target, content.open("rb") as source:
                    shutil.copyfileobj(source, target, 2**20)
        part.rename(out)
    except OSError as error:
        raise storage_error(out, error) from None
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _holds_exactly(out: Path, files: Mapping[str, bytes | Path]) -> bool:
    return {p.name for p in out.iterdir()} == set(files) and all(
        (out / name).read_bytes() == content
        if isinstance(content, bytes)
        else filecmp.cmp(out / name, content, shallow=False)
        for name, content in files.items()
    )
