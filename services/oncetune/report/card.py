"""The adapter's README.md: a model card with the hub's front matter. It holds no text of the dataset.

Names that a stranger chose stand as code, other words with Markdown's own signs escaped; the front matter is YAML by
the hub's own library.
"""

import re
from collections.abc import Iterable
from functools import cache
from typing import Any

from huggingface_hub import EvalResult, ModelCardData
from jinja2 import Environment
from pydantic import JsonValue

from oncetune.contracts.run_report import RunReport
from oncetune.report import words
from oncetune.report.filling import fill, templates
from oncetune.report.verdict import HeldOut, held_out_of

_HUB_ID = re.compile(r"[\w-][\w.-]{0,95}/[\w-][\w.-]{0,95}", re.ASCII)
_SIGNS = re.compile(r"([\\`*_\[\]<>|~$&#@])")
_LONGEST = 200  # characters of a name
_SERVED_RANKS = (8, 16, 32, 64, 128, 256)  # for which vLLM makes room: it takes no other number


class _Markdown(str):
    """Goes into the card as it is."""

    __slots__ = ()


def render_card(report: RunReport) -> str:
    """The whole README.md. Equal reports make equal text."""
    held_out = held_out_of(report.training)
    return fill(
        _environment(),
        "model_card.md",
        report,
        hyperparameters=report.manifest.hyperparameters,
        served_rank=_served_rank(report.manifest.hyperparameters.get("lora_rank")),
        held_out=held_out,
        front_matter=_Markdown(_front_matter(report, held_out)),
    )


def hub_id(base_model: str) -> str | None:
    """`owner/name` of a model on the hub, without a revision; None for a folder or a wheel."""
    name = base_model.partition("@")[0]
    return name if _HUB_ID.fullmatch(name) else None


def _served_rank(rank: JsonValue) -> int:
    """The least room that holds an adapter of this rank."""
    asked = rank if isinstance(rank, int) else 0
    return next((room for room in _SERVED_RANKS if room >= asked), _SERVED_RANKS[-1])


def _front_matter(report: RunReport, held_out: HeldOut | None) -> str:
    """No license: the adapter's is that of its base model and its data, which nobody told us."""
    base = hub_id(report.manifest.base_model)
    card = ModelCardData(
        base_model=base,
        base_model_relation=base and "adapter",
        library_name="peft",
        pipeline_tag="text-generation",
        tags=["dpo", "trl", "peft", "lora", "oncetune"],
        model_name=None if held_out is None else _line(report.exp_name),
        eval_results=None if held_out is None else list(_results(report, held_out)),
    )
    return card.to_yaml()


def _results(report: RunReport, held_out: HeldOut) -> Iterable[EvalResult]:
    measured = (
        ("accuracy", "Reward accuracy", held_out.end.reward_accuracy),
        ("reward_margin", "Reward margin", held_out.end.reward_margin),
        ("logps_chosen_per_token", "Log-probability of chosen, nats a token", held_out.end.logps_chosen_per_token),
    )
    for kind, name, value in measured:
        if value is not None:
            yield EvalResult(
                task_type="text-generation",
                dataset_type="preference-pairs",
                dataset_name=f"{held_out.end.rows} held-out rows of {report.dataset.sha256[:12]}",
                metric_type=kind,
                metric_name=name,
                metric_value=round(value, 6),
            )


@cache
def _environment() -> Environment:
    environment = templates(autoescape=False, finalize=_escape, code=_code, python=_python)
    environment.globals["hub_id"] = hub_id
    return environment


def _escape(said: Any) -> Any:
    return said if isinstance(said, _Markdown) or not isinstance(said, str) else _SIGNS.sub(r"\\\1", _line(said))


def _line(text: str) -> str:
    return re.sub(r"\s+", " ", words.cut(text, _LONGEST * 5))


def _code(value: Any) -> _Markdown:
    """A code span that nothing inside of it ends, in a table neither."""
    text = words.cut(_line(str(value)), _LONGEST).replace("|", "\\|") or " "
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", text)), default=0))
    padding = " " if "`" in text else ""
    return _Markdown(f"{fence}{padding}{text}{padding}{fence}")


def _python(text: str) -> _Markdown:
    """A string literal for a block of code."""
    return _Markdown(ascii(text))
