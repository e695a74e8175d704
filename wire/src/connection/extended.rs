//! The extended protocol: Parse, Bind, Describe, Execute, Close, Flush.

use std::pin::pin;
use std::sync::Arc;

use engine::error::{Error, Result, SqlState};
use engine::session::Column;
use engine::types::text::FormatSettings;
use engine::types::{Datum, TypeOid};
use pgwire::messages::data::ParameterDescription;
use smallvec::SmallVec;

use super::{Connection, Failure};
use crate::backend::{Backend, BackendSession};
use crate::channel::Frame;
use crate::frontend::{self, Bind, Format, Formats, Parse, Target};
use crate::values::datum::DatumEncoder;
use crate::values::parameter;

/// What the protocol remembers of a portal: how its rows are written.
#[derive(Debug, Default)]
pub(super) struct Portal {
    /// `None`: returns no rows.
    pub columns: Option<Arc<[Column]>>,
    pub formats: ResultFormats,
    /// One per column, once [`Self::choose_encoders`] was called.
    pub encoders: SmallVec<[DatumEncoder; 8]>,
}

/// The formats of a portal's columns.
#[derive(Debug)]
pub(super) enum ResultFormats {
    All(Format),
    Each(SmallVec<[Format; 8]>),
}

impl Default for ResultFormats {
    fn default() -> Self {
        ResultFormats::All(Format::Text)
    }
}

impl ResultFormats {
    /// None, one for all, or one for each of the columns.
    fn decode(codes: Formats<'_>, columns: Option<&[Column]>) -> Result<Self> {
        let mut formats = codes.iter().map(Format::decode);
        match codes.len() {
            0 => Ok(ResultFormats::default()),
            1 => Ok(ResultFormats::All(formats.next().unwrap_or(Ok(Format::Text))?)),
            count => match columns {
                Some(columns) if columns.len() != count => Err(Error::new(
                    SqlState::ProtocolViolation,
                    format!("bind message has {count} result formats but query has {} columns", columns.len()),
                )),
                _ => formats.collect::<Result<_>>().map(ResultFormats::Each),
            },
        }
    }

    /// The formats of the columns in turn, without an end.
    pub fn iter(&self) -> impl Iterator<Item = Format> {
        let (each, rest): (&[Format], Format) = match self {
            ResultFormats::All(format) => (&[], *format),
            ResultFormats::Each(formats) => (formats, Format::Text),
        };
        each.iter().copied().chain(std::iter::repeat(rest))
    }
}

impl Portal {
    pub fn of_text(columns: Option<Arc<[Column]>>) -> Self {
        Portal { columns, ..Portal::default() }
    }

    /// Chooses the columns' encoders, once per portal.
    pub fn choose_encoders(&mut self) -> Result<()> {
        let columns = self.columns.as_deref().unwrap_or_default();
        if self.encoders.len() != columns.len() {
            self.encoders = columns
                .iter()
                .zip(self.formats.iter())
                .map(|(column, format)| DatumEncoder::choose(column.ty, format))
                .collect::<Result<_>>()?;
        }
        Ok(())
    }
}

impl<B: Backend> Connection<B> {
    pub(super) async fn extended(&mut self, frame: &Frame) -> Result<(), Failure> {
        match frame.kind {
            frontend::PARSE => self.parse(&frame.body).await,
            frontend::BIND => self.bind(&frame.body).await,
            frontend::DESCRIBE => self.describe(&frame.body).await,
            frontend::EXECUTE => self.execute(&frame.body).await,
            frontend::CLOSE => self.close(&frame.body).await,
            frontend::FLUSH => {
                frontend::Reader::new(&frame.body).end()?;
                self.channel.promise();
                Ok(())
            }
            kind => Err(Error::internal(format!("unhandled message type {kind}")).into()),
        }
    }

    async fn parse(&mut self, body: &[u8]) -> Result<(), Failure> {
        let parse = Parse::decode(body)?;
        self.localize(parse.name).await?;
        self.guard
            .drive(&mut self.channel, pin!(self.session.prepare(parse.name, parse.sql, &parse.parameter_types)))
            .await
            .map_err(Failure::Session)?;
        self.send_notices()?;
        self.channel.output.parse_complete();
        Ok(())
    }

    async fn bind(&mut self, body: &[u8]) -> Result<(), Failure> {
        let mut message = Bind::decode(body)?;
        self.localize(message.statement).await?;
        let values = self.read_values(&mut message)?;
        let (portal, statement) = (message.portal, message.statement);
        let result_formats = message.result_formats()?;

        self.guard
            .drive(&mut self.channel, pin!(self.session.bind(portal, statement, values)))
            .await
            .map_err(Failure::Session)?;
        let columns = self.session.portal_columns(portal)?;
        let formats = ResultFormats::decode(result_formats, columns.as_deref())?;
        let entry = Portal { columns, formats, encoders: SmallVec::new() };
        if self.session.routes_writes() {
            self.carrier.note_bind(portal, body);
        }
        if portal.is_empty() {
            self.unnamed = Some(entry);
        } else {
            self.portals.insert(portal.to_owned(), entry);
        }
        self.send_notices()?;
        self.channel.output.bind_complete();
        Ok(())
    }

    /// The parameters of a Bind message, as values of the statement's parameter types.
    fn read_values(&self, message: &mut Bind<'_>) -> Result<Vec<Datum>> {
        let shape = self.session.statement(message.statement)?;
        let violation = |text: String| Error::new(SqlState::ProtocolViolation, text);
        let (formats, count) = (message.parameter_formats, message.parameters);
        if formats.len() > 1 && formats.len() != count {
            return Err(violation(format!(
                "bind message has {} parameter formats but {count} parameters",
                formats.len()
            )));
        }
        if count != shape.parameters.len() {
            return Err(violation(format!(
                "bind message supplies {count} parameters, but prepared statement \"{}\" requires {}",
                message.statement,
                shape.parameters.len()
            )));
        }
        let single = formats.len() == 1;
        let mut codes = formats.iter();
        let mut code = codes.next().unwrap_or(0);
        let mut settings: Option<FormatSettings> = None;
        let mut values = Vec::with_capacity(count);
        for (index, ty) in shape.parameters.iter().enumerate() {
            if index > 0 && !single {
                code = codes.next().unwrap_or(0);
            }
            let Some(bytes) = message.next_value()? else {
                values.push(Datum::Null);
                continue;
            };
            let format = Format::decode(code)
                .map_err(|error| error.context(parameter_context(message.portal, index + 1, &[], Format::Binary)))?;
            let settings = settings.get_or_insert_with(|| self.session.format());
            let value = self
                .read_value(bytes, format, *ty, settings, index + 1)
                .map_err(|error| error.context(parameter_context(message.portal, index + 1, bytes, format)))?;
            values.push(value);
        }
        Ok(values)
    }

    /// The value of parameter or argument `number`, counted from 1.
    pub(super) fn read_value(
        &self,
        bytes: &[u8],
        format: Format,
        ty: TypeOid,
        settings: &FormatSettings,
        number: usize,
    ) -> Result<Datum> {
        parameter::read(bytes, format, ty, settings, number).or_else(|error| {
            match parameter::named(bytes, format, ty) {
                Some(name) => self.session.read_name(name, ty),
                None => Err(error),
            }
        })
    }

    async fn describe(&mut self, body: &[u8]) -> Result<(), Failure> {
        match Target::decode(body, "DESCRIBE")? {
            Target::Statement(name) => {
                self.localize(name).await?;
                let shape = self.session.statement(name)?;
                let types = shape.parameters.iter().map(|oid| oid.0).collect();
                self.channel.output.encode(&ParameterDescription::new(types))?;
                let formats = std::iter::repeat(Format::Text);
                self.describe_columns(shape.columns.as_deref(), formats)
            }
            Target::Portal(name) => {
                let columns = self.session.portal_columns(name)?;
                let text = ResultFormats::default();
                let portal = match name {
                    "" => self.unnamed.as_ref(),
                    name => self.portals.get(name),
                };
                let formats: SmallVec<[Format; 8]> = portal
                    .map_or(&text, |portal| &portal.formats)
                    .iter()
                    .take(columns.as_ref().map_or(0, |columns| columns.len()))
                    .collect();
                self.describe_columns(columns.as_deref(), formats.into_iter())
            }
        }
    }

    fn describe_columns(
        &mut self,
        columns: Option<&[Column]>,
        formats: impl Iterator<Item = Format>,
    ) -> Result<(), Failure> {
        match columns {
            Some(columns) => self.channel.output.row_description(columns, formats)?,
            None => self.channel.output.no_data(),
        }
        Ok(())
    }

    async fn execute(&mut self, body: &[u8]) -> Result<(), Failure> {
        let (name, max_rows) = frontend::decode_execute(body)?;
        if self.session.carries_portal(name) {
            return self.carry_execute(name, body).await;
        }
        // Taken out for the time of the run, for the borrow's sake.
        let mut portal = match name {
            "" => self.unnamed.take(),
            name => self.portals.remove(name),
        }
        .map_or_else(
            // A cursor that SQL declared is a portal too, or there is none: the session knows.
            || self.session.portal_columns(name).map(Portal::of_text),
            Ok,
        )?;
        self.run_portal(name, &mut portal, max_rows).await?;
        // It may be executed again; after an error it may not.
        match name {
            "" => self.unnamed = Some(portal),
            name => {
                self.portals.insert(name.to_owned(), portal);
            }
        }
        Ok(())
    }

    async fn close(&mut self, body: &[u8]) -> Result<(), Failure> {
        match Target::decode(body, "CLOSE")? {
            Target::Statement(name) => {
                self.localize(name).await?;
                self.session.close_statement(name);
            }
            Target::Portal(name) => {
                self.session.close_portal(name);
                match name {
                    "" => self.unnamed = None,
                    name => {
                        self.portals.remove(name);
                    }
                }
            }
        }
        self.channel.output.close_complete();
        Ok(())
    }
}

/// PostgreSQL's context of an error in a parameter.
fn parameter_context(portal: &str, number: usize, bytes: &[u8], format: Format) -> String {
    let portal = match portal {
        "" => "unnamed portal".to_owned(),
        name => format!("portal \"{name}\""),
    };
    match (format, std::str::from_utf8(bytes)) {
        // Values stay out of logs and messages, as with log_parameter_max_length_on_error = 0.
        (Format::Text, Ok(_)) => format!("{portal} parameter ${number} = '...'"),
        _ => format!("{portal} parameter ${number}"),
    }
}
