"""Token states of captions, as the loop takes them: as long as each caption, left in their files.

Letters in names: N captions, T tokens of all captions in a row, B batch, L tokens of a caption,
D width of the encoder.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class EncodedText:
    """Token states of captions, as many as each has tokens; memory-mapped where read from files."""

    files: tuple[Tensor, ...]  # token states in a row (T, D), float16
    file_N: Tensor  # which of them holds a caption
    starts_N: Tensor  # its first row there
    lengths_N: Tensor  # int64, tokens; 0 for the empty caption
    encoder_digest: str = ""  # SHA-256 of the encoder that made them

    @staticmethod
    def from_rows(states_TD: Tensor, lengths_N: Tensor, encoder_digest: str = "") -> "EncodedText":
        """From the states of all captions, one caption after the other."""
        starts = lengths_N.cumsum(0) - lengths_N
        return EncodedText(
            (states_TD,), torch.zeros_like(starts), starts, lengths_N, encoder_digest
        )

    @staticmethod
    def concatenate(parts: "Sequence[EncodedText]") -> "EncodedText":
        """The captions of all parts in order, without copying their states.

        Raises:
            ValueError: other encoders made them.
        """
        if len({(part.encoder_digest, part.width) for part in parts}) != 1:
            raise ValueError("encoded by different encoders")
        before = [sum(len(p.files) for p in parts[:n]) for n in range(len(parts))]
        return EncodedText(
            tuple(file for part in parts for file in part.files),
            torch.cat([p.file_N + first for p, first in zip(parts, before, strict=True)]),
            torch.cat([p.starts_N for p in parts]),
            torch.cat([p.lengths_N for p in parts]),
            parts[0].encoder_digest,
        )

    def select(self, rows: Sequence[int]) -> "EncodedText":
        """Only the named captions, in that order; their states stay where they are."""
        picked = torch.tensor(rows, dtype=torch.long)
        return replace(
            self,
            file_N=self.file_N[picked],
            starts_N=self.starts_N[picked],
            lengths_N=self.lengths_N[picked],
        )

    def __len__(self) -> int:
        """How many captions."""
        return len(self.lengths_N)

    @property
    def width(self) -> int:
        """D."""
        return self.files[0].shape[1]

    def take(self, rows: Tensor, *, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
        """States (B, L, D) in float32 and mask (B, L) of the named rows.

        L is that of the longest caption among them, at least 1; beyond a caption's end states
        are zero.
        """
        lengths = self.lengths_N[rows]
        longest = max(1, int(lengths.max())) if len(rows) else 1
        states = torch.zeros(len(rows), longest, self.width, dtype=torch.float16)
        places = zip(self.file_N[rows].tolist(), self.starts_N[rows].tolist(), strict=True)
        for n, ((file, start), length) in enumerate(zip(places, lengths.tolist(), strict=True)):
            states[n, :length] = self.files[file][start : start + length]
        mask = torch.arange(longest) < lengths[:, None]
        return states.to(device).float(), mask.float().to(device)
