//! How connections begin, are limited, watched and ended.
#![allow(clippy::unwrap_used)]

mod support;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use support::client::*;
use support::{Running, config, fake, start};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsConnector;
use wire::{Auth, Server, ServerConfig, Tls};

fn key_packet() -> Vec<u8> {
    let mut key = fake::KEY.process.to_be_bytes().to_vec();
    key.extend_from_slice(&fake::KEY.secret.to_be_bytes());
    packet(CANCEL_REQUEST, &key)
}

/// Waits for an event that another task brings about.
async fn until(mut reached: impl FnMut() -> bool) {
    let waited = async {
        while !reached() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waited).await.unwrap();
}

/// The answers to a connection's first bytes, up to its end or its ReadyForQuery.
async fn first(server: &Running, bytes: Vec<u8>) -> Vec<Answer> {
    let mut client = Client::raw(server.address).await;
    client.send(&[bytes]).await;
    let mut answers = Vec::new();
    while let Some(answer) = client.answer().await {
        let ready = answer.kind == 'Z';
        answers.push(answer);
        if ready {
            break;
        }
    }
    answers
}

fn message_of(answers: &[Answer]) -> (String, String) {
    let error = answers.last().unwrap();
    assert_eq!(error.field('S').as_deref(), Some("FATAL"));
    (error.field('C').unwrap(), error.field('M').unwrap())
}

#[tokio::test]
async fn greeting() {
    let server = start(config());
    let (_client, answers) = Client::ready(server.address).await;
    assert_eq!(show(&answers), "R S(server_version=15.0) K Z(I)");
    assert_eq!(answers[2].body, key_packet()[8..]);

    let parameters = [("user", "u"), ("options", "-c a=1"), ("search_path", "x")];
    first(&server, startup(V3, &parameters)).await;
    let startup = server.fake.0.startups.lock().unwrap().pop().unwrap();
    assert_eq!((startup.user.as_str(), startup.database.as_str()), ("u", "u"));
    let settings = [("a", "1"), ("search_path", "x")].map(|(n, v)| (n.to_owned(), v.to_owned()));
    assert_eq!(startup.parameters, settings);
    server.stopped().await;
}

#[tokio::test]
async fn bad_startups_are_fatal() {
    let server = start(config());
    let user = ("user", "u");
    let cases = [
        (startup(2 << 16, &[user]), "0A000", "unsupported frontend protocol 2.0: server supports 3.0 to 3.2"),
        (startup(V3, &[]), "28000", "no PostgreSQL user name specified in startup packet"),
        (startup(V3, &[user, ("database", "absent")]), "3D000", "database \"absent\" does not exist"),
        (startup(V3, &[user, ("replication", "true")]), "0A000", "the replication protocol is not supported"),
        (packet(V3, b"user\0u\0"), "08P01", "invalid startup packet layout: expected terminator as last byte"),
        (packet(V3, &[b'x'; 10_000]), "08P01", "invalid length of startup packet"),
        (vec![0xff; 8], "08P01", "invalid length of startup packet"),
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), "08P01", "invalid length of startup packet"),
    ];
    for (bytes, state, message) in cases {
        let answers = first(&server, bytes).await;
        assert_eq!(message_of(&answers), (state.into(), message.into()));
    }
    server.stopped().await;
}

#[tokio::test]
async fn later_minor_versions_are_negotiated() {
    let server = start(config());
    let user = ("user", "u");
    for minor in [0, 2] {
        let answers = first(&server, startup(V3 + minor, &[user])).await;
        assert_eq!(answers[0].kind, 'R', "3.{minor}");
    }
    let answers = first(&server, startup(V3 + 9999, &[user, ("_pq_.x", "1")])).await;
    assert_eq!(answers[0].kind, 'v');
    assert_eq!(answers[0].body, b"\0\x03\0\x02\0\0\0\x01_pq_.x\0");
    assert_eq!(answers.last().unwrap().kind, 'Z');
    let answers = first(&server, startup(V3, &[user, ("_pq_.x", "1")])).await;
    assert_eq!(answers[0].body, b"\0\x03\0\0\0\0\0\x01_pq_.x\0");
    server.stopped().await;
}

#[tokio::test]
async fn encryption_requests_are_declined_without_tls() {
    let server = start(config());
    let mut client = Client::raw(server.address).await;
    client.send(&[packet(GSS_REQUEST, b"")]).await;
    assert_eq!(client.byte().await, b'N');
    client.send(&[packet(SSL_REQUEST, b"")]).await;
    assert_eq!(client.byte().await, b'N');
    client.send(&[usual_startup()]).await;
    client.until('Z').await;

    // Once answered, the request is no version of the protocol.
    let mut client = Client::raw(server.address).await;
    client.send(&[packet(SSL_REQUEST, b"")]).await;
    assert_eq!(client.byte().await, b'N');
    client.send(&[packet(SSL_REQUEST, b"")]).await;
    let (state, message) = message_of(&client.rest().await);
    assert_eq!(state, "0A000");
    assert!(message.starts_with("unsupported frontend protocol 1234.5679"), "{message}");
    server.stopped().await;
}

fn tls_config() -> ServerConfig {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let tls = Tls::from_pem_files(&data.join("server.crt"), &data.join("server.key")).unwrap();
    ServerConfig { tls: Some(tls), ..config() }
}

#[tokio::test]
async fn bytes_before_tls_are_refused() {
    let server = start(tls_config());
    let injected = [packet(SSL_REQUEST, b""), usual_startup(), query("SELECT 1")].concat();
    let answers = first(&server, injected).await;
    let (state, message) = message_of(&answers);
    assert_eq!((state.as_str(), message.as_str()), ("08P01", "received unencrypted data after SSL request"));
    assert!(server.fake.0.startups.lock().unwrap().is_empty());
    server.stopped().await;
}

#[tokio::test]
async fn a_session_under_tls() {
    let server = start(tls_config());
    let mut socket = tokio::net::TcpStream::connect(server.address).await.unwrap();
    socket.write_all(&packet(SSL_REQUEST, b"")).await.unwrap();
    assert_eq!(socket.read_u8().await.unwrap(), b'S');

    let mut roots = rustls::RootCertStore::empty();
    let certificate = include_bytes!("data/server.crt");
    use rustls_pki_types::pem::PemObject;
    roots.add(rustls_pki_types::CertificateDer::from_pem_slice(certificate).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = "localhost".try_into().unwrap();
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, socket).await.unwrap();
    let messages = [usual_startup(), query("SELECT 1"), terminate()].concat();
    stream.write_all(&messages).await.unwrap();
    stream.flush().await.unwrap();
    let mut answers = Vec::new();
    while let Some(answer) = read_answer(&mut stream).await {
        answers.push(answer);
    }
    assert_eq!(show(&answers), "R S(server_version=15.0) K Z(I) T1t D(1) C(SELECT 1) Z(I)");
    server.stopped().await;
}

#[tokio::test]
async fn a_full_server_says_so_and_still_cancels() {
    let server = start(ServerConfig { max_connections: 1, ..config() });
    let (mut busy, _) = Client::ready(server.address).await;
    busy.send(&[query("SELECT sleep")]).await;
    server.fake.0.sleeping.notified().await;

    let answers = first(&server, usual_startup()).await;
    assert_eq!(message_of(&answers), ("53300".into(), "sorry, too many clients already".into()));
    assert_eq!(show(&first(&server, key_packet()).await), "");
    assert_eq!(show(&busy.until('Z').await), "T1t E(57014) Z(I)");

    busy.send(&[terminate()]).await;
    busy.rest().await;
    until(|| server.fake.0.closed.load(Ordering::SeqCst) == 1).await;
    // The place is free again; it is given back just after the session has closed.
    let mut answers = Vec::new();
    for _ in 0..1000 {
        answers = first(&server, usual_startup()).await;
        if answers[0].kind == 'R' {
            break;
        }
    }
    assert_eq!(answers.last().unwrap().kind, 'Z');
    server.stopped().await;
}

#[tokio::test]
async fn a_wrong_key_cancels_nothing() {
    let server = start(config());
    first(&server, packet(CANCEL_REQUEST, &[0, 0, 0, 42, 0, 0, 0, 1])).await;
    first(&server, packet(CANCEL_REQUEST, &[0, 0, 0, 42])).await;
    first(&server, [key_packet(), vec![0; 3]].concat()).await;
    assert_eq!(server.fake.0.cancelled.load(Ordering::SeqCst), 1);
    server.stopped().await;
}

#[tokio::test]
async fn a_slow_start_is_cut_off() {
    let limit = Duration::from_millis(50);
    let server = start(ServerConfig { authentication_timeout: limit, auth: Auth::Scram, ..config() });
    let mut silent = Client::raw(server.address).await;
    assert_eq!(show(&silent.rest().await), "");
    let answers = first(&server, usual_startup()).await;
    assert_eq!(message_of(&answers), ("57014".into(), "canceling authentication due to timeout".into()));
    server.stopped().await;
}

/// PostgreSQL's verifier of the password "pencil".
const PENCIL: &str = "SCRAM-SHA-256$4096:aGJ/OhGKmjXRYr//GXaftQ==$xmvvSxia7TdG31aAd9JbRiu/4hGVFSAEij6+jZy2xWY=:xdE3xGKNA5by6M05xb2dFBJqARP1DJ97GCQW2rLjlfM=";

async fn log_in(server: &Running, user: &str, password: &str) -> Result<i32, tokio_postgres::Error> {
    let mut config = tokio_postgres::Config::new();
    config.host("127.0.0.1").port(server.address.port()).user(user).password(password).dbname("postgres");
    let (client, connection) = config.connect(tokio_postgres::NoTls).await?;
    let task = tokio::spawn(connection);
    let one = client.query_one("SELECT 1", &[]).await?.get(0);
    drop(client);
    task.await.unwrap()?;
    Ok(one)
}

#[tokio::test]
async fn scram_lets_in_who_knows_the_password() {
    let server = start(ServerConfig { auth: Auth::Scram, ..config() });
    let verifiers = &server.fake.0.verifiers;
    verifiers.lock().unwrap().insert("alice".into(), PENCIL.into());
    verifiers.lock().unwrap().insert("bob".into(), "md5d41d8cd98f00b204e9800998ecf8427e".into());
    assert_eq!(log_in(&server, "alice", "pencil").await.unwrap(), 1);
    for (user, password) in [("alice", "pen"), ("bob", "pencil"), ("nobody", "pencil")] {
        let error = log_in(&server, user, password).await.unwrap_err();
        let error = error.as_db_error().unwrap();
        assert_eq!(error.code().code(), "28P01");
        assert_eq!(error.message(), format!("password authentication failed for user \"{user}\""));
    }
    // On a socket in clear only the mechanism without channel binding is offered; a query instead of an answer fails.
    let answers = first(&server, [usual_startup(), query("SELECT 1")].concat()).await;
    assert_eq!(answers[0].body, b"\0\0\0\x0aSCRAM-SHA-256\0\0");
    assert_eq!(message_of(&answers).0, "08P01");
    server.stopped().await;
}

#[tokio::test]
async fn a_client_that_leaves_has_its_statement_cancelled_and_awaited() {
    let server = start(config());
    let (mut client, _) = Client::ready(server.address).await;
    client.send(&[query("SELECT sleep")]).await;
    server.fake.0.sleeping.notified().await;
    drop(client);
    until(|| server.fake.0.closed.load(Ordering::SeqCst) == 1).await;
    assert_eq!(server.fake.0.cancelled.load(Ordering::SeqCst), 1);
    assert_eq!(server.fake.0.dropped.load(Ordering::SeqCst), 0);
    server.stopped().await;
}

/// The last words of a client that leaves at once are carried out.
#[tokio::test]
async fn a_clients_last_statement_has_its_time() {
    let server = start(ServerConfig { orphan_grace: Duration::from_secs(20), ..config() });
    let (mut client, _) = Client::ready(server.address).await;
    client.send(&[query("SELECT sleep"), terminate()]).await;
    server.fake.0.sleeping.notified().await;
    drop(client);
    server.fake.0.wake.notify_one();
    until(|| server.fake.0.closed.load(Ordering::SeqCst) == 1).await;
    assert_eq!(server.fake.0.slept.load(Ordering::SeqCst), 1);
    assert_eq!(server.fake.0.cancelled.load(Ordering::SeqCst), 0);
    server.stopped().await;
}

/// What was answered is sent before a statement that waits, although both came in one write.
#[tokio::test]
async fn answers_do_not_wait_for_the_next_statement() {
    let server = start(config());
    let (mut client, _) = Client::ready(server.address).await;
    client.send(&[query("SELECT 1"), query("SELECT sleep")]).await;
    assert_eq!(show(&client.until('Z').await), "T1t D(1) C(SELECT 1) Z(I)");
    server.fake.0.wake.notify_one();
    assert_eq!(show(&client.until('Z').await), "T1t D(1) C(SELECT 1) Z(I)");
    server.stopped().await;
}

/// A statement's CommandComplete says nothing of its commit, which Sync brings: it is not sent before, although the
/// answers of the cycle before it are.
#[tokio::test]
async fn a_completion_waits_for_its_sync() {
    let server = start(config());
    let (mut client, _) = Client::ready(server.address).await;
    let unsynced = [parse("", "INSERT INTO t VALUES (1)", &[]), bind("", ""), execute("", 0)].concat();
    client.send(&[[query("SELECT 1"), unsynced].concat()]).await;
    assert_eq!(show(&client.until('Z').await), "T1t D(1) C(SELECT 1) Z(I)");
    let early = tokio::time::timeout(Duration::from_millis(50), client.stream.read_u8()).await;
    assert!(early.is_err(), "{early:?}");
    client.send(&[sync()]).await;
    assert_eq!(show(&client.until('Z').await), "1 2 C(INSERT 0 1) Z(I)");
    server.stopped().await;
}

#[tokio::test]
async fn an_idle_client_is_told_of_the_end() {
    let mut server = start(config());
    let (mut idle, _) = Client::ready(server.address).await;
    let (mut open, _) = Client::ready(server.address).await;
    let (mut busy, _) = Client::ready(server.address).await;
    open.send(&[query("BEGIN")]).await;
    open.until('Z').await;
    busy.send(&[query("SELECT sleep")]).await;
    server.fake.0.sleeping.notified().await;
    server.begin_stop();

    let expected = ("57P01".into(), "terminating connection due to administrator command".into());
    assert_eq!(message_of(&idle.rest().await), expected);
    // An open transaction may end, a running statement may finish.
    open.send(&[query("SELECT 1"), query("COMMIT")]).await;
    assert_eq!(show(&open.rest().await), "T1t D(1) C(SELECT 1) Z(T) C(COMMIT) Z(I) E(FATAL 57P01)");
    server.fake.0.wake.notify_one();
    assert_eq!(show(&busy.rest().await), "T1t D(1) C(SELECT 1) Z(I) E(FATAL 57P01)");
    server.stopped().await;
}

#[tokio::test]
async fn the_drain_has_an_end() {
    let mut server = start(ServerConfig { drain_timeout: Duration::from_millis(50), ..config() });
    let (mut open, _) = Client::ready(server.address).await;
    let (mut busy, _) = Client::ready(server.address).await;
    open.send(&[query("BEGIN")]).await;
    open.until('Z').await;
    busy.send(&[query("SELECT sleep")]).await;
    server.fake.0.sleeping.notified().await;
    server.begin_stop();
    assert_eq!(message_of(&open.rest().await).0, "57P01");
    assert_eq!(message_of(&busy.rest().await).0, "57P01");
    assert_eq!(server.fake.0.dropped.load(Ordering::SeqCst), 0);
    server.stopped().await;
}

#[tokio::test]
async fn a_session_is_terminated_from_outside() {
    let server = start(config());
    let (mut idle, _) = Client::ready(server.address).await;
    server.fake.0.terminate.notify_one();
    assert_eq!(message_of(&idle.rest().await).0, "57P01");

    let (mut busy, _) = Client::ready(server.address).await;
    busy.send(&[query("SELECT sleep")]).await;
    server.fake.0.sleeping.notified().await;
    server.fake.0.terminate.notify_one();
    assert_eq!(show(&busy.rest().await), "T1t E(FATAL 57P01)");
    server.stopped().await;
}

#[tokio::test]
async fn a_panic_ends_its_connection_only() {
    let server = start(config());
    let (mut client, _) = Client::ready(server.address).await;
    client.send(&[query("SELECT panic")]).await;
    assert_eq!(message_of(&client.rest().await).0, "XX000");
    let (mut client, _) = Client::ready(server.address).await;
    client.send(&[query("SELECT 1")]).await;
    client.until('Z').await;
    server.stopped().await;
}

/// A result without end: what the client does not read is not produced.
#[tokio::test]
async fn a_result_has_its_clients_pace() {
    let server = start(config());
    let (mut client, _) = Client::ready(server.address).await;
    client.send(&[query("SELECT endless")]).await;
    let batches = &server.fake.0.batches;
    let (mut before, mut same) = (0, 0);
    // The sockets' buffers fill, then the count of batches stands still.
    until(|| {
        let now = batches.load(Ordering::SeqCst);
        same = if now == before && now > 0 { same + 1 } else { 0 };
        before = now;
        same > 200
    })
    .await;
    let standing = batches.load(Ordering::SeqCst);
    // A batch is about 120 kB on the wire; the kernel holds a few megabytes.
    assert!(standing < 200, "{standing} batches were produced for a client that reads nothing");

    let mut taken = vec![0; 1 << 20];
    for _ in 0..20 {
        client.stream.read_exact(&mut taken).await.unwrap();
    }
    until(|| batches.load(Ordering::SeqCst) > standing + 50).await;
    drop(client);
    until(|| server.fake.0.closed.load(Ordering::SeqCst) == 1).await;
    server.stopped().await;
}

/// A COPY in one message of 40 MB reaches the session in pieces.
#[tokio::test]
async fn a_large_copy_message_is_not_gathered() {
    let server = start(config());
    let (mut client, _) = Client::ready(server.address).await;
    let data = "123456789\n".repeat(4 << 20);
    client.send(&[query("COPY t FROM STDIN"), copy_data(&data), copy_done()]).await;
    assert_eq!(show(&client.until('Z').await), format!("G(0 1) C(COPY {}) Z(I)", 4 << 20));
    assert_eq!(server.fake.0.copied.lock().unwrap().len(), data.len());
    let largest = server.fake.0.largest_piece.load(Ordering::SeqCst);
    assert!(largest <= 1 << 20, "{largest}");

    // The rest of a message that failed is skipped, without being held.
    let failing = format!("wrong\n{data}");
    client.send(&[query("COPY t FROM STDIN"), copy_data(&failing), copy_done(), query("SELECT 1")]).await;
    assert_eq!(show(&client.until('Z').await), "G(0 1) E(22P02) Z(I)");
    assert_eq!(show(&client.until('Z').await), "T1t D(1) C(SELECT 1) Z(I)");
    server.stopped().await;
}

#[tokio::test]
async fn messages_are_capped() {
    let server = start(ServerConfig { message_bytes_max: 1 << 20, ..config() });
    for header in [[b'Q', 0, 0x10, 0, 1], [b'S', 0, 0, 0x27, 0x11], [b'Q', 0, 0, 0, 3], [b'Q', 0xff, 0xff, 0xff, 0xff]]
    {
        let (mut client, _) = Client::ready(server.address).await;
        client.send(&[header.to_vec()]).await;
        assert_eq!(message_of(&client.rest().await), ("08P01".into(), "invalid message length".into()));
    }
    let (mut client, _) = Client::ready(server.address).await;
    let long = format!("{};SELECT 1", " ".repeat(900_000));
    client.send(&[query(&long)]).await;
    assert_eq!(show(&client.until('Z').await), "T1t D(1) C(SELECT 1) Z(I)");
    server.stopped().await;
}

#[tokio::test]
async fn a_taken_port_is_named() {
    let first = Server::bind(config()).unwrap();
    let taken = first.local_addresses()[0];
    let error = Server::bind(ServerConfig { listen: vec![taken], ..config() }).unwrap_err();
    assert!(error.to_string().starts_with(&format!("could not listen on {taken}: ")), "{error}");
}

/// Damaged messages harm their own connection at most.
#[tokio::test]
async fn random_input_harms_nobody() {
    use rand::{Rng, SeedableRng};
    let seed = std::env::var("SEED").map_or_else(|_| rand::random(), |seed| seed.parse().unwrap());
    eprintln!("SEED={seed}");
    let mut random = rand::rngs::StdRng::seed_from_u64(seed);
    let server = start(ServerConfig { message_bytes_max: 100_000, ..config() });
    let (mut witness, _) = Client::ready(server.address).await;
    let good = [
        usual_startup(),
        query("SELECT 1; SELECT generate_series(1, 5)"),
        parse("s", "SELECT $1::int4, $2::text", &[23]),
        bind_values("p", "s", &[1, 0], &[Some(&[0, 0, 0, 7]), Some(b"x")], &[1, 0]),
        describe('P', "p"),
        execute("p", 1),
        close('S', "s"),
        sync(),
        query("COPY t FROM STDIN"),
        copy_data("1\n"),
        copy_done(),
        terminate(),
    ];
    for _ in 0..300 {
        let mut bytes = good.concat();
        // Half of the runs leave the startup message whole.
        let from = if random.random() { good[0].len() } else { 0 };
        for _ in 0..random.random_range(1..6) {
            let at = random.random_range(from..bytes.len());
            match random.random_range(0..3) {
                0 => drop(bytes.remove(at)),
                1 => bytes[at] = random.random(),
                _ => bytes.insert(at, random.random()),
            }
        }
        let mut client = Client::raw(server.address).await;
        // The server may have closed already.
        let _ = client.stream.write_all(&bytes).await;
        let _ = client.stream.shutdown().await;
        let mut answers = Vec::new();
        let _ = tokio::time::timeout(Duration::from_secs(20), client.stream.read_to_end(&mut answers)).await.unwrap();
    }
    witness.send(&[query("SELECT 1")]).await;
    assert_eq!(show(&witness.until('Z').await), "T1t D(1) C(SELECT 1) Z(I)");
    drop(witness);
    until(|| server.fake.0.closed.load(Ordering::SeqCst) == server.fake.0.startups.lock().unwrap().len()).await;
    server.stopped().await;
}
