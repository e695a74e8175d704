//! A client in bytes: builds messages, and shows answers as one line that can be compared.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind];
    bytes.extend_from_slice(&(body.len() as i32 + 4).to_be_bytes());
    bytes.extend_from_slice(body);
    bytes
}

fn text(text: &str) -> Vec<u8> {
    [text.as_bytes(), b"\0"].concat()
}

fn shorts(values: &[i16]) -> Vec<u8> {
    let mut bytes = (values.len() as i16).to_be_bytes().to_vec();
    values.iter().for_each(|value| bytes.extend_from_slice(&value.to_be_bytes()));
    bytes
}

pub fn query(sql: &str) -> Vec<u8> {
    message(b'Q', &text(sql))
}

pub fn parse(name: &str, sql: &str, types: &[u32]) -> Vec<u8> {
    let mut body = [text(name), text(sql)].concat();
    body.extend_from_slice(&(types.len() as i16).to_be_bytes());
    types.iter().for_each(|oid| body.extend_from_slice(&oid.to_be_bytes()));
    message(b'P', &body)
}

pub fn bind(portal: &str, statement: &str) -> Vec<u8> {
    bind_values(portal, statement, &[], &[], &[])
}

pub fn bind_values(
    portal: &str,
    statement: &str,
    formats: &[i16],
    values: &[Option<&[u8]>],
    results: &[i16],
) -> Vec<u8> {
    let mut body = [text(portal), text(statement), shorts(formats)].concat();
    body.extend_from_slice(&(values.len() as i16).to_be_bytes());
    for value in values {
        match value {
            None => body.extend_from_slice(&(-1i32).to_be_bytes()),
            Some(value) => {
                body.extend_from_slice(&(value.len() as i32).to_be_bytes());
                body.extend_from_slice(value);
            }
        }
    }
    body.extend_from_slice(&shorts(results));
    message(b'B', &body)
}

pub fn describe(kind: char, name: &str) -> Vec<u8> {
    message(b'D', &[&[kind as u8], text(name).as_slice()].concat())
}

pub fn close(kind: char, name: &str) -> Vec<u8> {
    message(b'C', &[&[kind as u8], text(name).as_slice()].concat())
}

pub fn execute(portal: &str, limit: i32) -> Vec<u8> {
    message(b'E', &[text(portal), limit.to_be_bytes().to_vec()].concat())
}

pub fn sync() -> Vec<u8> {
    message(b'S', &[])
}

pub fn flush() -> Vec<u8> {
    message(b'H', &[])
}

pub fn terminate() -> Vec<u8> {
    message(b'X', &[])
}

pub fn copy_data(data: &str) -> Vec<u8> {
    message(b'd', data.as_bytes())
}

pub fn copy_done() -> Vec<u8> {
    message(b'c', &[])
}

pub fn copy_fail(reason: &str) -> Vec<u8> {
    message(b'f', &text(reason))
}

/// A packet of the start: length, code, body.
pub fn packet(code: u32, body: &[u8]) -> Vec<u8> {
    let mut bytes = (body.len() as u32 + 8).to_be_bytes().to_vec();
    bytes.extend_from_slice(&code.to_be_bytes());
    bytes.extend_from_slice(body);
    bytes
}

pub fn startup(version: u32, parameters: &[(&str, &str)]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, value) in parameters {
        body.extend_from_slice(&[text(name), text(value)].concat());
    }
    body.push(0);
    packet(version, &body)
}

pub const V3: u32 = 3 << 16;
pub const SSL_REQUEST: u32 = 80877103;
pub const GSS_REQUEST: u32 = 80877104;
pub const CANCEL_REQUEST: u32 = 80877102;

pub fn usual_startup() -> Vec<u8> {
    startup(V3, &[("user", "postgres"), ("database", "postgres")])
}

/// One answer: its type and body.
#[derive(Debug, Clone)]
pub struct Answer {
    pub kind: char,
    pub body: Vec<u8>,
}

impl Answer {
    /// A field of an ErrorResponse or NoticeResponse.
    pub fn field(&self, code: char) -> Option<String> {
        self.body
            .split(|byte| *byte == 0)
            .find(|field| field.first() == Some(&(code as u8)))
            .map(|field| String::from_utf8_lossy(&field[1..]).into_owned())
    }

    /// The answer in short: type and what matters of its body.
    pub fn show(&self) -> String {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end_matches('\0').replace('\0', "=");
        let short = |at: usize| i16::from_be_bytes([self.body[at], self.body[at + 1]]);
        match self.kind {
            'C' | 'S' | 'd' | 'Z' => format!("{}({})", self.kind, text(&self.body)),
            'E' => {
                let severity = self.field('S').unwrap();
                let fatal = if severity == "FATAL" { "FATAL " } else { "" };
                format!("E({fatal}{})", self.field('C').unwrap())
            }
            'T' => format!("T{}{}", short(0), self.formats()),
            't' => {
                let oids: Vec<String> = self.body[2..]
                    .chunks(4)
                    .map(|oid| u32::from_be_bytes(oid.try_into().unwrap()).to_string())
                    .collect();
                format!("t({})", oids.join(" "))
            }
            'D' => {
                let mut rest = &self.body[2..];
                let mut values = Vec::new();
                while !rest.is_empty() {
                    let length = i32::from_be_bytes(rest[..4].try_into().unwrap());
                    let length = usize::try_from(length);
                    let value = &rest[4..4 + length.unwrap_or(0)];
                    rest = &rest[4 + value.len()..];
                    values.push(match length {
                        Err(_) => "NULL".to_owned(),
                        Ok(_) if value.iter().any(|byte| *byte < b' ') => {
                            value.iter().map(|byte| format!("{byte:02x}")).collect()
                        }
                        Ok(_) => text(value),
                    });
                }
                format!("D({})", values.join(","))
            }
            'G' | 'H' => {
                format!("{}({} {})", self.kind, self.body[0], i16::from_be_bytes([self.body[1], self.body[2]]))
            }
            kind => kind.to_string(),
        }
    }

    /// The format codes of a RowDescription.
    fn formats(&self) -> String {
        let mut rest = &self.body[2..];
        let mut formats = String::new();
        while let Some(end) = rest.iter().position(|byte| *byte == 0) {
            formats.push(if rest[end + 18] == 1 { 'b' } else { 't' });
            rest = &rest[end + 19..];
        }
        formats
    }
}

/// The same, with the messages of errors.
pub fn show_with_messages(answers: &[Answer]) -> String {
    let shown = answers.iter().map(|answer| match answer.kind {
        'E' => answer.show().replace(')', &format!(" {})", answer.field('M').unwrap())),
        _ => answer.show(),
    });
    shown.collect::<Vec<_>>().join(" ")
}

pub fn show(answers: &[Answer]) -> String {
    answers.iter().map(Answer::show).collect::<Vec<_>>().join(" ")
}

/// A connection; every wait has a limit.
pub struct Client {
    pub stream: TcpStream,
}

const LIMIT: Duration = Duration::from_secs(20);

impl Client {
    pub async fn raw(address: SocketAddr) -> Client {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Client { stream }
    }

    /// Connects and reads up to the first ReadyForQuery.
    pub async fn ready(address: SocketAddr) -> (Client, Vec<Answer>) {
        let mut client = Client::raw(address).await;
        client.send(&[usual_startup()]).await;
        let greeting = client.until('Z').await;
        (client, greeting)
    }

    pub async fn send(&mut self, messages: &[Vec<u8>]) {
        self.stream.write_all(&messages.concat()).await.unwrap();
    }

    pub async fn byte(&mut self) -> u8 {
        tokio::time::timeout(LIMIT, self.stream.read_u8()).await.unwrap().unwrap()
    }

    /// The next answer; none at the end of the stream.
    pub async fn answer(&mut self) -> Option<Answer> {
        tokio::time::timeout(LIMIT, read_answer(&mut self.stream)).await.unwrap()
    }

    /// Answers up to one of this type, included.
    pub async fn until(&mut self, kind: char) -> Vec<Answer> {
        let mut answers = Vec::new();
        while let Some(answer) = self.answer().await {
            let last = answer.kind == kind;
            answers.push(answer);
            if last {
                return answers;
            }
        }
        panic!("no {kind} after {}", show(&answers));
    }

    /// All answers up to the end of the stream.
    pub async fn rest(&mut self) -> Vec<Answer> {
        let mut answers = Vec::new();
        while let Some(answer) = self.answer().await {
            answers.push(answer);
        }
        answers
    }
}

pub async fn read_answer(stream: &mut (impl AsyncRead + Unpin)) -> Option<Answer> {
    let kind = stream.read_u8().await.ok()?;
    let length = stream.read_i32().await.unwrap();
    let mut body = vec![0; length as usize - 4];
    stream.read_exact(&mut body).await.unwrap();
    Some(Answer { kind: kind.into(), body })
}
