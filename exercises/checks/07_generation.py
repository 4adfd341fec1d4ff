"""Checks of chapter 07: top-k and top-p, streaming, one step with a cache, padding, a broken batch, loops."""

import math

import torch
from torch import Tensor

from blueberry_checks.engine.examine import Choice, Code, Mistake, Number


def _cut_cases(g: torch.Generator):
    yield torch.zeros(4), None, 0.5
    yield torch.tensor([1.0, 0.0, 2.0]), 1, None
    yield torch.tensor([[1.0, 2.0, 2.0, 0.0, 2.0]]), 2, None
    yield torch.tensor([[1.0, 2.0, 2.0, 0.0, 2.0]]), 2, 0.5
    yield torch.tensor([0.0, -40.0, 1.0]), None, 1.0
    yield torch.tensor([-math.inf, 0.0, 1.0, -math.inf]), 3, 0.9
    yield torch.randn(2, 3, generator=g), 9, None
    yield torch.randn(2, 3, generator=g), None, None
    yield torch.randn(4, 6, generator=g), 3, None
    yield torch.randn(3, 12, generator=g), 4, 0.7
    yield torch.randn(5, 5, generator=g), None, 0.2
    yield 2 * torch.randn(2, 3, 7, generator=g), None, 0.6
    yield 2 * torch.randn(2, 400, generator=g), 300, 0.95


def _texts(g: torch.Generator):
    whole = "naïve 🫐 déjà vu — 你好 ÿ�".encode()
    yield (b"",)
    yield (b"a",)
    yield from ((whole[:end],) for end in range(1, len(whole) + 1))
    yield from ((character.encode()[:end],) for character in "é你🫐�" for end in range(1, 5))


def _draw(g: torch.Generator, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=g).to(dtype)


def _step_example() -> tuple:
    q, k = torch.zeros(1, 1, 4), torch.zeros(1, 1, 4)
    q[..., 0], k[..., 0] = 2 * math.log(3), 1.0
    return q, k, torch.tensor([[[4.0]]]), torch.zeros(1, 1, 1, 4), torch.tensor([[[[8.0]]]])


def _step_cases(g: torch.Generator):
    for B, H, S, D, E, dtype in (
        (1, 1, 0, 2, 2, torch.float32),
        (2, 3, 0, 4, 3, torch.float32),
        (1, 2, 3, 2, 2, torch.float32),
        (2, 3, 7, 8, 5, torch.float32),
        (3, 3, 3, 3, 3, torch.float32),
        (2, 1, 5, 4, 6, torch.float64),
    ):
        parts = ((B, H, D), (B, H, D), (B, H, E), (B, H, S, D), (B, H, S, E))
        yield tuple(_draw(g, *part, dtype=dtype) for part in parts)


def _lengths(g: torch.Generator):
    yield (torch.tensor([1]),)
    yield (torch.tensor([4]),)
    yield (torch.tensor([2, 2]),)
    yield (torch.tensor([1, 2, 3]),)
    yield (torch.tensor([5, 2, 4, 1]),)
    yield (torch.randint(1, 9, (6,), generator=g),)


EXERCISES = {
    "07.1": Code(
        example=(torch.log(torch.tensor([0.1, 0.4, 0.2, 0.3])), 2, 0.5),
        cases=_cut_cases,
        section="shaping-the-distribution",
        edits=r"""
            crossing token cut:
            cumsum(dim=-1) - p >= top_p ~> cumsum(dim=-1) > top_p
            cumsum(dim=-1) - p >= top_p ~> cumsum(dim=-1) >= top_p
            The token with which the sum crosses top_p is cut too. If the first alone has more than top_p, nothing is left.

            reached and one more:
            - p >= top_p ~> - p > top_p
            Where the sum reaches top_p exactly, you keep one token more. Four equal ones and top_p 0.5 leave two.

            ties of top-k:
            kept = logits.masked_fill(logits < least, -torch.inf) ~> \
            kept = logits.masked_fill(logits.argsort(dim=-1, descending=True, stable=True).argsort(-1) >= top_k, -torch.inf)
            Of several logits equal to the k-th largest you keep only some. All of them stay.

            logits < least ~> logits <= least
            The k-th largest is cut as well: what equals the smallest that is kept is kept.

            for the whole batch:
            .values[..., -1:] ~> .values[..., -1:].min()
            .values[..., -1:] ~> .values[..., -1:].max()
            logits.topk(top_k) ~> logits.flatten().topk(top_k)
            One limit is used for all rows. Each row has its own k-th largest.

            places for ids:
            ids.argsort(dim=-1) ~> ids
            late.gather(-1, ids.argsort(dim=-1)) ~> late
            The right number of tokens is cut, but not the right ones. The decision is made in sorted order; bring it back to
            the ids. gather with ids goes the wrong way: it takes their inverse, or scatter.

            ids.argsort(dim=-1)) ~> ids.argsort(dim=-1)) && descending=True ~> descending=False
            The sum begins at the least probable token; it should begin at the most probable.

            equals from behind:
            kept.sort(dim=-1, descending=True, stable=True) ~> [x.flip(-1) for x in kept.sort(dim=-1, stable=True)]
            Of equal tokens you keep those with the higher ids. The lower id comes first.

            top-p first:
            ordered.softmax(dim=-1) ~> logits.softmax(dim=-1).gather(-1, ids)
            top_p is compared with probabilities from before top_k. It comes second, and what top_k has left adds up to 1 again.

            one cuts:
            top_p is not None and top_p < 1 ~> top_p is not None
            top_p = 1 cuts very improbable tokens: in float32 the sum is 1 already before it gets to them.

            0 for cut:
            logits < least, -torch.inf ~> logits < least, 0 && late, -torch.inf ~> late, 0
            A logit of 0 can still be drawn: its exponential is 1.

            probabilities:
            return kept ~> return kept.softmax(dim=-1)
            Those are probabilities; the logits themselves are asked for, with −inf where a token is cut.

            no top-k:
            logits < least ~> logits < -torch.inf
            top_k has no effect.

            no top-p:
            kept.masked_fill(late, -torch.inf) ~> kept
            top_p has no effect.
        """,
        mistakes=[
            Mistake(
                "k beyond V",
                "It works, but where top_k is larger than the vocabulary. Then there is nothing to cut.",
                only=lambda logits, top_k, top_p: top_k is not None and top_k > logits.shape[-1],
            ),
            Mistake(
                "no rows",
                "It works only where there is one dimension, or two. Count dimensions from the end: dim=-1.",
                only=lambda logits, top_k, top_p: logits.dim() != 2,
            ),
        ],
    ),
    "07.2": Code(
        example=(b"caf\xc3",),
        cases=_texts,
        section="stopping-and-streaming",
        not_allowed=("getincrementaldecoder", "IncrementalDecoder", "iterdecode", "utf_8_decode"),
        edits=r"""
            replaced:
            return whole.decode(), pending[len(whole) :] ~> return pending.decode(errors="replace"), b""
            Half a character is printed as � at once, and its bytes are gone when the rest arrives. Keep them back.

            thrown away:
            return whole.decode(), pending[len(whole) :] ~> return pending.decode(errors="ignore"), b""
            pending[len(whole) :] ~> b""
            The bytes of the incomplete character are thrown away, so it will never appear. Return them.

            printed and kept:
            pending[len(whole) :] ~> pending
            What is kept includes bytes that have been printed: they will come a second time.

            all or nothing:
            range(4) ~> (0, len(pending))
            Where one character is incomplete, the whole ones before it are held back too.

            last always held:
            range(4) ~> range(1, 5)
            range(4) ~> range(min(1, len(pending)), 5)
            The last character is held back although it is whole.

            at most one byte:
            range(4) ~> range(2)
            It gives up where two or three bytes are incomplete. A character may have four.

            range(4) ~> range(3)
            It gives up where three bytes of four are there.

            minus zero:
            pending[: len(pending) - kept] ~> pending[:-kept]
            pending[: len(pending) - kept] ~> pending[:-kept] && pending[len(whole) :] ~> pending[-kept:]
            Where nothing is to be kept back, all is: pending[:-0] is pending[:0], which is empty.

            high bytes held:
            for kept in range(4): ~> cut = len(pending.rstrip(bytes(range(128, 256)))) \
            \nreturn pending[:cut].decode(), pending[cut:]\nfor kept in ():
            Whole characters at the end are held back if their bytes are above 0x7F. Count: the first byte of a character tells
            how many follow.

            byte by byte:
            return whole.decode(), pending[len(whole) :] ~> return pending.decode("latin-1"), b""
            Each byte is turned into a character of its own. In UTF-8 several bytes may be one.

            str of bytes:
            whole.decode() ~> str(whole)
            str(b"a") is the text b'a', with the b and the quotes. Use decode.
        """,
        mistakes=[
            Mistake(
                "a real one held",
                "It waits where the text ends with a � that is really there: three whole bytes. "
                "Ask the bytes, not the decoded text, whether something is missing.",
                only=lambda pending: pending.endswith("�".encode()),
            ),
            Mistake(
                "nothing at all",
                "It works, but not for b'': nothing to print, and nothing to keep.",
                only=lambda pending: not pending,
            ),
        ],
    ),
    "07.3": Code(
        example=_step_example(),
        cases=_step_cases,
        section="the-cache",
        not_allowed=("scaled_dot_product_attention", "multi_head_attention_forward", "MultiheadAttention"),
        edits=r"""
            not itself:
            weights @ values ~> scores[..., :-1].softmax(dim=-1) @ values[:, :, :-1]
            The new token does not see itself. Append its key and value first, then attend.

            causal triangle:
            scores.softmax ~> scores.masked_fill(torch.ones(scores.shape[2:]).triu(1) > 0, -torch.inf).softmax
            It sees the oldest token alone: a triangle of shape (1, S + 1) begins at the upper left. Everything in the cache is
            past; no mask is needed.

            only itself:
            (weights @ values)[:, :, 0] ~> v.clone()
            The output is the new token's own value. It should be an average over all tokens so far.

            newest first:
            (keys, k[:, :, None]) ~> (k[:, :, None], keys) && (values, v[:, :, None]) ~> (v[:, :, None], values)
            The new key and value stand in front of the cache. The oldest token comes first.

            keys and values apart:
            (keys, k[:, :, None]) ~> (k[:, :, None], keys)
            (values, v[:, :, None]) ~> (v[:, :, None], values)
            The new key is at one end of the cache and the new value at the other: weights and values no longer belong together.

            old cache:
            ], keys, values ~> ], keys[:, :, :-1], values[:, :, :-1]
            The cache comes back as it was. The next token needs this one's key and value.

            oldest dropped:
            (keys, k ~> (keys[:, :, 1:], k && (values, v ~> (values[:, :, 1:], v
            The oldest token is dropped, so that the cache never grows. It should have S + 1 tokens.

            no scale:
            / math.sqrt(q.shape[-1]) ~>
            The scores are not divided by √D.

            wrong root:
            math.sqrt(q.shape[-1]) ~> q.shape[-1]
            math.sqrt(q.shape[-1]) ~> math.sqrt(keys.shape[2])
            math.sqrt(q.shape[-1]) ~> math.sqrt(v.shape[-1])
            math.sqrt(q.shape[-1]) ~> math.sqrt(q.shape[1])
            The scores are not divided by the root of D, the width of queries and keys, but by another number.

            not over the keys:
            scores.softmax(dim=-1) ~> scores.softmax(dim=2)
            scores.softmax(dim=-1) ~> scores.softmax(dim=1)
            scores.softmax(dim=-1) ~> scores.softmax(dim=0)
            scores.softmax(dim=-1) ~> scores
            The weights of a query do not add up to 1: the softmax has to run over the S + 1 keys, the last dimension.

            exchanged:
            ], keys, values ~> ], values, keys
            The new values come where the new keys should be.

            query stored:
            k[:, :, None] ~> q[:, :, None]
            The query is stored as the key. A query is used once, at its own token; only keys and values are kept.

            averaged keys:
            weights @ values ~> weights @ keys
            Keys are averaged; it should be the values.

            one row too many:
            (weights @ values)[:, :, 0] ~> weights @ values
            The output still has the dimension of length 1 for the one query; (B, H, E) is asked for.
        """,
        mistakes=[
            Mistake(
                "empty cache",
                "It works, but where the cache is empty: the first token then sees only itself.",
                only=lambda q, k, v, keys, values: not keys.shape[2],
            ),
        ],
    ),
    "07.4": Code(
        example=(torch.tensor([3, 1]),),
        cases=_lengths,
        section="several-prompts-at-once",
        edits=r"""
            padding at the right:
            key >= len(column) - lengths ~> key < lengths
            Your padding is at the right. It fills the first T − length columns.

            key >= len(column) - lengths ~> key >= lengths
            The length is taken for the number of padding tokens. There are T − length of them.

            empty rows:
            (real | (key == query)) ~> real
            The rows of padding tokens are empty, and their softmax is 0/0. Let each see itself.

            padding sees padding:
            real | (key == query) ~> real | (query < len(column) - lengths[:, None, None])
            A padding token looks at the padding before it. It should look only at itself.

            padding sees everything:
            (key <= query) & (real | (key == query)) ~> \
            ((key <= query) & real) | (query < len(column) - lengths[:, None, None])
            Rows of padding tokens are filled from end to end. Each should look only at itself.

            not causal:
            (key <= query) & (real | (key == query)) ~> real | (key == query)
            Tokens look at what comes later. The causal triangle is missing.

            padding not hidden:
            (real | (key == query)) ~> torch.ones_like(real)
            This is only the causal triangle: the padding is seen.

            hidden is True:
            (key <= query) & (real | (key == query)) ~> ~((key <= query) & (real | (key == query)))
            It is True where looking is forbidden. True should mean allowed.

            not itself:
            key <= query ~> key < query
            Nobody looks at itself, and the first real token has nothing to look at.

            own place for padding only:
            return (key <= query) & (real | (key == query)) ~> return ((key < query) & real) | ((key == query) & ~real)
            Padding looks at itself, but real tokens do not.

            upside down:
            key <= query ~> key >= query
            Tokens look at later ones and not at earlier ones. Rows are queries, columns are keys.

            exchanged:
            return (key <= query) & (real | (key == query)) ~> return ((key <= query) & (real | (key == query))).mT
            Queries and keys are exchanged: rows are those who look, columns those who are looked at.

            first real token hidden:
            key >= len(column) ~> key > len(column)
            The first real token of each prompt counts as padding: one column too many is hidden.

            one padding token seen:
            len(column) - lengths ~> len(column) - 1 - lengths
            The last padding token is seen: one column too few is hidden.

            queries for keys:
            real = key ~> real = query
            It is asked whether the one who looks is real. What counts is whether the one who is looked at is.
        """,
    ),
    "07.5": Choice(
        right="c",
        wrong={
            "a": "Padding on the left that is seen spoils the short prompts' first new token as well, because that token's "
            "query looks at everything before it. In the table the first tokens are right.",
            "b": "For a short prompt the last column is padding, and the first new token would continue the padding. In the "
            "table the first tokens are right.",
            "d": "Keys of an earlier request would be seen by all rows, so the longest prompt would go wrong as well.",
            "e": "Rounding can decide between two tokens that are almost equally probable, in any row and at any step. Here every "
            "short prompt is wrong from its second token on, and the longest never.",
        },
        section="several-prompts-at-once",
    ),
    "07.6": Number(
        value=677 / 740,
        within=0.0006,
        wrong=[
            (0.084, 0.0856, "That is the share that stops. The others end in a loop."),
            (91.4, 91.6, "That is in percent; a share from 0 to 1 is asked for."),
            (677, 677, "That is how many end in a loop; divide by the number of contexts."),
            (
                0.925,
                0.9265,
                "You start from each place in the text. Each context counts once, however often it occurs.",
            ),
            (0.9122, 0.9136, "That is the share for 7 characters; 8 are asked for."),
            (0.7682, 0.7696, "That is the share for 9 characters; 8 are asked for."),
            (1, 1, "A walk that arrives at the end of the text stops: the characters there are followed by nothing."),
        ],
        section="how-often-it-loops",
    ),
}
