"""The images of this checkout, and what runs of them. The suite's header tells when they are left out."""

import pytest

from tests.containers import find_image
from tests.images.images import DIGEST, digest_of_the_checkout, image_of, tested_here
from tests.images.pods import ended

collect_ignore = [] if tested_here() else ["test_image.py", "test_one_run.py"]


def of_this_checkout(kind: str) -> str:
    """The image's name; fails where it was built from other sources."""
    image = find_image(image_of(kind))
    assert image, f"{image_of(kind)} is not there: make images"
    said = ended(image, "-c", DIGEST, entrypoint="python")
    assert said.out.strip() == digest_of_the_checkout(), f"{image} is of other sources: make images. {said.err}"
    return image


@pytest.fixture(scope="session")
def services_image() -> str:
    return of_this_checkout("services")


@pytest.fixture(scope="session")
def trainer_image() -> str:
    return of_this_checkout("trainer")
