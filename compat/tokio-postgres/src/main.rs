//! A small application on tokio-postgres: binary always, types from ParameterDescription. Stops at what it did not
//! expect. Connects by PGHOST, PGPORT, PGUSER, PGPASSWORD, PGDATABASE.

use chrono::{DateTime, NaiveDate, NaiveDateTime, Utc};
use futures::{SinkExt, StreamExt, TryStreamExt};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{AsyncMessage, Client, Config, IsolationLevel, NoTls, Notification};
use uuid::Uuid;

type Outcome = Result<(), Box<dyn std::error::Error>>;

const COLUMNS: &str = "id bigint PRIMARY KEY, b boolean, i2 smallint, i4 integer, i8 bigint, f4 real, \
    f8 double precision, n numeric(20,5), t text, v varchar(20), c char(5), x bytea, d date, ts timestamp, \
    tz timestamptz, u uuid, j jsonb, ai integer[], at text[]";
const TABLE: &str = "compat.tokio_postgres";

async fn connect() -> Result<(Client, UnboundedReceiver<Notification>), Box<dyn std::error::Error>> {
    let variable = |name: &str| std::env::var(name).map_err(|_| format!("{name} is not set"));
    let mut config = Config::new();
    config.host(variable("PGHOST")?).port(variable("PGPORT")?.parse()?).user(variable("PGUSER")?);
    config.password(variable("PGPASSWORD")?).dbname(variable("PGDATABASE")?);
    let (client, mut connection) = config.connect(NoTls).await?;
    let (sender, notes) = unbounded_channel();
    tokio::spawn(async move {
        let mut messages = futures::stream::poll_fn(move |context| connection.poll_message(context));
        while let Some(Ok(message)) = messages.next().await {
            if let AsyncMessage::Notification(note) = message {
                sender.send(note).ok();
            }
        }
    });
    Ok((client, notes))
}

async fn typed_statements(client: &Client) -> Outcome {
    // numeric has no type in this client: it goes in and out as text.
    let marks = "$1, $2, $3, $4, $5, $6, $7, $8::text::numeric, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19";
    let insert = client.prepare(&format!("INSERT INTO {TABLE} VALUES ({marks})")).await?;
    assert_eq!(insert.params()[..4], [Type::INT8, Type::BOOL, Type::INT2, Type::INT4]);
    assert_eq!(insert.params()[15..], [Type::UUID, Type::JSONB, Type::INT4_ARRAY, Type::TEXT_ARRAY]);
    let date = NaiveDate::from_ymd_opt(2024, 2, 29).ok_or("a date")?;
    let moment = DateTime::parse_from_rfc3339("2024-01-02T03:04:05.678901Z")?.with_timezone(&Utc);
    let (uuid, document) = (Uuid::from_u128(1 << 100), json!({"a": [1, 2.5, null, "x"], "b": {"c": true}}));
    let (numbers, texts) = (vec![Some(1), None, Some(3)], vec![Some("a".to_owned()), Some("b,c".to_owned()), None]);
    let bytes = vec![0_u8, 255, 98];
    let values: [&(dyn ToSql + Sync); 19] = [
        &1_i64,
        &true,
        &i16::MIN,
        &i32::MAX,
        &i64::MIN,
        &1.5_f32,
        &1e300_f64,
        &"123456789012345.67890",
        &"héllo 'wörld'",
        &"twenty",
        &"abc  ",
        &bytes,
        &date,
        &moment.naive_utc(),
        &moment,
        &uuid,
        &document,
        &numbers,
        &texts,
    ];
    assert_eq!(client.execute(&insert, &values).await?, 1);
    let columns = "id, b, i2, i4, i8, f4, f8, n::text, t, v, c, x, d, ts, tz, u, j, ai, at";
    let select = client.prepare(&format!("SELECT {columns} FROM {TABLE} WHERE id = $1")).await?;
    assert_eq!(select.columns()[10].type_(), &Type::BPCHAR);
    let row = client.query_one(&select, &[&1_i64]).await?;
    assert_eq!((row.get::<_, i64>(0), row.get::<_, bool>(1), row.get::<_, i16>(2)), (1, true, i16::MIN));
    assert_eq!((row.get::<_, i32>(3), row.get::<_, i64>(4)), (i32::MAX, i64::MIN));
    assert_eq!((row.get::<_, f32>(5), row.get::<_, f64>(6)), (1.5, 1e300));
    let text = |at: usize| row.get::<_, &str>(at);
    assert_eq!((text(7), text(8), text(9), text(10)), ("123456789012345.67890", "héllo 'wörld'", "twenty", "abc  "));
    assert_eq!(row.get::<_, &[u8]>(11), [0, 255, 98]);
    assert_eq!((row.get::<_, NaiveDate>(12), row.get::<_, NaiveDateTime>(13)), (date, moment.naive_utc()));
    assert_eq!((row.get::<_, DateTime<Utc>>(14), row.get::<_, Uuid>(15)), (moment, uuid));
    assert_eq!(row.get::<_, Value>(16), document);
    assert_eq!(row.get::<_, Vec<Option<i32>>>(17), numbers);
    assert_eq!(row.get::<_, Vec<Option<String>>>(18), texts);
    client.execute(&format!("INSERT INTO {TABLE} (id) VALUES ($1)"), &[&2_i64]).await?;
    let nulls = client.query_one(&select, &[&2_i64]).await?;
    assert_eq!((nulls.get::<_, Option<bool>>(1), nulls.get::<_, Option<Value>>(16)), (None, None));
    let many = client.query(&format!("SELECT id FROM {TABLE} WHERE id = ANY($1)"), &[&vec![1_i64, 2, 99]]).await?;
    assert_eq!(many.len(), 2);
    Ok(())
}

async fn count(client: &Client) -> Result<i64, tokio_postgres::Error> {
    Ok(client.query_one(&format!("SELECT count(*) FROM {TABLE}"), &[]).await?.get(0))
}

async fn transactions(client: &mut Client) -> Outcome {
    let before = count(client).await?;
    let mut outer = client.transaction().await?;
    outer.execute(&format!("DELETE FROM {TABLE}"), &[]).await?;
    let inner = outer.transaction().await?;
    let error = inner.execute(&format!("INSERT INTO {TABLE} (id) VALUES (7), (7)"), &[]).await.err();
    assert_eq!(error.as_ref().and_then(|error| error.code()), Some(&SqlState::UNIQUE_VIOLATION));
    inner.rollback().await?;
    outer.rollback().await?;
    assert_eq!(count(client).await?, before);

    let sink = client.copy_in(&format!("COPY {TABLE} (id, t) FROM STDIN")).await?;
    futures::pin_mut!(sink);
    let rows: String = (100..1100).map(|id| format!("{id}\trow {id}\n")).collect();
    sink.send(std::io::Cursor::new(rows.into_bytes())).await?;
    assert_eq!(sink.finish().await?, 1000);

    // A portal is read a part at a time.
    let reading =
        client.build_transaction().isolation_level(IsolationLevel::RepeatableRead).read_only(true).start().await?;
    let portal = reading.bind(&format!("SELECT id FROM {TABLE} WHERE id >= 100 ORDER BY id"), &[]).await?;
    let first = reading.query_portal(&portal, 10).await?;
    let rest: Vec<_> = reading.query_portal_raw(&portal, 0).await?.try_collect().await?;
    assert_eq!((first.len(), rest.len()), (10, 990));
    reading.commit().await?;
    Ok(())
}

/// Many statements on their way at once.
async fn pipeline(client: &Client) -> Outcome {
    let statement = client.prepare("SELECT $1::int4 * 2").await?;
    let asked = (0..200).map(|n: i32| {
        let statement = &statement;
        async move { client.query_one(statement, &[&n]).await.map(|row| row.get::<_, i32>(0)) }
    });
    let answers = futures::future::try_join_all(asked).await?;
    assert_eq!(answers, (0..200).map(|n| n * 2).collect::<Vec<_>>());
    Ok(())
}

async fn next(notes: &mut UnboundedReceiver<Notification>) -> Result<Notification, Box<dyn std::error::Error>> {
    let note = tokio::time::timeout(Duration::from_secs(20), notes.recv()).await?;
    note.ok_or_else(|| "the connection ended".into())
}

async fn live(client: &Client, other: &Client, notes: &mut UnboundedReceiver<Notification>) -> Outcome {
    let query = format!("LISTEN inbox FOR SELECT id, t FROM {TABLE} WHERE id BETWEEN 5000 AND 5999");
    assert!(client.query(&query, &[]).await?.is_empty());
    other.execute(&format!("INSERT INTO {TABLE} (id, t) VALUES (5000, 'live')"), &[]).await?;
    other.execute(&format!("UPDATE {TABLE} SET t = 'changed' WHERE id = 5000"), &[]).await?;
    other.execute(&format!("DELETE FROM {TABLE} WHERE id = 5000"), &[]).await?;
    for op in ["insert", "update", "delete"] {
        let note = next(notes).await?;
        let event: Value = serde_json::from_str(note.payload())?;
        assert_eq!((note.channel(), event["op"].as_str()), ("inbox", Some(op)), "{event}");
        if op == "insert" {
            assert_eq!(event["row"], json!({"id": 5000, "t": "live"}));
        }
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Outcome {
    let (mut client, mut notes) = connect().await?;
    let (other, _) = connect().await?;
    let is_kalamdb = client.query_one("SELECT version()", &[]).await?.get::<_, &str>(0).contains("KalamDB");
    let kind = if is_kalamdb { "USER " } else { "" };
    let setup = format!(
        "CREATE SCHEMA IF NOT EXISTS compat; DROP TABLE IF EXISTS {TABLE}; CREATE {kind}TABLE {TABLE} ({COLUMNS})"
    );
    client.batch_execute(&setup).await?;
    typed_statements(&client).await?;
    transactions(&mut client).await?;
    pipeline(&client).await?;
    client.batch_execute("LISTEN news").await?;
    other.batch_execute("NOTIFY news, 'hello'").await?;
    let note = next(&mut notes).await?;
    assert_eq!((note.channel(), note.payload()), ("news", "hello"));
    if is_kalamdb {
        live(&client, &other, &mut notes).await?;
    }
    other.batch_execute(&format!("DROP TABLE {TABLE}")).await?;
    println!("tokio-postgres ok");
    Ok(())
}
