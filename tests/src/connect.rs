//! A session over tokio-postgres that keeps what the server pushes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_postgres::error::SqlState;
use tokio_postgres::{AsyncMessage, Client, Config, Error, NoTls, SimpleQueryMessage};

/// How long an answer or a notification may take before a test gives up.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// Something that the server sent of its own accord.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A notification.
    Notification {
        /// The channel.
        channel: String,
        /// The payload.
        payload: String,
    },
    /// A notice's message.
    Notice(String),
}

/// One session.
#[derive(Debug)]
pub struct Session {
    /// tokio-postgres' client, shared with tasks that wait for an answer.
    pub client: Arc<Client>,
    events: mpsc::UnboundedReceiver<Event>,
}

impl Session {
    /// Logs in.
    ///
    /// # Errors
    /// The client's.
    pub async fn connect(address: SocketAddr, user: &str, password: &str, database: &str) -> Result<Self, Error> {
        let mut config = Config::new();
        config.host(address.ip().to_string()).port(address.port()).user(user).password(password).dbname(database);
        config.connect_timeout(ANSWER_MAX);
        let (client, mut connection) = config.connect(NoTls).await?;
        let (sender, events) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            let mut messages = futures::stream::poll_fn(move |context| connection.poll_message(context));
            while let Some(Ok(message)) = futures::StreamExt::next(&mut messages).await {
                let event = match message {
                    AsyncMessage::Notification(it) => {
                        Event::Notification { channel: it.channel().to_owned(), payload: it.payload().to_owned() }
                    }
                    AsyncMessage::Notice(notice) => Event::Notice(notice.message().to_owned()),
                    _ => continue,
                };
                if sender.send(event).is_err() {
                    break;
                }
            }
        });
        Ok(Self { client: Arc::new(client), events })
    }

    /// The next notification: channel and payload.
    ///
    /// # Panics
    /// When none comes.
    pub async fn notification(&mut self) -> (String, String) {
        self.try_notification(ANSWER_MAX).await.expect("a notification in time")
    }

    /// The next notification, if one comes in this time.
    pub async fn try_notification(&mut self, within: Duration) -> Option<(String, String)> {
        let next = async {
            loop {
                match self.events.recv().await? {
                    Event::Notification { channel, payload } => return Some((channel, payload)),
                    Event::Notice(_) => {}
                }
            }
        };
        tokio::time::timeout(within, next).await.ok().flatten()
    }

    /// Runs statements that must succeed.
    ///
    /// # Panics
    /// When they do not.
    pub async fn run(&self, sql: &str) {
        if let Err(error) = self.client.batch_execute(sql).await {
            panic!("{sql}\n{}", described(&error));
        }
    }

    /// Runs a query that must succeed: its rows as text, columns separated by `|`, NULL as `NULL`.
    ///
    /// # Panics
    /// When it fails.
    pub async fn rows(&self, sql: &str) -> Vec<String> {
        match self.client.simple_query(sql).await {
            Ok(messages) => rows_of(&messages),
            Err(error) => panic!("{sql}\n{}", described(&error)),
        }
    }

    /// Runs a query that gives one value.
    ///
    /// # Panics
    /// When it gives another number of rows.
    pub async fn value(&self, sql: &str) -> String {
        let rows = self.rows(sql).await;
        assert_eq!(rows.len(), 1, "{sql} gives one row");
        rows.into_iter().next().unwrap_or_default()
    }

    /// Runs statements that must fail: the SQLSTATE.
    ///
    /// # Panics
    /// When they succeed, or the connection ends.
    pub async fn fails(&self, sql: &str) -> SqlState {
        match self.client.simple_query(sql).await {
            Ok(_) => panic!("{sql} must fail"),
            Err(error) => error.code().cloned().unwrap_or_else(|| panic!("{sql}: {error}")),
        }
    }
}

/// The rows of an answer as text.
pub fn rows_of(messages: &[SimpleQueryMessage]) -> Vec<String> {
    let row = |message: &SimpleQueryMessage| match message {
        SimpleQueryMessage::Row(row) => {
            let cells: Vec<&str> = (0..row.len()).map(|at| row.get(at).unwrap_or("NULL")).collect();
            Some(cells.join("|"))
        }
        _ => None,
    };
    messages.iter().filter_map(row).collect()
}

/// An error in one line: SQLSTATE and message.
pub fn described(error: &Error) -> String {
    match error.as_db_error() {
        Some(it) => format!("ERROR {}: {}", it.code().code(), it.message()),
        None => format!("ERROR {error}"),
    }
}
