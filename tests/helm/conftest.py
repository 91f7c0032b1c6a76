"""Nothing here needs a cluster or a database. The suite's header tells what is left out."""

import shutil
from functools import cache

import pytest
from kubernetes_validate import utils

from tests.helm.chart import PROFILES, Object, objects, profile

collect_ignore = [] if shutil.which("promtool") else ["test_rules.py"]
utils.schema_contents = cache(utils.schema_contents)  # it would read the same megabyte again for each object


@pytest.fixture(params=PROFILES)
def found(request: pytest.FixtureRequest) -> list[Object]:
    """Everything that a profile renders."""
    return objects(profile(request.param))
