//! The extended protocol: Parse, Bind, Describe, Execute, Close.
//!
//! Each message is answered into the output without a flush of its own; the pipeline's answers leave together at Sync
//! or Flush. The first error makes the connection skip to Sync.

use crate::connection::{Connection, Fault, Sent};
use crate::encode::expand_formats;
use crate::frame::{Bind, Message, Target, violation};
use crate::respond::{self, Bare};
use crate::wire::{AtEof, End};
use kalamdb_core::{Reply, Rows};
use tokio::io::{AsyncRead, AsyncWrite};

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<'_, S> {
    /// Answers a message of the extended protocol other than Sync and Flush.
    pub(crate) async fn extended(&mut self, message: Message) -> Result<(), End> {
        let answered = match message {
            Message::Parse { name, sql, types } => self.parse(&name, &sql, &types).await,
            Message::Bind(bind) => self.bind(bind).await,
            Message::Describe(Target::Statement, name) => self.describe_statement(&name).await,
            Message::Describe(Target::Portal, name) => self.describe_portal(&name),
            Message::Execute { portal, rows_max } => self.execute(&portal, rows_max).await,
            Message::Close(target, name) => {
                self.close(target, &name);
                Ok(())
            }
            _ => Err(violation("unexpected message").into()),
        };
        match answered {
            Ok(()) => Ok(self.wire.drain_if_full().await?),
            Err(Fault::End(end)) => Err(end),
            Err(Fault::Statement(error)) => {
                self.report(&error);
                self.skipping = true;
                Ok(self.wire.drain().await?)
            }
        }
    }

    async fn parse(&mut self, name: &str, sql: &str, types: &[u32]) -> Result<(), Fault> {
        self.wire.during(AtEof::Finish, self.session.prepare(name, sql, types)).await??;
        self.wire.put(|out| respond::bare(out, Bare::ParseComplete));
        Ok(())
    }

    async fn bind(&mut self, bind: Bind) -> Result<(), Fault> {
        let Bind { portal, statement, formats, values, result_formats } = bind;
        let bound = self.session.bind(&portal, &statement, &formats, values, result_formats);
        self.wire.during(AtEof::Finish, bound).await??;
        self.wire.put(|out| respond::bare(out, Bare::BindComplete));
        Ok(())
    }

    async fn describe_statement(&mut self, name: &str) -> Result<(), Fault> {
        let described = self.wire.during(AtEof::Finish, self.session.describe_statement(name)).await??;
        let (parameters, columns) = described;
        self.wire.put(|out| {
            respond::parameter_description(out, &parameters);
            match columns {
                // The formats are not known before Bind: zeros.
                Some(columns) => respond::row_description(out, &columns, &[]),
                None => respond::bare(out, Bare::NoData),
            }
        });
        Ok(())
    }

    fn describe_portal(&mut self, name: &str) -> Result<(), Fault> {
        let (columns, codes) = self.session.describe_portal(name)?;
        match columns {
            Some(columns) => {
                let formats = expand_formats(&codes, columns.len())?;
                self.wire.put(|out| respond::row_description(out, &columns, &formats));
            }
            None => self.wire.put(|out| respond::bare(out, Bare::NoData)),
        }
        Ok(())
    }

    async fn execute(&mut self, portal: &str, rows_max: u64) -> Result<(), Fault> {
        let reply = self.wire.during(AtEof::Finish, self.session.execute(portal, rows_max)).await??;
        let tag = match reply {
            Reply::Rows(rows) => self.portal_rows(portal, rows, rows_max).await?,
            Reply::Command(tag) => Some(tag),
            Reply::CopyIn { binary, columns } => Some(self.copy_in(binary, columns).await?),
            Reply::CopyOut(copy) => Some(self.copy_out(copy).await?),
            Reply::Empty => {
                self.wire.put(|out| respond::bare(out, Bare::EmptyQuery));
                None
            }
        };
        self.notices();
        if let Some(tag) = tag {
            self.wire.put(|out| respond::command_complete(out, &tag));
        }
        Ok(())
    }

    /// Sends a portal's rows up to the limit. `None`: it is suspended, and has said so.
    async fn portal_rows(&mut self, portal: &str, mut rows: Rows, rows_max: u64) -> Result<Option<String>, Fault> {
        let columns = rows.columns().clone();
        let formats = expand_formats(&self.session.portal_formats(portal), columns.len())?;
        let encoder = self.encoder(&columns, &formats)?;
        match self.send_rows(&mut rows, encoder, rows_max).await? {
            Sent::All(sent) => Ok(Some(rows.tag(sent))),
            Sent::Suspended(rest) => {
                self.session.suspend(portal, rows, rest);
                self.wire.put(|out| respond::bare(out, Bare::PortalSuspended));
                Ok(None)
            }
        }
    }

    fn close(&mut self, target: Target, name: &str) {
        match target {
            Target::Statement => self.session.close_statement(name),
            Target::Portal => self.session.close_portal(name),
        }
        self.wire.put(|out| respond::bare(out, Bare::CloseComplete));
    }
}
