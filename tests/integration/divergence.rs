//! A standby whose memory is not what the log says: found by comparing, taken out of service, rebuilt while it stays a member.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::cluster::{open, three, until};
use crate::faults::cluster::NODES;
use crate::server::READY_WITHIN;

/// Changes a value in the newest checkpoint of a node that is down, checksums included: what bad memory does to a row
/// before a checkpoint is written, and no checksum can see.
fn corrupt(data_dir: &Path, from: &[u8], to: &[u8]) {
    let checkpoints = std::fs::read_dir(data_dir.join("checkpoints")).expect("checkpoints");
    let newest = checkpoints.map(|entry| entry.expect("entry").path()).max().expect("a checkpoint");
    let state = newest.join("state");
    let manifest_path = state.join("manifest");
    let mut manifest = std::fs::read(&manifest_path).expect("manifest");
    for entry in std::fs::read_dir(&state).expect("state") {
        let path = entry.expect("entry").path();
        let mut bytes = std::fs::read(&path).expect("file");
        let Some(at) = find(&bytes, from).filter(|_| path != manifest_path) else { continue };
        let old = varint(crc32c::crc32c(&bytes));
        bytes[at..at + to.len()].copy_from_slice(to);
        let new = varint(crc32c::crc32c(&bytes));
        std::fs::write(&path, bytes).expect("file");
        let at = find(&manifest, &old).expect("the file's checksum in the manifest");
        manifest.splice(at..at + old.len(), new);
        let body = manifest.len() - 4;
        let crc = crc32c::crc32c(&manifest[..body]).to_le_bytes();
        manifest[body..].copy_from_slice(&crc);
        std::fs::write(&manifest_path, manifest).expect("manifest");
        return;
    }
    panic!("no file of {} has the value", state.display());
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

/// As the manifest's format writes numbers.
fn varint(mut value: u32) -> Vec<u8> {
    let mut out = Vec::new();
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
    out
}

const COMPARE: &str = "SELECT string_agg(state, ' ' ORDER BY node) FROM lockstep_check_divergence()";

#[tokio::test]
async fn a_standby_that_differs_is_found_and_rebuilt() {
    let dir = TempDir::new().expect("directory");
    let (mut cluster, primary) = three(&dir).await;
    let writer = open(&cluster, primary).await;
    writer
        .batch_execute(
            "CREATE TABLE t (id int PRIMARY KEY, note text);
             CREATE TABLE heap (v numeric); CREATE SEQUENCE s;
             INSERT INTO t SELECT g, 'note-' || g FROM generate_series(10000, 12999) AS g;
             INSERT INTO heap SELECT g / 7.0 FROM generate_series(1, 500) AS g;
             UPDATE t SET note = note || '!' WHERE id % 3 = 0; DELETE FROM t WHERE id % 5 = 0; SELECT nextval('s')",
        )
        .await
        .expect("rows");
    let standby = (primary + 1) % NODES;
    let client = open(&cluster, standby).await;
    let error = client.query(COMPARE, &[]).await.expect_err("a standby compares nobody");
    assert_eq!(error.code().map(|code| code.code()), Some("25006"));
    until(&writer, COMPARE, "equal equal equal").await;

    let id = "SELECT id::text FROM lockstep_nodes WHERE this_node";
    let before: String = client.query_one(id, &[]).await.expect("id").get(0);
    let pid = cluster.pid(standby).to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("kill").success());
    let deadline = std::time::Instant::now() + READY_WITHIN;
    while cluster.ended(standby).is_none() {
        assert!(std::time::Instant::now() < deadline, "{}", cluster.log(standby));
        std::thread::yield_now();
    }
    corrupt(cluster.data_dir(standby), b"note-12001", b"note-12oo1");
    cluster.restart(standby);
    cluster.answers(standby).await;
    let client = open(&cluster, standby).await;
    let note = "SELECT rtrim(note, '!') FROM t WHERE id = 12001";
    until(&client, note, "note-12oo1").await;

    let compared =
        writer.query("SELECT name, state, detail FROM lockstep_check_divergence()", &[]).await.expect("compare");
    for row in &compared {
        let (name, state, detail): (String, String, Option<String>) = (row.get(0), row.get(1), row.get(2));
        match name == cluster.door(standby).name {
            true => {
                assert_eq!(state, "diverged");
                assert!(detail.expect("detail").starts_with("table public.t "));
            }
            false => assert_eq!(state, "equal", "{name}: {detail:?}"),
        }
    }
    // From here on it refuses or answers as the others do.
    loop {
        match client.query_one(note, &[]).await {
            Ok(row) => {
                assert_eq!(row.get::<_, String>(0), "note-12001");
                break;
            }
            Err(error) => {
                let error = error.as_db_error().unwrap_or_else(|| panic!("{error:?}"));
                assert_eq!(error.code().code(), "57P03", "{error:?}");
                assert!(error.message().contains("out of service"), "{error:?}");
            }
        }
        assert!(std::time::Instant::now() < deadline + READY_WITHIN, "{}", cluster.log(standby));
    }
    let log = cluster.log(standby);
    assert!(log.contains("DIVERGED") && log.contains("rebuilt from the primary"), "{log}");
    assert!(cluster.log(primary).contains("DIVERGED"), "{}", cluster.log(primary));
    writer.execute("INSERT INTO t VALUES (1, 'after')", &[]).await.expect("write");
    until(&client, "SELECT note FROM t WHERE id = 1", "after").await;
    until(&writer, COMPARE, "equal equal equal").await;
    until(&client, id, &before).await;

    // What it was rebuilt to is on its disk.
    cluster.kill(standby);
    cluster.restart(standby);
    cluster.answers(standby).await;
    let client = open(&cluster, standby).await;
    until(&client, note, "note-12001").await;
    until(&writer, COMPARE, "equal equal equal").await;
}
