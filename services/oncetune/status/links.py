"""From a run to the links of its results: status's own links into a folder, or those that a bucket signs."""

import time
from dataclasses import dataclass
from datetime import timedelta

from pydantic import ValidationError

from oncetune.artifacts.bucket import BucketStore
from oncetune.artifacts.folder import FolderStore
from oncetune.artifacts.links import Links
from oncetune.artifacts.store import ARCHIVE_NAME, LOG_NAME, NotStored
from oncetune.artifacts.stores import open_store
from oncetune.contracts.run_report import REPORT_HTML
from oncetune.gateway.errors import Refusal
from oncetune.gateway.public_url import public_base_url
from oncetune.gateway.settings import GatewaySettings, RegistrationSettings
from oncetune.ledger.tables import Run
from oncetune.status.artifact_answers import ArtifactsAnswer, DownloadableFile
from oncetune.status.settings import StatusSettings

DOWNLOADS = "/artifacts/"  # whoever sees the query of such a request can repeat it: it is neither logged nor traced


@dataclass(frozen=True)
class Downloads:
    """What the routes of results need; `store` None: nobody told where results lie."""

    store: FolderStore | BucketStore | None
    links: Links
    lifetime: timedelta
    base_url: str | None  # None: whatever address the request came to

    @classmethod
    def of_settings(cls, settings: StatusSettings, gateway: GatewaySettings, *, port: int | None) -> "Downloads":
        """From what the environment says; `port` is where this process listens, which a RunPod pod's URL holds."""
        secrets = [secret for secret in (gateway.shared_secret, gateway.shared_secret_previous) if secret]
        links = Links.of_secrets([secret.get_secret_value() for secret in secrets])
        store = None if settings.artifacts is None else open_store(settings.artifacts)
        return cls(store, links, settings.url_lifetime, settings.public_base_url or _address_of_pod(port))

    def kind(self) -> str:
        """One word for `/health`."""
        if self.store is None:
            return "not set"
        return "folder" if isinstance(self.store, FolderStore) else "s3"

    def answer(self, run: Run, *, request_base: str) -> ArtifactsAnswer:
        """The links of a run, without those to what is not there. Raises Refusal 503 when a bucket's cannot be made."""
        if self.store is None or not run.files or run.files_removed_at is not None:
            return ArtifactsAnswer()
        expires = int(time.time() + self.lifetime.total_seconds())
        base = (self.base_url or request_base).strip().rstrip("/")
        urls = {name: self._link(run, name, base=base, expires=expires) for name in run.files}
        return ArtifactsAnswer(
            checkpoint_url=urls.get(ARCHIVE_NAME),
            report_url=urls.get(REPORT_HTML),
            logs_url=urls.get(LOG_NAME),
            files=[DownloadableFile(name=name, url=urls[name], **file) for name, file in sorted(run.files.items())],
            expires_at=expires,
        )

    def _link(self, run: Run, name: str, *, base: str, expires: int) -> str:
        if isinstance(self.store, BucketStore):
            try:
                return self.store.link(run.id, run.attempt, name, self.lifetime)
            except NotStored as error:
                raise Refusal(
                    503, "artifacts_unavailable", f"No link can be made now: {error}", headers={"Retry-After": "5"}
                ) from error
        return base + self.links.signed(download_path(str(run.id), str(run.attempt), name), expires=expires)


def _address_of_pod(port: int | None) -> str | None:
    try:
        return public_base_url(RegistrationSettings() if port is None else RegistrationSettings(port=port))
    except ValidationError:  # trigger's /health tells what is wrong with these settings
        return None


def download_path(run_id: str, attempt: str, name: str) -> str:
    """The path that is signed."""
    return f"{DOWNLOADS}{run_id}/{attempt}/{name}"
