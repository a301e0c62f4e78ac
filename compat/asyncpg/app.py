"""A small application on asyncpg: binary only, prepared always."""

import asyncio
import datetime as dt
import json
import uuid
from decimal import Decimal

import asyncpg

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


async def typed_statements(conn, table):
    await conn.set_type_codec("jsonb", schema="pg_catalog", encoder=json.dumps, decoder=json.loads)
    names = ", ".join(ROW)
    marks = ", ".join(f"${n}" for n in range(1, len(ROW) + 1))
    insert = await conn.prepare(f"INSERT INTO {table} ({names}) VALUES ({marks})")
    assert [p.name for p in insert.get_parameters()][:4] == ["int8", "bool", "int2", "int4"], insert.get_parameters()
    await insert.fetch(*ROW.values())
    select = await conn.prepare(f"SELECT {names} FROM {table} WHERE id = $1")
    assert [a.type.name for a in select.get_attributes()][-2:] == ["int4[]", "text[]"], select.get_attributes()
    found = await select.fetchrow(1)
    assert dict(found) == ROW, dict(found)
    nulls = [2] + [None] * (len(ROW) - 1)
    await insert.fetch(*nulls)
    assert list(await select.fetchrow(2)) == nulls
    many = await conn.fetch(f"SELECT id FROM {table} WHERE id = ANY($1::bigint[]) ORDER BY id", [1, 2, 99])
    assert [row["id"] for row in many] == [1, 2], many
    await conn.executemany(f"INSERT INTO {table} (id, t) VALUES ($1, $2)", [(key, f"row {key}") for key in range(100, 200)])
    assert await conn.fetchval(f"SELECT count(*) FROM {table}") == 102


async def transactions(conn, table):
    try:
        async with conn.transaction():
            await conn.execute(f"DELETE FROM {table}")
            try:
                async with conn.transaction():
                    await conn.execute(f"INSERT INTO {table} (id) VALUES (1), (1)")
            except asyncpg.UniqueViolationError as error:
                assert error.constraint_name
            raise KeyError("roll back")
    except KeyError:
        pass
    assert await conn.fetchval(f"SELECT count(*) FROM {table}") == 102
    async with conn.transaction(isolation="repeatable_read"):
        walked = [row["id"] async for row in conn.cursor(f"SELECT id FROM {table} WHERE id >= 100 ORDER BY id", prefetch=10)]
    assert walked == list(range(100, 200)), walked


async def next_note(queue):
    return await asyncio.wait_for(queue.get(), timeout=20)


async def notifications(conn, other):
    queue = asyncio.Queue()
    heard = lambda _conn, _pid, channel, payload: queue.put_nowait((channel, payload))
    await conn.add_listener("news", heard)
    await other.execute("NOTIFY news, 'hello'")
    assert await next_note(queue) == ("news", "hello")
    await conn.remove_listener("news", heard)


async def live(conn, other, table):
    queue = asyncio.Queue()
    # asyncpg delivers only channels that it listens to itself; the query then goes to the same channel.
    await conn.add_listener("inbox", lambda _conn, _pid, _channel, payload: queue.put_nowait(json.loads(payload)))
    rows = await conn.fetch(f"LISTEN inbox FOR SELECT id, t FROM {table} WHERE id BETWEEN 5000 AND 5999")
    assert rows == [], rows
    await other.execute(f"INSERT INTO {table} (id, t) VALUES (5000, 'live')")
    await other.execute(f"UPDATE {table} SET t = 'changed' WHERE id = 5000")
    await other.execute(f"DELETE FROM {table} WHERE id = 5000")
    events = [await next_note(queue) for _ in range(3)]
    assert [event["op"] for event in events] == ["insert", "update", "delete"], events
    assert events[0]["row"] == {"id": 5000, "t": "live"}, events


async def main():
    conn, other = await asyncpg.connect(ssl=False), await asyncpg.connect(ssl=False)
    is_kalamdb = "KalamDB" in await conn.fetchval("SELECT version()")
    await conn.execute("CREATE SCHEMA IF NOT EXISTS compat")
    table = "compat.asyncpg"
    await conn.execute(f"DROP TABLE IF EXISTS {table}")
    await conn.execute(f"CREATE {'USER ' if is_kalamdb else ''}TABLE {table} ({COLUMNS})")
    await typed_statements(conn, table)
    await transactions(conn, table)
    await notifications(conn, other)
    if is_kalamdb:
        await live(conn, other, table)
    await other.execute(f"DROP TABLE {table}")
    # What a pool does when a connection comes back.
    await conn.reset()
    pool = await asyncpg.create_pool(ssl=False, min_size=1, max_size=2)
    async with pool.acquire() as pooled:
        assert await pooled.fetchval("SELECT 1") == 1
    await pool.close()
    await conn.close()
    await other.close()
    print("asyncpg", asyncpg.__version__, "ok")


asyncio.run(main())
