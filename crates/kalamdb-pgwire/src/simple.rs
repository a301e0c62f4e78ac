//! The simple protocol: one string, its statements one after the other, in one implicit transaction.
//!
//! Each statement's result is sent before the next one runs; the first error ends the script. The transaction ends
//! before the last CommandComplete, so that a client that sees it knows that the script is committed (PostgreSQL
//! manual 55.2.2.1).

use crate::connection::{Connection, Fault, Sent};
use crate::respond::{self, Bare};
use crate::wire::{AtEof, End};
use kalamdb_core::{Reply, Rows};
use tokio::io::{AsyncRead, AsyncWrite};

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<'_, S> {
    /// Answers a Query message.
    pub(crate) async fn query(&mut self, sql: &str) -> Result<(), End> {
        match self.script(sql).await {
            Ok(()) => {}
            Err(Fault::Statement(error)) => self.report(&error),
            Err(Fault::End(end)) => return Err(end),
        }
        self.ready().await
    }

    async fn script(&mut self, sql: &str) -> Result<(), Fault> {
        let script = self.session.script(sql)?;
        if script.is_empty() {
            self.wire.put(|out| respond::bare(out, Bare::EmptyQuery));
            return Ok(());
        }
        for (place, statement) in script.iter().enumerate() {
            let single = script.len() == 1;
            let reply = self.wire.during(AtEof::Finish, self.session.run(statement, single)).await??;
            let tag = self.reply(reply).await?;
            if place + 1 == script.len() {
                self.wire.during(AtEof::Finish, self.session.settle()).await??;
            }
            self.notices();
            self.wire.put(|out| match tag {
                Some(tag) => respond::command_complete(out, &tag),
                None => respond::bare(out, Bare::EmptyQuery),
            });
            self.wire.drain_if_full().await?;
        }
        Ok(())
    }

    /// Sends what a statement answers, but for its end: the command tag.
    async fn reply(&mut self, reply: Reply) -> Result<Option<String>, Fault> {
        match reply {
            Reply::Rows(rows) => self.whole_result(rows).await.map(Some),
            Reply::Command(tag) => Ok(Some(tag)),
            Reply::CopyIn { binary, columns } => self.copy_in(binary, columns).await.map(Some),
            Reply::CopyOut(copy) => self.copy_out(copy).await.map(Some),
            Reply::Empty => Ok(None),
        }
    }

    async fn whole_result(&mut self, mut rows: Rows) -> Result<String, Fault> {
        let columns = rows.columns().clone();
        let formats = vec![0; columns.len()];
        let encoder = self.encoder(&columns, &formats)?;
        self.wire.put(|out| respond::row_description(out, &columns, &formats));
        match self.send_rows(&mut rows, encoder, 0).await? {
            Sent::All(sent) => Ok(rows.tag(sent)),
            // Without a limit nothing is suspended.
            Sent::Suspended(_) => Ok(rows.tag(0)),
        }
    }
}
