//! The directions of the crates, as the architecture page draws them: wire and replication do not know each other,
//! the engine knows neither and both know it, and no foreign engine, parser or consensus crate crosses its border.

use std::path::Path;

/// Names that a crate lists as dependencies, for the build or the tests of it.
fn dependencies(manifest: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(manifest);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let table: toml::Table = text.parse().expect("manifest");
    let sections = ["dependencies", "dev-dependencies", "build-dependencies"];
    sections.iter().filter_map(|section| table.get(*section)?.as_table()).flat_map(|it| it.keys().cloned()).collect()
}

#[test]
fn crates_point_one_way() {
    let forbidden: &[(&str, &[&str])] = &[
        ("wire/Cargo.toml", &["replication", "datafusion", "sqlparser", "openraft"]),
        ("engine/Cargo.toml", &["wire", "replication", "pgwire", "openraft"]),
        ("replication/Cargo.toml", &["wire", "datafusion", "sqlparser", "arrow", "pgwire"]),
        ("Cargo.toml", &["datafusion", "sqlparser", "pgwire", "openraft", "arrow"]),
    ];
    for (manifest, names) in forbidden {
        let found = dependencies(manifest);
        assert!(!found.is_empty(), "{manifest} lists nothing");
        for name in found {
            let bare = name.strip_prefix("lockstep-").unwrap_or(&name);
            assert!(!names.contains(&bare), "{manifest} must not depend on {name}");
        }
    }
}
