"""A run as a folder that transformers loads: weights, config, tokenizer, generation config and model card.

The nearest architecture there is Qwen3, and what Blueberry does otherwise is written into the weights, so that no code
travels with them. A scaled or normed embedding is one fixed vector per token, so the table holds that vector and the
head is written out beside it. Squared ReLU is a gated layer, act(gate x) · (up x), with act = ReLU and gate = up, since
relu(u) · u = relu(u)²: the matrix is written twice. Value residual, key offset, soft cap and experts have no
counterpart.
"""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from blueberry_lib.config import BlueberryError, ModelConfig
from blueberry_lib.data.tokens import END_OF_TEXT
from blueberry_lib.model import Blueberry
from blueberry_lib.speedrun.records import table
from blueberry_lib.speedrun.run import load_run, run_tokenizer
from blueberry_lib.training.folder import read_json

WITHOUT_COUNTERPART = ("value_residual", "key_offset", "copy_head", "soft_cap", "n_experts")
EXPORTABLE = "r0 to r6, and best-without-value-residual+key-offset+copy-head"

CARD = """---
library_name: transformers
pipeline_tag: text-generation
---

# {name}

A small language model of {params:,} parameters, trained from nothing with `blueberry_lib` {version}: recipe `{recipe}`,
track `{track}`, seed {seed}, corpus `{data}` ({license}).

```
{table}
```

The validation loss is measured on held-out documents of the same corpus and says little about other text. The model was
not trained to follow instructions, to be truthful or to be safe: it continues text, and invents what it does not know.

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("{name}")  # or the path of this folder
model = AutoModelForCausalLM.from_pretrained("{name}")
tokens = tokenizer("{end}", return_tensors="pt")
print(tokenizer.decode(model.generate(**tokens, max_new_tokens=50)[0]))
```

The folder holds the architecture Qwen3 in float32. {note}Begin each text with `{end}`, as the model's
documents do. The loss, the tokens, the data's hash, the machine and every setting are in `record.json`.
"""


def qwen3_config(config: ModelConfig, end: int) -> dict:
    """The config.json of Qwen3 with the shape of ``config``; ``end`` is the id that closes a document."""
    return {
        "architectures": ["Qwen3ForCausalLM"],
        "model_type": "qwen3",
        "dtype": "float32",
        "vocab_size": config.vocab_size,
        "hidden_size": config.d_model,
        "intermediate_size": config.d_ff,
        "num_hidden_layers": config.n_layers,
        "num_attention_heads": config.n_heads,
        "num_key_value_heads": config.n_kv_heads,
        "head_dim": config.head_dim,
        "hidden_act": {"relu2": "relu", "swiglu": "silu"}[config.feed_forward],
        "max_position_embeddings": config.context_length,
        "rms_norm_eps": 1e-6,
        "rope_parameters": {"rope_type": "default", "rope_theta": config.rope_base},
        "rope_theta": config.rope_base,  # where transformers before version 5 reads it
        "tie_word_embeddings": False,
        "bos_token_id": end,
        "eos_token_id": end,
    }


@torch.no_grad()
def qwen3_weights(model: Blueberry) -> dict[str, Tensor]:
    """The weights of ``model`` under Qwen3's names, in float32. Raises BlueberryError for what Qwen3 cannot compute."""
    config = model.config
    extra = " and ".join(name for name in WITHOUT_COUNTERPART if getattr(config, name))
    if extra:
        raise BlueberryError(
            f"The model has {extra}, which no architecture of transformers has as ours has it, and code is not shipped "
            f"with weights. What can be exported: a run without, such as of the recipes {EXPORTABLE}."
        )
    weights = {
        "model.embed_tokens": model.embed(torch.arange(config.vocab_size, device=model.embedding.weight.device)),
        "model.norm": model.norm.gain,
        "lm_head": model.head_weight,
    }
    for i, block in enumerate(model.blocks):
        attention, feed_forward = block.attention, block.feed_forward
        parts = {
            "input_layernorm": block.attention_norm.gain,
            "self_attn.q_proj": attention.query.weight,
            "self_attn.k_proj": attention.key.weight,
            "self_attn.v_proj": attention.value.weight,
            "self_attn.o_proj": attention.output.weight,
            "self_attn.q_norm": attention.query_norm.gain,
            "self_attn.k_norm": attention.key_norm.gain,
            "post_attention_layernorm": block.feed_forward_norm.gain,
            "mlp.gate_proj": getattr(feed_forward, "gate", feed_forward.up).weight,
            "mlp.up_proj": feed_forward.up.weight,
            "mlp.down_proj": feed_forward.down.weight,
        }
        weights |= {f"model.layers.{i}.{name}": weight for name, weight in parts.items()}
    return {f"{name}.weight": weight.detach().float().cpu().clone() for name, weight in weights.items()}


def export(folder: Path, target: Path, push: str | None = None) -> None:
    """Write the run in ``folder`` to the new folder ``target``; with ``push`` also to that repository of the Hub."""
    model, config = load_run(folder)
    weights, record = qwen3_weights(model), read_json(folder / "record.json")
    tokenizer = run_tokenizer(folder, None, config.model.vocab_size)
    end = tokenizer.token_to_id(END_OF_TEXT)
    note = "Squared ReLU is written as a gated layer with ReLU whose two matrices are equal. "
    facts = {
        "name": push or target.name, "version": record["versions"]["blueberry_lib"], "data": config.data,
        "license": record["data"]["license"], "table": table(record), "end": END_OF_TEXT,
        "note": note if config.model.feed_forward == "relu2" else "",
    }  # fmt: skip
    files = {
        "config.json": qwen3_config(config.model, end),
        "generation_config.json": {
            "bos_token_id": end, "eos_token_id": end, "do_sample": True, "temperature": 1.0, "top_p": 0.95, "top_k": 0,
        },
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": END_OF_TEXT, "eos_token": END_OF_TEXT,
            "model_max_length": config.model.context_length, "clean_up_tokenization_spaces": False,
        },
        "record.json": record,
    }  # fmt: skip
    target.mkdir(parents=True)
    save_file(weights, target / "model.safetensors", metadata={"format": "pt"})
    for name, content in files.items():
        (target / name).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    (target / "tokenizer.json").write_text(tokenizer.to_str(), encoding="utf-8")
    card = CARD.format(**{k: record[k] for k in ("params", "recipe", "track", "seed")}, **facts)
    (target / "README.md").write_text(card, encoding="utf-8")
    if push:
        upload(target, push)


def upload(target: Path, repository: str) -> None:
    """Send an exported folder to the Hub, to a private repository if it is new."""
    try:
        from huggingface_hub import HfApi
    except ImportError:
        raise BlueberryError("--push needs huggingface_hub: pip install huggingface_hub.") from None
    try:
        HfApi().create_repo(repository, private=True, exist_ok=True)
        HfApi().upload_folder(repo_id=repository, folder_path=target)
    except Exception as error:  # of a dozen types: no network, no token, no such owner, a bad name
        raise BlueberryError(f"{target} is written, but was not sent to {repository}: {error}") from None
