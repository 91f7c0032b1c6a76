"""What a person who was not there sees of a run: report.html, and the model card of its adapter.

    python -m oncetune.report FOLDER

    __main__ ─▶ verdict (what it means, in sentences) ─▶ page (plots, html) ─▶ FOLDER/results/report.html
                                                     └▶ card ─▶ FOLDER/adapter/README.md

Reads FOLDER/results/report.json (contracts/run_report.py) and nothing else: the same report.json always makes the same
bytes. Prompts, answers and names are hostile text here. The only room with matplotlib and jinja2.
"""
