"""Why an image is in or out: where it is from, what was stated, what was decided, and why."""

import tarfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from curate.commands.keys import find_keys
from curate.dataset.folder import Dataset, Store
from curate.dataset.sample import DUPLICATE, Sample, Verdict
from curate.formats.shards import INDEX_NAME, member_names, read_index
from curate.rights.decide import RESTRICTIONS
from curate.rights.licences import TERMS
from curate.rights.policy import SIGNALS, USES, policy_names, read_policy
from curate.rights.signals.content_credentials import UNREAD, can_read_credentials
from curate.rights.signals.embedded import READ_CREDENTIALS

DECISIVE = {"licence-family", "licence-conflict", "licence-nd"}  # beside these nothing else helps
Facts = list[tuple[str, str]]  # name and value, in the order they are told


@dataclass(frozen=True)
class Explanation:
    """The chain of reasons behind one image."""

    sample: Sample
    facts: Facts
    copies: tuple[str, ...]  # keys of the rows dropped as copies of this one
    shard: str | None  # name of the tar it is in
    is_in: bool  # whether it is trained on, or will be once it is packed
    conclusion: str  # "in: …" or "out: …", and what would change that

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "key": self.sample.key,
            "in": self.is_in,
            "conclusion": self.conclusion,
            "shard": self.shard,
            "copies": list(self.copies),
            "facts": [{"name": name, "value": value} for name, value in self.facts],
            "row": asdict(self.sample),
        }


def explain(dataset: Dataset, text: str) -> Explanation:
    """Tell all that led to the verdict on one image; nothing is written.

    Args:
        dataset: that holds it.
        text: its key, or part of its key, file name or title.

    Raises:
        InputError: there is no dataset, or not exactly one such image in it.
    """
    samples = {s.key: s for s in dataset.read().samples}
    (key,) = find_keys(samples.values(), text)
    sample = samples[key]
    copies = tuple(s.key for s in samples.values() if s.dropped == f"{DUPLICATE}:{key}")
    shard = _shard_of(dataset, key)
    facts = _origin_facts(sample, dataset) + _rights_facts(sample) + _image_facts(sample, dataset)
    reason, _, twin = (sample.dropped or "").partition(":")
    facts += [("copy of", twin)] if reason == DUPLICATE else []
    facts += [("its copies", ", ".join(copies))] if copies else []
    facts += [(f"caption from {c.origin}", c.text) for c in sample.captions]
    facts += [("dropped", sample.dropped)] if sample.dropped else []
    facts += [("shard", shard or "none")]
    inside = sample.may_train and bool(sample.captions) and sample.sha256 is not None
    return Explanation(sample, facts, copies, shard, inside, _conclusion(sample, shard))


def _stated_facts(pairs: Mapping[str, object]) -> Facts:
    return [(name, str(value)) for name, value in pairs.items() if value not in (None, "", ())]


def _origin_facts(sample: Sample, dataset: Dataset) -> Facts:
    evidence = sample.evidence and Store(dataset.evidence).path_of(sample.evidence)
    lost = "" if not evidence or evidence.exists() else " (missing)"
    return _stated_facts(
        {
            "source": sample.source,
            "asked for": sample.query,
            "page": sample.page_url,
            "picture": sample.image_url,
            "received from": sample.final_url if sample.final_url != sample.image_url else None,
            "file": sample.file_name,
            "author": sample.author,
            "title": sample.title,
            "retrieved": sample.retrieved,
            "evidence": f"{evidence}{lost}" if evidence else None,
        }
    )


def _rights_facts(sample: Sample) -> Facts:
    by = f" (by the {sample.license_by})" if sample.license_by else ""
    stated = " ".join(part for part in (sample.license_text, sample.license_url) if part)
    facts = [("licence as stated", f"{stated or 'nothing'}{by if stated else ''}")]
    if sample.train:
        facts.append(("licence", f"{sample.license or 'unknown'}: {sample.license_how}"))
    facts += [("opt-out", signal) for signal in sample.opt_outs]
    made = {None: None, True: "yes, as stated", False: "no, as stated"}[sample.ai_generated]
    facts += _stated_facts({"AI-made": made, "your basis": sample.basis})
    if sample.policy:
        named = (name for name in policy_names() if read_policy(name).sha256 == sample.policy)
        facts.append(("policy", f"{next(named, 'one of your own')} (sha256 {sample.policy})"))
    for use in USES:
        verdict: Verdict | None = getattr(sample, use)
        said = f"{verdict.decision}: {', '.join(verdict.reasons)}" if verdict else "not checked"
        facts.append((use, said))
    return facts


def _image_facts(sample: Sample, dataset: Dataset) -> Facts:
    stored = sample.sha256 and dataset.store.path_of(sample.sha256)
    lost = "" if not stored or stored.exists() else " (missing)"
    size = f"{sample.width} x {sample.height} pixels" if sample.width else None
    count = f"{sample.byte_count} bytes" if sample.byte_count is not None else None
    shape = ", ".join(part for part in (sample.format, size, count) if part)
    return _stated_facts({"stored": f"{stored}{lost}" if stored else None, "kind": shape})


def _shard_of(dataset: Dataset, key: str) -> str | None:
    """The tar that holds the image; only the heads of its members are read."""
    if not (dataset.shards / INDEX_NAME).is_file():
        return None
    index = read_index(dataset.shards)
    name = member_names(key, index.format)[1]
    for shard in index.shards:
        with tarfile.open(index.root / shard.name, "r:") as tar:
            if any(member.name == name for member in tar):
                return shard.name
    return None


def _conclusion(sample: Sample, shard: str | None) -> str:
    if sample.dropped:
        return f"out: dropped as {sample.dropped}; {_drop_advice(sample)}"
    if sample.train is None:
        return "out: not checked yet; curate check decides"
    if sample.train.decision != "allow":
        reasons = sample.train.reasons
        advice = filter(None, (_advice(code, sample, sample.train) for code in reasons))
        word = {"hold": "held", "deny": "denied"}[sample.train.decision]
        return f"out: {word} for {', '.join(reasons)}; {', and '.join(advice)}"
    if sample.sha256 is None:
        return "out: its image was never received; fetch it again"
    if not sample.captions:
        return "out: it has no caption; curate caption, or give it a text where it comes from"
    place = f"packed in {shard}" if shard else "not packed yet: curate pack"
    rule = f'deny = ["{sample.license}"] under [train]'
    if terms := TERMS.get(sample.license or ""):
        rule = f'train = "deny" under [sources.{terms}]'
    return (
        f"in: allowed for training by {', '.join(sample.train.reasons)}, {place}; "
        f"{rule} in a policy of your own takes it out"
    )


def _drop_advice(sample: Sample) -> str:
    reason, _, detail = (sample.dropped or "").partition(":")
    return {
        DUPLICATE: f"{detail} stays instead, and if that one goes, curate dedup takes this one",
        "download": "the same fetch again tries it once more",
        "missing": "put the file there and fetch the folder again",
        "opt-out": "nothing changes that: its owner opted out",
        "removed": "curate remove --undo KEY takes it back in",
        "ai-generated": "the same fetch with --allow-ai takes it",
    }.get(reason, "another file of the image, fetched anew, would be another row")


def _advice(code: str, sample: Sample, verdict: Verdict) -> str:
    """What would change a verdict that was given for this reason; "" where another code says it."""
    name, _, detail = code.partition(":")
    held, codes = verdict.decision == "hold", verdict.reasons
    if name in ("licence", "licence-sa", "licence-nc") and DECISIVE & set(codes):
        return ""
    more = any(c.startswith("licence-") for c in codes)
    rules = (c for c in codes if c.startswith(("terms:", "source-rule:")))
    terms = next(rules, "").partition(":")[2]
    if detail == UNREAD.name and not can_read_credentials():
        return READ_CREDENTIALS
    if name in SIGNALS or name == "restriction":
        named = RESTRICTIONS.get(detail, "restrictions") if name == "restriction" else name
        return f'{named} = "record" under [signals] in a policy of your own admits it'
    basis = f"only an image that was fetched from {terms} can have a basis"
    if sample.source == terms:
        basis = f"curate sources accept {terms} --basis TEXT, then a fetch, admits it"
    return {
        "licence-unknown": "stating a licence where it comes from (a folder: --license) decides it",
        "licence-family": "stating the version of its licence decides it",
        "licence-conflict": "making what is stated agree decides it",
        "licence-sa": _admits("share-alike"),
        "licence-nc": _admits("non-commercial") if held else "its licence forbids commercial use",
        "licence-nd": "its licence forbids changed copies",
        "licence": "" if more else _admits(detail) if held else "its owner reserves all rights",
        "opt-out": "nothing changes that: its owner opted out",
        "removed": "curate remove --undo KEY takes it back in",
        "copy-conflict": f"{detail}, a copy of it, is decided so, and the strictest copy counts",
        "copy-believed": f"of its copies {detail} is believed, as your policy says",
        "evidence-missing": "putting back what is missing in evidence/ decides it",
        "evidence-changed": "putting back what was changed in evidence/ decides it",
        "no-basis": basis,
        "no-permission": "a document named under [[permissions]] in a policy admits it",
        "source-rule": f"[sources.{detail}] in your policy decides it",
        "terms": "" if held else f"[sources.{detail}] in your policy decides it",
    }[name]


def _admits(word: str) -> str:
    return f'allow = ["{word}"] under [train] in a policy of your own admits it'
