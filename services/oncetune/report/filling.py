"""A template, and what each of them is told: the run, its verdict, and how numbers and times are said."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from oncetune.contracts.run_report import RunReport
from oncetune.report import words
from oncetune.report.verdict import judge, unused_of

TEMPLATES = Path(__file__).with_name("templates")
_SAID_AS = (words.number, words.change, words.percent, words.duration, words.size, words.moment, words.plural,
            words.rows_format, words.setting)  # fmt: skip


def templates(*, autoescape: bool, finalize: Callable[[Any], Any], **filters: Callable[..., Any]) -> Environment:
    """Every value passes `finalize`; what a template does not know is an error."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=autoescape,  # noqa: S701  # where it is off, `finalize` escapes
        finalize=finalize,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {said_as.__name__: said_as for said_as in _SAID_AS} | filters
    return environment


def fill(environment: Environment, template: str, report: RunReport, **more: object) -> str:
    """The document that the template makes of this run and of what it alone is told."""
    return environment.get_template(template).render(
        report=report,
        record=report.training,
        manifest=report.manifest,
        verdict=judge(report),
        unused=unused_of(report),
        **more,
    )
