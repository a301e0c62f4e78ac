"""A small application on psycopg 3: everything that a real one does, checked as it goes."""

import datetime as dt
import json
import os
import uuid
from decimal import Decimal

import psycopg

COLUMNS = """
    id bigint PRIMARY KEY, b boolean, i2 smallint, i4 integer, i8 bigint, f4 real, f8 double precision,
    n numeric(20,5), t text, v varchar(20), c char(5), x bytea, d date, ts timestamp, tz timestamptz, u uuid,
    j jsonb, ai integer[], at text[]
"""
ROW = {
    "id": 1, "b": True, "i2": -32768, "i4": 2147483647, "i8": -(2**63), "f4": 1.5, "f8": 1e300,
    "n": Decimal("123456789012345.67890"), "t": "héllo 'wörld'", "v": "twenty", "c": "abc  ", "x": b"\x00\xffbytes",
    "d": dt.date(2024, 2, 29), "ts": dt.datetime(2024, 1, 2, 3, 4, 5, 678901),
    "tz": dt.datetime(2024, 1, 2, 3, 4, 5, tzinfo=dt.timezone.utc), "u": uuid.UUID(int=2**100),
    "j": {"a": [1, 2.5, None, "x"], "b": {"c": True}}, "ai": [1, None, 3], "at": ["a", "b,c", None, 'q"'],
}


def typed_statements(conn, table):
    """The same row in text and binary, prepared, in and out."""
    names = ", ".join(ROW)
    for key, binary in enumerate((False, True), start=1):
        mark = "%b" if binary else "%s"
        values = {**ROW, "id": key, "j": psycopg.types.json.Jsonb(ROW["j"])}
        insert = f"INSERT INTO {table} ({names}) VALUES ({', '.join([mark] * len(ROW))})"
        conn.execute(insert, list(values.values()), prepare=True)
        with conn.cursor(binary=binary) as cursor:
            found = cursor.execute(f"SELECT {names} FROM {table} WHERE id = %s", (key,), prepare=True).fetchone()
        assert found == tuple({**ROW, "id": key}.values()), f"binary={binary}: {found}"
    nulls = [3] + [None] * (len(ROW) - 1)
    conn.execute(f"INSERT INTO {table} ({names}) VALUES ({', '.join(['%s'] * len(ROW))})", nulls)
    found = conn.execute(f"SELECT {names} FROM {table} WHERE id = 3").fetchone()
    assert found == tuple(nulls), found
    many = conn.execute(f"SELECT id FROM {table} WHERE id = ANY(%s) ORDER BY id", ([1, 3, 99],)).fetchall()
    assert many == [(1,), (3,)], many


def transactions(conn, table):
    """What is rolled back is gone, with savepoints too; an error does not end the connection."""
    count = lambda: conn.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
    before = count()
    try:
        with conn.transaction():
            conn.execute(f"INSERT INTO {table} (id) VALUES (100)")
            with conn.transaction():
                conn.execute(f"INSERT INTO {table} (id) VALUES (101)")
            try:
                with conn.transaction():
                    conn.execute(f"INSERT INTO {table} (id) VALUES (100)")
                raise AssertionError("the key was taken twice")
            except psycopg.errors.UniqueViolation as error:
                assert error.sqlstate == "23505" and error.diag.constraint_name
            assert count() == before + 2
            raise KeyError("roll back")
    except KeyError:
        pass
    assert count() == before
    with conn.transaction():
        conn.execute(f"INSERT INTO {table} (id) VALUES (102)")
    assert count() == before + 1


def copying(conn, table):
    with conn.cursor() as cursor:
        with cursor.copy(f"COPY {table} (id, t) FROM STDIN") as copy:
            for key in range(1000, 2000):
                copy.write_row((key, f"row {key}"))
        with cursor.copy(f"COPY (SELECT id, t FROM {table} WHERE id >= 1998 ORDER BY id) TO STDOUT") as copy:
            rows = list(copy.rows())
    assert rows == [("1998", "row 1998"), ("1999", "row 1999")], rows


def streaming(conn, table):
    """A server-side cursor reads a part at a time."""
    with conn.transaction(), conn.cursor("walker") as cursor:
        cursor.itersize = 100
        cursor.execute(f"SELECT id FROM {table} WHERE id >= 1000 ORDER BY id")
        assert [row[0] for row in cursor] == list(range(1000, 2000))


def notifications(conn, other):
    conn.execute("LISTEN news")
    other.execute("SELECT pg_notify('news', 'hello')")
    note = next(conn.notifies(timeout=20))
    assert (note.channel, note.payload) == ("news", "hello"), note
    conn.execute("UNLISTEN news")


def live(conn, other, table):
    rows = conn.execute(f"LISTEN inbox FOR SELECT id, t FROM {table} WHERE id BETWEEN 5000 AND 5999").fetchall()
    assert rows == [], rows
    other.execute(f"INSERT INTO {table} (id, t) VALUES (5000, 'live')")
    other.execute(f"UPDATE {table} SET t = 'changed' WHERE id = 5000")
    other.execute(f"DELETE FROM {table} WHERE id = 5000")
    events = [json.loads(note.payload) for note in conn.notifies(timeout=20, stop_after=3)]
    assert [event["op"] for event in events] == ["insert", "update", "delete"], events
    assert events[0]["row"] == {"id": 5000, "t": "live"}, events
    assert events[1]["changed"] == ["t"] and events[1]["row"]["t"] == "changed", events
    assert events[0]["seq"] < events[1]["seq"] < events[2]["seq"], events
    conn.execute("UNLISTEN inbox")


def main():
    with psycopg.connect("", autocommit=True) as conn, psycopg.connect("", autocommit=True) as other:
        is_kalamdb = "KalamDB" in conn.execute("SELECT version()").fetchone()[0]
        conn.execute("CREATE SCHEMA IF NOT EXISTS compat")
        table = "compat.psycopg3"
        conn.execute(f"DROP TABLE IF EXISTS {table}")
        conn.execute(f"CREATE {'USER ' if is_kalamdb else ''}TABLE {table} ({COLUMNS})")
        typed_statements(conn, table)
        transactions(conn, table)
        copying(conn, table)
        streaming(conn, table)
        notifications(conn, other)
        if is_kalamdb:
            live(conn, other, table)
        conn.execute(f"DROP TABLE {table}")
    print("psycopg", psycopg.__version__, "ok,", os.environ.get("PGHOST"))


main()
