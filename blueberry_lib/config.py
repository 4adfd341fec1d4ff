"""What a run is: frozen dataclasses and their presets."""

import dataclasses
import sys
import typing
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, NamedTuple


class BlueberryError(Exception):
    """A mistake the user can mend: says what was wrong, what was expected and what to do next."""


def require(condition: Any, message: str) -> None:
    """Raises BlueberryError with the ``message`` unless the ``condition`` holds."""
    if not condition:
        raise BlueberryError(message)


class Range(NamedTuple):
    """The least and the largest value that a number may have, and the words that say so."""

    low: float
    high: float
    words: str


Count = Annotated[int, Range(1, 10**12, "at least 1 and at most 10¹²")]
Whole = Annotated[int, Range(0, 10**12, "at least 0 and at most 10¹²")]
Seed = Annotated[int, Range(0, 2**32 - 1, "at least 0 and below 2³²")]
Share = Annotated[float, Range(0, 1, "from 0 to 1")]
Decay = Annotated[float, Range(0, 1 - 2**-53, "at least 0 and below 1")]
Amount = Annotated[float, Range(0, sys.float_info.max, "at least 0, and finite")]
Positive = Annotated[float, Range(sys.float_info.min, sys.float_info.max, "above 0, and finite")]


def range_of(hint: Any) -> Range | None:
    """The range that stands in a type, which may be optional or a tuple."""
    if isinstance(hint, Range):
        return hint
    return next((found for part in typing.get_args(hint) if (found := range_of(part))), None)


def check_ranges(config: Any) -> None:
    """Raises BlueberryError for a number of a dataclass that is outside the range of its field's type."""
    for name, hint in typing.get_type_hints(type(config), include_extras=True).items():
        value, allowed = getattr(config, name), range_of(hint)
        for number in value if isinstance(value, tuple) else (value,):
            if allowed and number is not None and not allowed.low <= number <= allowed.high:
                raise BlueberryError(f"{name} is {number}; it must be {allowed.words}.")


@dataclass(frozen=True)
class ModelConfig:
    """The shape of a Blueberry transformer."""

    vocab_size: Count = 49_152
    """Entries in the vocabulary."""
    context_length: Count = 2_048
    """Tokens in a training sequence, and the most the model can look back on."""
    n_layers: Count = 22
    """Transformer blocks."""
    d_model: Count = 512
    """Width of the residual stream."""
    n_heads: Count = 8
    """Query heads; each is d_model / n_heads wide."""
    n_kv_heads: Count = 4
    """Key and value heads; n_heads / n_kv_heads query heads share one (grouped-query attention)."""
    d_ff: Count = 2_048
    """Hidden width of the feed-forward layer, or of one expert."""
    feed_forward: Literal["relu2", "swiglu"] = "relu2"
    """Squared ReLU (two matrices) or SwiGLU (three)."""
    n_experts: Whole = 0
    """Feed-forward layers in a block, of which a router chooses for each token; 0: one, and no router."""
    experts_per_token: Count = 2
    """Experts that each token uses, where there are any; with 1 the router would not learn."""
    tied: bool = True
    """Whether the output head is the embedding matrix."""
    embedding: Literal["scaled", "plain", "normed"] = "scaled"
    """What happens to a token's embedding: times sqrt(d_model), nothing, or an RMSNorm without gain."""
    zero_init: bool = False
    """Whether the matrices that write into the residual stream start at zero, not at std 0.02."""
    value_residual: bool = False
    """Whether every layer mixes the first layer's values into its own, by a learned share."""
    key_offset: bool = False
    """Whether half of the key heads hold the key of the token before, so that a single layer can look up what came
    after an earlier occurrence of the present token."""
    copy_head: bool = False
    """Whether a share of each prediction is copied from the tokens that followed earlier states like the present."""
    soft_cap: Amount = 0.0
    """Logits are soft_cap * tanh(logits / soft_cap); 0 leaves them alone."""
    rope_base: Positive = 10_000.0
    """Base of the rotary position angles."""

    def __post_init__(self) -> None:
        check_ranges(self)
        require(
            self.d_model % (2 * self.n_heads) == 0,
            f"d_model {self.d_model} over n_heads {self.n_heads} must give a whole, even head width "
            "(rotary positions turn pairs of entries).",
        )
        multiple = self.n_heads % self.n_kv_heads == 0
        require(multiple, f"n_heads {self.n_heads} must be a multiple of n_kv_heads {self.n_kv_heads}.")
        require(
            not self.key_offset or self.n_kv_heads % 2 == 0,
            f"key_offset moves half of the key heads; n_kv_heads {self.n_kv_heads} must be even.",
        )
        require(
            self.n_experts == 0 or self.experts_per_token <= self.n_experts,
            f"experts_per_token is {self.experts_per_token}; it must be at most n_experts, {self.n_experts}.",
        )

    @property
    def head_dim(self) -> int:
        return self.d_model // self.n_heads


@dataclass(frozen=True)
class ScheduleConfig:
    """How the learning rates move over a run, as a factor on each optimizer's own rate."""

    kind: Literal["constant", "linear", "cosine", "wsd"] = "constant"
    """constant; linear or cosine from 1 to the floor; wsd: warm up, stay at 1, then decay linearly."""
    warmup: Share = 0.0
    """Share of the steps over which the factor rises linearly to 1."""
    decay: Share = 0.65
    """wsd only: share of the steps, at the end, over which the factor falls to the floor."""
    floor: Share = 0.0
    """The factor at the last step."""
    first_step_zero: bool = False
    """Waste the first step at rate 0, as the original records did through a rounding fault."""

    __post_init__ = check_ranges


@dataclass(frozen=True)
class OptimizerConfig:
    """Muon for the matrices inside the blocks, AdamW for everything else."""

    muon_lr: Amount = 0.024
    """Muon's learning rate; before the shape factor sqrt(max(1, rows / columns))."""
    muon_momentum: Decay = 0.95
    """Nesterov momentum of Muon."""
    muon_weight_decay: Amount = 0.0
    """Decoupled weight decay on Muon's matrices."""
    orthogonalize: Literal["newton_schulz", "polar_express"] = "polar_express"
    """The iteration that replaces a matrix by its nearest orthogonal one."""
    orthogonalize_steps: Count = 5
    """Iterations of it."""
    merged_qkvo: bool = False
    """Whether Muon treats each layer's query, key, value and output matrices as one tall matrix."""
    adamw_lr: Amount = 0.006
    """AdamW's learning rate."""
    embedding_lr: Amount | None = None
    """AdamW's learning rate for the embedding (and an untied head), when it differs."""
    betas: tuple[Decay, Decay] = (0.9, 0.999)
    """Decay rates of AdamW's two moments."""
    adamw_weight_decay: Amount = 0.2
    """Decoupled weight decay on AdamW's parameters."""
    fused: bool = True
    """Whether AdamW runs as one fused kernel."""
    clip_norm: Positive | None = 1.0
    """Largest norm of all gradients together; larger ones are scaled down to it."""

    __post_init__ = check_ranges


@dataclass(frozen=True)
class TrainConfig:
    """One training run, from corpus to record."""

    model: ModelConfig = field(default_factory=ModelConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    data: str = "stdlib"
    """Corpus: stdlib, docs, text:GLOB or tokens:DIR; from the Hub blueberry, blueberry:40M, smollm-mix or
    hub:NAME[:CONFIG[:SPLIT[:COLUMN]]]."""
    tokenizer: str | None = None
    """Path of a tokenizer.json; unset: a byte-level BPE is trained on the corpus."""
    train_tokens: Count = 2**20
    """Tokens to train on, at most: whole contexts, the last step trimmed to the budget."""
    validation_tokens: Count = 131_072
    """Tokens to evaluate on; the same ones whatever the batch size."""
    target_loss: Positive | None = None
    """Stop at the first evaluation whose loss, averaged with the one before, is this low; takes eval_every."""
    passes: Count = 1
    """Times that the training tokens are read: the first train_tokens / passes of the corpus, each time in another
    order."""
    batch_size: Count = 16
    """Sequences in one forward and backward pass."""
    accumulation: Count = 1
    """Passes whose gradients are added up before an optimizer step."""
    contexts: tuple[Count, ...] = ()
    """A curriculum: training context lengths, one after another over equal shares of the tokens, each a divisor of
    the model's; tokens a step stay the same. Unset: the model's throughout. Evaluation is always at the model's."""
    weights: Literal["float32", "bfloat16"] = "float32"
    """Dtype in which the weights and the optimizers' state are kept."""
    seed: Seed = 0
    """Seed of the weights and of the order of the data."""
    eval_every: Whole = 0
    """Steps between evaluations; 0: only at the end."""
    checkpoint_every: Count = 100
    """Steps between checkpoints."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to train; auto: CUDA, then MPS, then the CPU."""
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Dtype of the matrix products; auto: what this machine is fast at (see doctor)."""
    compile: Literal["auto", "yes", "no"] = "auto"
    """torch.compile; auto: on CUDA only (on a CPU it costs half a minute and gains nothing clear)."""
    track: str = "pocket"
    """The track whose rules the run follows; changing what a track fixes makes the run unofficial."""
    recipe: str = "best"
    """The recipe the defaults come from."""

    def __post_init__(self) -> None:
        check_ranges(self)
        for length in self.contexts:
            require(
                self.model.context_length % length == 0,
                f"a training context is {length}; each must divide the model's, {self.model.context_length}.",
            )
        require(
            self.target_loss is None or self.eval_every > 0,
            "target_loss stops a run at an evaluation; say how often there is one, such as eval_every 16.",
        )

    @property
    def tokens_per_step(self) -> int:
        return self.batch_size * self.accumulation * self.model.context_length

    @property
    def windows(self) -> int:
        """Sequences of the model's context in the budget."""
        return max(1, self.train_tokens // self.passes // self.model.context_length) * self.passes

    @property
    def total_steps(self) -> int:
        return -(-self.windows // (self.batch_size * self.accumulation))

    @property
    def tokens(self) -> int:
        """Tokens that a whole run trains on."""
        return self.windows * self.model.context_length


def blueberry_88m() -> ModelConfig:
    """The model of the original records from r2 on: 88,630,528 parameters."""
    return ModelConfig()


def blueberry_151m() -> ModelConfig:
    """The original's first model, 32 layers with SwiGLU: 151,032,320 parameters."""
    return ModelConfig(n_layers=32, feed_forward="swiglu")


def pocket() -> ModelConfig:
    """What two CPU cores train in about a minute: 1,246,592 parameters."""
    return ModelConfig(vocab_size=4_096, context_length=256, n_layers=4, d_model=128, n_heads=4, n_kv_heads=2, d_ff=512)


def from_dict(cls: type, values: dict[str, Any]) -> Any:
    """Rebuild a config, nested ones included, from the JSON form of ``dataclasses.asdict``."""
    hints = typing.get_type_hints(cls)
    unknown = set(values) - {f.name for f in dataclasses.fields(cls)}
    require(
        not unknown,
        f"{cls.__name__} has no field {sorted(unknown)}; was it written by another version of blueberry_lib?",
    )
    built = {}
    for name, value in values.items():
        if dataclasses.is_dataclass(hints[name]):
            value = from_dict(hints[name], value)
        built[name] = tuple(value) if isinstance(value, list) else value
    return cls(**built)
