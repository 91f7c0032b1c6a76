"""`python -m oncetune.cli`: the same as the command `oncetune`."""

from oncetune.cli.main import app

app(prog_name="oncetune")
