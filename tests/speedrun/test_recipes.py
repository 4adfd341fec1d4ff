"""Recipes are what their names say, inside their tracks' rules."""

import subprocess
import sys
from dataclasses import asdict

import pytest

from blueberry_lib.config import BlueberryError
from blueberry_lib.model.size import n_params
from blueberry_lib.speedrun.recipes import DIFFERENCES, RECIPES, get_recipe
from blueberry_lib.speedrun.tracks import TRACKS, deviations


def test_r4_is_the_originals_field_by_field():
    config = get_recipe("r4", "8M")
    assert asdict(config.optimizer) == {
        "muon_lr": 0.024,
        "muon_momentum": 0.95,
        "muon_weight_decay": 0.0,
        "orthogonalize": "polar_express",
        "orthogonalize_steps": 5,
        "merged_qkvo": False,
        "adamw_lr": 0.006,
        "embedding_lr": None,
        "betas": (0.9, 0.999),
        "adamw_weight_decay": 0.2,
        "fused": True,
        "clip_norm": 1.0,
    }
    assert config.schedule.kind == "constant" and config.schedule.first_step_zero
    assert config.model.embedding == "scaled" and n_params(config.model) == 88_630_528
    assert config.tokens_per_step == 8 * 2048 and config.total_steps == 489
    pocket = get_recipe("r4", "pocket")
    assert pocket.tokens_per_step == 16 * 256 and pocket.optimizer == config.optimizer


def flat(config) -> dict:
    """A config's fields, those of its parts as part.field."""
    fields = asdict(config)
    for part in ("model", "optimizer", "schedule"):
        fields |= {f"{part}.{name}": value for name, value in fields.pop(part).items()}
    return fields


def changed(before: str, after: str, track: str) -> dict:
    a, b = flat(get_recipe(before, track)), flat(get_recipe(after, track))
    return {name: (a[name], b[name]) for name in a if a[name] != b[name] and name != "recipe"}


def test_each_recipe_of_the_history_is_its_one_difference_from_the_one_before():
    assert changed("r0", "r1", "8M") == {
        "model.n_layers": (32, 22),
        "optimizer.muon_lr": (0.015, 0.024),
        "optimizer.adamw_lr": (0.001, 0.006),
        "batch_size": (4, 8),
    }
    assert changed("r1", "r2", "8M") == {"model.feed_forward": ("swiglu", "relu2")}
    assert changed("r2", "r3", "8M") == {"optimizer.orthogonalize": ("newton_schulz", "polar_express")}
    assert changed("r3", "r4", "8M") == {"optimizer.fused": (False, True)}
    assert changed("r4", "r5", "8M") == {"weights": ("float32", "bfloat16")}
    assert changed("r5", "r6", "8M") == {"optimizer.merged_qkvo": (False, True)}
    assert changed("r0", "r1", "pocket") == changed("r0", "r1", "8M") | {
        "model.n_layers": (6, 4),
        "batch_size": (8, 16),
    }


def test_parameter_counts_are_the_published_ones():
    counts = {name: n_params(get_recipe(name, "8M").model) for name in RECIPES}
    assert counts.pop("r0") == 151_032_320
    assert counts.pop("r1") == 111_699_200
    best = counts.pop("best")
    assert set(counts.values()) == {88_630_528} and 0 < best - 88_630_528 < 70_000
    assert n_params(get_recipe("r4", "pocket").model) == 1_246_592


def test_leaving_out_a_difference_changes_that_one_alone():
    touched = [set(changed("best", f"best-without-{name.replace(' ', '-')}", "8M")) for name in DIFFERENCES]
    assert all(touched)
    assert sum(map(len, touched)) == len(set.union(*touched)), "two differences touch the same field"
    everything = changed("r4", "best", "8M")
    assert set.union(*touched) == set(everything)
    with pytest.raises(BlueberryError, match="no difference 'luck'"):
        get_recipe("best-without-luck", "8M")
    two = changed("best", "best-without-zero-init+embedding", "8M")
    assert set(two) == touched[list(DIFFERENCES).index("zero init")] | touched[list(DIFFERENCES).index("embedding")]


def test_recipes_keep_the_rules_of_the_tracks_where_they_rank():
    for recipe in RECIPES:
        for track in TRACKS.values():
            broken = deviations(get_recipe(recipe, track.name))
            for_151m = track.name in ("loss-4.5", "loss-3.5")
            official = recipe in ("r0", "best") if for_151m else recipe not in ("r0", "r1") or track.repeated
            assert (broken == []) is official, (recipe, track.name, broken)
            assert official or all("parameters" in rule for rule in broken)


def test_the_last_step_is_trimmed_to_the_budget():
    for recipe in RECIPES:
        for track in TRACKS:
            config = get_recipe(recipe, track)
            tokens = config.tokens
            assert 0 <= config.train_tokens - tokens < config.model.context_length
            assert 0 <= config.total_steps * config.tokens_per_step - tokens < config.tokens_per_step
    assert get_recipe("r4", "8M").total_steps == 489


def test_unknown_names_are_refused():
    with pytest.raises(BlueberryError, match="expected one of r0"):
        get_recipe("r99", "pocket")
    with pytest.raises(BlueberryError, match="expected one of pocket"):
        get_recipe("r4", "7M")


STEP = """
import sys, torch
from dataclasses import replace
from blueberry_lib.hardware import detect, keep_freed_memory
from blueberry_lib.model import Blueberry
from blueberry_lib.optim.hybrid import build_optimizers
from blueberry_lib.speedrun.recipes import get_recipe
keep_freed_memory()
for name in sys.argv[1:]:
    config, dtype = get_recipe(name, "8M"), detect("cpu").compute_dtype
    model = Blueberry(replace(config.model, n_layers=2))
    if config.weights == "bfloat16":
        for p in model.parameters():
            p.data = p.data.bfloat16()
    tokens = torch.randint(49_152, (1, 9))
    with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        loss = model(tokens[:, :-1], tokens[:, 1:])
    loss.backward()
    before = model.blocks[0].attention.output.weight.detach().clone()
    for optimizer in build_optimizers(model, config.optimizer, dtype):
        optimizer.step()
    assert 9 < loss.item() < 14 and not torch.equal(before, model.blocks[0].attention.output.weight), name
    print(name, loss.item())
"""


def test_at_full_size_every_recipe_builds_and_two_of_its_layers_take_a_step_on_a_cpu():
    done = subprocess.run([sys.executable, "-c", STEP, *RECIPES], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(done.stdout.splitlines()) == len(RECIPES)
