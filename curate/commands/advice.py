"""What would change a verdict or a drop: a clause for every reason that a row can have."""

from curate.dataset.folder import Dataset, command_line
from curate.dataset.sample import DUPLICATE, Sample, Verdict
from curate.rights.copies import BELIEVED, CONFLICT
from curate.rights.decide import OPEN_KINDS, RESTRICTIONS
from curate.rights.licences import OWN, kinds_of
from curate.rights.policy import SIGNALS
from curate.rights.removals import REMOVED
from curate.rights.signals.content_credentials import UNREAD, can_read_credentials
from curate.rights.signals.embedded import READ_CREDENTIALS

DECISIVE = {"licence-family", "licence-conflict", "licence-nd"}  # beside these nothing else helps
OPTED_OUT = "nothing changes that: its owner opted out"
CLOSED = "nothing changes that: the robots.txt of its host keeps us out"
OWN_MARK = "its file says so itself: if you made it, take that mark out and fetch the folder again"


def drop_advice(sample: Sample, dataset: Dataset) -> str:
    """What would bring a dropped image back."""
    detail = sample.drop_detail
    again, retry = "the same fetch again tries it once more", "the same fetch with --retry gone"
    return {
        DUPLICATE: f"its copy stays instead: {command_line(dataset.root, 'explain', detail)}",
        REMOVED: f"{command_line(dataset.root, 'remove', '--undo', sample.key)} takes it back",
        "download": again,
        "busy": again,
        "gone": f"{retry} asks for it again",
        "refused": f"{retry} asks for it again",
        "unusable": f"{retry} asks for it again",
        "malformed": "its source has to mend its record, then the same fetch takes it",
        "missing": "put the file there and fetch the folder again",
        "opt-out": CLOSED if detail == "robots.txt" else OPTED_OUT,
        "ai-generated": "the same fetch with --allow-ai takes it",
    }.get(sample.drop_reason, "another file of the image, fetched anew, would be another row")


def verdict_advice(sample: Sample, verdict: Verdict, dataset: Dataset) -> str:
    """What would change a verdict that is not "allow", as clauses joined by "and"."""
    first, _, other = verdict.reasons[0].partition(":") if verdict.reasons else ("", "", "")
    if first in (CONFLICT, BELIEVED) and other != sample.key:
        return _copy_advice(first, other, dataset)  # the other reasons are those of that copy
    clauses = (_advice(code, sample, verdict, dataset) for code in verdict.reasons)
    return ", and ".join(dict.fromkeys(filter(None, clauses))) or "its policy decides it"


def _copy_advice(code: str, key: str, dataset: Dataset) -> str:
    explain = command_line(dataset.root, "explain", key)
    if code == BELIEVED:
        return f"the policy believes its copy: {explain}"
    believed = 'believe = ["SOURCE"] under [copies] in a policy of your own says whom to believe'
    return f"its copy is decided more strictly ({explain}); {believed}"


def _advice(code: str, sample: Sample, verdict: Verdict, dataset: Dataset) -> str:
    """What would change a verdict that was given for this reason; "" where another code says it."""
    name, _, detail = code.partition(":")
    if name.startswith(("licence", "terms", "source-rule", "no-")):
        return _licence_advice(name, detail, sample, verdict, dataset)
    rule = RESTRICTIONS.get(detail, "restrictions") if name == "restriction" else name
    weighed = f'{rule} = "record" under [signals] in a policy of your own admits it'
    is_open = sample.license is not None and set(kinds_of(sample.license)) <= OPEN_KINDS
    if name == "site-opt-out" and not is_open:
        return "its host is against training, and no open licence of its author stands against that"
    if detail == UNREAD.name and not can_read_credentials():
        return f"{READ_CREDENTIALS}; or {weighed}"
    if name.startswith("evidence-"):
        lost = "put back" if name == "evidence-missing" else "put back as it was"
        check = command_line(dataset.root, "check")
        return f"what its source said has to be {lost}, then {check} decides"
    marked = sample.license == OWN and any(signal.name == detail for signal in sample.embedded)
    why = {
        "opt-out": OWN_MARK if marked else OPTED_OUT,
        REMOVED: f"{command_line(dataset.root, 'remove', '--undo', sample.key)} takes it back",
        "drift": f"its source states another licence by now; {weighed}",
        "gone-at-source": f"its source has it no more; {weighed}",
        "restriction": weighed,
    }
    return why.get(name, weighed if rule in SIGNALS else "")


def _licence_advice(
    name: str, detail: str, sample: Sample, verdict: Verdict, dataset: Dataset
) -> str:
    held, codes = verdict.decision == "hold", verdict.reasons
    if name in ("licence", "licence-sa", "licence-nc") and DECISIVE & set(codes):
        return ""
    more = any(c.startswith("licence-") for c in codes)
    rules = (c.partition(":")[2] for c in codes if c.startswith(("terms:", "source-rule:")))
    terms = next(rules, sample.source)
    basis = f"only an image that was fetched from {terms} can have a basis"
    if sample.source == terms:
        accept = command_line(dataset.root, "sources", "accept", terms, "--basis", "TEXT")
        basis = f"{accept}, then a fetch, admits it"
    return {
        "licence-unknown": "stating a licence where it comes from (a folder: --license) decides it",
        "licence-none-stated": "stating a licence where it comes from decides it",
        "licence-family": "stating the version of its licence decides it",
        "licence-conflict": "making what is stated agree decides it",
        "licence-sa": _admits("share-alike"),
        "licence-nc": _admits("non-commercial") if held else "its licence forbids commercial use",
        "licence-nd": "its licence forbids changed copies",
        "licence": "" if more else _admits(detail) if held else "its owner reserves all rights",
        "no-basis": basis,
        "no-permission": "a document named under [[permissions]] in a policy admits it",
        "source-rule": f"[sources.{detail}] in your policy decides it",
        "terms": "" if held else f"[sources.{detail}] in your policy decides it",
    }.get(name, "")


def _admits(word: str) -> str:
    return f'allow = ["{word}"] under [train] in a policy of your own admits it'
