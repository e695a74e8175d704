"""A small job through psycopg 3: transactions, batches, COPY, cursors, types, errors. Connects by the PG* variables."""
import datetime
import decimal
import uuid

import psycopg
from psycopg import errors, sql
from psycopg.rows import dict_row


def expect(error, connection, statement, *parameters):
    """The statement must fail with this class; the transaction is rolled back."""
    try:
        connection.execute(statement, *parameters)
    except error as caught:
        connection.rollback()
        return caught
    raise AssertionError(f"{statement} did not fail with {error.__name__}")


with psycopg.connect() as connection:
    connection.execute("CREATE TABLE py (id int PRIMARY KEY, name text, n numeric(10,2), d date, ts timestamptz, u uuid, b bytea, f float8, i interval, ok bool)")
    connection.commit()

    # Values of every type go there and back, in text and in binary.
    row = (1, "naïve 🦀", decimal.Decimal("12.50"), datetime.date(2024, 2, 29),
           datetime.datetime(2024, 2, 29, 12, 30, 0, 123456, tzinfo=datetime.timezone.utc),
           uuid.UUID("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"), b"\x00\xff", 0.1, datetime.timedelta(days=1, seconds=5), True)
    marks = ", ".join(["%s"] * len(row))
    connection.execute(f"INSERT INTO py VALUES ({marks})", row)
    for binary in (False, True):
        with connection.cursor(binary=binary) as cursor:
            assert cursor.execute("SELECT * FROM py WHERE id = 1").fetchone() == row, binary
            marks_binary = ", ".join(["%b"] * len(row))
            again = (row[0] + 1 + binary, *row[1:])
            cursor.execute(f"INSERT INTO py VALUES ({marks_binary})", again)
    connection.execute("INSERT INTO py (id) VALUES (4)")
    assert connection.execute("SELECT * FROM py WHERE id = 4").fetchone() == (4, *[None] * 9)
    connection.commit()

    # Transactions and savepoints.
    try:
        with connection.transaction():
            connection.execute("DELETE FROM py")
            raise RuntimeError("changed my mind")
    except RuntimeError:
        pass
    with connection.transaction():
        connection.execute("UPDATE py SET n = n + 1")
        with connection.transaction(force_rollback=True):
            connection.execute("DELETE FROM py")
    assert connection.execute("SELECT count(*), sum(n) FROM py").fetchone() == (4, decimal.Decimal("40.50"))
    connection.commit()

    # Batches: executemany is pipelined, and gives rows back when asked.
    with connection.cursor() as cursor:
        cursor.executemany("INSERT INTO py (id, name) VALUES (%s, %s)", [(n, f"row {n}") for n in range(100, 1100)])
        assert cursor.rowcount == 1000
        cursor.executemany("DELETE FROM py WHERE id = %s RETURNING id", [(100,), (101,)], returning=True)
        deleted = [cursor.fetchone()[0]]
        while cursor.nextset():
            deleted.append(cursor.fetchone()[0])
        assert deleted == [100, 101]
    with connection.pipeline():
        answers = [connection.execute("SELECT name FROM py WHERE id = %s", (n,)) for n in range(200, 300)]
    assert [answer.fetchone()[0] for answer in answers] == [f"row {n}" for n in range(200, 300)]
    connection.commit()

    # A statement prepared on the server after its fifth use keeps its answers.
    for n in range(300, 320):
        assert connection.execute("SELECT id, name FROM py WHERE id = %s", (n,), prepare=n > 305).fetchone() == (n, f"row {n}")

    # COPY both ways.
    with connection.cursor() as cursor:
        with cursor.copy("COPY py (id, name, n) FROM STDIN") as copy:
            for n in range(2000, 3000):
                copy.write_row((n, f"tab\t{n}", decimal.Decimal(n) / 4))
        with cursor.copy("COPY (SELECT id, name, n FROM py WHERE id >= 2000 ORDER BY id) TO STDOUT") as copy:
            copy.set_types(["int4", "text", "numeric"])
            rows = list(copy.rows())
    assert rows == [(n, f"tab\t{n}", decimal.Decimal(n) / 4) for n in range(2000, 3000)]
    connection.commit()

    # A server-side cursor reads in parts.
    with connection.cursor(name="reader", row_factory=dict_row) as cursor:
        cursor.itersize = 100
        cursor.execute("SELECT id FROM py ORDER BY id")
        assert [row["id"] for row in cursor] == [1, 2, 3, 4, *range(102, 1100), *range(2000, 3000)]
    connection.commit()

    # Errors have their own classes and fields.
    caught = expect(errors.UniqueViolation, connection, "INSERT INTO py (id) VALUES (1)")
    assert caught.diag.constraint_name == "py_pkey" and caught.diag.table_name == "py", caught.diag
    expect(errors.NotNullViolation, connection, "INSERT INTO py (id) VALUES (NULL)")
    expect(errors.DivisionByZero, connection, "SELECT 1 / %s", (0,))
    expect(errors.InvalidTextRepresentation, connection, "SELECT %s::int", ("x",))
    expect(errors.NumericValueOutOfRange, connection, "UPDATE py SET n = 1e20")
    expect(errors.UndefinedTable, connection, "SELECT * FROM nothing_here")
    expect(errors.UndefinedColumn, connection, "SELECT nothing_here FROM py")
    assert expect(errors.SyntaxError, connection, "SELEC 1").diag.statement_position == "1"

    # A conflict at REPEATABLE READ is the driver's SerializationFailure.
    connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    connection.execute("SELECT * FROM py WHERE id = 1")
    with psycopg.connect(autocommit=True) as other:
        other.execute("UPDATE py SET name = 'other' WHERE id = 1")
    expect(errors.SerializationFailure, connection, "UPDATE py SET name = 'mine' WHERE id = 1")
    connection.isolation_level = None

    statement = sql.SQL("SELECT {} FROM {} WHERE id = 1").format(sql.Identifier("name"), sql.Identifier("py"))
    assert connection.execute(statement).fetchone() == ("other",)
    assert connection.info.parameter_status("server_version").startswith("15")
    connection.execute("DROP TABLE py")
print("psycopg: ok")
