"""python -m oncetune.report FOLDER: FOLDER/results/report.json in, report.html beside it and the model card out.

The model card goes to FOLDER/adapter/README.md, and is left out where there is no such folder.
"""

import logging
import os
import sys
import tempfile
from pathlib import Path

from oncetune.contracts.run_report import MODEL_CARD, REPORT_HTML, REPORT_JSON, RESULTS_FOLDER, RunReport


def main() -> int:
    """Render both; whatever is wrong with report.json ends in a traceback and another exit status."""
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    folder = Path(sys.argv[1])
    report = RunReport.model_validate_json((folder / RESULTS_FOLDER / REPORT_JSON).read_bytes())
    with tempfile.TemporaryDirectory() as settings:  # nobody's matplotlibrc, and a home that may be read-only
        os.environ["MPLCONFIGDIR"] = settings
        logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)  # else it says how long it looks for fonts
        from oncetune.report.card import render_card
        from oncetune.report.page import render_page

        (folder / RESULTS_FOLDER / REPORT_HTML).write_text(render_page(report), encoding="utf-8")
        if (folder / "adapter").is_dir():
            (folder / "adapter" / MODEL_CARD).write_text(render_card(report), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
