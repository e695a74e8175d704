//! Relations of which Lockstep has nothing: no triggers, publications, foreign tables, text search, … They exist, with
//! PostgreSQL's columns, and are truly empty.

use super::{RowSink, RowSource, SystemContext};
use crate::error::Result;

fn nothing(_: &SystemContext, _: &mut RowSink) -> Result<()> {
    Ok(())
}

macro_rules! empty {
    ($($name:literal),* $(,)?) => {
        pub const SOURCES: &[(&str, RowSource)] = &[$((concat!("pg_catalog.", $name), nothing)),*];
    };
}

empty! {
    "pg_conversion",
    "pg_event_trigger", "pg_file_settings",
    "pg_foreign_data_wrapper", "pg_foreign_server", "pg_foreign_table",
    "pg_largeobject", "pg_largeobject_metadata", "pg_parameter_acl", "pg_partitioned_table",
    "pg_prepared_xacts", "pg_publication", "pg_publication_namespace",
    "pg_publication_rel", "pg_publication_tables", "pg_replication_origin", "pg_replication_origin_status",
    "pg_replication_slots", "pg_seclabel", "pg_seclabels", "pg_shdepend", "pg_shseclabel", "pg_stat_subscription",
    "pg_statistic_ext_data", "pg_stats_ext", "pg_stats_ext_exprs", "pg_subscription",
    "pg_subscription_rel", "pg_transform", "pg_trigger", "pg_ts_config", "pg_ts_config_map", "pg_ts_dict",
    "pg_ts_parser", "pg_ts_template", "pg_user_mapping", "pg_user_mappings",
}
