//! Results of a portal on their way to the client, at the client's pace.

use std::pin::pin;

use engine::error::Result;
use engine::session::{Rows, Step};
use engine::types::text::FormatSettings;
use pgwire::messages::data::MESSAGE_TYPE_BYTE_DATA_ROW;

use super::copy_binary::BinaryCopyOut;
use super::extended::Portal;
use super::{Connection, Failure};
use crate::backend::{Backend, BackendSession};
use crate::values::column::BatchEncoder;
use crate::values::datum::write_row;

impl<B: Backend> Connection<B> {
    /// Steps a portal to its end, or to its row limit (0: none).
    pub(super) async fn run_portal(&mut self, name: &str, portal: &mut Portal, max_rows: usize) -> Result<(), Failure> {
        // Before the first row, and even if there is none: PostgreSQL looks for the output functions first.
        portal.choose_encoders()?;
        let mut settings: Option<FormatSettings> = None;
        let mut copying_out = false;
        let mut copying_rows: Option<BinaryCopyOut> = None;
        loop {
            let step = self
                .guard
                .drive(&mut self.channel, pin!(self.session.step(name, max_rows)))
                .await
                .map_err(Failure::Session)?;
            self.send_notices()?;
            match step {
                Step::Rows(rows) if let Some(copy) = &mut copying_rows => {
                    let settings = settings.get_or_insert_with(|| self.session.format());
                    copy.send(rows, settings, &mut self.channel.output)?;
                    self.flush_if_full(name).await?;
                    continue;
                }
                Step::CopyOutRows(columns) => {
                    let copy = BinaryCopyOut::new(columns)?;
                    self.channel.output.copy_out(copy.format())?;
                    copying_rows = Some(copy);
                    continue;
                }
                Step::CopyInRows { table, columns } => {
                    let tag = self.copy_in_rows(&table, &columns).await?;
                    self.channel.output.command_complete(&tag)?;
                }
                Step::Rows(rows) => {
                    let settings = settings.get_or_insert_with(|| self.session.format());
                    self.send_rows(name, rows, portal, settings).await?;
                    continue;
                }
                Step::CopyOut(format) => {
                    self.channel.output.copy_out(format)?;
                    copying_out = true;
                    continue;
                }
                Step::CopyData(rows) => {
                    for row in rows {
                        self.channel.output.copy_data(&row)?;
                        self.flush_if_full(name).await?;
                    }
                    continue;
                }
                Step::CopyIn(format) => {
                    let tag = self.copy_in(format).await?;
                    self.channel.output.command_complete(&tag)?;
                }
                Step::Complete(tag) => {
                    if let Some(copy) = &mut copying_rows {
                        copy.end(&mut self.channel.output)?;
                    }
                    if copying_out || copying_rows.is_some() {
                        self.channel.output.copy_done();
                    }
                    self.channel.output.command_complete(&tag)?;
                }
                Step::Suspended => self.channel.output.portal_suspended(),
                Step::Empty => self.channel.output.empty_query(),
            }
            return Ok(());
        }
    }

    async fn send_rows(
        &mut self,
        name: &str,
        rows: Rows,
        portal: &Portal,
        settings: &FormatSettings,
    ) -> Result<(), Failure> {
        match rows {
            Rows::Tuples(tuples) => {
                for row in &tuples {
                    self.channel
                        .output
                        .message(MESSAGE_TYPE_BYTE_DATA_ROW, |out| write_row(&portal.encoders, row, settings, out))?;
                    self.flush_if_full(name).await?;
                }
            }
            Rows::Batch(batch) => {
                let columns = portal.columns.as_deref().unwrap_or_default();
                let encoder = BatchEncoder::choose(&batch, columns, portal.formats.iter(), settings)?;
                for row in 0..encoder.rows() {
                    self.channel.output.message(MESSAGE_TYPE_BYTE_DATA_ROW, |out| encoder.write_row(row, out))?;
                    self.flush_if_full(name).await?;
                }
            }
        }
        Ok(())
    }

    /// Many rows take their time: between them the statement may be cancelled.
    async fn flush_if_full(&mut self, portal: &str) -> Result<(), Failure> {
        if self.channel.output.len() < self.output_buffer_bytes {
            return Ok(());
        }
        self.guard.flush(&mut self.channel).await?;
        Ok(self.session.check_interrupted(portal)?)
    }
}
