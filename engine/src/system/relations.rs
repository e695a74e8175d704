//! What users made, as PostgreSQL's catalogs describe it: relations, columns, indexes, constraints, sequences, views, their
//! comments and dependencies. The system relations describe themselves here too.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::record_batch::RecordBatch;

use super::rows::{Null, row};
use super::{RowSet, RowSink, RowSource, SystemContext, deparse};
use crate::catalog::acl::ObjectKind;
use crate::catalog::{
    Catalog, ColumnDef, Compression, ConstraintDef, ConstraintKind, Identity, IndexColumn, IndexDef, Oid, Origin,
    Persistence, ReferentialAction, Relation, TableDef, ViewDef,
};
use crate::error::{Error, Result};
use crate::functions::extension::EXTENSIONS;
use crate::functions::resolve;
use crate::types::arrow::to_array;
use crate::types::{Datum, PgType, TypeOid, names};

pub const SOURCES: &[(&str, RowSource)] = &[
    ("pg_catalog.pg_class", pg_class),
    ("pg_catalog.pg_attribute", pg_attribute),
    ("pg_catalog.pg_attrdef", pg_attrdef),
    ("pg_catalog.pg_index", pg_index),
    ("pg_catalog.pg_constraint", pg_constraint),
    ("pg_catalog.pg_sequence", pg_sequence),
    ("pg_catalog.pg_rewrite", pg_rewrite),
    ("pg_catalog.pg_description", pg_description),
    ("pg_catalog.pg_depend", super::depend::pg_depend),
    ("pg_catalog.pg_inherits", pg_inherits),
    ("pg_catalog.pg_namespace", pg_namespace),
    ("pg_catalog.pg_tables", pg_tables),
    ("pg_catalog.pg_views", pg_views),
    ("pg_catalog.pg_matviews", pg_matviews),
    ("pg_catalog.pg_indexes", pg_indexes),
    ("pg_catalog.pg_sequences", pg_sequences),
    ("pg_catalog.pg_rules", pg_rules),
];

/// OIDs of the catalogs themselves, as `classid` in pg_depend and pg_description.
pub const PG_CLASS: u32 = 1259;
pub const PG_PROC: u32 = 1255;
pub const PG_TYPE: u32 = 1247;
pub const PG_AUTHID: u32 = 1260;
pub const PG_DATABASE: u32 = 1262;
pub const PG_ATTRDEF: u32 = 2604;
pub const PG_CONSTRAINT: u32 = 2606;
pub const PG_AM: u32 = 2601;
pub const PG_LANGUAGE: u32 = 2612;
pub const PG_NAMESPACE: u32 = 2615;
pub const PG_COLLATION: u32 = 3456;
pub const PG_OPERATOR: u32 = 2617;
pub const PG_CAST: u32 = 2605;
pub const PG_EXTENSION: u32 = 3079;
pub const PG_REWRITE: u32 = 2618;
pub const PG_POLICY: u32 = 3256;
pub const PG_STATISTIC_EXT: u32 = 3381;

const HEAP: u32 = 2;

/// OID of a column's default in pg_attrdef. Defaults have no OID of their own in the catalog: this one lies above all that are
/// given out before two billion objects exist.
pub(super) fn default_oid(table: Oid, attnum: i16) -> Oid {
    Oid(0x8000_0000 | (table.0.wrapping_mul(1601).wrapping_add(attnum as u32) & 0x7fff_ffff))
}

/// The column whose default an OID is.
pub fn default_column(catalog: &Catalog, oid: Oid) -> Option<(&Arc<TableDef>, &ColumnDef)> {
    let mut columns = catalog.tables.values().flat_map(|t| t.live_columns().map(move |c| (t, c)));
    columns.find(|(t, c)| c.default.is_some() && default_oid(t.oid, c.attnum) == oid)
}

/// The view whose rule an OID is.
pub fn rule_view(catalog: &Catalog, oid: Oid) -> Option<&Arc<ViewDef>> {
    catalog.all_views().find(|v| rule_oid(v) == oid)
}

/// OID of a view's rule: allocated with the view, behind its row type and that one's array.
pub(super) fn rule_oid(view: &ViewDef) -> Oid {
    Oid(view.oid.0 + 3)
}

/// What of pg_class differs between kinds of relations.
struct ClassRow<'a> {
    oid: Oid,
    name: &'a str,
    schema: Oid,
    row_type: Oid,
    owner: Oid,
    am: u32,
    file: Oid,
    kind: char,
    columns: usize,
    pages: i32,
    rows: f32,
    has_index: bool,
    shared: bool,
    checks: usize,
    has_rules: bool,
    has_triggers: bool,
    has_children: bool,
    persistence: char,
    populated: bool,
    options: &'a [(String, String)],
}

impl ClassRow<'_> {
    fn push(self, sink: &mut RowSink) {
        let options: Option<Vec<String>> = match self.options {
            [] => None,
            some => Some(some.iter().map(|(n, v)| format!("{n}={v}")).collect()),
        };
        let frozen = if self.kind == 'r' { 3u32 } else { 0 };
        let minimum = if self.kind == 'r' { 1u32 } else { 0 };
        let identity = if matches!(self.kind, 'r' | 'm') && self.schema != Oid::PG_CATALOG { 'd' } else { 'n' };
        let security = sink.catalog().row_security_of(self.oid);
        row!(sink;
            self.oid, self.name, self.schema, self.row_type, 0u32, self.owner, self.am, self.file, 0u32,
            self.pages, self.rows, 0i32, 0u32, self.has_index, self.shared, self.persistence, self.kind,
            self.columns as i16, self.checks as i16, self.has_rules, self.has_triggers, self.has_children,
            security.enabled, security.forced, self.populated,
            identity, false, 0u32, frozen, minimum, sink.acl(ObjectKind::Relation, self.oid), options, Null);
    }
}

const PAGE: u64 = 8192;

fn pages(bytes: u64) -> i32 {
    i32::try_from(bytes.div_ceil(PAGE)).unwrap_or(i32::MAX)
}

fn pg_class(context: &SystemContext, sink: &mut RowSink) -> Result<()> {
    for r in super::all() {
        ClassRow {
            oid: r.oid,
            name: r.name,
            schema: r.schema,
            row_type: r.row_type,
            owner: Oid::SUPERUSER,
            am: if r.view { 0 } else { HEAP },
            file: Oid(0),
            kind: if r.view { 'v' } else { 'r' },
            columns: r.columns.len(),
            pages: 0,
            rows: -1.0,
            has_index: false,
            shared: r.is_shared(),
            checks: 0,
            has_rules: false,
            has_triggers: false,
            has_children: false,
            persistence: 'p',
            populated: true,
            options: &[],
        }
        .push(sink);
    }
    let in_foreign_keys = tables_in_foreign_keys(&context.catalog);
    for table in context.catalog.tables.values() {
        ClassRow {
            oid: table.oid,
            name: &table.name,
            schema: table.schema,
            row_type: table.row_type,
            owner: table.owner,
            am: context.catalog.strategy_of(table.oid).map_or(HEAP, |strategy| strategy.oid.0),
            file: table.storage,
            kind: if table.materialized.is_some() { 'm' } else { 'r' },
            columns: table.columns.len(),
            pages: 0,
            rows: -1.0,
            has_index: !table.indexes.is_empty(),
            shared: false,
            checks: table.constraints.iter().filter(|c| matches!(c.kind, ConstraintKind::Check { .. })).count(),
            has_rules: table.materialized.is_some(),
            has_triggers: in_foreign_keys.contains(&table.oid),
            has_children: !context.catalog.children(table.oid).is_empty(),
            persistence: persistence(table),
            populated: table.materialized.as_ref().is_none_or(|v| v.populated == Some(true)),
            options: &table.options,
        }
        .push(sink);
        for index in &table.indexes {
            ClassRow {
                oid: index.oid,
                name: &index.name,
                schema: table.schema,
                row_type: Oid(0),
                owner: table.owner,
                am: index.method.oid(),
                file: index.oid,
                kind: 'i',
                columns: index.columns.len() + index.include.len(),
                pages: 0,
                rows: -1.0,
                has_index: false,
                shared: false,
                checks: 0,
                has_rules: false,
                has_triggers: false,
                has_children: false,
                persistence: persistence(table),
                populated: true,
                options: &index.options,
            }
            .push(sink);
        }
    }
    for view in context.catalog.views.values() {
        let mut row = plain(view.oid, &view.name, view.schema, view.owner, 'v', view.columns.len());
        row.row_type = view.row_type;
        row.has_rules = true;
        row.options = &view.options;
        row.push(sink);
    }
    for t in context.catalog.types.values() {
        if let Some(attributes) = t.attributes() {
            let number = TypeOid(t.oid.0).user_number();
            let mut row = plain(number, &t.name, t.schema, t.owner, 'c', attributes.len());
            row.row_type = t.oid;
            row.push(sink);
        }
    }
    for s in context.catalog.sequences.values() {
        let mut row = plain(s.oid, &s.name, s.schema, s.owner, 'S', 3);
        row.pages = 1;
        row.rows = 1.0;
        row.file = s.oid;
        row.push(sink);
    }
    Ok(())
}

/// Places of columns of pg_class.
const RELPAGES: usize = 9;
const RELTUPLES: usize = 10;
const RELKIND: usize = 16;

/// `relpages` and `reltuples` of a row of pg_class that has a store.
fn figures(context: &SystemContext, rows: &RowSet, row: usize) -> Option<(i32, f32)> {
    let (Datum::Oid(oid), Datum::Text(kind)) = (rows.value(0, row), rows.value(RELKIND, row)) else { return None };
    let oid = Oid(*oid);
    match &**kind {
        "r" | "m" => context.host.table_figures(oid).map(|f| (pages(f.bytes), f.live_rows as f32)),
        "i" => {
            let Some(Relation::Index(table, _)) = context.catalog.relation(oid) else { return None };
            let rows = context.host.table_figures(table.oid).map_or(-1.0, |f| f.live_rows as f32);
            // An index has a page before it has a row.
            Some((context.host.index_bytes(oid).map_or(0, pages).max(1), rows))
        }
        _ => None,
    }
}

/// The column `attnum` of a row of pg_class, if it is one of [`figures`].
pub(super) fn figure(context: &SystemContext, rows: &RowSet, row: usize, attnum: i16) -> Option<Datum> {
    match usize::try_from(attnum - 1).ok()? {
        RELPAGES => figures(context, rows, row).map(|(pages, _)| Datum::Int4(pages)),
        RELTUPLES => figures(context, rows, row).map(|(_, rows)| Datum::Float4(rows)),
        _ => None,
    }
}

/// pg_class with the figures of now.
pub(super) fn with_figures(context: &SystemContext, rows: &RowSet, batch: &RecordBatch) -> Result<RecordBatch> {
    let all: Vec<Option<(i32, f32)>> = (0..rows.count()).map(|row| figures(context, rows, row)).collect();
    let kept = |column: usize, row: usize| rows.value(column, row).clone();
    let pages: Vec<Datum> =
        all.iter().enumerate().map(|(i, f)| f.map_or_else(|| kept(RELPAGES, i), |f| Datum::Int4(f.0))).collect();
    let tuples: Vec<Datum> =
        all.iter().enumerate().map(|(i, f)| f.map_or_else(|| kept(RELTUPLES, i), |f| Datum::Float4(f.1))).collect();
    let mut columns = batch.columns().to_vec();
    for (place, ty, values) in [(RELPAGES, TypeOid::INT4, pages), (RELTUPLES, TypeOid::FLOAT4, tuples)] {
        if let Some(column) = columns.get_mut(place) {
            *column = to_array(values.iter(), ty.into())?;
        }
    }
    RecordBatch::try_new(batch.schema(), columns).map_err(|e| Error::internal(format!("cannot build pg_class: {e}")))
}

fn plain(oid: Oid, name: &str, schema: Oid, owner: Oid, kind: char, columns: usize) -> ClassRow<'_> {
    ClassRow {
        oid,
        name,
        schema,
        row_type: Oid(0),
        owner,
        am: 0,
        file: Oid(0),
        kind,
        columns,
        pages: 0,
        rows: -1.0,
        has_index: false,
        shared: false,
        checks: 0,
        has_rules: false,
        has_triggers: false,
        has_children: false,
        persistence: if oid.is_temporary() { 't' } else { 'p' },
        populated: true,
        options: &[],
    }
}

fn persistence(table: &TableDef) -> char {
    match table.persistence {
        Persistence::Permanent => 'p',
        Persistence::Unlogged => 'u',
        Persistence::Temporary => 't',
    }
}

/// Tables on either side of a foreign key. PostgreSQL enforces the keys by triggers on both, and clients (psql's `\d`, pg_dump)
/// ask for them only where `relhastriggers` is set.
fn tables_in_foreign_keys(catalog: &Catalog) -> HashSet<Oid> {
    let mut found = HashSet::new();
    for table in catalog.tables.values() {
        for constraint in &table.constraints {
            if let ConstraintKind::ForeignKey(key) = &constraint.kind {
                found.extend([table.oid, key.references]);
            }
        }
    }
    found
}

/// What of pg_attribute differs between columns.
struct Attribute<'a> {
    relation: Oid,
    name: &'a str,
    ty: PgType,
    attnum: usize,
    not_null: bool,
    has_default: bool,
    identity: &'a str,
    generated: bool,
    missing: Option<&'a String>,
    compression: &'a str,
    dropped: bool,
    origin: Origin,
    domain: Option<Oid>,
    collation: Option<Oid>,
    /// Of a table of the system, whose texts sort by their bytes.
    catalog: bool,
}

/// The collation "C".
const C_COLLATION: u32 = 950;

impl<'a> Attribute<'a> {
    fn new(relation: Oid, name: &'a str, ty: PgType, attnum: usize, not_null: bool) -> Self {
        Attribute {
            relation,
            name,
            ty,
            attnum,
            not_null,
            has_default: false,
            identity: "",
            generated: false,
            missing: None,
            compression: "",
            dropped: false,
            origin: Origin::OWN,
            domain: None,
            collation: None,
            catalog: false,
        }
    }

    fn of_column(table: &TableDef, c: &'a ColumnDef) -> Self {
        Attribute {
            has_default: c.default.is_some(),
            identity: match c.identity {
                None => "",
                Some(Identity::Always) => "a",
                Some(Identity::ByDefault) => "d",
            },
            generated: c.generated,
            missing: c.missing_text.as_ref(),
            compression: c.compression.map_or("", Compression::letter),
            dropped: c.dropped,
            domain: c.domain,
            collation: c.collation,
            origin: table.column_origin(c.attnum),
            ..Attribute::new(table.oid, &c.name, c.ty, c.attnum as usize, c.not_null)
        }
    }

    /// `own`: of its type.
    fn collation(&self, own: u32) -> u32 {
        match self.collation {
            Some(collation) => collation.0,
            None if self.catalog && own != 0 => C_COLLATION,
            None => own,
        }
    }

    fn push(self, sink: &mut RowSink) {
        let ty = names::layout(self.ty.oid);
        let dimensions = i32::from(names::category(self.ty.oid) == b'A');
        let typmod = if self.domain.is_some() { -1 } else { self.ty.typmod };
        let missing = self.missing.map(|text| vec![text.as_str()]);
        row!(sink;
            self.relation, self.name, if self.dropped { TypeOid(0) } else { self.domain.map_or(self.ty.oid, |d| TypeOid(d.0)) },
            -1i32,
            ty.map_or(-1i16, |t| t.len), self.attnum as i16, dimensions, -1i32, typmod,
            ty.is_some_and(|t| t.by_value), ty.map_or('i', |t| t.align as char), ty.map_or('x', |t| t.storage as char),
            self.compression, self.not_null, self.has_default, missing.is_some(), self.identity, if self.generated { "s" } else { "" }, self.dropped, self.origin.local,
            i32::from(self.origin.parents), self.collation(ty.map_or(0, |t| t.collation)), sink.column_acl(self.relation, self.attnum as i16), Null, Null, missing);
    }
}

fn pg_attribute(context: &SystemContext, sink: &mut RowSink) -> Result<()> {
    for relation in super::all() {
        for (i, c) in relation.columns.iter().enumerate() {
            let column = Attribute::new(relation.oid, c.name, c.ty, i + 1, c.not_null);
            let catalog = !relation.view && relation.schema == Oid::PG_CATALOG;
            Attribute { catalog, ..column }.push(sink);
        }
    }
    for table in context.catalog.tables.values() {
        for column in &table.columns {
            Attribute::of_column(table, column).push(sink);
        }
        for index in &table.indexes {
            let names = crate::ddl::index_column_names(index, table);
            let types = index.columns.iter().map(|c| c.expression.as_ref().map_or(c.attnum, |_| 0));
            for (i, (name, attnum)) in names.iter().zip(types.chain(index.include.iter().copied())).enumerate() {
                let expression = index.columns.get(i).and_then(|c| c.expression.as_ref());
                let ty = expression.map(|e| e.ty).or_else(|| table.attribute(attnum).map(|c| c.ty));
                if let Some(ty) = ty {
                    let collation = index_collation(table, index.columns.get(i), attnum);
                    Attribute { collation, ..Attribute::new(index.oid, name, ty, i + 1, false) }.push(sink);
                }
            }
        }
    }
    for view in context.catalog.views.values() {
        for (i, (name, ty)) in view.columns.iter().enumerate() {
            let collation = view.collations.iter().find(|(number, _)| *number == i as i16 + 1).map(|(_, oid)| *oid);
            Attribute { collation, ..Attribute::new(view.oid, name, *ty, i + 1, false) }.push(sink);
        }
    }
    for t in context.catalog.types.values() {
        for (i, a) in t.attributes().unwrap_or_default().iter().enumerate() {
            let row = Attribute::new(TypeOid(t.oid.0).user_number(), &a.name, a.ty, i + 1, false);
            Attribute { collation: a.collation, domain: a.domain, ..row }.push(sink);
        }
    }
    for sequence in context.catalog.sequences.values() {
        let columns = [("last_value", TypeOid::INT8), ("log_cnt", TypeOid::INT8), ("is_called", TypeOid::BOOL)];
        for (i, (name, ty)) in columns.into_iter().enumerate() {
            Attribute::new(sequence.oid, name, ty.into(), i + 1, true).push(sink);
        }
    }
    Ok(())
}

/// The collation of an index's column, if it is not its type's.
fn index_collation(table: &TableDef, column: Option<&IndexColumn>, attnum: i16) -> Option<Oid> {
    match column {
        Some(column) => column.collation_in(table),
        None => table.attribute(attnum).and_then(|c| c.collation),
    }
}

fn pg_attrdef(context: &SystemContext, sink: &mut RowSink) -> Result<()> {
    for table in context.catalog.tables.values() {
        for column in table.live_columns() {
            if let Some(default) = &column.default {
                row!(sink; default_oid(table.oid, column.attnum), table.oid, column.attnum, default);
            }
        }
    }
    Ok(())
}

/// The default operator class of a type for an access method.
pub(super) fn operator_class(ty: TypeOid, method: u32, named: Option<&str>) -> Oid {
    match named {
        Some("text_pattern_ops") => return Oid(4217),
        Some("varchar_pattern_ops") => return Oid(4218),
        Some("bpchar_pattern_ops") => return Oid(4219),
        _ => {}
    }
    let base = match ty {
        TypeOid::VARCHAR => TypeOid::TEXT,
        TypeOid::REGCLASS | TypeOid::REGTYPE | TypeOid::REGPROC | TypeOid::REGNAMESPACE | TypeOid::REGROLE => {
            TypeOid::OID
        }
        other if names::category(other) == b'A' => TypeOid::ANYARRAY,
        other if other.is_enum() => TypeOid(3500),
        other if other.is_range() => resolve::ANYRANGE,
        other if other.is_multirange() => resolve::ANYMULTIRANGE,
        other if other.is_row() => TypeOid::RECORD,
        other => other,
    };
    super::fixed::operator_class(method, base)
}

fn pg_index(context: &SystemContext, sink: &mut RowSink) -> Result<()> {
    for table in context.catalog.tables.values() {
        for index in &table.indexes {
            let type_of = |c: &IndexColumn| match &c.expression {
                Some(expression) => expression.ty.oid,
                None => table.attribute(c.attnum).map_or(TypeOid::TEXT, |c| c.ty.oid),
            };
            let collations: Vec<u32> = index
                .columns
                .iter()
                .map(|c| match index_collation(table, Some(c), c.attnum) {
                    Some(collation) => collation.0,
                    None => names::layout(type_of(c)).map_or(0, |t| t.collation),
                })
                .collect();
            let method = index.method.oid();
            let class = |c: &IndexColumn| operator_class(type_of(c), method, c.class.as_deref());
            let classes: Vec<Oid> = index.columns.iter().map(class).collect();
            let options: Vec<i16> =
                index.columns.iter().map(|c| i16::from(c.descending) | (i16::from(c.nulls_first) << 1)).collect();
            let key = index.columns.len() as i16;
            let width = key + index.include.len() as i16;
            let texts: Vec<&str> =
                index.columns.iter().filter_map(|c| c.expression.as_ref()).map(|e| e.text.as_str()).collect();
            let expressions = (!texts.is_empty()).then(|| texts.join(", "));
            let predicate = index.predicate.as_ref().map(|(text, _)| text);
            let attnums: Vec<i16> = index.attnums().chain(index.include.iter().copied()).collect();
            row!(sink;
                index.oid, table.oid, width, key, index.unique, index.nulls_not_distinct, index.primary, false, !index.deferrable, false, true,
                false, true, true, false, attnums, collations, classes, options, expressions, predicate);
        }
    }
    Ok(())
}

fn action(action: ReferentialAction) -> char {
    match action {
        ReferentialAction::NoAction => 'a',
        ReferentialAction::Restrict => 'r',
        ReferentialAction::Cascade => 'c',
        ReferentialAction::SetNull => 'n',
        ReferentialAction::SetDefault => 'd',
    }
}

/// The equality operators of a foreign key's columns.
fn equality(table: &TableDef, columns: &[i16]) -> Vec<u32> {
    let operator = |attnum: &i16| {
        let ty = table.attribute(*attnum)?.ty.oid;
        let ty = if ty == TypeOid::VARCHAR { TypeOid::TEXT } else { ty };
        Some(crate::functions::registry().operator("=", Some(ty), ty)?.oid)
    };
    columns.iter().map(|a| operator(a).unwrap_or(0)).collect()
}

fn pg_constraint(context: &SystemContext, sink: &mut RowSink) -> Result<()> {
    for table in context.catalog.tables.values() {
        for c in &table.constraints {
            constraint_row(table, c, sink);
        }
    }
    for t in context.catalog.types.values() {
        for check in t.domain().map_or(&[][..], |d| &d.checks) {
            row!(sink;
                check.oid, &check.name, t.schema, 'c', false, false, true, 0u32, t.oid, 0u32, 0u32, 0u32, ' ', ' ', ' ',
                true, 0i32, false, Null, Null, Null, Null, Null, Null, Null, &check.expression);
        }
    }
    Ok(())
}

fn constraint_row(table: &TableDef, c: &ConstraintDef, sink: &mut RowSink) {
    let index_columns = |index: &Oid| table.index(*index).map(|i| i.attnums().collect::<Vec<i16>>());
    let (kind, index, columns, inherit, key, expression) = match &c.kind {
        ConstraintKind::PrimaryKey { index } => ('p', *index, index_columns(index), true, None, None),
        ConstraintKind::Unique { index } => ('u', *index, index_columns(index), true, None, None),
        ConstraintKind::Check { expression, columns } => {
            let columns = (!columns.is_empty()).then(|| columns.clone());
            ('c', Oid(0), columns, table.keeps_constraint(c.oid), None, Some(expression))
        }
        ConstraintKind::ForeignKey(key) => {
            ('f', key.referenced_index, Some(key.columns.clone()), true, Some(key), None)
        }
    };
    let matching = key.map(|k| if k.match_full { "f" } else { "s" }).unwrap_or(" ");
    let update = key.map_or(' ', |k| action(k.on_update));
    let delete = key.map_or(' ', |k| action(k.on_delete));
    let operators = key.map(|k| equality(table, &k.columns));
    let origin = table.constraint_origin(c.oid);
    let set_columns = key.and_then(|k| (!k.set_columns.is_empty()).then(|| k.set_columns.clone()));
    row!(sink;
        c.oid, &c.name, table.schema, kind, c.deferrable, c.initially_deferred, !c.not_valid, table.oid, 0u32, index, 0u32,
        key.map_or(Oid(0), |k| k.references), update, delete, matching, origin.local, i32::from(origin.parents), inherit,
        columns,
        key.map(|k| k.referenced_columns.clone()), operators.clone(), operators.clone(), operators, set_columns, Null,
        expression);
}

fn pg_sequence(context: &SystemContext, sink: &mut RowSink) -> Result<()> {
    for s in context.catalog.sequences.values() {
        row!(sink; s.oid, s.ty.oid, s.start, s.increment, s.max, s.min, s.cache, s.cycle);
    }
    Ok(())
}

fn pg_rewrite(context: &SystemContext, sink: &mut RowSink) -> Result<()> {
    for view in context.catalog.all_views() {
        row!(sink; rule_oid(view), "_RETURN", view.oid, '1', 'O', true, "<>", &view.query);
    }
    Ok(())
}

fn pg_rules(_: &SystemContext, _: &mut RowSink) -> Result<()> {
    // As in PostgreSQL, the rules of views are not listed, and there are no others.
    Ok(())
}

fn pg_description(context: &SystemContext, sink: &mut RowSink) -> Result<()> {
    super::fixed::fixed(context, sink)?;
    for created in context.catalog.extensions.values() {
        if let Some(known) = EXTENSIONS.iter().find(|e| e.name == created.name) {
            row!(sink; created.oid, PG_EXTENSION, 0i32, known.comment);
        }
    }
    let mut push = |oid: Oid, class: u32, sub: i16, text: &Option<String>| {
        if let Some(text) = text {
            row!(sink; oid, class, i32::from(sub), text);
        }
    };
    let catalog = &context.catalog;
    for s in catalog.schemas.values() {
        push(s.oid, PG_NAMESPACE, 0, &s.comment);
    }
    for table in catalog.tables.values() {
        push(table.oid, PG_CLASS, 0, &table.comment);
        for c in table.live_columns() {
            push(table.oid, PG_CLASS, c.attnum, &c.comment);
        }
        for i in &table.indexes {
            push(i.oid, PG_CLASS, 0, &i.comment);
        }
        for c in &table.constraints {
            push(c.oid, PG_CONSTRAINT, 0, &c.comment);
        }
    }
    for v in catalog.views.values() {
        push(v.oid, PG_CLASS, 0, &v.comment);
        for (attnum, comment) in &v.column_comments {
            push(v.oid, PG_CLASS, *attnum, &Some(comment.clone()));
        }
    }
    for s in catalog.sequences.values() {
        push(s.oid, PG_CLASS, 0, &s.comment);
    }
    for r in catalog.routines.values() {
        push(r.oid, PG_PROC, 0, &r.comment);
    }
    for t in catalog.types.values() {
        push(t.oid, PG_TYPE, 0, &t.comment);
    }
    for c in catalog.collations.values() {
        push(c.oid, PG_COLLATION, 0, &c.comment);
    }
    for p in catalog.policies.values() {
        push(p.oid, PG_POLICY, 0, &p.comment);
    }
    for s in catalog.statistics.values() {
        push(s.oid, PG_STATISTIC_EXT, 0, &s.comment);
    }
    for b in crate::types::collation::BUILTIN.iter().filter(|b| !b.comment.is_empty()) {
        push(Oid(b.oid), PG_COLLATION, 0, &Some(b.comment.to_owned()));
    }
    Ok(())
}

fn pg_inherits(context: &SystemContext, sink: &mut RowSink) -> Result<()> {
    for table in context.catalog.tables.values() {
        for (number, parent) in (1i32..).zip(&table.inheritance.parents) {
            row!(sink; table.oid, *parent, number, false);
        }
    }
    Ok(())
}

fn pg_namespace(context: &SystemContext, sink: &mut RowSink) -> Result<()> {
    for s in context.catalog.schemas.values() {
        row!(sink; s.oid, &s.name, s.owner, sink.acl(ObjectKind::Schema, s.oid));
    }
    Ok(())
}

/// Name of a role; empty for an OID that names none.
pub fn role_name(catalog: &Catalog, role: Oid) -> &str {
    catalog.roles.get(&role).map_or("", |r| &r.name)
}

fn pg_tables(context: &SystemContext, sink: &mut RowSink) -> Result<()> {
    let catalog = &context.catalog;
    for r in super::all().iter().filter(|r| !r.view) {
        let owner = role_name(catalog, Oid::SUPERUSER);
        row!(sink; catalog.schema_name(r.schema), r.name, owner, Null, false, false, false, false);
    }
    for t in catalog.tables.values().filter(|t| t.materialized.is_none()) {
        let owner = role_name(catalog, t.owner);
        let secured = catalog.row_security_of(t.oid).enabled;
        row!(sink; catalog.schema_name(t.schema), &t.name, owner, Null, !t.indexes.is_empty(), false, false, secured);
    }
    Ok(())
}

fn pg_views(context: &SystemContext, sink: &mut RowSink) -> Result<()> {
    let catalog = &context.catalog;
    for r in super::all().iter().filter(|r| r.view) {
        row!(sink; catalog.schema_name(r.schema), r.name, role_name(catalog, Oid::SUPERUSER), Null);
    }
    for v in catalog.views.values() {
        let definition = super::viewdef::definition(v, &deparse::Display::plain(catalog, &context.path));
        row!(sink; catalog.schema_name(v.schema), &v.name, role_name(catalog, v.owner), definition);
    }
    Ok(())
}

fn pg_matviews(context: &SystemContext, sink: &mut RowSink) -> Result<()> {
    let catalog = &context.catalog;
    for t in catalog.tables.values() {
        let Some(view) = &t.materialized else { continue };
        let definition = super::viewdef::definition(view, &deparse::Display::plain(catalog, &context.path));
        row!(sink;
            catalog.schema_name(t.schema), &t.name, role_name(catalog, t.owner), Null, !t.indexes.is_empty(),
            view.populated == Some(true), definition);
    }
    Ok(())
}

fn pg_indexes(context: &SystemContext, sink: &mut RowSink) -> Result<()> {
    let catalog = &context.catalog;
    for t in catalog.tables.values() {
        for i in &t.indexes {
            let i: &IndexDef = i;
            let definition = deparse::index_def(t, i, &deparse::Display::plain(catalog, &context.path));
            row!(sink; catalog.schema_name(t.schema), &t.name, &i.name, Null, definition);
        }
    }
    Ok(())
}

fn pg_sequences(context: &SystemContext, sink: &mut RowSink) -> Result<()> {
    let catalog = &context.catalog;
    for s in catalog.sequences.values() {
        let last: Option<i64> = context.host.sequence_state(s.oid).filter(|state| state.1).map(|state| state.0);
        row!(sink;
            catalog.schema_name(s.schema), &s.name, role_name(catalog, s.owner), s.ty.oid, s.start, s.min, s.max,
            s.increment, s.cycle, s.cache, last.map_or(Datum::Null, Datum::Int8));
    }
    Ok(())
}
