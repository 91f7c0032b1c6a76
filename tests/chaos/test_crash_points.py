"""The crash points name functions of the product by words: each must be there, or no service of the world starts."""

import functools
from importlib import import_module

import pytest

from tests.chaos.crash_points import POINTS, TRAINING_POINTS, Place

PLACES = {place.target: place for point in POINTS + TRAINING_POINTS for place in (point.before, point.after)}


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_a_crash_point_is_at_a_function_that_there_is(place: Place):
    module, _, path = place.target.partition(":")
    assert callable(functools.reduce(getattr, path.split("."), import_module(module)))
