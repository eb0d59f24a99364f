"""`python -m offerrank`: the same as the `offerrank` command."""

from offerrank.cli import app

app(prog_name="offerrank")
