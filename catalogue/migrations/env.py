"""Alembic's entry: runs in the transaction of who asked, so that an upgrade happens wholly or not at all."""

from alembic import context

context.configure(connection=context.config.attributes["connection"])
context.run_migrations()
