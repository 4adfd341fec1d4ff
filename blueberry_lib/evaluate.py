"""Benchmarks by name, through EleutherAI's lm-eval: its tasks and metrics, our model (Biderman et al., 2024)."""

import itertools
import json
import logging
from collections.abc import Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer

from blueberry_lib.config import BlueberryError
from blueberry_lib.data.tokens import END_OF_TEXT
from blueberry_lib.generation import generate
from blueberry_lib.hardware import autocast, detect
from blueberry_lib.model import Blueberry
from blueberry_lib.ranking import continuations
from blueberry_lib.speedrun.run import load_run, run_tokenizer
from blueberry_lib.training.folder import write_json

ROWS = 32
NEEDED = "Benchmarks need lm-eval: pip install 'blueberry-lib[eval]'."


def language_model(model: Blueberry, tokenizer: Tokenizer, device: str = "cpu", dtype: torch.dtype = torch.float32):
    """An ``lm_eval.api.model.LM`` that answers with ``model``. Raises BlueberryError without lm-eval."""
    try:
        from lm_eval.api.model import TemplateLM
        from lm_eval.utils import get_rolling_token_windows, make_disjoint_window
    except ImportError:
        raise BlueberryError(NEEDED) from None
    limit, end = model.config.context_length, tokenizer.token_to_id(END_OF_TEXT)

    class BlueberryLM(TemplateLM):
        eot_token_id = end

        def tok_encode(self, string: str, add_special_tokens: bool | None = None, **kwargs) -> list[int]:
            return tokenizer.encode(string, add_special_tokens=False).ids

        def _loglikelihood_tokens(self, requests, disable_tqdm: bool = False, **kwargs) -> list[tuple[float, bool]]:
            with autocast(device, dtype):
                found = continuations(model, [(context, continuation) for _, context, continuation in requests])
            answers = [(log_p.double().sum().item(), greedy) for log_p, greedy in found]
            for (texts, *_), answer in zip(requests, answers, strict=True):
                if texts is not None:
                    self.cache_hook.add_partial("loglikelihood", texts, answer)
            return answers

        def loglikelihood_rolling(self, requests, disable_tqdm: bool = False) -> list[float]:
            totals = []
            for (text,) in (request.args for request in requests):
                windows = get_rolling_token_windows(self.tok_encode(text), end, limit, context_len=1)
                parts = [(None, *make_disjoint_window(window)) for window in windows]
                totals.append(sum(log_p for log_p, _ in self._loglikelihood_tokens(parts)))
                self.cache_hook.add_partial("loglikelihood_rolling", (text,), totals[-1])
            return totals

        def generate_until(self, requests, disable_tqdm: bool = False) -> list[str]:
            """Greedy, unless a task asks for samples; half of the model's context at most is written anew."""
            answers: list = [None] * len(requests)
            settings = [json.dumps(request.args[1], sort_keys=True) for request in requests]
            order = sorted(range(len(requests)), key=settings.__getitem__)
            for asked, group in itertools.groupby(order, settings.__getitem__):
                wanted, group = json.loads(asked), list(group)
                until = wanted.get("until") or []
                until = [until] if isinstance(until, str) else until
                new = min(wanted.get("max_gen_toks", 256), limit // 2)
                sampled = {"temperature": wanted.get("temperature", 1.0) if wanted.get("do_sample") else 0.0}
                for rows in (group[i : i + ROWS] for i in range(0, len(group), ROWS)):
                    prompts = [(self.tok_encode(requests[i].args[0]) or [end])[new - limit :] for i in rows]
                    with autocast(device, dtype):
                        written = generate(model, prompts, new, stop_tokens={end}, **sampled)
                    for i, ids in zip(rows, written, strict=True):
                        text = tokenizer.decode(ids)
                        answers[i] = text[: min([text.find(stop) for stop in until if stop in text], default=None)]
                        self.cache_hook.add_partial("generate_until", requests[i].args, answers[i])
            return answers

    return BlueberryLM()


def evaluate(
    folder: Path,
    tasks: Sequence[str],
    limit: int | None = None,
    num_fewshot: int | None = None,
    device: str = "auto",
    include: Path | None = None,
    cache: Path | None = None,
) -> dict:
    """lm-eval's results of a run on ``tasks``, its names or task files; also written to evaluation.json in the run.

    ``limit`` takes the first so many questions of each task; ``include`` is a folder of one's own task files; ``cache``
    a file that keeps answers. Raises BlueberryError without lm-eval and for tasks that cannot be loaded.
    """
    try:
        import lm_eval
        from lm_eval.tasks import TaskManager
    except ImportError:
        raise BlueberryError(NEEDED) from None
    hardware = detect(device)
    model, config = load_run(folder, hardware.device)
    tokenizer = run_tokenizer(folder, None, config.model.vocab_size)
    lm = language_model(model, tokenizer, hardware.device, hardware.compute_dtype)
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    try:
        manager = TaskManager(include_path=include and str(include))
        loaded = manager.load(list(tasks))
    except Exception as error:  # a name that is not there, no network, a broken file: of a dozen types
        raise BlueberryError(
            f"lm-eval cannot load {', '.join(tasks)} ({type(error).__name__}: {str(error)[:200]}). Its own tasks are "
            "downloaded from the Hub; --include FOLDER adds task files of your own, which need no network."
        ) from None
    found = lm_eval.simple_evaluate(
        lm, tasks=[*loaded["tasks"].values()], task_manager=manager, limit=limit, num_fewshot=num_fewshot,
        use_cache=cache and str(cache), log_samples=False, bootstrap_iters=1000,
    )  # fmt: skip
    names = ("results", "n-shot", "n-samples", "versions", "higher_is_better")
    kept = {"lm_eval": lm_eval.__version__, "limit": limit, **{name: found[name] for name in names}}
    write_json(folder / "evaluation.json", kept)
    return kept
