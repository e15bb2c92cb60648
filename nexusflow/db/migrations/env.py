"""Alembic's entry: runs the migrations on the connection that ``provision`` hands over."""

from alembic import context

connection = context.config.attributes["connection"]
context.configure(connection=connection, transactional_ddl=True)
with context.begin_transaction():
    # Another migration that holds a lock for long must not queue every query behind ours.
    connection.exec_driver_sql("SET LOCAL lock_timeout = '2s'")
    context.run_migrations()
