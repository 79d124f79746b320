"""Why an image is in or out: where it is from, what was stated, what was decided, and why."""

import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

from curate.commands.advice import drop_advice, verdict_advice
from curate.commands.keys import find_keys
from curate.dataset.evidence import read_answer
from curate.dataset.folder import Dataset, Store, command_line
from curate.dataset.sample import DUPLICATE, Sample, Signal, Verdict
from curate.errors import InputError
from curate.formats.shards import INDEX_NAME, member_names, read_index
from curate.formats.verdicts import USES
from curate.images.dedup import derived_beside
from curate.images.groups_page import tell_place
from curate.images.proof import read_proofs
from curate.rights import removals
from curate.rights.check import find_faults
from curate.rights.decide import decide
from curate.rights.licences import TERMS
from curate.rights.policy import Policy, policy_names, read_policy

FAULTS = {"missing": "is missing", "changed": "has changed on disk"}
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

    Stored answers and the stored image are compared with the hashes that name them.

    Args:
        dataset: that holds it.
        text: its key, or part of its key, file name or title.

    Raises:
        InputError: there is no dataset, or not exactly one such image in it.
    """
    stored = dataset.open_rows()
    rows = {s.key: s for s in stored.rows(("file_name", "title", "page_url", "dropped", "group"))}
    (key,) = find_keys(rows.values(), text)
    copies = tuple(s.key for s in rows.values() if s.dropped == f"{DUPLICATE}:{key}")
    group = rows[key].group
    members = stored.named([k for k, s in rows.items() if group is not None and s.group == group])
    (sample,) = stored.named([key])
    shard = _shard_of(dataset, key)
    facts = [
        *_origin_facts(sample, Store(dataset.evidence)),
        *_rights_facts(sample, Store(dataset.evidence)),
        *_image_facts(sample, dataset),
        *_copy_facts(sample, copies, members, dataset),
        *((f"caption from {c.origin}", c.text) for c in sample.captions),
        *_drop_facts(sample, dataset),
        ("shard", shard or "none"),
    ]
    conclusion = _conclusion(sample, shard, members, dataset)
    inside = conclusion.startswith("in: ")
    return Explanation(sample, facts, copies, shard, inside, conclusion)


def _stated_facts(pairs: Mapping[str, object]) -> Facts:
    return [(name, str(value)) for name, value in pairs.items() if value not in (None, "", ())]


def _origin_facts(sample: Sample, evidence: Store) -> Facts:
    facts = _stated_facts(
        {
            "source": sample.source,
            "asked for": sample.query,
            "page": sample.page_url,
            "image": sample.image_url,
        }
    )
    facts += [("led on to", url) for url in sample.redirects]
    facts += _stated_facts(
        {
            "received from": sample.final_url if sample.final_url != sample.image_url else None,
            "file": sample.file_name,
            "author": sample.author,
            "title": sample.title,
            "retrieved": sample.retrieved,
            "gone at its source": sample.gone and f"since {sample.gone}, or before",
            "evidence": sample.evidence and _describe_answer(evidence, sample.evidence),
        }
    )
    facts += [("its host says", _describe_answer(evidence, name)) for name in sample.site_evidence]
    return facts + [("header", line) for line in sample.headers]


def _describe_answer(evidence: Store, sha256: str) -> str:
    """Where a stored answer lies, what it is, and whether it is still as it was stored."""
    path = evidence.path_of(sha256)
    if fault := evidence.fault_of(sha256):
        return f"{path} {FAULTS[fault]}"
    try:
        answer = read_answer(evidence, sha256)
    except InputError as error:
        return f"{path}: {error.problem}"
    return f"{path} (status {answer.status} of {answer.url}, {answer.retrieved})"


def _rights_facts(sample: Sample, evidence: Store) -> Facts:
    by = f" (by the {sample.license_by})" if sample.license_by else ""
    stated = " ".join(part for part in (sample.license_text, sample.license_url) if part)
    facts = [("licence as stated", f"{stated or 'nothing'}{by if stated else ''}")]
    for later in sample.restated:
        said = " ".join(part for part in (later.text, later.url) if part) or "nothing"
        facts.append((f"stated {later.said or 'later'}", said))
        if later.evidence:
            facts.append(("evidence of that", _describe_answer(evidence, later.evidence)))
    if sample.train:
        facts.append(("licence", f"{sample.license or 'unknown'}: {sample.license_how}"))
    facts += [("opt-out", signal) for signal in sample.opt_outs]
    facts += [("said of training", _describe_signal(signal)) for signal in sample.signals]
    stated_so = {None: None, True: "yes, as stated", False: "no, as stated"}
    made = [stated_so[sample.ai_generated], "yes, as its bytes say" if sample.ai_embedded else None]
    facts += _stated_facts(
        {
            "AI-made": "; ".join(filter(None, made)),
            "mature": stated_so[sample.mature],
            "other rights": ", ".join(sample.restrictions),
            "your basis": sample.basis,
        }
    )
    if sample.policy:
        known = _shipped_policies().get(sample.policy)
        name = known.path.stem if known else "one of your own"
        facts.append(("policy", f"{name} (sha256 {sample.policy})"))
    return facts + [(use, _describe_verdict(getattr(sample, use))) for use in USES]


def _describe_signal(signal: Signal) -> str:
    said = {True: "allows it", False: "refuses it", None: "cannot be read"}[signal.allows]
    of = {"item": "of this image", "site": "of what its host holds"}.get(signal.scope, signal.scope)
    return f"{signal.name}: {said}, said {of}"


def _describe_verdict(verdict: Verdict | None) -> str:
    return f"{verdict.decision}: {', '.join(verdict.reasons)}" if verdict else "not checked"


@cache
def _shipped_policies() -> dict[str | None, Policy]:
    """The policies that come with this package, by the SHA-256 that a row names."""
    return {policy.sha256: policy for policy in map(read_policy, policy_names())}


def _image_facts(sample: Sample, dataset: Dataset) -> Facts:
    stored = sample.sha256 and dataset.store.path_of(sample.sha256)
    fault = _fault_of_image(sample, dataset)
    if fault and sample.drop_reason == removals.REMOVED:
        fault = "deleted"
    lost = f" ({fault})" if fault else ""
    size = f"{sample.width} x {sample.height} pixels" if sample.width else None
    count = f"{sample.byte_count} bytes" if sample.byte_count is not None else None
    shape = ", ".join(part for part in (sample.format, size, count) if part)
    return _stated_facts({"stored": f"{stored}{lost}" if stored else None, "kind": shape})


def _fault_of_image(sample: Sample, dataset: Dataset) -> str | None:
    """What is wrong with the stored image; None where it is as it was received."""
    fault = sample.sha256 and dataset.store.fault_of(sample.sha256)
    return FAULTS[fault] if fault else None


def _copy_facts(
    sample: Sample, copies: Sequence[str], members: Sequence[Sample], dataset: Dataset
) -> Facts:
    """What it is a copy of, and every member of its group with the verdict it has by itself."""
    facts: Facts = [("copy of", sample.drop_detail)] if sample.drop_reason == DUPLICATE else []
    facts += [("its copies", ", ".join(copies))] if copies else []
    facts += [("group", str(sample.group))] if members else []
    if like := sample.likeness:
        facts.append(("most like", f"{like.key}: {like.kind}, score {like.score:.3f} of 1"))
    if members:
        proofs = read_proofs(derived_beside(dataset.store))
        facts.append(("which stays", tell_place(sample, bool(copies), proofs)))
    if sample.scene:
        facts.append(("scene", f"{sample.scene}, as an image encoder has it; only told"))
    for member in members:
        said = member.license_text or member.license_url or "no licence"
        out = f"; dropped as {member.dropped}" if member.dropped else ""
        verdict = _own_verdict(member, dataset)
        facts.append(("in the group", f"{member.key}: {said} ({member.source}); {verdict}{out}"))
    return facts


def _own_verdict(member: Sample, dataset: Dataset) -> str:
    """Whether a member might be trained on if it had no copies, by the policy that decided."""
    if member.policy is None:
        return "not checked"
    policy = _shipped_policies().get(member.policy)
    if policy is None:
        return f"with its copies {_describe_verdict(member.train)}"
    faults = find_faults(Store(dataset.evidence), [member]).get(member.key, {})
    alone = decide(member, policy, sorted(set(faults.values())))
    return f"by itself {_describe_verdict(alone.train)}"


def _drop_facts(sample: Sample, dataset: Dataset) -> Facts:
    facts = [("dropped", sample.dropped)] if sample.dropped else []
    stone = removals.find_like(removals.read(dataset.root), [sample]).get(sample.key)
    if stone:
        whose = "" if stone.key == sample.key else f" as {stone.key}, which it is or looks like"
        facts.append(("removed", f"{stone.time}{whose}: {stone.reason}"))
    return facts


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


def _conclusion(
    sample: Sample, shard: str | None, members: Sequence[Sample], dataset: Dataset
) -> str:
    """In or out, why, and what would change that; what is packed and out is said."""
    out = _why_out(sample, members, dataset)
    if out is not None:
        pack = command_line(dataset.root, "pack")
        return f"out: {out}{f'; it is still in {shard}: {pack} withdraws it' if shard else ''}"
    assert sample.train is not None, "else it is out"
    pack = command_line(dataset.root, "pack")
    place = f"packed in {shard}" if shard else f"not packed yet: {pack}"
    rule = f'deny = ["{sample.license}"] under [train]'
    if terms := TERMS.get(sample.license or ""):
        rule = f'train = "deny" under [sources.{terms}]'
    return (
        f"in: allowed for training by {', '.join(sample.train.reasons)}, {place}; "
        f"{rule} in a policy of your own takes it out"
    )


def _why_out(sample: Sample, members: Sequence[Sample], dataset: Dataset) -> str | None:
    if sample.dropped:
        return f"dropped as {sample.dropped}; {drop_advice(sample, dataset)}"
    if sample.train is None:
        return f"not checked yet; {command_line(dataset.root, 'check')} decides"
    if sample.train.decision != "allow":
        word = {"hold": "held", "deny": "denied"}[sample.train.decision]
        advice = verdict_advice(sample, sample.train, dataset)
        return f"{word} for {', '.join(sample.train.reasons)}; {advice}"
    check = command_line(dataset.root, "check")
    if len({member.train.decision if member.train else None for member in members}) > 1:
        return f"its copies are decided otherwise; {check} gives all of them one verdict"
    if faults := find_faults(Store(dataset.evidence), [sample]).get(sample.key):
        told = ", ".join(
            dict.fromkeys(FAULTS[code.removeprefix("evidence-")] for code in faults.values())
        )
        return f"what its source said {told}; once that is put back, {check} decides"
    if sample.sha256 is None:
        return "its image was never received; fetch it again"
    if fault := _fault_of_image(sample, dataset):
        return f"its stored image {fault}; fetch it again"
    if not sample.captions:
        caption = command_line(dataset.root, "caption")
        return f"it has no caption; {caption}, or give it a text where it comes from"
    return None
