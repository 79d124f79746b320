"""The demo with three training seeds: is what it shows more than luck?

    python benchmarks/bench_demo_seeds.py --out seeds

types `python -m pipelines.emoji_people --out seeds --runs 3`, which trains and teaches three models
that differ in their seeds alone and verifies them together, and prints for the new word, for
everything about mages in tones never shown (role, gender and tone) and for old words the share that
each seed draws right, as a scorer says (in brackets where it has no say), then the share corrected
for what it errs with its interval over prompts and samples, and with that over seeds. The same
command again goes on where it stopped. Exit code 1 unless every seed draws at least `LEAST` of
mages in tones never shown entirely right. About 40 CPU-minutes.
"""

import argparse
import json
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

from train.verification.verdict import COPY, ENTIRELY, NEVER, OWN_WORD, SHOWN, WITH, WITHOUT, WORD

LEAST = 0.95
QUESTIONS = (  # group, measure
    *((SHOWN, WORD), (NEVER, WORD), (NEVER, ENTIRELY)),
    *((WITHOUT, OWN_WORD), (WITHOUT, ENTIRELY), (WITH, COPY)),
)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--out", type=Path, required=True, help="folder of all results")
    options.add_argument("--runs", type=int, default=3, help="training seeds")
    given = options.parse_args()
    words = [sys.executable, "-m", "pipelines.emoji_people", "--out", str(given.out)]
    ended = subprocess.run([*words, "--runs", str(given.runs)], check=False).returncode
    if ended not in (0, 1, 6):  # the verdicts of `train verify`
        raise SystemExit(ended)
    report = json.loads((given.out / "verify" / "verify.json").read_bytes())
    seeds = [f"seed {run}" for run in range(given.runs)]
    print("prompts", "what is right", "scorer", *seeds, "corrected", "over seeds", sep="\t")
    never: list[float] = []
    for figure in report["figures"]:
        group, measure, scorer = (figure[name] for name in ("group", "measure", "scorer"))
        if (group, measure) in QUESTIONS:
            each, after = shares(report, figure), figure["after"]
            has_say = figure["counts"] or report["chosen"].get(measure) == scorer
            if has_say and (group, measure) == (NEVER, ENTIRELY):
                never = each
            cells = [f"{share:.3f}" for share in each] or ["-"] * given.runs
            intervals = cell(after["share"]), cell(after["over_runs"])
            name = scorer if has_say else f"({scorer})"
            print(group, measure, name, *cells, *intervals, sep="\t")
    print(f"CPU-minutes: {cpu_minutes(given.out):.1f}; verdict: {report['verdict']}")
    raise SystemExit(int(not never or min(never) < LEAST))


def shares(report: Mapping[str, Any], figure: Mapping[str, Any]) -> list[float]:
    """Of a figure's samples, the share that its scorer calls right, a value a seed.

    Nothing for copies, of which no sample is listed.
    """
    if figure["measure"] == COPY:
        return []
    field = "entirely" if figure["measure"] == ENTIRELY else "right"
    found: dict[int, list[bool]] = defaultdict(list)
    for row in report["rows"]:
        if (row["scorer"], row["group"]) == (figure["scorer"], figure["group"]):
            for look in row["looks"]:
                found[look["run"]].append(bool(look["after"][field]))
    return [sum(found[run]) / len(found[run]) for run in sorted(found)]


def cell(share: Mapping[str, Any] | None) -> str:
    """A share, with its interval; "-" for none, and for one of which nothing is known."""
    if share is None or share["value"] is None:
        return "-"
    return f"{share['value']:.3f} [{share['low']:.3f}, {share['high']:.3f}]"


def cpu_minutes(out: Path) -> float:
    markers = [json.loads(path.read_bytes()) for path in (out / "stages").glob("*.json")]
    return sum(cost["cpu"] for marker in markers for cost in marker["costs"]) / 60


if __name__ == "__main__":
    main()
