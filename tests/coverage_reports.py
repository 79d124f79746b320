"""Reports in their JSON form, made by hand: one with every field, and large ones."""

import random
from collections import Counter
from itertools import pairwise
from typing import Any

from curate.prompts.reader import Prompt

HOSTILE = "</script><img src=x onerror=document.title='hit'>"
COMMAND = "curate fetch openverse --query 'it'\"'\"'s <b>'"


def item(unit: str, kind: str, verdict: str, severity: str, n: int, **known: Any) -> dict[str, Any]:
    levels = {"exact": n, "inflection": 0, "variant": 0}
    levels |= {name: {"n": 0, "via": []} for name in ("synonym", "narrower", "derivation")}
    return {
        "unit": unit,
        "kind": kind,
        "verdict": verdict,
        "severity": severity,
        "p_correct": None,
        "n_images": n,
        "levels": levels | known.pop("levels", {}),
        "related_not_counted": [],
        "upper_bound_visible_95": None,
        "prompts": [],
        "evidence": [],
        "nearest": [],
        "did_you_mean": [],
        "badges": [],
        "senses": None,
        "expected": None,
        "pmi": None,
        "fix": {"fetch": [], "need": 0},
    } | known


def report(items: list[dict[str, Any]], prompts: list[Prompt], **known: Any) -> dict[str, Any]:
    return {
        "schema": "vocab-gaps/1",
        "prompts": {"path": "prompts.txt", "count": len(prompts)},
        "data": {
            "path": "tiles.jsonl",
            "kind": "captions",
            "images": 2997,
            "captions": 3001,
            "rows": {},
            "incomplete": [],
        },
        "profile": {"name": "finetune", "min": 5, "target": 30},
        "summary": dict(sorted(Counter(i["verdict"] for i in items).items())),
        "items": items,
    } | known


def mention(prompt: Prompt, text: str) -> dict[str, Any]:
    start = prompt.text.index(text)
    return {"line": prompt.line, "span": [start, start + len(text)], "text": text}


def complete_report() -> tuple[dict[str, Any], list[Prompt]]:
    """Every kind of item and every field, with hostile texts and characters beyond U+FFFF."""
    a = Prompt(1, f"a 🐉 bat and a polar bear {HOSTILE}", ())
    b = Prompt(4, "red car, blizzard with a grey dog", ())
    dog = {"key": "t-1", "caption": f"🐕 two dogs {HOSTILE}"}
    items = [
        item(
            "blizzard",
            "word",
            "thin",
            "error",
            1,
            p_correct=0.93,
            upper_bound_visible_95=57,
            levels={"synonym": {"n": 3, "via": ["snowstorm"]}, "variant": 2},
            related_not_counted=[
                {"unit": "storm", "relation": "synonym", "similarity": 0.6, "n_images": 12}
            ],
            evidence=[
                {"key": "t-2", "caption": "a blizzard demon"},
                {"key": "t-3", "caption": "snowstorms"},
            ],
            nearest=[{"unit": "wizard", "n_images": 40}],
            did_you_mean=[{"unit": "blizzards", "n_images": 2}],
            prompts=[mention(b, "blizzard")],
            fix={"fetch": [COMMAND], "need": 29},
        ),
        item("polar bear", "phrase", "phrase-missing", "error", 0,
             prompts=[mention(a, "polar bear")]),
        item(
            "bat",
            "word",
            "sense-risk",
            "warning",
            31,
            badges=["sense-risk"],
            senses={"asked": "a flying mammal", "shown": "a club"},
            prompts=[mention(a, "bat")],
        ),
        item("red + car", "bind", "unseen-binding", "warning", 0, expected=3.5, pmi=-2.25,
             prompts=[mention(b, "red car")]),
        item("blizzard + dog", "pair", "rare-pair", "warning", 1, expected=0.1, pmi=1.5,
             evidence=[dog], prompts=[mention(b, "blizzard with a grey dog")],
             fix={"fetch": ["curate fetch openverse --query 'blizzard dog'"], "need": 4}),
        item("dog", "word", "covered", "info", 40, evidence=[dog], prompts=[mention(b, "dog")]),
        item("polar", "word", "covered", "info", 30, prompts=[mention(a, "polar")]),
        item("bear", "word", "covered", "info", 33, prompts=[mention(a, "bear")]),
        item("a", "word", "function-word", "info", 9, prompts=[mention(a, "a")]),
    ]  # fmt: skip
    return report(items, [a, b]), [a, b]


def large_report(prompts: int = 2000, items: int = 30000) -> tuple[dict[str, Any], list[Prompt]]:
    """Many prompts and items, of the shapes and lengths that real ones have."""
    rng = random.Random(1)
    letters = "bcdfglmnprstv"
    words = list({
        "".join(rng.choice(letters) + rng.choice("aeiou") for _ in range(rng.randint(2, 4)))
        for _ in range(6000)
    })  # fmt: skip
    words.sort()
    asked, mentions, pairs = [], {}, {}
    for line in range(1, prompts + 1):
        chosen = list({words[int(len(words) * rng.random() ** 4)]: None for _ in range(12)})[:10]
        prompt = Prompt(line, " ".join(chosen), ())
        asked.append(prompt)
        for word in chosen:
            mentions.setdefault(word, []).append(mention(prompt, word))
        for a, b in pairwise(chosen):
            pairs.setdefault((a, b), mention(prompt, f"{a} {b}"))
        for a, b in zip(chosen, chosen[3:], strict=False):
            pairs.setdefault((a, b), {"line": line, "span": [0, len(prompt.text)], "text": ""})
    made = []
    for n, (word, places) in enumerate(sorted(mentions.items())):
        verdict, severity, images = rng.choice(
            [("missing", "error", 0), ("thin", "error", 3), ("low", "warning", 9)]
            + 3 * [("covered", "info", 80)]
        )
        shown = [
            {"key": f"t-{(n * 6 + k) % 900}", "caption": f"a {word} beside {words[k]} and others"}
            for k in range(6 if images > 5 else images)
        ]
        fix = {"fetch": [f"curate fetch openverse --query {word}"], "need": 30 - images}
        made.append(item(word, "word", verdict, severity, images, prompts=places, evidence=shown,
                         fix=fix if severity != "info" else {"fetch": [], "need": 0}))  # fmt: skip
    for (a, b), place in sorted(pairs.items())[: items - len(made)]:
        seen = rng.choice([0, 0, 2, 8])
        verdict = "unseen-pair" if not seen else "rare-pair" if seen < 5 else "seen-pair"
        fetch = [f"curate fetch openverse --query '{a} {b}'"] if seen < 5 else []
        made.append(item(f"{a} + {b}", "pair", verdict, "info" if seen > 4 else "warning", seen,
                         prompts=[place], expected=round(rng.random() * 4, 2), pmi=0.5,
                         fix={"fetch": fetch, "need": max(0, 5 - seen)}))  # fmt: skip
    order = ["error", "warning", "info"]
    made.sort(key=lambda i: (order.index(i["severity"]), i["kind"] != "word"))
    return report(made, asked), asked
