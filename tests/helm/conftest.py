"""Nothing here needs a cluster or a database. promtool is a program of Debian's, which not every machine has."""

import shutil

collect_ignore = [] if shutil.which("promtool") else ["test_rules.py"]


def pytest_report_header() -> list[str]:
    return ["helm: left out here: the alerts (needs promtool)"] if collect_ignore else []
