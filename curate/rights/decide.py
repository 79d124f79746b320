"""What a policy makes of one image: the strictest of all that is known of it, with its reasons."""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

from curate.dataset.sample import Sample, Signal, Verdict
from curate.formats.verdicts import DECISIONS, USES
from curate.rights.licences import OWN, TERMS, Licence, identify, kinds_of
from curate.rights.policy import SIGNAL_RULES, SIGNALS, Policy, source_rule
from curate.rights.removals import REMOVED

_ABBREVIATED = ("share-alike", "sa"), ("non-commercial", "nc"), ("no-derivatives", "nd")
CODES = {kind: f"licence-{letters}" for kind, letters in _ABBREVIATED}
# kinds of licences by which an author, or the lack of one, opens a work to everybody: against
# these a host's word about all it holds is weighed by the policy, against all others it counts
OPEN_KINDS = {
    *("own", "cc0", "public-domain-mark", "public-domain"),
    *("permissive", "attribution", "share-alike", "copyleft"),
}
# restrictions as Wikimedia Commons names them; all others are "restrictions"
# Source: https://commons.wikimedia.org/wiki/Commons:Non-copyright_restrictions
# What else a policy knows has its own name: so an image says that came with a verdict of ours
RESTRICTIONS = {
    **{name: name for name in SIGNALS},
    "personality": "people",
    "trademarked": "trademarks",
}
# restrictions of an image that came with a verdict of ours (`corpora.shards.record_facts`), which
# count as what they name: SOURCE:NAME its first source, LICENCE:ID that of a copy, USE:DECISION
# what was decided where it was packed
SOURCE, LICENCE = "source", "licence"
_LIMITS = (SOURCE, LICENCE, *USES)


def decide(sample: Sample, policy: Policy, faults: Sequence[str] = ()) -> Sample:
    """The sample with its licence identified and its three verdicts, as if it had no copies.

    Args:
        sample: a row; of its signals, those in `signals` and `opt_outs` count.
        policy: what is allowed.
        faults: codes of what its evidence lacks, see `curate.rights.check.find_faults`.
    """
    licence = _identify(sample.license_text, sample.license_url, sample.license_by)
    sample = replace(sample, license=licence.id, license_how=licence.how, policy=policy.sha256)
    found: dict[str, Any] = {use: _verdict(sample, licence, policy, use, faults) for use in USES}
    return replace(sample, **found)


def strictest(verdicts: Sequence[Verdict]) -> Verdict:
    """The strictest decision of some, with the codes of all that have it, each once."""
    decision = min((v.decision for v in verdicts), key=DECISIONS.index)
    codes = (code for v in verdicts if v.decision == decision for code in v.reasons)
    return Verdict(decision, tuple(dict.fromkeys(codes)))


def objections(sample: Sample, policy: Policy, use: str) -> list[Verdict]:
    """What no statement about a licence lifts: a removal, and what is said against training.

    `sample.license` is looked at, so `decide` comes first.
    """
    if sample.drop_reason == REMOVED:
        return [Verdict("deny", (REMOVED,))]
    said = (*(Signal(name, False, "item") for name in sample.opt_outs), *sample.signals)
    refused = [s for s in dict.fromkeys(said) if s.allows is False]
    if items := [s.name for s in refused if s.scope == "item"]:
        return [Verdict("deny", tuple(f"opt-out:{name}" for name in items))]
    found = []
    open_to_all = sample.license is not None and set(kinds_of(sample.license)) <= OPEN_KINDS
    for signal in refused:
        code = f"site-opt-out:{signal.name}"
        found.append(
            _by_rule(policy, "site-opt-out", use, code) if open_to_all else Verdict("deny", (code,))
        )
    if refused and any(s.allows for s in said):
        found.append(_by_rule(policy, "signals-contradict", use))
    unclear = (f"signal-unclear:{s.name}" for s in dict.fromkeys(said) if s.allows is None)
    return found + [_by_rule(policy, "signal-unclear", use, code) for code in unclear]


@lru_cache(maxsize=4096)
def _identify(text: str | None, url: str | None, by: str | None) -> Licence:
    licence = identify(text, url)
    if licence.id == OWN and by != "user":
        how = f"{licence.how} was not stated by you (--license own)"
        return Licence(None, how, ("unknown",))
    return licence


def _verdict(
    sample: Sample, licence: Licence, policy: Policy, use: str, faults: Sequence[str]
) -> Verdict:
    """The strictest of what signals, source, licence and facts say, with the codes of it."""
    against = objections(sample, policy, use)
    if against and against[0].reasons[0].partition(":")[0] in (REMOVED, "opt-out"):
        return against[0]  # nothing else matters then
    limits = [(name, detail) for name, _, detail in (r.partition(":") for r in sample.restrictions)]
    sources = [sample.source, *(detail for name, detail in limits if name == SOURCE)]
    copies = (_identify(detail, None, None) for name, detail in limits if name == LICENCE)
    said: list[Verdict | None] = []
    for one in (licence, *copies):
        said += [_verdict_by_source(sample, name, one.id, policy, use) for name in sources]
        if one.id not in TERMS or "conflict" in one.problems:
            said.append(_verdict_by_licence(one, policy, use))
    packed = (detail for name, detail in limits if name == use and detail in DECISIONS)
    said += [Verdict(decision, (f"restriction:{use}:{decision}",)) for decision in packed]
    said += against
    said += [_by_rule(policy, name, use, code) for name, code in _facts(sample, licence)]
    said += [Verdict("hold", (fault,)) for fault in faults]
    return strictest([verdict for verdict in said if verdict])


def _facts(sample: Sample, licence: Licence) -> list[tuple[str, str]]:
    """What is known of an image beside licence and signals: the policy's name for it, its code."""
    found = []
    if sample.ai_generated or sample.ai_embedded:
        found.append(("ai-made", "ai-made"))
    if sample.mature:
        found.append(("mature", "mature"))
    for name in sample.restrictions:
        if name.partition(":")[0] in _LIMITS:
            continue  # see `_verdict`
        found.append((RESTRICTIONS.get(name, "restrictions"), f"restriction:{name}"))
    later = (_identify(s.text, s.url, sample.license_by).id for s in sample.restated)
    if any(id != licence.id for id in later):
        found.append(("drift", "drift"))
    if sample.gone:
        found.append(("gone-at-source", "gone-at-source"))
    return found


def _by_rule(policy: Policy, name: str, use: str, code: str | None = None) -> Verdict:
    return Verdict(SIGNAL_RULES[policy.signals[name][use]], (code or name,))


def _verdict_by_licence(licence: Licence, policy: Policy, use: str) -> Verdict:
    if licence.id is None:
        return Verdict("hold", ("licence-unknown",))
    kinds = set(kinds_of(licence.id))
    codes = [f"licence-{p}" for p in licence.problems]
    codes += [f"licence:{licence.id}", *(code for kind, code in CODES.items() if kind in kinds)]
    allow, deny = policy.allow[use], policy.deny[use]
    if licence.id in deny or (licence.id not in allow and kinds & deny):
        return Verdict("deny", tuple(codes))
    allowed = (licence.id in allow or kinds <= allow) and not licence.problems
    return Verdict("allow" if allowed else "hold", tuple(codes))


def _verdict_by_source(
    sample: Sample, source: str, id: str | None, policy: Policy, use: str
) -> Verdict | None:
    """What the terms of a source of the image say; None where only the licence counts."""
    name = TERMS.get(id or "", source)
    rule = source_rule(policy.sources, name, use)
    code = f"terms:{name}" if name in TERMS.values() else f"source-rule:{name}"
    if rule == "licence":
        return None
    if rule == "deny":
        return Verdict("deny", (code,))
    for permission in policy.permissions:
        if permission.source == name and use in permission.uses:
            return Verdict("allow", (code, f"permission:{permission.sha256[:12]}"))
    if rule == "basis" and (said := " ".join((sample.basis or "").split())):
        return Verdict("allow", (code, f"basis:{said}"))
    return Verdict("hold", (code,) if rule == "hold" else (code, f"no-{rule}"))
