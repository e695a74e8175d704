//! From an accepted socket to a session: TLS, the startup message, authentication.
//!
//! Invariants:
//! 1. Bytes that came in clear after an SSLRequest are refused: they would be taken for ones that came under TLS
//!    (CVE-2021-23214).
//! 2. Nothing is asked of the engine for a client that has not authenticated, but its verifier.
//! 3. A CancelRequest needs no place among the sessions.

use std::mem;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use engine::error::{Error, Result, SqlState};
use engine::session::{BackendKey, Startup};
use pgwire::messages::cancel::CancelRequest;
use pgwire::messages::response::SslResponse;
use pgwire::messages::startup::{
    Authentication, BackendKeyData, GssEncRequest, NegotiateProtocolVersion, SecretKey, SslRequest,
};
use tokio_rustls::TlsAcceptor;

use crate::backend::{Backend, BackendSession};
use crate::channel::{Channel, End};
use crate::config::Auth;
use crate::frontend::{self, Reader};
use crate::scram::{self, Exchange};
use crate::server::{SessionPlace, Shared};
use crate::stream::Stream;

const PROTOCOL_MAJOR: u16 = 3;
/// The latest minor version spoken; 3.2 differs from 3.0 in the length that a cancel key may have.
const PROTOCOL_MINOR_MAX: u16 = 2;

fn fatal(state: SqlState, message: impl Into<String>) -> End {
    End::Fatal(Error::new(state, message))
}

/// An authenticated client.
pub(crate) struct Opened<B: Backend> {
    pub session: B::Session,
    pub place: SessionPlace<B>,
}

/// Leads the client to a session; its first ReadyForQuery is in the output. `started` becomes true with the startup
/// message: from then on the client understands an ErrorResponse.
pub(crate) async fn open<B: Backend>(
    channel: &mut Channel,
    shared: &Arc<Shared<B>>,
    peer: SocketAddr,
    started: &mut bool,
) -> Result<Opened<B>, End> {
    let packet = first_packet(channel, shared).await?;
    if CancelRequest::is_cancel_request_packet(&packet) {
        cancel(&packet, shared);
        return Err(End::Gone);
    }
    *started = true;
    let startup = read_startup(channel, &packet, peer).map_err(End::Fatal)?;
    let Some(place) = SessionPlace::take(shared) else {
        return Err(fatal(SqlState::TooManyConnections, "sorry, too many clients already"));
    };
    if shared.config.auth == Auth::Scram {
        authenticate(channel, shared, &startup.user).await?;
    }
    let mut session = shared.backend.connect(startup).await.map_err(End::Fatal)?;
    greet(channel, &mut session).map_err(End::Fatal)?;
    Ok(Opened { session, place })
}

/// A session for the client of another node, which has asked it for its password.
pub(crate) async fn open_carried<B: Backend>(
    channel: &mut Channel,
    shared: &Arc<Shared<B>>,
    startup: Startup,
) -> Result<Opened<B>, End> {
    let Some(place) = SessionPlace::take(shared) else {
        return Err(fatal(SqlState::TooManyConnections, "sorry, too many clients already"));
    };
    let mut session = shared.backend.connect_carried(startup).await.map_err(End::Fatal)?;
    greet(channel, &mut session).map_err(End::Fatal)?;
    Ok(Opened { session, place })
}

/// Answers SSLRequest and GSSENCRequest, each at most once; returns the packet that follows, its length word included.
async fn first_packet<B: Backend>(channel: &mut Channel, shared: &Shared<B>) -> Result<BytesMut, End> {
    let (mut tls_done, mut gss_done) = (false, false);
    loop {
        let packet = startup_packet(channel, shared.config.startup_message_bytes_max).await?;
        let answer = if !tls_done && SslRequest::is_ssl_request_packet(&packet) {
            tls_done = true;
            match &shared.config.tls {
                Some(tls) => Some(tls),
                None => None,
            }
        } else if !gss_done && GssEncRequest::is_gss_enc_request_packet(&packet) {
            gss_done = true;
            None
        } else {
            return Ok(packet);
        };
        if !channel.input.is_empty() {
            let request = if tls_done { "SSL" } else { "GSSAPI encryption" };
            return Err(End::Fatal(
                Error::new(
                    SqlState::ProtocolViolation,
                    format!("received unencrypted data after {request} request"),
                )
                .detail("This could be either a client-software bug or evidence of an attempted man-in-the-middle attack."),
            ));
        }
        let response = match answer {
            Some(_) => SslResponse::BYTE_ACCEPT,
            None => SslResponse::BYTE_REFUSE,
        };
        channel.output.bytes.push(response);
        channel.flush().await?;
        if let Some(tls) = answer
            && let Stream::Plain(socket) = mem::replace(&mut channel.stream, Stream::Closed)
        {
            let stream = TlsAcceptor::from(tls.0.clone()).accept(socket).await?;
            channel.stream = Stream::Tls(Box::new(stream));
            gss_done = true;
        }
    }
}

/// A packet without a type byte, its length word included.
async fn startup_packet(channel: &mut Channel, bytes_max: usize) -> Result<BytesMut, End> {
    let invalid = || fatal(SqlState::ProtocolViolation, "invalid length of startup packet");
    loop {
        if let Some(length) = channel.input.first_chunk::<4>() {
            let length = u32::from_be_bytes(*length) as usize;
            if !(8..=bytes_max).contains(&length) {
                return Err(invalid());
            }
            if channel.input.len() >= length {
                return Ok(channel.input.split_to(length));
            }
        }
        channel.fill().await?;
    }
}

fn cancel<B: Backend>(packet: &[u8], shared: &Shared<B>) {
    let mut reader = Reader::new(packet.get(8..).unwrap_or_default());
    // Only keys of four bytes are given out; whatever else is no key, and nobody is told.
    if let (Ok(process), Ok(secret), true) = (reader.i32(), reader.i32(), reader.is_empty()) {
        shared.backend.cancel(BackendKey { process, secret });
    }
}

/// Reads the startup message; a NegotiateProtocolVersion that it calls for is in the output.
fn read_startup(channel: &mut Channel, packet: &[u8], peer: SocketAddr) -> Result<Startup> {
    let violation = |message: &str| Error::new(SqlState::ProtocolViolation, message);
    let mut reader = Reader::new(packet.get(4..).unwrap_or_default());
    let (major, minor) = (reader.u16()?, reader.u16()?);
    if major != PROTOCOL_MAJOR {
        return Err(Error::new(
            SqlState::FeatureNotSupported,
            format!(
                "unsupported frontend protocol {major}.{minor}: server supports {PROTOCOL_MAJOR}.0 to {PROTOCOL_MAJOR}.{PROTOCOL_MINOR_MAX}"
            ),
        ));
    }
    let mut startup =
        Startup { user: String::new(), database: String::new(), parameters: Vec::new(), client: Some(peer) };
    let (mut options, mut unknown) = (Vec::new(), Vec::new());
    loop {
        if reader.is_empty() {
            return Err(violation("invalid startup packet layout: expected terminator as last byte"));
        }
        let name = reader.string()?;
        if name.is_empty() {
            break;
        }
        let value = reader.string()?;
        match name {
            "user" => startup.user = value.to_owned(),
            "database" => startup.database = value.to_owned(),
            "options" => options = parse_options(value)?,
            "replication" => refuse_replication(value)?,
            _ if name.starts_with("_pq_.") => unknown.push(name.to_owned()),
            _ => startup.parameters.push((name.to_owned(), value.to_owned())),
        }
    }
    if !reader.is_empty() {
        return Err(violation("invalid startup packet layout: expected terminator as last byte"));
    }
    if startup.user.is_empty() {
        return Err(Error::new(
            SqlState::InvalidAuthorizationSpecification,
            "no PostgreSQL user name specified in startup packet",
        ));
    }
    if startup.database.is_empty() {
        startup.database.clone_from(&startup.user);
    }
    // A parameter given by name wins over the same one in the options, as in PostgreSQL.
    startup.parameters.splice(0..0, options);
    if minor > PROTOCOL_MINOR_MAX || !unknown.is_empty() {
        let spoken = minor.min(PROTOCOL_MINOR_MAX);
        let version = i32::from(PROTOCOL_MAJOR) << 16 | i32::from(spoken);
        channel.output.encode(&NegotiateProtocolVersion::new(version, unknown))?;
    }
    Ok(startup)
}

fn refuse_replication(value: &str) -> Result<()> {
    match value {
        "false" | "off" | "no" | "0" => Ok(()),
        _ => Err(Error::unsupported("the replication protocol")),
    }
}

/// The settings in `options`, a command line: `-c name=value` and `--name=value`, words split at white space, which a
/// backslash takes into the word.
pub(crate) fn parse_options(text: &str) -> Result<Vec<(String, String)>> {
    let mut words = vec![String::new()];
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match (character, words.last_mut()) {
            ('\\', Some(word)) => word.extend(characters.next()),
            (c, _) if c.is_ascii_whitespace() => words.push(String::new()),
            (c, Some(word)) => word.push(c),
            (_, None) => (),
        }
    }
    let mut words = words.into_iter().filter(|word| !word.is_empty());
    let mut settings = Vec::new();
    while let Some(word) = words.next() {
        let invalid =
            || Error::new(SqlState::SyntaxError, format!("invalid command-line argument for server process: {word}"));
        let setting = if let Some(setting) = word.strip_prefix("--") {
            setting.to_owned()
        } else if word == "-c" {
            words.next().ok_or_else(invalid)?
        } else {
            word.strip_prefix("-c").ok_or_else(invalid)?.to_owned()
        };
        let (name, value) = setting.split_once('=').ok_or_else(invalid)?;
        settings.push((name.replace('-', "_"), value.to_owned()));
    }
    Ok(settings)
}

async fn authenticate<B: Backend>(channel: &mut Channel, shared: &Shared<B>, user: &str) -> Result<(), End> {
    let mechanisms = vec![scram::MECHANISM.to_owned()];
    send(channel, Authentication::SASL(mechanisms)).await?;
    let stored = shared.backend.scram_verifier(user).await.map_err(End::Fatal)?;
    let exchange = Exchange::new(user, stored.as_deref(), &shared.mock_secret);

    let body = password_message(channel, shared.config.startup_message_bytes_max).await?;
    let (challenge, first) = exchange.challenge(&body).map_err(End::Fatal)?;
    send(channel, Authentication::SASLContinue(Bytes::from(first))).await?;

    let body = password_message(channel, shared.config.startup_message_bytes_max).await?;
    let last = challenge.verify(&body).map_err(End::Fatal)?;
    // AuthenticationOk follows in the same write.
    channel.output.encode(&Authentication::SASLFinal(Bytes::from(last))).map_err(End::Fatal)
}

async fn send(channel: &mut Channel, message: Authentication) -> Result<(), End> {
    channel.output.encode(&message).map_err(End::Fatal)?;
    channel.flush().await
}

/// The body of a message of the password family.
async fn password_message(channel: &mut Channel, bytes_max: usize) -> Result<BytesMut, End> {
    loop {
        if let Some(kind) = channel.input.first()
            && *kind != frontend::PASSWORD
        {
            return Err(fatal(SqlState::ProtocolViolation, format!("expected SASL response, got message type {kind}")));
        }
        if let Some([_, length @ ..]) = channel.input.first_chunk::<5>() {
            let length = u32::from_be_bytes(*length) as usize;
            if !(4..=bytes_max).contains(&length) {
                return Err(fatal(SqlState::ProtocolViolation, "invalid message length"));
            }
            if channel.input.len() > length {
                let mut body = channel.input.split_to(length + 1);
                body.advance(5);
                return Ok(body);
            }
        }
        channel.fill().await?;
    }
}

/// AuthenticationOk, the settings that clients are told of, the key for CancelRequest, and ReadyForQuery.
fn greet(channel: &mut Channel, session: &mut impl BackendSession) -> Result<()> {
    let output = &mut channel.output;
    output.encode(&Authentication::Ok)?;
    for (name, value) in session.take_parameter_changes() {
        output.parameter_status(name, value)?;
    }
    let key = session.backend_key();
    output.encode(&BackendKeyData::new(key.process, SecretKey::I32(key.secret)))?;
    for notice in session.take_notices() {
        output.notice(&notice)?;
    }
    output.ready_for_query(session.transaction_status());
    channel.promise();
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn options_are_a_command_line() {
        let parsed = parse_options(r"-c geqo=off --search-path=a,\ b -cwork_mem=1MB  ").unwrap();
        let pairs: Vec<String> = parsed.iter().map(|(n, v)| format!("{n}={v}")).collect();
        assert_eq!(pairs, ["geqo=off", "search_path=a, b", "work_mem=1MB"]);
        for wrong in ["-c", "-c x", "--x", "-d 3", "x=y"] {
            let error = parse_options(wrong).unwrap_err();
            assert_eq!(error.state(), SqlState::SyntaxError, "{wrong}");
        }
    }
}
