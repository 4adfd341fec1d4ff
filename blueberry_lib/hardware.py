"""What this machine can do: device, compute dtype, memory, peak rate and price."""

import ctypes
import functools
import os
import platform
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from blueberry_lib.config import BlueberryError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

# Dense 16-bit tensor-core FLOP/s from the makers' data sheets, and dollars an hour: typical on-demand prices
# of 2025, to be replaced by your own with BLUEBERRY_PRICE_PER_HOUR.
KNOWN_GPUS = {
    "H200": (989e12, 3.59),
    "H100": (989e12, 2.69),
    "A100": (312e12, 1.64),
    "L40S": (362e12, 0.86),
    "L4": (121e12, 0.71),
    "RTX 5090": (209e12, 0.69),
    "RTX 4090": (165e12, 0.34),
    "RTX 3090": (71e12, 0.22),
    "V100": (125e12, 0.70),
    "T4": (65e12, 0.35),
}
CPU_FLAGS = ("avx2", "avx512", "avx512_bf16", "amx_tile")  # what the speed and the rounding of products hang on
CPU_UTILISATION = {torch.float32: 0.55, torch.bfloat16: 0.28}  # share of the peak, on pocket, two cores
PROFILES = ("smoke", "cpu", "t4", "gpu")
CPU_CORE_PRICE = 0.045  # dollars an hour for one virtual core, a compute-optimized cloud machine, 2025


@dataclass(frozen=True)
class Hardware:
    """A device and the numbers that a run needs to know about it."""

    device: str
    """"cpu", "cuda" or "mps"."""
    name: str
    cores: int
    memory_bytes: int | None
    compute_dtype: torch.dtype
    """The dtype matrix products are fastest in here without losing the run."""
    peak_flops: float | None
    """FLOP/s of 16-bit matrix products: from the data sheet on a GPU, measured on a CPU; None if unknown."""
    price_per_hour: float | None
    """Dollars; None if unknown."""

    def about(self, flops: float) -> str:
        """How long training of so many FLOP will take, in words; "" where nobody has measured it."""
        rate = CPU_UTILISATION.get(self.compute_dtype) if self.device == "cpu" else None
        if not rate or not self.peak_flops:
            return ""
        seconds = flops / (rate * self.peak_flops)
        return f"about {seconds:.0f} s" if seconds < 90 else f"about {seconds / 60:.0f} min"

    def summary(self) -> dict:
        """The fields as plain JSON values, and those instructions of CPU_FLAGS that the processor has."""
        flags = [flag for flag in CPU_FLAGS if getattr(torch.cpu, f"_is_{flag}_supported", bool)()]
        return {**self.__dict__, "compute_dtype": str(self.compute_dtype).removeprefix("torch."), "flags": flags}


def autocast(device: str, dtype: torch.dtype) -> torch.autocast:
    """The context in which matrix products run in ``dtype``; for float32 it does nothing."""
    return torch.autocast(device, dtype, enabled=dtype != torch.float32)


def compute_dtype(x: torch.Tensor) -> torch.dtype:
    """The dtype of matrix products with ``x``: autocast's where it is on, else ``x``'s own."""
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype


def pick_device(wanted: str = "auto") -> str:
    """Resolve "auto", and refuse a device that is not there."""
    available = ["cpu"]
    if torch.backends.mps.is_available():
        available.insert(0, "mps")
    if torch.cuda.is_available():
        available.insert(0, "cuda")
    if wanted == "auto":
        return available[0]
    if wanted not in available:
        raise BlueberryError(
            f"device {wanted!r} is not usable here; available: {', '.join(available)}. "
            "A CPU build of torch sees no GPU: see https://pytorch.org/get-started."
        )
    return wanted


def fast_dtype(device: str, capability: tuple[int, int] | None = None) -> torch.dtype:
    """The compute dtype for a device.

    CUDA: bfloat16 from capability 8.0 on, float16 on 7.x, else float32. ``torch.cuda.is_bf16_supported()`` is not
    asked: it says yes on a T4, where bfloat16 is emulated. CPU: bfloat16 only with AVX512-BF16 or AMX, since elsewhere
    it is tens of times slower than float32. MPS: float32.
    """
    if device == "cuda":
        major = (capability or torch.cuda.get_device_capability())[0]
        return torch.bfloat16 if major >= 8 else torch.float16 if major == 7 else torch.float32
    if device == "cpu":
        has_bf16 = [
            getattr(torch.cpu, probe, bool)() for probe in ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        ]
        return torch.bfloat16 if any(has_bf16) else torch.float32
    return torch.float32


@functools.lru_cache
def measured_matmul_rate(device: str, dtype: torch.dtype, size: int = 1024, seconds: float = 0.2) -> float:
    """FLOP/s of a square matrix product, the best of those that fit into ``seconds``."""
    a = torch.ones(size, size, device=device, dtype=dtype)
    best, end = 0.0, time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        a @ a
        synchronize(device)
        best = max(best, 2 * size**3 / (time.perf_counter() - start))
    return best


def synchronize(device: str) -> None:
    """Wait for the work queued on the device, without which a clock measures only its queueing."""
    if device == "cuda":
        torch.cuda.synchronize()
    elif device == "mps":
        torch.mps.synchronize()


def keep_freed_memory() -> None:
    """Tell glibc to keep freed blocks up to 32 MiB instead of giving them back to the kernel.

    A training step frees and asks for the same activations again and again; the page faults of fetching them anew took
    a third of the pocket model's step. Does nothing where the C library is not glibc.
    """
    if platform.libc_ver()[0] == "glibc":
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(-3, 32 * 2**20)  # M_MMAP_THRESHOLD
        mallopt(-1, 2**30)  # M_TRIM_THRESHOLD


def _cpu_name() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def _price(known: float | None) -> float | None:
    override = os.environ.get("BLUEBERRY_PRICE_PER_HOUR")
    if override is None:
        return known
    try:
        return float(override)
    except ValueError:
        raise BlueberryError(
            f"BLUEBERRY_PRICE_PER_HOUR is {override!r}; expected dollars as a number, such as 0.34."
        ) from None


def detect(device: str = "auto", precision: str = "auto") -> Hardware:
    """Describe the device a run will use. Raises BlueberryError where it is not there."""
    device = pick_device(device)
    dtype = fast_dtype(device) if precision == "auto" else DTYPES[precision]
    if device == "cpu" and dtype == torch.float16:
        raise BlueberryError("float16 training needs a GPU; on a CPU use --precision float32 or bfloat16.")
    if device == "cuda":
        properties = torch.cuda.get_device_properties(0)
        peak, price = next((v for k, v in KNOWN_GPUS.items() if k in properties.name), (None, None))
        name, cores, memory = properties.name, properties.multi_processor_count, properties.total_memory
    else:
        name, cores = _cpu_name(), torch.get_num_threads()
        known = hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if known else None
        peak = measured_matmul_rate(device, dtype)
        price = CPU_CORE_PRICE * cores if device == "cpu" else None
    return Hardware(device, name, cores, memory, dtype, peak, _price(price))


def profile(hardware: Hardware) -> str:
    """The size at which notebooks run: smoke, cpu, t4 or gpu; BLUEBERRY_PROFILE, else by the hardware."""
    chosen = os.environ.get("BLUEBERRY_PROFILE")
    if chosen is None:
        small = hardware.compute_dtype != torch.bfloat16  # a GPU without bfloat16 is of the T4's time
        return "cpu" if hardware.device != "cuda" else "t4" if small else "gpu"
    if chosen not in PROFILES:
        raise BlueberryError(f"BLUEBERRY_PROFILE is {chosen!r}; expected one of {', '.join(PROFILES)}.")
    return chosen
