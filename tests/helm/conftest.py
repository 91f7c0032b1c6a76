"""Nothing here needs a cluster or a database. The suite's header tells what is left out."""

import shutil
from functools import cache

from kubernetes_validate import utils

collect_ignore = [] if shutil.which("promtool") else ["test_rules.py"]
utils.schema_contents = cache(utils.schema_contents)  # it would read the same megabyte again for each object
