"""The product's images as a cluster gets them, and a next version of each that brings a migration along."""

from pathlib import Path

from tests.cluster.kube import run

SERVICES, TRAINER = "localhost/oncetune-services", "localhost/oncetune-trainer"
NOW, NEXT = "dev", "next"
REVISION = "trial"  # of NEXT's schema
GROUND = ("oncetune-test/postgres:18", "oncetune-test/redis:valkey9")

_DOCKERFILE = """\
FROM {image}
USER 0
COPY revision.py /opt/revision.py
RUN mv /opt/revision.py "$(python -B -c 'import oncetune; print(oncetune.__path__[0])')/migrations/versions/"
USER 10001:10001
"""
# As a migration has to be: it only widens, and what it adds the version before does not need.
_REVISION = '''\
"""expand: a column that only the next version knows."""

from alembic import op

revision = "{revision}"
down_revision = "{head}"


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '2s'")
    op.execute("ALTER TABLE ledger.run ADD COLUMN trial text")
'''


def make_next_version(folder: Path, head: str) -> None:
    """Build NEXT from NOW; `head`: the revision of NOW."""
    (folder / "revision.py").write_text(_REVISION.format(revision=REVISION, head=head))
    for image in (SERVICES, TRAINER):
        (folder / "Dockerfile").write_text(_DOCKERFILE.format(image=f"{image}:{NOW}"))
        run("docker", "build", "--quiet", "--tag", f"{image}:{NEXT}", str(folder))


def load(command: str) -> None:
    """Give every image to the node: `command` takes their names."""
    ours = (f"{image}:{tag}" for image in (SERVICES, TRAINER) for tag in (NOW, NEXT))
    run(*command.split(), *ours, *GROUND)
