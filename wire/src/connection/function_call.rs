//! The FunctionCall message, the protocol's older way to call a function by its OID: carried out as the query
//! `SELECT function($1, …)`, whose one value is the answer.

use std::pin::pin;

use engine::error::{Error, Result, SqlState};
use engine::session::{Rows, Step};
use engine::types::Datum;
use smallvec::smallvec;

use super::extended::{Portal, ResultFormats};
use super::{Connection, Failure};
use crate::backend::{Backend, BackendSession};
use crate::frontend::{Format, FunctionCall};
use crate::values::column::BatchEncoder;
use crate::values::datum::write_row;

/// Statement and portal of the call; no client's is named so.
const CALL: &str = "\u{1}function call";

const FUNCTION_CALL_RESPONSE: u8 = b'V';

impl<B: Backend> Connection<B> {
    pub(super) async fn function_call(&mut self, body: &[u8]) -> Result<(), Failure> {
        let done = self.call(body).await;
        self.session.close_portal(CALL);
        self.session.close_statement(CALL);
        done
    }

    async fn call(&mut self, body: &[u8]) -> Result<(), Failure> {
        let mut message = FunctionCall::decode(body)?;
        let (sql, types) = self.session.function_call(message.function)?;
        let violation = |text: String| Error::new(SqlState::ProtocolViolation, text);
        if message.arguments != types.len() {
            return Err(violation(format!(
                "function call message contains {} arguments but function requires {}",
                message.arguments,
                types.len()
            ))
            .into());
        }
        if message.formats.len() > 1 && message.formats.len() != message.arguments {
            return Err(violation(format!(
                "function call message contains {} argument formats but {} arguments",
                message.formats.len(),
                message.arguments
            ))
            .into());
        }
        let prepared = self.guard.drive(&mut self.channel, pin!(self.session.prepare(CALL, &sql, &types))).await;
        prepared.map_err(Failure::Session)?;
        let values = self.read_arguments(&mut message)?;
        let format = message.result_format()?;
        let bound = self.guard.drive(&mut self.channel, pin!(self.session.bind(CALL, CALL, values))).await;
        bound.map_err(Failure::Session)?;
        if self.session.carries_portal(CALL) {
            return self.carry_function_call(body).await;
        }
        let columns = self.session.portal_columns(CALL)?;
        let mut portal = Portal { columns, formats: ResultFormats::All(format), encoders: smallvec![] };
        portal.choose_encoders()?;
        loop {
            let step = self.guard.drive(&mut self.channel, pin!(self.session.step(CALL, 0))).await;
            let step = step.map_err(Failure::Session)?;
            self.send_notices()?;
            match step {
                Step::Rows(rows) => self.send_result(&rows, &portal)?,
                _ => return Ok(()),
            }
        }
    }

    /// The arguments, as values of the function's types.
    fn read_arguments(&self, message: &mut FunctionCall<'_>) -> Result<Vec<Datum>> {
        let shape = self.session.statement(CALL)?;
        let settings = self.session.format();
        let mut codes = message.formats.iter();
        let mut code = codes.next().unwrap_or(0);
        let mut values = Vec::with_capacity(shape.parameters.len());
        for (index, ty) in shape.parameters.iter().enumerate() {
            if index > 0 {
                code = codes.next().unwrap_or(code);
            }
            let Some(bytes) = message.next_value()? else {
                values.push(Datum::Null);
                continue;
            };
            let format = Format::decode(code)?;
            let value = self.read_value(bytes, format, *ty, &settings, index + 1)?;
            values.push(value);
        }
        Ok(values)
    }

    /// The value of the one row: what a DataRow has behind its count of columns.
    fn send_result(&mut self, rows: &Rows, portal: &Portal) -> Result<()> {
        let settings = self.session.format();
        let mut row = Vec::new();
        match rows {
            Rows::Tuples(tuples) => match tuples.first() {
                Some(tuple) => write_row(&portal.encoders, tuple, &settings, &mut row)?,
                None => return Ok(()),
            },
            Rows::Batch(batch) if batch.num_rows() == 0 => return Ok(()),
            Rows::Batch(batch) => {
                let columns = portal.columns.as_deref().unwrap_or_default();
                BatchEncoder::choose(batch, columns, portal.formats.iter(), &settings)?.write_row(0, &mut row)?;
            }
        }
        let value = row.get(2..).ok_or_else(|| Error::internal("a row without a count of its columns"))?;
        self.channel.output.message(FUNCTION_CALL_RESPONSE, |out| {
            out.extend_from_slice(value);
            Ok(())
        })
    }
}
