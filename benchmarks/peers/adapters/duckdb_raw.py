"""Non-private limit: the analyst's own query in DuckDB."""

from adapters import duck


def supports(w):
    return None


def open(w):
    return duck.connect()


def answer(w, con):
    return con.execute(w.truth).fetchall()
