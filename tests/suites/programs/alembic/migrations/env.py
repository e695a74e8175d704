import os

import sqlalchemy as sa
from alembic import context

metadata = sa.MetaData()
sa.Table("authors", metadata, sa.Column("id", sa.Integer, primary_key=True), sa.Column("name", sa.String(80), nullable=False),
         sa.Column("email", sa.Text, unique=True), sa.Column("born", sa.Date), sa.Column("active", sa.Boolean, server_default=sa.text("true"), nullable=False))
sa.Table("books", metadata, sa.Column("id", sa.BigInteger, primary_key=True), sa.Column("author_id", sa.Integer, sa.ForeignKey("authors.id", ondelete="CASCADE")),
         sa.Column("title", sa.Text, nullable=False, index=True), sa.Column("price", sa.Numeric(10, 2)),
         sa.Column("created", sa.DateTime(timezone=True), server_default=sa.func.now()))

engine = sa.create_engine(os.environ["DATABASE_URL"])
with engine.connect() as connection:
    context.configure(connection=connection, target_metadata=metadata, compare_type=True)
    with context.begin_transaction():
        context.run_migrations()
