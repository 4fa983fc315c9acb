"""Recipes: the published one, the short one and overrides."""

from __future__ import annotations

import pytest

from harness.contract import UserError
from pipelines.learned.recipe import (
    RECIPE_2012,
    RECIPE_CODE,
    RecipeOverrides,
    apply_overrides,
    short_recipe,
)
from pipelines.learned.schedule import OneCycle, Plateau, make_schedule


def test_recipe_2012_is_that_of_the_paper():
    assert (
        RECIPE_2012.batch_size,
        RECIPE_2012.momentum,
        RECIPE_2012.weight_decay,
        RECIPE_2012.lr,
    ) == (128, 0.9, 0.0005, 0.01)
    assert (RECIPE_2012.epochs, RECIPE_2012.max_drops, RECIPE_2012.init, RECIPE_2012.post_2012) == (
        90,
        3,
        "published",
        (),
    )
    assert isinstance(make_schedule(RECIPE_2012, 10, 100), Plateau)


def test_the_short_recipe_follows_from_the_number_of_images():
    assert isinstance(make_schedule(short_recipe(1000, 32), 10, 100), OneCycle)
    assert (
        short_recipe(100_000, 32).epochs
        <= short_recipe(10_000, 32).epochs
        <= short_recipe(1_000, 32).epochs
    )
    assert (short_recipe(45_000, 32).epochs, short_recipe(1_167, 32).epochs) == (26, 65)
    assert short_recipe(45_000, 32).post_2012 == ("one-cycle schedule", "He init")


def test_overrides_are_listed_in_the_name():
    assert apply_overrides(RECIPE_2012, RecipeOverrides(), 1000) == RECIPE_2012
    assert apply_overrides(RECIPE_2012, RecipeOverrides(epochs=3), 1000).name == "2012"
    recipe = apply_overrides(
        RECIPE_2012, RecipeOverrides(epochs=3, schedule="cosine", lr=0.02), 1000
    )
    assert (recipe.epochs, recipe.lr, recipe.name) == (
        3,
        0.02,
        "2012 with schedule=cosine, lr=0.02",
    )
    assert recipe.post_2012 == ("cosine schedule",)


def test_adam_has_its_own_default_learning_rate():
    adam, adamw = (
        apply_overrides(RECIPE_2012, RecipeOverrides(optimizer="adam"), 1000),
        apply_overrides(RECIPE_2012, RecipeOverrides(optimizer="adamw", lr=0.1), 1000),
    )
    assert (adam.lr, adam.weight_decay, adam.post_2012) == (0.001, 0.0005, ("Adam",))
    assert (adamw.lr, adamw.weight_decay, adamw.post_2012) == (0.1, 0.01, ("AdamW",))


@pytest.mark.parametrize(("n", "batches"), [(100, 1), (128, 1), (255, 1), (256, 2)])
def test_an_epoch_has_the_full_batches_or_one_of_all_images(n, batches):
    assert RECIPE_2012.updates_per_epoch(n) == batches


def test_updates_set_the_number_of_epochs():
    recipe = apply_overrides(RECIPE_2012, RecipeOverrides(updates=8), 3 * 128)
    assert (recipe.updates, recipe.epochs) == (8, 3)


def test_epochs_and_updates_exclude_each_other():
    with pytest.raises(UserError, match=r"epochs=3 and updates=8 .* give one of the two"):
        RecipeOverrides(epochs=3, updates=8)


@pytest.mark.parametrize(("schedule", "constant"), [("plateau", True), ("onecycle", False)])
def test_biases_keep_their_rate_only_where_that_of_the_weights_falls_in_steps(schedule, constant):
    recipe = apply_overrides(RECIPE_CODE, RecipeOverrides(schedule=schedule), 1000)
    assert recipe.constant_bias_lr == constant
    assert not RECIPE_2012.constant_bias_lr


@pytest.mark.parametrize(
    ("recipe", "overrides", "lr"),
    [
        (RECIPE_2012, {"batch": 1024}, 0.08),  # Krizhevsky 2014 and Goyal et al. 2017
        (RECIPE_2012, {"batch": 32}, 0.0025),
        (RECIPE_2012, {"batch": 1024, "lr": 0.02}, 0.02),
        (RECIPE_2012, {"batch": 512, "optimizer": "adam"}, 0.002),
        (RECIPE_2012, {"batch": 512, "optimizer": "sgd"}, 0.04),
        (short_recipe(100_000, 32), {"batch": 512}, 0.16),
        (RECIPE_2012, {"batch": 200_000}, 0.01 * 100_000 / 128),  # no more than there are images
    ],
)
def test_the_learning_rate_follows_the_batch_size(recipe, overrides, lr):
    changed = apply_overrides(recipe, RecipeOverrides(**overrides), 100_000)
    assert changed.batch_size == overrides["batch"]
    assert changed.lr == pytest.approx(lr)
    assert changed.name.startswith(f"{recipe.name} with batch={overrides['batch']}")
    assert (changed.epochs, changed.weight_decay) == (recipe.epochs, recipe.weight_decay)


def test_updates_count_batches_of_the_given_size():
    recipe = apply_overrides(RECIPE_2012, RecipeOverrides(updates=8, batch=64), 3 * 128)
    assert (recipe.updates, recipe.epochs, recipe.updates_per_epoch(3 * 128)) == (8, 2, 6)


def test_no_more_images_than_there_are_change_no_rate():
    assert apply_overrides(RECIPE_2012, RecipeOverrides(batch=256), 100).lr == RECIPE_2012.lr
