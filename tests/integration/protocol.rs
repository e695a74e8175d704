//! The extended protocol message by message: `tests/protocol/*.trace` says what a client sends (`>`) and what the server
//! must answer (`<`), each case (`==`) on a connection of its own. What is expected comes from PostgreSQL 15: with
//! `LOCKSTEP_TEST_POSTGRES` set the traces run there.
//!
//! As many messages are read as are expected, then the client goes on: one too many shows up before the next answer, or
//! before the end of the connection.

use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_postgres::config::Host;

use crate::target::Target;

const PATIENCE: Duration = Duration::from_secs(30);

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![kind];
    out.extend((body.len() as u32 + 4).to_be_bytes());
    out.extend(body);
    out
}

fn hex(text: &str) -> Vec<u8> {
    let digit = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).expect("hexadecimal digits");
    (0..text.len()).step_by(2).map(digit).collect()
}

fn name(word: &str) -> Vec<u8> {
    let text = if word == "-" { "" } else { word };
    [text.as_bytes(), b"\0"].concat()
}

fn list(word: &str) -> Vec<&str> {
    if word == "-" { Vec::new() } else { word.split(',').collect() }
}

fn codes(word: &str) -> Vec<u8> {
    let codes = list(word);
    let mut out = (codes.len() as u16).to_be_bytes().to_vec();
    codes.iter().for_each(|code| out.extend(code.parse::<u16>().expect("a format code").to_be_bytes()));
    out
}

/// Values in hexadecimal or NULL, behind their count and lengths.
fn values(word: &str) -> Vec<u8> {
    let values = list(word);
    let mut out = (values.len() as u16).to_be_bytes().to_vec();
    for value in values {
        match value {
            "NULL" => out.extend((-1i32).to_be_bytes()),
            _ => {
                let bytes = hex(value);
                out.extend((bytes.len() as u32).to_be_bytes());
                out.extend(bytes);
            }
        }
    }
    out
}

/// The message that a line of a trace stands for.
fn client_message(line: &str) -> Vec<u8> {
    let (command, rest) = line.split_once(' ').unwrap_or((line, ""));
    let words: Vec<&str> = rest.split(' ').collect();
    match command {
        "query" => message(b'Q', &[rest.as_bytes(), b"\0"].concat()),
        "parse" => {
            let mut parts = rest.splitn(3, ' ');
            let (statement, types) = (parts.next().expect("name"), list(parts.next().expect("types")));
            let mut body = [name(statement), name(parts.next().unwrap_or_default())].concat();
            body.extend((types.len() as u16).to_be_bytes());
            types.iter().for_each(|ty| body.extend(ty.parse::<u32>().expect("a type").to_be_bytes()));
            message(b'P', &body)
        }
        "bind" => {
            let values = values(words[3]);
            let body = [name(words[0]), name(words[1]), codes(words[2]), values, codes(words[4])];
            message(b'B', &body.concat())
        }
        "describe" => message(b'D', &[words[0].as_bytes(), &name(words[1])].concat()),
        "close" => message(b'C', &[words[0].as_bytes(), &name(words[1])].concat()),
        "execute" => {
            let rows: u32 = words[1].parse().expect("a row limit");
            message(b'E', &[&name(words[0])[..], &rows.to_be_bytes()].concat())
        }
        "call" => {
            let function: u32 = words[0].parse().expect("an OID");
            let format: u16 = words[3].parse().expect("a format code");
            let body = [&function.to_be_bytes()[..], &codes(words[1]), &values(words[2]), &format.to_be_bytes()];
            message(b'F', &body.concat())
        }
        "sync" => message(b'S', b""),
        "flush" => message(b'H', b""),
        "copy-data" => message(b'd', &hex(rest)),
        "copy-done" => message(b'c', b""),
        "copy-fail" => message(b'f', &[rest.as_bytes(), b"\0"].concat()),
        other => panic!("unknown command {other}"),
    }
}

fn shown(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if bytes.iter().all(|b| (0x20..0x7f).contains(b)) && !text.contains('|') => text.to_owned(),
        _ => bytes.iter().fold("0x".to_owned(), |out, byte| out + &format!("{byte:02x}")),
    }
}

fn take<'a>(body: &mut &'a [u8], count: usize) -> &'a [u8] {
    let (head, rest) = body.split_at(count);
    *body = rest;
    head
}

fn number<const N: usize>(body: &mut &[u8]) -> i64 {
    take(body, N).iter().fold(0, |value, byte| value << 8 | i64::from(*byte))
}

fn string(body: &mut &[u8]) -> String {
    let end = body.iter().position(|byte| *byte == 0).expect("a terminated string");
    let text = String::from_utf8(take(body, end).to_vec()).expect("UTF-8");
    take(body, 1);
    text
}

/// A message of the server as a line of a trace.
fn server_line(kind: u8, mut body: &[u8]) -> String {
    let kind_text = char::from(kind).to_string();
    let detail = match kind {
        b'E' | b'N' => {
            let mut fields = std::collections::HashMap::new();
            while body.first().is_some_and(|byte| *byte != 0) {
                let field = take(&mut body, 1)[0];
                fields.insert(field, string(&mut body));
            }
            let position = fields.get(&b'P').map(|p| format!(" at {p}")).unwrap_or_default();
            format!("{} {}{position}", fields[&b'C'], fields[&b'M'])
        }
        b'T' => {
            let count = number::<2>(&mut body);
            let column = |_| {
                let name = string(&mut body);
                let (table, attribute) = (number::<4>(&mut body), number::<2>(&mut body));
                let (ty, _length, _modifier) = (number::<4>(&mut body), number::<2>(&mut body), number::<4>(&mut body));
                let format = number::<2>(&mut body);
                let origin = if table == 0 { String::new() } else { format!("@{attribute}") };
                format!("{name}{origin}:{ty}:{format}")
            };
            (0..count).map(column).collect::<Vec<_>>().join(" ")
        }
        b'D' | b'V' => {
            // The answer to a function call is one value without a count.
            let count = if kind == b'D' { number::<2>(&mut body) } else { 1 };
            let value = |_| match number::<4>(&mut body) as u32 {
                u32::MAX => "NULL".to_owned(),
                length => shown(take(&mut body, length as usize)),
            };
            (0..count).map(value).collect::<Vec<_>>().join("|")
        }
        b't' => {
            let count = number::<2>(&mut body);
            (0..count).map(|_| number::<4>(&mut body).to_string()).collect::<Vec<_>>().join(" ")
        }
        b'A' => {
            number::<4>(&mut body);
            format!("{} {}", string(&mut body), string(&mut body))
        }
        b'S' => format!("{}={}", string(&mut body), string(&mut body)),
        b'C' => string(&mut body),
        _ => shown(body),
    };
    format!("{kind_text} {detail}").trim_end().to_owned()
}

struct Raw {
    stream: TcpStream,
}

impl Raw {
    async fn connect(target: &Target) -> Raw {
        let config = target.config();
        let host = match config.get_hosts().first() {
            Some(Host::Tcp(host)) => host.clone(),
            _ => "127.0.0.1".to_owned(),
        };
        let port = config.get_ports().first().copied().unwrap_or(5432);
        let stream = TcpStream::connect((host.as_str(), port)).await.expect("connect");
        stream.set_nodelay(true).expect("nodelay");
        let mut body = 196_608u32.to_be_bytes().to_vec();
        let database = config.get_dbname().unwrap_or("postgres");
        for text in ["user", config.get_user().unwrap_or("postgres"), "database", database, ""] {
            body.extend(name(text));
        }
        let mut raw = Raw { stream };
        let length = (body.len() as u32 + 4).to_be_bytes();
        raw.stream.write_all(&[&length[..], &body].concat()).await.expect("startup");
        while !raw.read().await.expect("a greeting").starts_with('Z') {}
        raw
    }

    /// The next message; `None` at the end of the connection.
    async fn read(&mut self) -> Option<String> {
        let read = async {
            let mut head = [0; 5];
            self.stream.read_exact(&mut head).await.ok()?;
            let length = u32::from_be_bytes(head[1..].try_into().ok()?) as usize - 4;
            let mut body = vec![0; length];
            self.stream.read_exact(&mut body).await.ok()?;
            Some(server_line(head[0], &body))
        };
        tokio::time::timeout(PATIENCE, read).await.expect("an answer in time")
    }
}

/// Runs one case; what differs, with the line of the trace.
async fn run_case(target: &Target, case: &str, lines: &[(usize, String)]) -> Result<(), String> {
    let mut raw = Raw::connect(target).await;
    let mut pending = Vec::new();
    for (number, line) in lines {
        if let Some(command) = line.strip_prefix("> ") {
            pending.extend(client_message(command));
            continue;
        }
        let expected = line.strip_prefix("< ").unwrap_or_else(|| panic!("line {number} is neither > nor <"));
        if !pending.is_empty() {
            raw.stream.write_all(&pending).await.expect("send");
            pending.clear();
        }
        let answer = raw.read().await.unwrap_or_else(|| "the end of the connection".into());
        if answer != expected {
            return Err(format!("{case}, line {number}: expected {expected:?}, got {answer:?}"));
        }
    }
    raw.stream.write_all(&message(b'X', b"")).await.expect("terminate");
    match raw.read().await {
        None => Ok(()),
        Some(more) => Err(format!("{case}: unexpected {more:?} at the end")),
    }
}

#[tokio::test]
async fn messages_are_answered_as_postgresql_answers_them() {
    let target = Target::start().await;
    let setup = "CREATE TABLE pt (id int PRIMARY KEY, v text, n numeric(10,2));
         INSERT INTO pt SELECT g, 'v' || g, g FROM generate_series(1, 5) g";
    target.client().await.batch_execute(setup).await.expect("setup");
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/protocol");
    let mut paths: Vec<_> = std::fs::read_dir(dir).expect("traces").map(|e| e.expect("entry").path()).collect();
    paths.sort();
    let mut failures = Vec::new();
    let mut cases = 0;
    for path in paths {
        let text = std::fs::read_to_string(&path).expect("trace");
        let mut named: Vec<(String, Vec<(usize, String)>)> = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            match line.strip_prefix("== ") {
                Some(case) => named.push((case.to_owned(), Vec::new())),
                None if line.is_empty() || line.starts_with('#') => {}
                None => named.last_mut().expect("a case").1.push((number, line.to_owned())),
            }
        }
        for (case, lines) in named {
            cases += 1;
            if let Err(failure) = run_case(&target, &case, &lines).await {
                failures.push(failure);
            }
        }
    }
    assert!(cases > 30, "only {cases} cases were found");
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}
