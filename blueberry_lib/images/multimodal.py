"""One transformer over text and image tokens: ``[BOS] text <seg_start> image tokens <seg_end> [EOS]``."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from tqdm import trange

from blueberry_lib.config import ModelConfig, require
from blueberry_lib.generation import sample
from blueberry_lib.hardware import compute_dtype
from blueberry_lib.model import Blueberry
from blueberry_lib.model.attention import KVCache
from blueberry_lib.model.decoding import Decoder
from blueberry_lib.model.loss import chunked_cross_entropy


class Multimodal(nn.Module):
    """Blueberry with a vocabulary of text tokens, then image tokens, then ``<seg_start>`` and ``<seg_end>``.

    An image token has two coordinates, its row and column beyond the end of the text. ``codes`` is how many an image
    token can be, and an image has ``grid_size ** 2`` of them.
    """

    def __init__(self, config: ModelConfig, codes: int, grid_size: int) -> None:
        super().__init__()
        self.transformer = Blueberry(config)
        self.side, self.image_tokens = grid_size, grid_size**2
        self.first_image = config.vocab_size - codes - 2
        self.seg_start, self.seg_end = config.vocab_size - 2, config.vocab_size - 1
        require(
            self.first_image > 0,
            f"A vocabulary of {config.vocab_size} has no room for text beside {codes} image codes and 2 marks: set "
            "--model.vocab-size to the sum of all.",
        )

    def check_room(self, longest: int) -> None:
        """Raises BlueberryError unless an image fits into the context after a prompt of ``longest`` tokens."""
        needed, context = longest + self.image_tokens + 2, self.transformer.config.context_length
        require(
            needed <= context,
            f"A caption of {longest} tokens with its image of {self.image_tokens} + 2 needs a context of {needed}; "
            f"the model's is {context}: shorten the caption, or train with a larger --model.context-length.",
        )

    def collate(self, prompts: Sequence[Sequence[int]], images: Tensor, longest: int) -> Tensor:
        """Whole rows (B, ``longest`` + N + 2): each of ``prompts``, the tokens (B, h, w) of an image, ``<seg_end>``,
        and on the right, as end and as padding, the token that begins and ends a text."""
        width, tokens = longest + self.image_tokens + 2, (self.first_image + images.flatten(1)).tolist()
        rows = [[*prompt, *image, self.seg_end] for prompt, image in zip(prompts, tokens, strict=True)]
        return torch.tensor([row + [row[0]] * (width - len(row)) for row in rows])

    def positions(self, lengths: Tensor, count: int) -> Tensor:
        """Coordinates (B, count, 2) of rows whose prompts have ``lengths`` (B,): text at (p, p), then the image at
        (p₀ + row, p₀ + column), then text again, after the larger of them."""
        p0, place = lengths.unsqueeze(1), torch.arange(count, device=lengths.device)
        i = place - p0  # (B, count): the place in the image
        inside = (i >= 0) & (i < self.image_tokens)
        text = torch.where(i < 0, place, place + self.side - self.image_tokens)
        return torch.stack([p0.add(along).where(inside, text) for along in (i // self.side, i % self.side)], dim=-1)

    def forward(self, ids: Tensor, noise: float = 0.0) -> Tensor:
        """What ``loss`` takes: hidden states (B, T − 1, d) before each token but the first of ``ids`` (B, T), rows of
        ``collate``, of which the share ``noise`` is read as ``noisy`` makes it."""
        read = self.noisy(ids, noise) if noise else ids
        lengths = (ids == self.seg_start).int().argmax(dim=1) + 1
        return self.transformer.hidden(read[:, :-1], positions=self.positions(lengths, ids.shape[1])[:, :-1])

    def loss(self, hidden: Tensor, ids: Tensor, text_weight: float, image_weight: float = 1.0) -> Tensor:
        """Mean nats of an image token times its weight, plus those of a text token times its: one cross-entropy, in
        which a token counts by its kind and padding not at all. Text is all that is no image, the first excepted."""
        targets = ids[:, 1:]
        image = (targets >= self.first_image) & (targets < self.seg_start)
        ended = (targets == self.seg_end).cumsum(dim=1).cumsum(dim=1)  # 1 at <seg_end>, 2 at the end of the text
        text = ~image & (ended <= 2)
        shares = image_weight * image / image.sum() + text_weight * text / text.sum()  # (B, T − 1)
        weight, cap = self.transformer.head_weight, self.transformer.config.soft_cap
        rows = hidden.flatten(0, 1), weight, targets.flatten()
        return chunked_cross_entropy(*rows, cap, shares.numel() * shares.flatten())

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
        self.check_room(longest)
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
            ids = torch.cat((ids, ids.new_tensor([self.seg_end, prompts[0][0]]).expand(len(rows), 2)), dim=1)
        return ids[:count, longest:]

    def well_formed(self, ids: Tensor, end: int) -> Tensor:
        """Which rows (B, N + 2) are N image tokens, ``<seg_end>`` and the ``end`` of a text: (B,) bool."""
        inside = (ids >= self.first_image) & (ids < self.seg_start)
        return inside[:, :-2].all(1) & (ids[:, -2] == self.seg_end) & (ids[:, -1] == end)

    def tokens(self, ids: Tensor) -> Tensor:
        """Sampled ids (B, N + 2) → image tokens (B, h, w)."""
        return (ids[:, : self.image_tokens] - self.first_image).view(-1, self.side, self.side)
