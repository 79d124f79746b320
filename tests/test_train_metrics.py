import json
import math
from dataclasses import asdict

import torch

from train.training.log import Metrics, PendingMetrics, RunLog


def test_figures_of_several_steps_are_read_at_once_by_set():
    unread, tally = PendingMetrics(2), Metrics.empty(2)
    unread.add(3, torch.tensor(2.0), torch.tensor([1.0, 3.0, 8.0]), torch.tensor([0, 0, 1]))
    unread.add(4, torch.tensor(4.0), torch.tensor([5.0]), torch.tensor([0]))
    assert unread.read_into(tally) == (5.0, None) and unread.rows == []
    assert tally.means(["new", "replay"]) == {
        "loss": 4.25,
        "losses": {"new": 3.0, "replay": 8.0},
        "gradient_norm": 3.0,
    }
    latest, broken = unread.read_into(tally)
    assert math.isnan(latest) and broken is None and tally.steps == 2


def test_the_first_broken_step_is_named_and_nothing_is_counted_from_there():
    for broken_norm, broken_loss in ((math.nan, 1.0), (1.0, math.inf)):
        unread, tally = PendingMetrics(1), Metrics.empty(1)
        of = torch.tensor([0, 0])
        unread.add(2, torch.tensor(1.0), torch.tensor([1.0, 2.0]), of)
        unread.add(4, torch.tensor(broken_norm), torch.tensor([1.0, broken_loss]), of)
        unread.add(6, torch.tensor(1.0), torch.tensor([1.0, 2.0]), of)
        assert unread.read_into(tally) == (1.5, 2)
        assert tally.images == [2.0]


def test_a_tally_survives_json_to_the_last_bit():
    tally = Metrics.empty(2)
    for n in range(1, 50):
        tally.add(1 / n, [1 / 3 / n, 2 / 7 / n], [1.0, 2.0])
    assert Metrics(**json.loads(json.dumps(asdict(tally)))) == tally


def test_lines_after_the_point_of_return_are_taken_back(tmp_path):
    journal = RunLog(tmp_path)
    for stage, images in ((0, 0), (0, 8), (0, 16), (1, 8), (1, 16)):
        journal.write({"stage": stage, "images": images, "caption": "吹雪"})
    with (tmp_path / "log.jsonl").open("a") as log:
        log.write('{"stage": 1, "ima')
    for point, left in (((1, 8), 4), ((1, 0), 3), ((0, 8), 2), ((0, 0), 1)):
        journal.resume_at(point[0], "16", point[1])
        lines = [json.loads(x) for x in (tmp_path / "log.jsonl").read_text().splitlines()]
        assert len(lines) == left and lines[0]["caption"] == "吹雪"
    journal.clear()
    assert not (tmp_path / "log.jsonl").exists()
