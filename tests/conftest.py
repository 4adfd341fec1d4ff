import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from blueberry_lib.config import ModelConfig

torch.set_num_threads(1)  # the models here are too small to share out
os.environ.setdefault("OMP_NUM_THREADS", "1")  # in the processes that tests start, too


@pytest.fixture
def tiny() -> ModelConfig:
    """A model that trains in milliseconds."""
    return ModelConfig(vocab_size=97, context_length=32, n_layers=2, d_model=32, n_heads=4, n_kv_heads=2, d_ff=64)


@pytest.fixture(autouse=True)
def private_folders(tmp_path_factory, monkeypatch):
    """Each test has its own working folder, and all share a cache of their own."""
    monkeypatch.setenv("BLUEBERRY_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.delenv("BLUEBERRY_PRICE_PER_HOUR", raising=False)
    monkeypatch.delenv("BLUEBERRY_PROFILE", raising=False)
    torch.manual_seed(0)


def write_tokens(parent: Path) -> Path:
    """Raw tokens as tokens:DIR takes them: documents of random length, each closed by a 0."""
    rng = np.random.default_rng(0)
    folder = parent / "tokens"
    folder.mkdir()
    for split, count in (("train", 20_000), ("val", 3_000)):
        stream = rng.integers(1, 97, count).astype("<u2")
        stream[rng.integers(0, count, count // 50)] = 0
        stream[-1] = 0
        stream[:97] = np.arange(97)
        stream.tofile(folder / f"{split}.bin")
    return folder


@pytest.fixture
def token_folder(tmp_path) -> Path:
    return write_tokens(tmp_path)


@pytest.fixture
def randomized():
    """Give every parameter a random value, so that no gain is 1 and no output 0."""

    def apply(model):
        with torch.no_grad():
            for p in model.parameters():
                p.copy_(torch.randn_like(p) * 0.2 + (1.0 if p.ndim == 1 else 0.0))
        return model.eval()

    return apply


@pytest.fixture
def variants(tiny):
    """The tiny model with each option of the config."""
    return {
        "plain": tiny,
        "swiglu": replace(tiny, feed_forward="swiglu"),
        "untied": replace(tiny, tied=False),
        "normed": replace(tiny, embedding="normed", zero_init=True),
        "soft_cap": replace(tiny, soft_cap=15.0),
        "value_residual": replace(tiny, value_residual=True),
        "key_offset": replace(tiny, key_offset=True),
        "copy_head": replace(tiny, copy_head=True),
        "moe": replace(tiny, n_experts=4, experts_per_token=2, d_ff=32),
    }


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Path:
    """A finished run of some steps on text, of a recipe that can be exported."""
    from blueberry_lib.speedrun.recipes import get_recipe
    from blueberry_lib.speedrun.run import run

    folder = tmp_path_factory.mktemp("finished")
    words = "one two three four five six seven eight nine ten".split()
    for i in range(40):
        lines = (f"{i} {words[i % 10]} and {words[(i * k) % 10]} make {i * k}" for k in range(30))
        (folder / f"{i}.txt").write_text("\n".join(lines))
    base = get_recipe("best-without-value-residual+key-offset+copy-head", "pocket")
    small = dict(vocab_size=300, context_length=64, n_layers=2, d_model=32, n_heads=4, n_kv_heads=2, d_ff=64)
    config = replace(
        base, model=replace(base.model, **small), data=f"text:{folder}/*.txt", train_tokens=20_480, device="cpu",
        validation_tokens=640, batch_size=4,
    )  # fmt: skip
    (folder / "run").mkdir()
    run(config, folder / "run", say=lambda text: None, quiet=True)
    return folder / "run"
