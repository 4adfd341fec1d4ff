"""One run in several processes, as ``torchrun`` starts them: data in parallel, Muon's matrices shared out.

Every process holds the whole model, reads its rows of each batch and averages its gradients with the others'. Momenta
are everywhere; of the orthogonalizations, which are what Muon costs, each process does its share and gathers the rest.
So all hold the same state after each step: the first writes it, and any number of processes can go on from it. In a
single process the functions here hand back what they are given.
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from blueberry_lib.config import BlueberryError
from blueberry_lib.data.batches import Batches
from blueberry_lib.hardware import Hardware
from blueberry_lib.optim.muon import Muon
from blueberry_lib.training import Interrupted
from blueberry_lib.training.checkpoint import Checkpoints

PATIENCE = timedelta(minutes=1)  # for which a process waits for the others
_store: dist.Store | None = None


def ranks() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def launcher() -> str:
    return f"torchrun --nproc-per-node {ranks()}" if ranks() > 1 else "python"


@contextlib.contextmanager
def processes() -> Iterator[None]:
    """Join the processes that ``torchrun`` started, if it did. The first alone speaks, but for an error: the first that
    meets it."""
    global _store
    if int(os.environ.get("WORLD_SIZE", 1)) == 1:
        yield
        return
    backend = "gloo"
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        backend = "cpu:gloo,cuda:nccl"
    _store, own, world = next(dist.rendezvous("env://"))
    group = {"store": dist.PrefixStore("group", _store), "rank": own, "world_size": world, "timeout": PATIENCE}
    dist.init_process_group(backend, **group)
    try:
        with open(os.devnull, "w") as nowhere, contextlib.ExitStack() as muted:
            for mute in (contextlib.redirect_stdout, contextlib.redirect_stderr) if own else ():
                muted.enter_context(mute(nowhere))
            yield
    except BaseException as error:
        said = own > 0 and isinstance(error, Interrupted)
        with contextlib.suppress(RuntimeError):  # the store may be gone with the process that held it
            said = said or _store.add("said", 1) > 1
        if said:
            os._exit(0)  # torchrun lets the one that speaks finish
        raise
    dist.destroy_process_group()


@contextlib.contextmanager
def telling(folder: Path, words: str) -> Iterator[None]:
    """Say in one line that another process is gone, and how to go on with the command ``words``."""
    try:
        yield
    except RuntimeError as error:
        if ranks() == 1 or not (isinstance(error, dist.DistError) or "gloo" in str(error).lower()):
            raise
        kept = any(folder.glob("checkpoints/step-*"))
        advice = f"To go on: {launcher()} -m blueberry_lib {words} --resume {folder}"
        raise BlueberryError(
            f"one of the {ranks()} processes ended, or did not answer for {PATIENCE.seconds} s, and so all stop. "
            + (advice if kept else "There was no checkpoint yet.")
        ) from None


def first(name: str, make: Callable[[], str]) -> str:
    """What ``make`` gives in the first process, for which the others wait as long as it takes."""
    if ranks() == 1:
        return make()
    if rank() == 0:
        _store.set(name, make())
    _store.wait([name], timedelta(days=1))
    return _store.get(name).decode()


def checkpoints(folder: Path) -> Checkpoints:
    """A run's checkpoints; only the first process writes any."""
    found = Checkpoints(folder)
    if rank() > 0:
        found.save = lambda *_: None
    return found


class Share:
    """This process's rows of each batch, rank, rank + ranks, …, and what their mean loss counts for: 1, unless they
    cannot be shared out evenly. All else, the position too, is the whole's."""

    def __init__(self, whole: Batches, draw: Callable[[tuple], tuple]) -> None:
        if whole.batch_size < ranks():
            raise BlueberryError(f"{whole.batch_size} sequences cannot be shared among {ranks()} processes.")
        self.whole, self.draw = whole, draw

    def __getattr__(self, name: str):
        return getattr(self.whole, name)

    def __iter__(self) -> Iterator[tuple]:
        return map(self.own, self.whole)

    def rehearsal(self) -> list[tuple]:
        return [self.own(batch) for batch in self.whole.rehearsal()]

    def own(self, batch: tuple[Tensor, ...]) -> tuple:
        batch = self.draw(batch)
        mine, rows = [t[rank() :: ranks()] for t in batch], len(batch[0])
        share = len(mine[0]) * ranks() / rows
        return *(mine if share else [t[:1] for t in batch]), share


def add_up(tensor: Tensor) -> Tensor:
    """The sum over all processes."""
    if ranks() > 1:
        dist.all_reduce(tensor := tensor.clone())
    return tensor


def agree(received: list[int]) -> list[int]:
    """A signal that any process has received, in each."""
    loudest = torch.tensor([max(received, default=0)])
    dist.all_reduce(loudest, dist.ReduceOp.MAX)
    return [n for n in loudest.tolist() if n]


def shared(orthogonalize: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """``orthogonalize`` of (N, rows, columns), N / ranks of them in each process."""

    def parts(matrices: Tensor, steps: int, dtype: torch.dtype | None) -> Tensor:
        each = -(-len(matrices) // ranks())
        padded = torch.cat([matrices, matrices.new_zeros(each * ranks() - len(matrices), *matrices.shape[1:])])
        own = orthogonalize(padded[rank() * each :][:each], steps, dtype).contiguous()
        dist.all_gather(whole := [torch.empty_like(own) for _ in range(ranks())], own)
        return torch.cat(whole)[: len(matrices)]

    return parts


def shared_out(
    model: nn.Module,
    batches: Batches,
    loss_fn: Callable,
    optimizers: list[Optimizer],
    draw: Callable[[tuple], tuple] = lambda batch: batch,
) -> tuple:
    """What ``fit`` takes in each process for the four. The loss is that of the whole batch, as are the gradients: what
    chance adds to a batch, ``draw``, is the same everywhere and is shared out with it."""
    if ranks() == 1:
        return model, batches, lambda model, batch: loss_fn(model, draw(batch)), optimizers
    for muon in optimizers:
        if isinstance(muon, Muon):
            muon.orthogonalize = shared(muon.orthogonalize)
    unused = bool(getattr(getattr(model, "config", None), "n_experts", 0))  # experts to which no row of a share is sent
    parallel = DistributedDataParallel(model, find_unused_parameters=unused)

    def averaged(_: nn.Module, batch: tuple) -> Tensor:
        *own, share = batch
        loss = loss_fn(parallel, own) * share
        return loss + (add_up(loss.detach() / ranks()) - loss.detach())

    return model, Share(batches, draw), averaged, optimizers


def together(hardware: Hardware) -> Hardware:
    """All processes' devices as one, for the record."""
    n, peak, price = ranks(), hardware.peak_flops, hardware.price_per_hour
    name = hardware.name if n == 1 else f"{hardware.name}, {n} processes"
    return replace(
        hardware, name=name, cores=n * hardware.cores, peak_flops=peak and n * peak, price_per_hour=price and n * price
    )
