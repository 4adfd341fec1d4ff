"""Checks of chapter 17: patches, an adaptive layer, the narrowing of guidance, a sampler to diagnose, a step's cost."""

import torch

from blueberry_checks.engine.examine import Choice, Code, Number, Property

PATCHES, BLOCK, GUIDANCE, TRAINING = (
    "a-picture-becomes-tokens", "what-the-block-has-to-be-told", "guidance", "training-every-line-of-it",
)  # fmt: skip


def _pictures(g):
    yield torch.arange(36.0).view(1, 1, 6, 6), 3
    yield torch.randn(2, 1, 4, 8, generator=g), 2
    yield torch.randn(2, 3, 6, 4, generator=g), 2
    yield torch.randn(1, 2, 6, 9, generator=g, dtype=torch.float64), 3
    yield torch.randn(3, 2, 4, 2, generator=g), 1


def _streams(g):
    def vectors(B, T, d, dtype=torch.float32):
        return torch.randn(B, T, d, generator=g, dtype=dtype), torch.randn(3, B, d, generator=g, dtype=dtype)

    for shape, layer in (((1, 1, 3), _ten), ((3, 3, 4), _past), ((2, 5, 4), _squares), ((4, 2, 6), _past)):
        x, three = vectors(*shape)
        yield x, layer, *three.unbind()
    x, three = vectors(2, 3, 5, torch.float64)
    yield 0.001 * x, _ten, *three.unbind()


def _ten(x):
    return 10 * x


def _past(x):
    return x.cumsum(dim=1)


def _squares(x):
    return x.relu().square()


def _zero_gate(f):
    x, zero = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0)), torch.zeros(2, 4)
    if not torch.equal(f(x, _ten, zero, zero, zero), x):
        return "With shift, scale and gate at 0 the stream should come out as it went in."


def _learns(f):
    g = torch.Generator().manual_seed(1)
    x, *three = (torch.randn(*s, generator=g).requires_grad_() for s in ((2, 3, 4), (2, 4), (2, 4), (2, 4)))
    out = f(x, _past, *three)
    if not out.requires_grad or any(p is None for p in torch.autograd.grad(out.sum(), [x, *three], allow_unused=True)):
        return "No gradient comes back through it, so the condition could not be learned."


def _shapes(g):
    yield 8, 2, 1, 64, 3, 256
    yield 32, 2, 3, 768, 12, 256
    yield 32, 4, 3, 128, 4, 64
    yield 6, 3, 2, 8, 2, 10
    yield 4, 1, 1, 4, 5, 6


def _an_int(f):
    got = f(4, 2, 1, 4, 1, 2)
    return None if type(got) is int else f"A number of operations is an int; it returned {type(got).__name__}."


EXERCISES = {
    "17.1": Code(
        example=(torch.arange(16.0).view(1, 1, 4, 4), 2),
        cases=_pictures,
        section=PATCHES,
        not_allowed=("unfold", "pixel_unshuffle"),
        edits="""
            strips:
            return cut.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2) ~> return images.reshape(B, (H // size) * (W // size), C * size * size)
            return cut.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2) ~> return images.permute(0, 2, 3, 1).reshape(B, (H // size) * (W // size), C * size * size)
            These are strips of the picture: a reshape alone moves no number. A patch is a square.

            columns first:
            permute(0, 2, 4, 1, 3, 5) ~> permute(0, 4, 2, 1, 3, 5)
            The patches go down the columns; they should go along the rows, as one reads.

            pixels turned:
            permute(0, 2, 4, 1, 3, 5) ~> permute(0, 2, 4, 1, 5, 3)
            Inside each patch rows and columns are swapped.

            both turned:
            permute(0, 2, 4, 1, 3, 5) ~> permute(0, 4, 2, 1, 5, 3)
            Rows and columns are swapped, for the patches and inside of them: that is the picture on its side.

            channels last:
            permute(0, 2, 4, 1, 3, 5) ~> permute(0, 2, 4, 3, 5, 1)
            The channels of each pixel stand together; here all of channel 0 comes first.

            channels between:
            permute(0, 2, 4, 1, 3, 5) ~> permute(0, 2, 4, 3, 1, 5)
            The channels stand between the rows of the patch; they should come before them.

            spread out:
            H // size, size, W // size, size) ~> size, H // size, size, W // size) && permute(0, 2, 4, 1, 3, 5) ~> permute(0, 3, 5, 1, 2, 4)
            Each patch takes pixels from all over the picture. The row index is (row of squares) · size + (row inside).

            squares only:
            H // size, size, W // size, size) ~> W // size, size, H // size, size)
            Height and width are swapped. With square pictures that does not show.
        """,
    ),
    "17.2": Code(
        example=(
            torch.tensor([[[1.0, 3.0]]]),
            _ten,
            torch.tensor([[0.0, 2.0]]),
            torch.tensor([[1.0, 0.0]]),
            torch.tensor([[1.0, 0.5]]),
        ),
        cases=_streams,
        section=BLOCK,
        calls={"layer": 1},
        properties=[Property("zero gate", _zero_gate), Property("gradient", _learns)],
        edits="""
            no one:
            (1 + scale) ~> scale
            The norm is multiplied by scale. It should be 1 + scale, so that a scale of 0 changes nothing.

            shift first:
            normed * (1 + scale) + shift ~> (normed + shift) * (1 + scale)
            The shift is scaled too: it should be added after the multiplication.

            shift and scale swapped:
            (1 + scale) + shift ~> (1 + shift) + scale
            Shift and scale have changed places.

            no gate:
            gate * layer ~> layer
            What the layer returns is added without its gate.

            one plus gate:
            gate * layer ~> (1 + gate) * layer
            The gate has no 1 +: with a gate of 0 the block should do nothing.

            gate before:
            gate * layer(normed * (1 + scale) + shift) ~> layer(gate * (normed * (1 + scale) + shift))
            The gate multiplies what the layer reads; it belongs behind the layer.

            all gated:
            return x + gate * layer(normed * (1 + scale) + shift) ~> return gate * (x + layer(normed * (1 + scale) + shift))
            The gate multiplies the stream as well. Only what the layer returns is gated.

            no residual:
            return x + gate ~> return gate
            The stream is missing: the layer's part should be added to x.

            the norm is added to:
            return x + gate ~> return normed + gate
            It is added to the normed stream. It should be added to x itself.

            no norm:
            normed = F.layer_norm(x, x.shape[-1:], eps=1e-6) ~> normed = x
            The layer reads the stream without its norm.

            root mean square:
            normed = F.layer_norm(x, x.shape[-1:], eps=1e-6) ~> normed = x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt()
            The mean of the features is not subtracted: that is RMSNorm.

            other variance:
            normed = F.layer_norm(x, x.shape[-1:], eps=1e-6) ~> normed = (x - x.mean(-1, keepdim=True)) / (x.var(-1, keepdim=True) + 1e-6).sqrt()
            normed = F.layer_norm(x, x.shape[-1:], eps=1e-6) ~> normed = (x - x.mean(-1, keepdim=True)) / (x.std(-1, keepdim=True) + 1e-6)
            The variance divides by d − 1. It should be the mean of the squared differences.

            other eps:
            eps=1e-6 ~> eps=1e-5
            eps=1e-6 ~> eps=0.0
            The number that is added to the variance is not 1e-6 (PyTorch's own is 1e-5).

            over all patches:
            normed = F.layer_norm(x, x.shape[-1:], eps=1e-6) ~> normed = F.layer_norm(x, x.shape[-2:], eps=1e-6)
            Mean and variance are taken over all patches together. Each token is normed on its own.

            another picture's condition:
            v.unsqueeze(1) ~> v.unsqueeze(0)
            v.unsqueeze(1) ~> v
            Patch number i gets the condition of picture number i. Each picture has its own, for all its patches.
        """,
    ),
    "17.3": Number(
        value=1.7477,
        within=0.03,
        wrong=[
            (1.38, 1.47, "That is where a straight line from 1.5 through 0.8 would reach 0.5. Measure it."),
            (1.2, 1.28, "That is where the variance would be 0.25 if it fell in a straight line. Measure it."),
            (
                0.71,
                0.78,
                "That is the other convention, v_class + w (v_class − v_all). Here w = 1 is the class.",
            ),
            (-0.8, -0.7, "Class and whole have changed places: at w = 1 it should be the class's 0.8."),
        ],
        section=GUIDANCE,
    ),
    "17.4": Choice(
        right="c",
        wrong={
            "a": "Then the null label's row would hold random numbers, and w would change the pictures.",
            "b": "Then the two losses would not differ in this way: the model would know nothing of labels.",
            "d": "Then the condition would change nothing in the blocks, and the losses would be equal.",
        },
        section=GUIDANCE,
    ),
    "17.5": Code(
        example=(4, 2, 1, 4, 1, 2),
        cases=_shapes,
        section=TRAINING,
        properties=[Property("an int", _an_int)],
        edits="""
            everything per patch:
            6 * (once + T * each) ~> 6 * T * (once + each)
            What belongs to the whole picture is counted for every patch.

            time per patch:
            each = 2 * values * d ~> each = waves * d + d * d + 2 * values * d && once = waves * d + d * d + ~> once =
            The time layers are counted for every patch; they run once per picture.

            modulation per patch:
            layers * 12 * d * d ~> layers * 18 * d * d && + layers * 6 * d * d ~>
            The modulation of the blocks is counted for every patch; it runs once per picture.

            everything once:
            once + T * each ~> once + each
            What is used for each patch has to be counted T times.

            patches in a row:
            (side // patch) ** 2 ~> (side // patch)
            That is the number of patches in one row. T is its square.

            pixels:
            (side // patch) ** 2 ~> side ** 2
            That is the number of pixels; T is the number of patches.

            no pairs:
            + layers * 12 * d * T * T ~>
            The pairs of patches are missing.

            pairs of one layer:
            + layers * 12 * d * T * T ~> + 12 * d * T * T
            Every block compares all pairs, not only one.

            pairs times six:
            6 * (once + T * each) + layers * 12 * d * T * T ~> 6 * (once + T * each + layers * 12 * d * T * T)
            The 12 · d for a pair are operations already; they are not multiplied by 6 again.

            pairs without their square:
            * d * T * T ~> * d * T
            There are T² pairs of patches, not T.

            forward only:
            6 * (once ~> 2 * (once
            That counts the forward pass alone. A training step takes 6 for each weight.

            no channels:
            channels * patch**2 ~> patch**2
            A patch has patch² numbers in each channel.

            no head:
            2 * values * d ~> values * d
            Patches go in *and* come out: the head has as many weights as the first matrix.

            one block:
            layers * 12 * d * d ~> 12 * d * d
            layers * 6 * d * d ~> 6 * d * d
            layers * 12 * d * d ~> 12 * d * d && layers * 6 * d * d ~> 6 * d * d
            Every one of the blocks has these weights.

            no last modulation:
            + 2 * d * d ~>
            The modulation in front of the head is missing.

            no modulation:
            + layers * 6 * d * d + 2 * d * d ~>
            + layers * 6 * d * d ~>
            The modulation of the blocks is missing.

            no time:
            once = waves * d + d * d + ~> once =
            The two time layers are missing.
        """,
    ),
}
