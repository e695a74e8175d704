//! TPC-H: the data (from the `tpchgen` crate), the schema with its keys, the 22 queries, and their rows as text.
//!
//! `expected/` holds the rows of scale 0.01 as PostgreSQL 15 gives them; decimals are compared digit by digit.

use std::fmt::Display;
use std::io::Write;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures::SinkExt;
use tokio_postgres::{Client, Error, SimpleQueryMessage};
use tpchgen::csv::{CustomerCsv, LineItemCsv, NationCsv, OrderCsv, PartCsv, PartSuppCsv, RegionCsv, SupplierCsv};
use tpchgen::generators::{
    CustomerGenerator, LineItemGenerator, NationGenerator, OrderGenerator, PartGenerator, PartSuppGenerator,
    RegionGenerator, SupplierGenerator,
};

/// In an order that foreign keys allow.
pub const TABLES: [&str; 8] = ["region", "nation", "part", "supplier", "partsupp", "customer", "orders", "lineitem"];

pub const SCHEMA: &str = include_str!("schema.sql");

pub fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tpch")
}

pub fn query(number: usize) -> String {
    std::fs::read_to_string(directory().join(format!("q{number:02}.sql"))).expect("query")
}

/// The rows of one table as CSV lines without a header.
pub fn rows(table: &str, scale: f64) -> Box<dyn Iterator<Item = String> + Send> {
    fn lines<R: Display>(rows: impl Iterator<Item = R> + Send + 'static) -> Box<dyn Iterator<Item = String> + Send> {
        Box::new(rows.map(|row| format!("{row}\n")))
    }
    match table {
        "region" => lines(RegionGenerator::new(scale, 1, 1).iter().map(RegionCsv::new)),
        "nation" => lines(NationGenerator::new(scale, 1, 1).iter().map(NationCsv::new)),
        "part" => lines(PartGenerator::new(scale, 1, 1).iter().map(PartCsv::new)),
        "supplier" => lines(SupplierGenerator::new(scale, 1, 1).iter().map(SupplierCsv::new)),
        "partsupp" => lines(PartSuppGenerator::new(scale, 1, 1).iter().map(PartSuppCsv::new)),
        "customer" => lines(CustomerGenerator::new(scale, 1, 1).iter().map(CustomerCsv::new)),
        "orders" => lines(OrderGenerator::new(scale, 1, 1).iter().map(OrderCsv::new)),
        "lineitem" => lines(LineItemGenerator::new(scale, 1, 1).iter().map(LineItemCsv::new)),
        other => panic!("no table {other}"),
    }
}

/// Writes `TABLE.csv` for every table.
pub fn generate(dir: &Path, scale: f64) -> std::io::Result<()> {
    std::fs::create_dir_all(dir)?;
    for table in TABLES {
        let mut file = std::io::BufWriter::new(std::fs::File::create(dir.join(format!("{table}.csv")))?);
        for row in rows(table, scale) {
            file.write_all(row.as_bytes())?;
        }
        file.flush()?;
    }
    Ok(())
}

/// Creates the tables and fills them by COPY; gives the number of rows.
pub async fn load(client: &Client, scale: f64) -> Result<u64, Error> {
    const PART: usize = 1 << 18;
    client.batch_execute(SCHEMA).await?;
    let mut total = 0;
    for table in TABLES {
        let sink = client.copy_in::<_, Bytes>(&format!("COPY {table} FROM STDIN WITH (FORMAT csv)")).await?;
        let mut sink = std::pin::pin!(sink);
        let mut buffer = Vec::with_capacity(PART + 1024);
        for row in rows(table, scale) {
            buffer.extend_from_slice(row.as_bytes());
            if buffer.len() >= PART {
                sink.send(Bytes::from(std::mem::take(&mut buffer))).await?;
            }
        }
        sink.send(Bytes::from(buffer)).await?;
        total += sink.finish().await?;
    }
    Ok(total)
}

/// The rows of a query, a line each, columns separated by `|`.
pub async fn run(client: &Client, sql: &str) -> Result<String, Error> {
    let mut out = String::new();
    for message in client.simple_query(sql).await? {
        if let SimpleQueryMessage::Row(row) = message {
            let cells: Vec<&str> = (0..row.len()).map(|at| row.get(at).unwrap_or("NULL")).collect();
            out.push_str(cells.join("|").trim_end());
            out.push('\n');
        }
    }
    Ok(out)
}
