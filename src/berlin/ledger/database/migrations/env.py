"""Runs the migrations on the connection that `upgrade` has opened; Alembic loads this file."""

from alembic import context

from berlin.ledger.database.tables import VERSION_TABLE, metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
)
with context.begin_transaction():
    context.run_migrations()
