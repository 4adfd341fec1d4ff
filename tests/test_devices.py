"""No model mixes its device with the CPU, seen without another device: on one that only pretends to compute.

Torch's fake tensors have a shape, a dtype and a device, and no values. Where code would bring together tensors of two
devices they raise, as a GPU would. What needs values (a truth, a number, a count) is given some by hand.
"""

import subprocess
import sys

import pytest
import torch.utils.backend_registration as backends

SCRIPT = """
import sys
from dataclasses import replace
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend as pretend

module = type(sys)("torch.pretended")
module.get_amp_supported_dtype = lambda: [torch.bfloat16]
module.manual_seed_all = lambda seed: None
module._is_in_bad_fork = module.is_initialized = module.is_available = lambda: False
pretend("pretended", module)
DEVICE = "pretended"

from blueberry_lib.config import ModelConfig, OptimizerConfig
from blueberry_lib.generation import generate
from blueberry_lib.images.diffusion_transformer import DiT2D, DiTConfig
from blueberry_lib.images.flow_matching import TIMES, drop_labels, flow_loss, sample
from blueberry_lib.images.multimodal import Multimodal
from blueberry_lib.images.multimodal_training import DIGITS
from blueberry_lib.images.vqvae import VQVAE, VQVAEConfig
from blueberry_lib.model import Blueberry
from blueberry_lib.optim.hybrid import build_optimizers
from blueberry_lib.training.average import Averaged


def there(model):
    for part in model.modules():
        for tensors in (part._parameters, part._buffers):
            for name, old in tensors.items():
                if old is not None:
                    new = torch.empty(old.shape, dtype=old.dtype, device=DEVICE)
                    trained = isinstance(old, nn.Parameter)
                    tensors[name] = nn.Parameter(new, old.requires_grad) if trained else new
    return model


def step(model, loss):
    loss.backward()
    for optimizer in build_optimizers(model, OptimizerConfig(), torch.bfloat16):
        optimizer.step()


real = torch.tensor


def tensor(data, device=None, dtype=None):
    made = real(data, dtype=dtype)
    return torch.zeros(made.shape, dtype=made.dtype, device=device)


torch.tensor = tensor
Tensor.new_tensor = lambda self, data: tensor(data, self.device)
Tensor.bincount = lambda self, minlength: torch.zeros(minlength, dtype=torch.int64, device=self.device)
Tensor.__bool__ = lambda self: True
Tensor.__int__ = lambda self: 1
FakeTensor.tolist = lambda self: [1] * len(self)

with FakeTensorMode():
    try:
        torch.arange(3) + torch.arange(3, device=DEVICE)
    except RuntimeError as error:
        assert "at least two devices" in str(error), error
    else:
        raise AssertionError("two devices were mixed and nothing was said")

    tokens = torch.randint(9, (2, 8), device=DEVICE)
    small = replace(DIGITS, key_offset=True, value_residual=True, soft_cap=15.0)
    for config in (small, replace(small, feed_forward="swiglu", tied=False, n_kv_heads=2, embedding="normed")):
        language = there(Blueberry(config))
        step(language, language(tokens, tokens))
        generate(language, [[1, 2, 3], [4]], 4)

    images, labels = torch.randn(8, 1, 8, 8, device=DEVICE), torch.randint(10, (8,), device=DEVICE)
    flow = there(Averaged(DiT2D(DiTConfig())))
    for times in TIMES.values():
        step(flow.model, flow_loss(lambda x, t: flow(x, t, drop_labels(labels, 0.1, 10)), images, times))
    flow.update()
    assert sample(flow.average, torch.arange(10), 2, guidance=2.0)[0].device.type == "cpu"

    kinds = {"ema": {}, "gradient": {}, "fsq": {"levels": (4, 4, 4), "code_dim": 3}}
    for kind, settings in kinds.items():
        tokenizer = there(VQVAE(VQVAEConfig(quantizer=kind, **settings)))
        reconstruction, found, loss = tokenizer(images)
        (reconstruction.mean() + loss).backward()
        tokenizer.decode(tokenizer.tokens(images))
        if kind != "fsq":
            tokenizer.quantizer.kmeans_start(tokenizer.encoder(images).movedim(1, -1))

    model = there(Multimodal(DIGITS, 64, 4))
    ids = torch.randint(1, 400, (8, 9 + 16 + 2), device=DEVICE)
    step(model.transformer, model.loss(model(ids, noise=0.1), ids, 0.1))
    for settings in ({"guidance": 2.0}, {"masked": False, "top_k": 3}, {"cached": False}):
        ids = model.sample([[0, 5, model.seg_start], [0, model.seg_start]], **settings)
    model.well_formed(ids, 0), model.tokens(ids)
print("all on one device")
"""


@pytest.mark.skipif(not hasattr(backends, "_setup_privateuseone_for_python_backend"), reason="needs torch 2.9 or newer")
def test_models_stay_on_their_device():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True)
    assert done.stdout.strip().endswith("all on one device"), done.stderr[-3000:]
