//! A small application on sqlx: its type checks, its describe queries, its PgListener. Stops at what it did not
//! expect. Connects by PGHOST, PGPORT, PGUSER, PGPASSWORD, PGDATABASE.

use chrono::{DateTime, NaiveDate, NaiveDateTime, Utc};
use futures::TryStreamExt;
use serde_json::{Value, json};
use sqlx::postgres::{PgConnectOptions, PgListener, PgNotification, PgPoolOptions, PgSslMode};
use sqlx::types::BigDecimal;
use sqlx::{AssertSqlSafe, Connection, Executor, PgPool, Postgres, Row, SqlSafeStr};
use std::str::FromStr;
use std::time::Duration;
use uuid::Uuid;

type Outcome = Result<(), Box<dyn std::error::Error>>;

const COLUMNS: &str = "id bigint PRIMARY KEY, b boolean, i2 smallint, i4 integer, i8 bigint, f4 real, \
    f8 double precision, n numeric(20,5), t text, v varchar(20), c char(5), x bytea, d date, ts timestamp, \
    tz timestamptz, u uuid, j jsonb, ai integer[], at text[]";
const TABLE: &str = "compat.sqlx";

/// Our own statements, with the table's name in them.
fn sql(text: &str) -> AssertSqlSafe<String> {
    AssertSqlSafe(text.replace("TABLE", TABLE))
}

async fn typed_statements(pool: &PgPool) -> Outcome {
    let date = NaiveDate::from_ymd_opt(2024, 2, 29).ok_or("a date")?;
    let moment = DateTime::parse_from_rfc3339("2024-01-02T03:04:05.678901Z")?.with_timezone(&Utc);
    let (uuid, document) = (Uuid::from_u128(1 << 100), json!({"a": [1, 2.5, null, "x"], "b": {"c": true}}));
    let number = BigDecimal::from_str("123456789012345.67890")?;
    let (numbers, texts) = (vec![Some(1), None, Some(3)], vec![Some("a".to_owned()), Some("b,c".to_owned()), None]);
    let marks: Vec<String> = (1..=19).map(|n| format!("${n}")).collect();
    let insert = sql(&format!("INSERT INTO TABLE VALUES ({})", marks.join(", ")));
    let done = sqlx::query(insert)
        .bind(1_i64)
        .bind(true)
        .bind(i16::MIN)
        .bind(i32::MAX)
        .bind(i64::MIN)
        .bind(1.5_f32)
        .bind(1e300_f64)
        .bind(&number)
        .bind("héllo 'wörld'")
        .bind("twenty")
        .bind("abc  ")
        .bind(vec![0_u8, 255, 98])
        .bind(date)
        .bind(moment.naive_utc())
        .bind(moment)
        .bind(uuid)
        .bind(&document)
        .bind(&numbers)
        .bind(&texts)
        .execute(pool)
        .await?;
    assert_eq!(done.rows_affected(), 1);
    let row = sqlx::query(sql("SELECT * FROM TABLE WHERE id = $1")).bind(1_i64).fetch_one(pool).await?;
    assert_eq!((row.get::<i64, _>("id"), row.get::<bool, _>("b"), row.get::<i16, _>("i2")), (1, true, i16::MIN));
    assert_eq!((row.get::<i32, _>("i4"), row.get::<i64, _>("i8")), (i32::MAX, i64::MIN));
    assert_eq!((row.get::<f32, _>("f4"), row.get::<f64, _>("f8")), (1.5, 1e300));
    assert_eq!(row.get::<BigDecimal, _>("n"), number);
    let text = |name: &str| row.get::<String, _>(name);
    assert_eq!((&*text("t"), &*text("v"), &*text("c")), ("héllo 'wörld'", "twenty", "abc  "));
    assert_eq!(row.get::<Vec<u8>, _>("x"), [0, 255, 98]);
    assert_eq!((row.get::<NaiveDate, _>("d"), row.get::<NaiveDateTime, _>("ts")), (date, moment.naive_utc()));
    assert_eq!((row.get::<DateTime<Utc>, _>("tz"), row.get::<Uuid, _>("u")), (moment, uuid));
    assert_eq!(row.get::<Value, _>("j"), document);
    assert_eq!(row.get::<Vec<Option<i32>>, _>("ai"), numbers);
    assert_eq!(row.get::<Vec<Option<String>>, _>("at"), texts);
    sqlx::query(sql("INSERT INTO TABLE (id, t) VALUES ($1, $2)"))
        .bind(2_i64)
        .bind(None::<String>)
        .execute(pool)
        .await?;
    let found: Option<String> = sqlx::query_scalar(sql("SELECT t FROM TABLE WHERE id = 2")).fetch_one(pool).await?;
    assert_eq!(found, None);
    let ids: Vec<i64> = sqlx::query_scalar(sql("SELECT id FROM TABLE WHERE id = ANY($1) ORDER BY id"))
        .bind(vec![1_i64, 2, 99])
        .fetch_all(pool)
        .await?;
    assert_eq!(ids, [1, 2]);
    // What the query macros ask the server when they compile.
    let described = pool.describe(sql("SELECT id, t FROM TABLE WHERE id = $1").into_sql_str()).await?;
    assert_eq!(described.columns.len(), 2);
    assert_eq!(described.nullable, [Some(false), Some(true)]);
    Ok(())
}

async fn transactions(pool: &PgPool) -> Outcome {
    let count = || sqlx::query_scalar::<Postgres, i64>(sql("SELECT count(*) FROM TABLE"));
    let before = count().fetch_one(pool).await?;
    let mut outer = pool.begin().await?;
    sqlx::query(sql("DELETE FROM TABLE")).execute(&mut *outer).await?;
    let mut inner = outer.begin().await?;
    let error = sqlx::query(sql("INSERT INTO TABLE (id) VALUES (7), (7)")).execute(&mut *inner).await.err();
    let error = error.ok_or("the key was taken twice")?;
    assert!(error.as_database_error().is_some_and(|error| error.is_unique_violation()), "{error}");
    inner.rollback().await?;
    assert_eq!(count().fetch_one(&mut *outer).await?, 0);
    outer.rollback().await?;
    assert_eq!(count().fetch_one(pool).await?, before);
    let mut kept = pool.begin().await?;
    for id in 100_i64..200 {
        sqlx::query(sql("INSERT INTO TABLE (id) VALUES ($1)")).bind(id).execute(&mut *kept).await?;
    }
    kept.commit().await?;
    let streamed: Vec<i64> = sqlx::query_scalar::<_, i64>(sql("SELECT id FROM TABLE WHERE id >= 100 ORDER BY id"))
        .fetch(pool)
        .try_collect()
        .await?;
    assert_eq!(streamed, (100..200).collect::<Vec<_>>());
    Ok(())
}

async fn next(listener: &mut PgListener) -> Result<PgNotification, Box<dyn std::error::Error>> {
    Ok(tokio::time::timeout(Duration::from_secs(20), listener.recv()).await??)
}

/// PgListener hears what other connections of the pool notify, in commit order.
async fn listens(pool: &PgPool) -> Outcome {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen("compat_sqlx").await?;
    for payload in ["first", "second"] {
        sqlx::query("SELECT pg_notify('compat_sqlx', $1)").bind(payload).execute(pool).await?;
    }
    for payload in ["first", "second"] {
        let note = next(&mut listener).await?;
        assert_eq!((note.channel(), note.payload()), ("compat_sqlx", payload));
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Outcome {
    // The options read the PG* environment.
    let options = PgConnectOptions::new().ssl_mode(PgSslMode::Disable);
    let pool = PgPoolOptions::new().max_connections(4).connect_with(options).await?;
    pool.acquire().await?.ping().await?;
    let version: String = sqlx::query_scalar("SELECT version()").fetch_one(&pool).await?;
    let kind = if version.contains("KalamDB") { "USER " } else { "" };
    pool.execute("CREATE SCHEMA IF NOT EXISTS compat").await?;
    pool.execute(AssertSqlSafe(format!("DROP TABLE IF EXISTS {TABLE}"))).await?;
    pool.execute(AssertSqlSafe(format!("CREATE {kind}TABLE {TABLE} ({COLUMNS})"))).await?;
    typed_statements(&pool).await?;
    transactions(&pool).await?;
    let mut listener = PgListener::connect_with(&pool).await?;
    listener.listen("news").await?;
    sqlx::query("SELECT pg_notify('news', $1)").bind("hello").execute(&pool).await?;
    let note = next(&mut listener).await?;
    assert_eq!((note.channel(), note.payload()), ("news", "hello"));
    drop(listener);
    if !kind.is_empty() {
        listens(&pool).await?;
    }
    pool.execute(AssertSqlSafe(format!("DROP TABLE {TABLE}"))).await?;
    pool.close().await;
    println!("sqlx ok");
    Ok(())
}
