"""What status answers about a run's results."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from oncetune.status.answers import Absent, UnixSeconds

_URL = (
    "https://finetuning.example.com/artifacts/0199f3a4-6c1e-7d52-9a3b-5e8f0c2d4b61/1/{}?expires=1767003790&signature="
)


class DownloadableFile(BaseModel):
    """One file of a result; `url` needs no header of the gateway."""

    name: str
    bytes: Annotated[int, Field(ge=0)]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    url: str


class ArtifactsAnswer(BaseModel):
    """Where a run's results are downloaded. What does not exist (yet, or any more) is left out."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "checkpoint_url": _URL.format("adapter.tar") + "ab" * 32,
                    "report_url": _URL.format("report.html") + "cd" * 32,
                    "logs_url": _URL.format("training.log") + "ef" * 32,
                    "expires_at": 1767003790,
                }
            ]
        }
    )

    checkpoint_url: Annotated[str | Absent, Field(description="The adapter as one archive, adapter.tar")] = None
    report_url: Annotated[str | Absent, Field(description="A page that a browser shows, report.html")] = None
    logs_url: Annotated[str | Absent, Field(description="What the training printed, training.log")] = None
    files: Annotated[list[DownloadableFile] | Absent, Field(description="All of them, with what they must hash to")] = (
        None
    )
    expires_at: Annotated[UnixSeconds | Absent, Field(description="Ask again after this: the links end")] = None
