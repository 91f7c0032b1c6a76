"""Two profiles as text: a change of the chart is read as a change of what a cluster gets.

After a change that is meant: `python -m tests.helm.test_snapshots`.
"""

from pathlib import Path

import pytest

from tests.helm.chart import profile, render

SNAPSHOTS = Path(__file__).parent / "snapshots"


def text(name: str) -> str:
    """Everything that the profile renders, template by template."""
    rendered = render(profile(name)).items()
    return "".join(f"# {path}\n{_tidy(content)}" for path, content in rendered if content.strip())


def _tidy(content: str) -> str:
    return "\n".join(line.rstrip() for line in content.strip().splitlines()) + "\n"


@pytest.mark.parametrize("name", ["minikube", "external"])
def test_the_profile_renders_what_was_last_looked_at(name):
    assert text(name) == (SNAPSHOTS / f"{name}.txt").read_text(encoding="utf-8")


if __name__ == "__main__":
    for name in ("minikube", "external"):
        (SNAPSHOTS / f"{name}.txt").write_text(text(name), encoding="utf-8")
