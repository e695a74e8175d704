"""SQLAlchemy's dialect suite on pg8000."""

import sqlalchemy_suite


def run(pair, options):
    return sqlalchemy_suite.run_on("pg8000", pair, options)
