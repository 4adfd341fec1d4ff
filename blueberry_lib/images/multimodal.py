"""One transformer over text and image tokens: ``[BOS] text <seg_start> image tokens <seg_end> [EOS]``."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import trange

from blueberry_lib.config import BlueberryError, ModelConfig
from blueberry_lib.generation import sample
from blueberry_lib.hardware import compute_dtype
from blueberry_lib.model import Blueberry
from blueberry_lib.model.attention import KVCache
from blueberry_lib.model.decoding import Decoder
from blueberry_lib.model.loss import chunked_cross_entropy


def digits() -> ModelConfig:
    """For 16 tokens of 64 codes and 512 of text."""
    return ModelConfig(vocab_size=512 + 64 + 2, context_length=64, n_layers=2, d_model=48, n_heads=4, d_ff=192)


def multimodal_40m() -> ModelConfig:
    """The original's: 49,152 + 1,024 + 2 tokens, 40,380,928 parameters, of which the embedding is 25.7 M."""
    return ModelConfig(vocab_size=49_152 + 1_024 + 2, context_length=1_152, n_layers=8, d_ff=1_024)


class Multimodal(nn.Module):
    """Blueberry with a vocabulary of text tokens, then image tokens, then ``<seg_start>`` and ``<seg_end>``.

    An image token has two coordinates, its row and column beyond the end of the text. ``stamp`` is the hash of both
    tokenizers: it is in every checkpoint, and weights with another one are refused.
    """

    def __init__(self, config: ModelConfig, codes: int, grid_size: int, stamp: str) -> None:
        super().__init__()
        self.transformer = Blueberry(config)
        self.side, self.image_tokens = grid_size, grid_size**2
        self.first_image = config.vocab_size - codes - 2
        self.seg_start, self.seg_end = config.vocab_size - 2, config.vocab_size - 1
        self.stamp = stamp
        if self.first_image < 1 or config.context_length < self.image_tokens + 4:
            raise BlueberryError(
                f"A vocabulary of {config.vocab_size} and a context of {config.context_length} cannot hold {codes} "
                f"image codes and {self.image_tokens} of them in a row, with text: give the model more of both."
            )

    def get_extra_state(self) -> Tensor:
        return torch.tensor(list(bytes.fromhex(self.stamp)), dtype=torch.uint8)

    def set_extra_state(self, state: Tensor) -> None:
        found = bytes(state.tolist()).hex()
        if found != self.stamp:
            raise BlueberryError(
                f"The weights were trained on tokens of other tokenizers (hash {found[:12]}…, these have "
                f"{self.stamp[:12]}…): use the image and text tokenizer of that run, or train anew."
            )

    def positions(self, lengths: Tensor, count: int) -> Tensor:
        """Coordinates (B, count, 2) of rows whose prompts have ``lengths`` (B,): text at (p, p), then the image at
        (p₀ + row, p₀ + column), then text again, after the larger of them."""
        p0 = lengths.unsqueeze(1)  # (B, 1)
        place = torch.arange(count, device=lengths.device)
        i = place - p0  # (B, count): the place in the image
        after = p0 + self.side + i - self.image_tokens
        line = torch.where(i < 0, place, after)
        inside = (i >= 0) & (i < self.image_tokens)
        row, column = i.clamp(min=0) // self.side, i.clamp(min=0) % self.side
        return torch.stack([torch.where(inside, p0 + shift, line) for shift in (row, column)], dim=-1)

    def forward(self, prompts: Tensor, lengths: Tensor, images: Tensor, noise: float = 0.0) -> tuple[Tensor, Tensor]:
        """Mean nats of a text token and of an image token.

        ``prompts`` (B, L) are padded on the right to more than their ``lengths`` (B,), ``images`` (B, h, w) codes. Text
        tokens are all that are not image tokens, the first excepted. ``noise`` is the share of ``noisy``.
        """
        N = self.image_tokens
        codes = self.first_image + images.flatten(1)  # (B, N)
        begin = prompts[:, 0]  # which ends a text, too
        ends = torch.stack((torch.full_like(begin, self.seg_end), begin), dim=1)
        tail = torch.cat((codes, ends), dim=1)  # (B, N + 2)
        places = lengths.unsqueeze(1) + torch.arange(N + 2, device=prompts.device)
        rows = F.pad(prompts, (0, N + 2)).scatter(1, places, tail)  # (B, L + N + 2)
        read = self.noisy(rows, noise) if noise else rows
        positions = self.positions(lengths, rows.shape[1])
        hidden = self.transformer.hidden(read[:, :-1], positions=positions[:, :-1])  # (B, L + N + 1, d)
        at_tail = hidden.gather(1, (places - 1).unsqueeze(-1).expand(-1, -1, hidden.shape[-1]))  # (B, N + 2, d)
        weight, cap = self.transformer.head_weight, self.transformer.config.soft_cap
        image = chunked_cross_entropy(at_tail[:, :N].flatten(0, 1), weight, codes.flatten(), cap)
        around = torch.cat((hidden[:, : prompts.shape[1] - 1], at_tail[:, N:]), dim=1)  # (B, L + 1, d)
        targets = torch.cat((prompts[:, 1:], ends), dim=1)
        real = torch.arange(1, prompts.shape[1], device=prompts.device) < lengths.unsqueeze(1)
        real = F.pad(real, (0, 2), value=True).float()  # (B, L + 1)
        nats = F.cross_entropy(self.transformer.logits(around).float().mT, targets, reduction="none")
        return (nats * real).sum() / real.sum(), image

    def noisy(self, rows: Tensor, share: float) -> Tensor:
        """``rows`` (B, T) with this share of the tokens replaced by random ones of their kind; what begins and ends a
        text and an image stays. So rows are not learnt by heart, and a word that was never read does no harm."""
        text = torch.randint_like(rows, 1, self.first_image)
        image = torch.randint_like(rows, self.first_image, self.seg_start)
        marks = (rows == rows[:, :1]) | (rows >= self.seg_start)
        kept = marks | (torch.rand(rows.shape, device=rows.device) >= share)
        return rows.where(kept, torch.where(rows < self.first_image, text, image))

    @torch.inference_mode()
    def sample(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        temperature: float = 1.0,
        top_k: int | None = None,
        guidance: float = 1.0,
        seed: int | None = None,
        masked: bool = True,
        cached: bool = True,
        quiet: bool = True,
    ) -> Tensor:
        """What follows each prompt (which ends with ``<seg_start>``): ids (B, N + 2).

        N times only image ids may be drawn, also before top-k, then the end tokens are put. With ``guidance`` w ≠ 1
        the logits are u + w (c − u), u those of the prompt without its text (Ho & Salimans, 2022). ``masked=False``
        draws all N + 2 from the whole vocabulary; ``cached=False`` computes every row anew for each token.
        """
        model, N, count = self.transformer, self.image_tokens, len(prompts)
        device, dtype = model.embedding.weight.device, compute_dtype(model.embedding.weight)
        rows = [list(p) for p in prompts] + ([[p[0], p[-1]] for p in prompts] if guidance != 1 else [])
        longest = max(map(len, rows))
        padding = torch.tensor([longest - len(row) for row in rows], device=device)
        ids = torch.tensor([[0] * (longest - len(row)) + row for row in rows], device=device)
        positions = self.positions(torch.tensor([longest], device=device), longest + N + 2)  # (1, T, 2)
        generator = None if seed is None else torch.Generator(device).manual_seed(seed)
        allowed = slice(self.first_image, self.seg_start) if masked else slice(0, None)
        decoder = None

        for _ in trange(N if masked else N + 2, unit="token", disable=quiet):
            if decoder:
                logits = decoder(ids[:, -1])  # (rows, V)
            else:
                cache = KVCache(model.config, len(rows), longest + N + 2, padding, dtype)
                logits = model.logits(model.hidden(ids, cache, positions[:, : ids.shape[1]])[:, -1])
                decoder = Decoder(model, cache, positions[0]) if cached else None
            logits = logits[:, allowed].float()
            if guidance != 1:
                conditional, free = logits.chunk(2)
                logits = free + guidance * (conditional - free)
            drawn = allowed.start + sample(logits, temperature, top_k, generator=generator)
            ids = torch.cat((ids, drawn.repeat(len(rows) // count).unsqueeze(1)), dim=1)
        if masked:
            ends = ids.new_tensor([self.seg_end, prompts[0][0]]).expand(len(rows), 2)
            ids = torch.cat((ids, ends), dim=1)
        return ids[:count, longest:]

    def well_formed(self, ids: Tensor, end: int) -> Tensor:
        """Which rows (B, N + 2) are N image tokens, ``<seg_end>`` and the ``end`` of a text: (B,) bool."""
        inside = (ids >= self.first_image) & (ids < self.seg_start)
        closed = (ids[:, -2] == self.seg_end) & (ids[:, -1] == end)
        return inside[:, :-2].all(1) & closed

    def codes(self, ids: Tensor) -> Tensor:
        """Sampled ids (B, N + 2) → codes (B, h, w)."""
        return (ids[:, : self.image_tokens] - self.first_image).view(-1, self.side, self.side)
