//! Answers on their way to the socket: one buffer, written as a whole.
//!
//! The messages of every statement are written straight into the buffer; the rare ones go through pgwire's structs.
//!
//! Invariant 1: the buffer holds whole messages only: [`Output::message`] closes what it opened, and a message that
//! failed half-way is cut off.

use bytes::BytesMut;
use engine::error::{Error, Notice, NoticeLevel, Report, Result, SqlState};
use engine::session::{Column, CopyFormat, TransactionStatus};
use engine::txn::notify::Notification;
use pgwire::messages::response::{
    ErrorResponse, MESSAGE_TYPE_BYTE_COMMAND_COMPLETE, MESSAGE_TYPE_BYTE_EMPTY_QUERY_RESPONSE,
    MESSAGE_TYPE_BYTE_READY_FOR_QUERY, NoticeResponse,
};
use pgwire::messages::startup::ParameterStatus;
use pgwire::messages::{Message, copy, data, extendedquery};

use crate::frontend::Format;
use crate::values;

/// Memory that the buffer keeps after a flush; a larger one was for a large row and is given back.
const KEPT_BYTES_MAX: usize = 128 << 10;

#[derive(Debug, Default)]
pub(crate) struct Output {
    pub bytes: Vec<u8>,
    /// Bytes at the front that the socket has taken already.
    pub sent: usize,
}

/// How an error ends: the statement or the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Severity {
    Error,
    Fatal,
}

impl Output {
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// What is still to be sent of the first `end` bytes.
    pub fn unsent(&self, end: usize) -> Option<&[u8]> {
        self.bytes.get(self.sent..end).filter(|unsent| !unsent.is_empty())
    }

    pub fn forget_sent(&mut self) {
        self.bytes.drain(..self.sent);
        self.sent = 0;
        if self.bytes.capacity() > KEPT_BYTES_MAX {
            self.bytes.shrink_to(KEPT_BYTES_MAX);
        }
    }

    /// One message: type, length, and what `body` appends.
    pub fn message(&mut self, kind: u8, body: impl FnOnce(&mut Vec<u8>) -> Result<()>) -> Result<()> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[kind, 0, 0, 0, 0]);
        let written = body(&mut self.bytes).and_then(|()| {
            let length = self.bytes.len() - start - 1;
            i32::try_from(length).map_err(|_| {
                Error::new(
                    SqlState::ProgramLimitExceeded,
                    format!("message of {length} bytes exceeds the protocol's limit"),
                )
            })
        });
        match written {
            Ok(length) => {
                if let Some(place) = self.bytes.get_mut(start + 1..start + 5) {
                    place.copy_from_slice(&length.to_be_bytes());
                }
                Ok(())
            }
            Err(error) => {
                self.bytes.truncate(start);
                Err(error)
            }
        }
    }

    fn empty(&mut self, kind: u8) {
        self.bytes.extend_from_slice(&[kind, 0, 0, 0, 4]);
    }

    /// A message of pgwire's.
    pub fn encode(&mut self, message: &impl Message) -> Result<()> {
        let mut buffer = BytesMut::new();
        message.encode(&mut buffer).map_err(|error| Error::internal(format!("could not encode a message: {error}")))?;
        self.bytes.extend_from_slice(&buffer);
        Ok(())
    }

    pub fn parse_complete(&mut self) {
        self.empty(extendedquery::MESSAGE_TYPE_BYTE_PARSE_COMPLETE);
    }

    pub fn bind_complete(&mut self) {
        self.empty(extendedquery::MESSAGE_TYPE_BYTE_BIND_COMPLETE);
    }

    pub fn close_complete(&mut self) {
        self.empty(extendedquery::MESSAGE_TYPE_BYTE_CLOSE_COMPLETE);
    }

    pub fn portal_suspended(&mut self) {
        self.empty(extendedquery::MESSAGE_TYPE_BYTE_PORTAL_SUSPENDED);
    }

    pub fn no_data(&mut self) {
        self.empty(data::MESSAGE_TYPE_BYTE_NO_DATA);
    }

    pub fn empty_query(&mut self) {
        self.empty(MESSAGE_TYPE_BYTE_EMPTY_QUERY_RESPONSE);
    }

    pub fn copy_done(&mut self) {
        self.empty(copy::MESSAGE_TYPE_BYTE_COPY_DONE);
    }

    pub fn command_complete(&mut self, tag: &str) -> Result<()> {
        self.message(MESSAGE_TYPE_BYTE_COMMAND_COMPLETE, |bytes| {
            bytes.extend_from_slice(tag.as_bytes());
            bytes.push(0);
            Ok(())
        })
    }

    /// NotificationResponse.
    pub fn notification(&mut self, notification: &Notification) -> Result<()> {
        self.message(b'A', |bytes| {
            bytes.extend_from_slice(&notification.process.to_be_bytes());
            put_string(bytes, &notification.channel);
            put_string(bytes, &notification.payload);
            Ok(())
        })
    }

    pub fn ready_for_query(&mut self, status: TransactionStatus) {
        let status = match status {
            TransactionStatus::Idle => b'I',
            TransactionStatus::InTransaction => b'T',
            TransactionStatus::Failed => b'E',
        };
        self.bytes.extend_from_slice(&[MESSAGE_TYPE_BYTE_READY_FOR_QUERY, 0, 0, 0, 5, status]);
    }

    /// `formats` are the columns' formats in turn.
    pub fn row_description(&mut self, columns: &[Column], mut formats: impl Iterator<Item = Format>) -> Result<()> {
        let count = u16::try_from(columns.len())
            .map_err(|_| Error::new(SqlState::TooManyColumns, "a result can have at most 65535 columns"))?;
        self.message(data::MESSAGE_TYPE_BYTE_ROW_DESCRITION, |bytes| {
            bytes.extend_from_slice(&count.to_be_bytes());
            for column in columns {
                let format = formats.next().unwrap_or(Format::Text);
                put_string(bytes, &column.name);
                bytes.extend_from_slice(&column.table.to_be_bytes());
                bytes.extend_from_slice(&column.attribute.to_be_bytes());
                bytes.extend_from_slice(&column.ty.oid.0.to_be_bytes());
                bytes.extend_from_slice(&values::type_length(column.ty.oid).to_be_bytes());
                bytes.extend_from_slice(&column.ty.typmod.to_be_bytes());
                bytes.extend_from_slice(&format.code().to_be_bytes());
            }
            Ok(())
        })
    }

    pub fn copy_in(&mut self, format: CopyFormat) -> Result<()> {
        let (overall, columns, formats) = copy_formats(format);
        self.encode(&copy::CopyInResponse::new(overall, columns, formats))
    }

    pub fn copy_out(&mut self, format: CopyFormat) -> Result<()> {
        let (overall, columns, formats) = copy_formats(format);
        self.encode(&copy::CopyOutResponse::new(overall, columns, formats))
    }

    pub fn copy_data(&mut self, row: &[u8]) -> Result<()> {
        self.message(copy::MESSAGE_TYPE_BYTE_COPY_DATA, |bytes| {
            bytes.extend_from_slice(row);
            Ok(())
        })
    }

    pub fn parameter_status(&mut self, name: String, value: String) -> Result<()> {
        self.encode(&ParameterStatus::new(name, value))
    }

    pub fn error(&mut self, severity: Severity, error: &Error) {
        let severity = match severity {
            Severity::Error => "ERROR",
            Severity::Fatal => "FATAL",
        };
        let message = ErrorResponse::new(fields(severity, error.report()));
        if let Err(error) = self.encode(&message) {
            // Only a report of more than 2 GiB gets here; the client must see some error.
            tracing::error!(%error, "an error report could not be encoded");
            let plain = Error::internal("an error report was too large to be sent");
            let _ = self.encode(&ErrorResponse::new(fields(severity, plain.report())));
        }
    }

    pub fn notice(&mut self, notice: &Notice) -> Result<()> {
        let severity = match notice.level {
            NoticeLevel::Debug => "DEBUG",
            NoticeLevel::Log => "LOG",
            NoticeLevel::Info => "INFO",
            NoticeLevel::Notice => "NOTICE",
            NoticeLevel::Warning => "WARNING",
        };
        self.encode(&NoticeResponse::new(fields(severity, notice.report.report())))
    }
}

/// A string and its final zero byte; zero bytes inside would end it early and are left out.
pub(crate) fn put_string(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend(text.bytes().filter(|byte| *byte != 0));
    bytes.push(0);
}

fn copy_formats(format: CopyFormat) -> (i8, i16, Vec<i16>) {
    let columns = format.columns.min(i16::MAX as u16);
    let code = i16::from(format.binary);
    (code as i8, columns as i16, vec![code; usize::from(columns)])
}

/// The fields in PostgreSQL's order (protocol manual, "Error and Notice Message Fields").
fn fields(severity: &str, report: &Report) -> Vec<(u8, String)> {
    let mut fields = vec![
        (b'S', severity.to_owned()),
        (b'V', severity.to_owned()),
        (b'C', report.state.code().to_owned()),
        (b'M', report.message.replace('\0', "")),
    ];
    let position = report.position.map(|position| position.to_string());
    let optional = [
        (b'D', &report.detail),
        (b'H', &report.hint),
        (b'P', &position),
        (b'W', &report.context),
        (b's', &report.schema),
        (b't', &report.table),
        (b'c', &report.column),
        (b'd', &report.data_type),
        (b'n', &report.constraint),
    ];
    for (code, value) in optional {
        if let Some(value) = value {
            fields.push((code, value.replace('\0', "")));
        }
    }
    fields.extend(report.routine.map(|routine| (b'R', routine.to_owned())));
    fields
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use pgwire::messages::{DecodeContext, PgWireBackendMessage, ProtocolVersion};

    fn decode(output: &Output) -> PgWireBackendMessage {
        let mut context = DecodeContext::new(ProtocolVersion::PROTOCOL3_0);
        context.awaiting_frontend_ssl = false;
        context.awaiting_frontend_startup = false;
        let mut bytes = BytesMut::from(&output.bytes[..]);
        let message = PgWireBackendMessage::decode(&mut bytes, &context).unwrap().unwrap();
        assert!(bytes.is_empty());
        message
    }

    #[test]
    fn an_error_carries_every_field() {
        let error = Error::new(SqlState::UniqueViolation, "m\0essage")
            .detail("d")
            .hint("h")
            .at(7)
            .context("w")
            .table("s", "t")
            .column("c")
            .data_type("y")
            .constraint("n");
        let mut output = Output::default();
        output.error(Severity::Error, &error);
        let PgWireBackendMessage::ErrorResponse(response) = decode(&output) else {
            panic!("no ErrorResponse");
        };
        let text: Vec<String> =
            response.fields.iter().map(|(code, value)| format!("{}{value}", char::from(*code))).collect();
        assert_eq!(text.join(" "), "SERROR VERROR C23505 Mmessage Dd Hh P7 Ww ss tt cc dy nn");
    }

    #[test]
    fn a_failed_message_leaves_nothing() {
        let mut output = Output::default();
        output.bind_complete();
        let before = output.bytes.clone();
        let failed = output.message(b'D', |bytes| {
            bytes.extend_from_slice(b"half");
            Err(Error::internal("x"))
        });
        assert!(failed.is_err());
        assert_eq!(output.bytes, before);
    }
}
