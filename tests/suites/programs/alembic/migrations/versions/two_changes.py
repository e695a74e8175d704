"""Columns, types, constraints and indexes change, with rows in the tables."""

import sqlalchemy as sa
from alembic import op

revision, down_revision = "two", "one"


def upgrade():
    op.alter_column("authors", "name", type_=sa.String(80), existing_nullable=False)
    op.add_column("authors", sa.Column("born", sa.Date))
    op.add_column("authors", sa.Column("active", sa.Boolean, server_default=sa.text("true"), nullable=False))
    op.drop_column("authors", "nickname")
    op.create_unique_constraint("authors_email_key", "authors", ["email"])
    op.alter_column("books", "price", type_=sa.Numeric(10, 2), postgresql_using="price / 2.0")
    op.create_foreign_key("books_author_id_fkey", "books", "authors", ["author_id"], ["id"], ondelete="CASCADE")
    op.create_index("ix_books_title", "books", ["title"])


def downgrade():
    op.drop_index("ix_books_title", "books")
    op.drop_constraint("books_author_id_fkey", "books")
    op.alter_column("books", "price", type_=sa.Integer, postgresql_using="price::integer")
    op.drop_constraint("authors_email_key", "authors")
    op.add_column("authors", sa.Column("nickname", sa.Text))
    op.drop_column("authors", "active")
    op.drop_column("authors", "born")
    op.alter_column("authors", "name", type_=sa.String(40), existing_nullable=False)
