"""What the doctor found, in short."""


def states(checks: dict[str, dict[str, str]]) -> dict[str, str]:
    return {name: check["state"] for name, check in checks.items()}


def failing(checks: dict[str, dict[str, str]]) -> set[str]:
    """The checks that failed; each of them says what to do."""
    failed = {name: check for name, check in checks.items() if check["state"] == "FAIL"}
    assert all(check["remedy"] for check in failed.values())
    return set(failed)
