"""The first tables."""

import sqlalchemy as sa
from alembic import op

revision, down_revision = "one", None


def upgrade():
    op.create_table("authors", sa.Column("id", sa.Integer, primary_key=True), sa.Column("name", sa.String(40), nullable=False), sa.Column("email", sa.Text),
                    sa.Column("nickname", sa.Text))
    op.create_table("books", sa.Column("id", sa.BigInteger, primary_key=True), sa.Column("author_id", sa.Integer), sa.Column("title", sa.Text, nullable=False),
                    sa.Column("price", sa.Integer), sa.Column("created", sa.DateTime(timezone=True), server_default=sa.func.now()))
    op.bulk_insert(sa.table("authors", sa.column("name", sa.String), sa.column("email", sa.Text), sa.column("nickname", sa.Text)),
                   [{"name": f"author {n}", "email": f"{n}@x", "nickname": None} for n in range(20)])
    op.execute("INSERT INTO books (author_id, title, price) SELECT id, 'book of ' || name, id * 3 FROM authors")


def downgrade():
    op.drop_table("books")
    op.drop_table("authors")
