"""A vision-language model asked whether an image shows something: yes or no.

Letters in names: B questions asked at a time, V tokens of the vocabulary.
"""

import inspect
from collections.abc import Sequence
from itertools import islice
from typing import Any

import numpy as np
import torch
from PIL import Image

from curate.errors import InputError, UsageError
from curate.system.pretrained import hash_weights, loading
from train.device import compute_dtype
from train.verification.pixels import spread
from train.verification.question import Question
from train.verification.scorers import Reference

WORD = "Does this picture show this: {}? Answer yes or no."
WHOLE = "Does this picture show all of this: {}? Answer yes or no."
PLAIN = "{image}Question: {question} Answer:"  # for models without a chat template
BATCH_SIZE = 8  # questions
PROBES = 16  # true images on which it is tried whether the model answers yes or no at all
LEAST_SHARE = 0.5  # of its probability that it must give to yes and no together
FIX = "--scorer vlm:MODEL, the folder or the hub's name of an instruction-tuned image-text model"


class VisionLanguage:
    """Any image-text-to-text model of transformers.

    An image shows what was asked for if "yes" is likelier than "no" as the first word of the
    answer, in whatever case. Nothing is generated, and nothing is learnt from the true images.

    Source: Lin et al., arXiv:2404.01291 (VQAScore), who ask likewise for the probability of "yes".
    """

    def __init__(self, reference: Reference, place: str, *, device: torch.device) -> None:
        """Load the model and ask it of a few true images.

        Args:
            reference: the true images.
            place: folder or hub's name of the model and its processor.
            device: where it runs, in bfloat16 if the device computes in that.

        Raises:
            UsageError: no model is named.
            InputError: it cannot be loaded, or answers neither yes nor no.
        """
        if not place:
            raise UsageError("--scorer vlm", "names no model", fix=FIX)
        self.name, self._device = f"vlm:{place}", device
        self._model, self._processor = _load(place, self.name)
        self.digest = hash_weights(self._model)
        self._dtype = compute_dtype(device)
        self._model.eval().to(device, self._dtype)
        self._tokens = _answer_tokens(self._processor.tokenizer, self.name)
        self.unseen_N = np.ones(len(reference.keys), bool)
        self._refuse_unless_it_answers(reference)

    def cannot(self, question: Question) -> None:
        """It can be asked anything."""

    def shows(
        self,
        images_NHWC: np.ndarray,
        asked_N: Sequence[Sequence[Question]],
        rows_N: np.ndarray | None = None,
    ) -> list[np.ndarray]:
        """See `train.verification.scorers.Scorer`; it has learnt from no image of the reference."""
        probabilities = self.probabilities(images_NHWC, asked_N)
        return [yes_no[:, 0] > yes_no[:, 1] for yes_no in probabilities]

    def probabilities(
        self, images_NHWC: np.ndarray, asked_N: Sequence[Sequence[Question]]
    ) -> list[np.ndarray]:
        """For each image float (questions, 2): probabilities of yes and of no as first token."""
        pairs = [(row, question) for row, asked in enumerate(asked_N) for question in asked]
        answers: list[np.ndarray] = []
        for start in range(0, len(pairs), BATCH_SIZE):
            some = pairs[start : start + BATCH_SIZE]
            images = [Image.fromarray(images_NHWC[row]) for row, _ in some]
            answers.extend(self._ask(images, [_sentence(question) for _, question in some]))
        rest = iter(answers)
        return [np.array(list(islice(rest, len(asked)))).reshape(-1, 2) for asked in asked_N]

    @torch.inference_mode()
    def _ask(self, images: Sequence[Image.Image], questions: Sequence[str]) -> np.ndarray:
        inputs = self._processor(
            text=[self._prompt(question) for question in questions],
            images=[[image] for image in images],
            padding=True,
            return_tensors="pt",
        ).to(self._device, self._dtype)
        options: dict[str, Any] = {"use_cache": False}
        if "logits_to_keep" in inspect.signature(self._model.forward).parameters:
            options["logits_to_keep"] = 1
        logits_BV = self._model(**inputs, **options).logits[:, -1].float()
        likely_BV = logits_BV.softmax(1)
        return torch.stack([likely_BV[:, ids].sum(1) for ids in self._tokens], 1).cpu().numpy()

    def _prompt(self, question: str) -> str:
        if not getattr(self._processor, "chat_template", None):
            image = getattr(self._processor, "image_token", "")
            return PLAIN.format(image=image, question=question)
        content = [{"type": "image"}, {"type": "text", "text": question}]
        said = [{"role": "user", "content": content}]
        return str(self._processor.apply_chat_template(said, add_generation_prompt=True))

    def _refuse_unless_it_answers(self, reference: Reference) -> None:
        rows = spread(len(reference.keys), PROBES)
        asked = [
            [Question(reference.labels[reference.label_N[row]][0], whole=True)] for row in rows
        ]
        found = self.probabilities(reference.pixels_NHWC[rows], asked)
        share = float(np.median([yes_no.sum() for yes_no in found]))
        if not share >= LEAST_SHARE:
            problem = (
                f"answers neither yes nor no: of its first word's probability {share:.0%} goes to "
                f"them on the median question ({LEAST_SHARE:.0%} are needed)"
            )
            raise InputError(self.name, problem, fix=FIX)


def _sentence(question: Question) -> str:
    return (WHOLE if question.whole else WORD).format(question.text)


def _load(place: str, name: str) -> tuple[Any, Any]:
    from transformers import AutoModelForImageTextToText, AutoProcessor

    models: Any = AutoModelForImageTextToText
    processors: Any = AutoProcessor
    with loading(name, fix=FIX):
        model, told = models.from_pretrained(place, dtype="auto", output_loading_info=True)
        if missing := sorted(told["missing_keys"]):
            raise ValueError(f"its files lack {len(missing)} weights, such as {missing[0]}")
        processor = processors.from_pretrained(place)
        if not hasattr(processor, "tokenizer") or not hasattr(processor, "image_processor"):
            raise ValueError("it has no processor of images and texts")
    processor.tokenizer.padding_side = "left"  # so that the last position is the answer's
    if processor.tokenizer.pad_token is None:
        processor.tokenizer.pad_token = processor.tokenizer.eos_token
    return model, processor


def _answer_tokens(tokenizer: Any, name: str) -> tuple[list[int], list[int]]:
    """The tokens that say yes, and those that say no: in any case, with or without a space."""
    said: dict[str, list[int]] = {"yes": [], "no": []}
    for token, number in tokenizer.get_vocab().items():
        letters = "".join(c for c in token.casefold() if "a" <= c <= "z")
        if letters in said and tokenizer.decode([number]).strip().casefold() == letters:
            said[letters].append(number)
    if not all(said.values()):
        raise InputError(name, "answers neither yes nor no: it has no such tokens", fix=FIX)
    return sorted(said["yes"]), sorted(said["no"])
