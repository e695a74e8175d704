//! pg_depend: what an object needs, from the definitions. What is built in is pinned and has no rows.

use super::relations::{
    PG_ATTRDEF, PG_CAST, PG_CLASS, PG_CONSTRAINT, PG_EXTENSION, PG_NAMESPACE, PG_POLICY, PG_PROC, PG_REWRITE,
    PG_STATISTIC_EXT, PG_TYPE, default_oid, rule_oid,
};
use super::rows::row;
use super::{RowSink, SystemContext};
use crate::catalog::{ConstraintKind, Oid};
use crate::error::Result;
use crate::functions::{extension, registry};
use crate::types::TypeOid;

pub(super) fn pg_depend(context: &SystemContext, sink: &mut RowSink) -> Result<()> {
    let catalog = &context.catalog;
    let mut push = |class: u32, oid: Oid, sub: i16, on_class: u32, on: Oid, on_sub: i16, kind: char| {
        row!(sink; class, oid, i32::from(sub), on_class, on, i32::from(on_sub), kind);
    };
    for table in catalog.tables.values() {
        push(PG_CLASS, table.oid, 0, PG_NAMESPACE, table.schema, 0, 'n');
        for parent in &table.inheritance.parents {
            push(PG_CLASS, table.oid, 0, PG_CLASS, *parent, 0, 'n');
        }
        for index in &table.indexes {
            match table.index_constraint(index.oid) {
                Some(c) => push(PG_CLASS, index.oid, 0, PG_CONSTRAINT, c.oid, 0, 'i'),
                None => index.reads().for_each(|a| push(PG_CLASS, index.oid, 0, PG_CLASS, table.oid, a, 'a')),
            }
        }
        for c in &table.constraints {
            let columns: Vec<i16> = match &c.kind {
                ConstraintKind::Check { columns, .. } => columns.clone(),
                ConstraintKind::ForeignKey(key) => key.columns.clone(),
                _ => c.index().and_then(|i| table.index(i)).map_or_else(Vec::new, |i| i.attnums().collect()),
            };
            columns.iter().for_each(|a| push(PG_CONSTRAINT, c.oid, 0, PG_CLASS, table.oid, *a, 'a'));
            if let ConstraintKind::ForeignKey(key) = &c.kind {
                key.referenced_columns
                    .iter()
                    .for_each(|a| push(PG_CONSTRAINT, c.oid, 0, PG_CLASS, key.references, *a, 'n'));
                push(PG_CONSTRAINT, c.oid, 0, PG_CLASS, key.referenced_index, 0, 'n');
            }
        }
        for column in table.live_columns() {
            let ty = column.domain.unwrap_or(Oid(column.ty.oid.0));
            if TypeOid(ty.0).user_kind().is_some() {
                push(PG_CLASS, table.oid, column.attnum, PG_TYPE, ty, 0, 'n');
            }
        }
        for column in table.live_columns().filter(|c| c.default.is_some()) {
            push(PG_ATTRDEF, default_oid(table.oid, column.attnum), 0, PG_CLASS, table.oid, column.attnum, 'a');
        }
    }
    let tables = catalog.tables.values().map(|t| (t.oid, t.row_type));
    for (relation, row_type) in tables.chain(catalog.views.values().map(|v| (v.oid, v.row_type))) {
        push(PG_TYPE, row_type, 0, PG_CLASS, relation, 0, 'i');
        if let Some(array) = TypeOid(row_type.0).user_array() {
            push(PG_TYPE, Oid(array.0), 0, PG_TYPE, row_type, 0, 'i');
        }
    }
    for e in catalog.extensions.values() {
        push(PG_EXTENSION, e.oid, 0, PG_NAMESPACE, e.schema, 0, 'n');
        // Its members are not dumped by themselves.
        let own = |oid: u32| extension::of(oid).is_some_and(|known| known.name == e.name);
        for t in catalog.types.values().filter(|t| t.extension == Some(e.oid)) {
            push(PG_TYPE, t.oid, 0, PG_EXTENSION, e.oid, 0, 'e');
        }
        for f in registry().extension_functions().iter().filter(|f| own(f.oid)) {
            push(PG_PROC, Oid(f.oid), 0, PG_EXTENSION, e.oid, 0, 'e');
        }
        let mut casts: Vec<u32> = registry().casts().map(|c| c.oid).filter(|oid| own(*oid)).collect();
        casts.sort_unstable();
        casts.into_iter().for_each(|oid| push(PG_CAST, Oid(oid), 0, PG_EXTENSION, e.oid, 0, 'e'));
    }
    for t in catalog.types.values() {
        push(PG_TYPE, t.oid, 0, PG_NAMESPACE, t.schema, 0, 'n');
        if let Some(array) = TypeOid(t.oid.0).user_array() {
            push(PG_TYPE, Oid(array.0), 0, PG_TYPE, t.oid, 0, 'i');
        }
        // The relation of a composite type goes with the type, not the other way about.
        if let Some(attributes) = t.attributes() {
            let relation = TypeOid(t.oid.0).user_number();
            push(PG_CLASS, relation, 0, PG_TYPE, t.oid, 0, 'i');
            for (attnum, attribute) in (1i16..).zip(attributes) {
                let ty = attribute.declared();
                if ty.user_kind().is_some() {
                    push(PG_CLASS, relation, attnum, PG_TYPE, Oid(ty.0), 0, 'n');
                }
            }
        }
        if let Some(base) = t.domain().map(|domain| domain.over.unwrap_or(Oid(domain.base.oid.0)))
            && TypeOid(base.0).user_kind().is_some()
        {
            push(PG_TYPE, t.oid, 0, PG_TYPE, base, 0, 'n');
        }
        if let Some(range) = TypeOid(t.oid.0).user_range() {
            push(PG_TYPE, t.oid, 0, PG_TYPE, Oid(range.0), 0, 'i');
        }
        // What is built in is pinned.
        if let Some(range) = t.range()
            && let subtype = range.domain.map_or(range.subtype, |domain| TypeOid(domain.0))
            && subtype.user_kind().is_some()
        {
            push(PG_TYPE, t.oid, 0, PG_TYPE, Oid(subtype.0), 0, 'n');
        }
    }
    for r in catalog.routines.values() {
        push(PG_PROC, r.oid, 0, PG_NAMESPACE, r.schema, 0, 'n');
        let rows = r.ret_relation.and_then(|oid| catalog.relation(oid)?.row_type());
        let mut types: Vec<Oid> = r.args.iter().map(|a| Oid(a.ty.oid.0)).collect();
        types.push(rows.unwrap_or(Oid(r.ret.oid.0)));
        types.sort_unstable();
        types.dedup();
        for ty in types.into_iter().filter(|ty| TypeOid(ty.0).user_kind().is_some()) {
            push(PG_PROC, r.oid, 0, PG_TYPE, ty, 0, 'n');
        }
        let class = if r.aggregate.is_some() { PG_PROC } else { PG_CLASS };
        for on in r.depends_on.iter().filter(|_| r.aggregate.is_some() || r.standard_body) {
            push(PG_PROC, r.oid, 0, class, *on, 0, 'n');
        }
    }
    for policy in catalog.policies.values() {
        push(PG_POLICY, policy.oid, 0, PG_CLASS, policy.table, 0, 'a');
        let mut read: Vec<(Oid, i16)> = policy.expressions().flat_map(|e| e.columns_read.iter().copied()).collect();
        read.sort_unstable();
        read.dedup();
        read.iter().for_each(|(on, column)| push(PG_POLICY, policy.oid, 0, PG_CLASS, *on, *column, 'n'));
    }
    for s in catalog.statistics.values() {
        push(PG_STATISTIC_EXT, s.oid, 0, PG_NAMESPACE, s.schema, 0, 'n');
        let mut read: Vec<i16> = s.expressions.iter().flat_map(|e| e.reads.iter().copied()).collect();
        read.extend(&s.columns);
        read.sort_unstable();
        read.dedup();
        if read.is_empty() {
            push(PG_STATISTIC_EXT, s.oid, 0, PG_CLASS, s.table, 0, 'a');
        }
        read.iter().for_each(|column| push(PG_STATISTIC_EXT, s.oid, 0, PG_CLASS, s.table, *column, 'a'));
    }
    for s in catalog.sequences.values() {
        push(PG_CLASS, s.oid, 0, PG_NAMESPACE, s.schema, 0, 'n');
        if let Some((table, attnum)) = s.owned_by {
            let column = catalog.tables.get(&table).and_then(|t| t.attribute(attnum));
            let kind = if column.is_some_and(|c| c.identity.is_some()) { 'i' } else { 'a' };
            push(PG_CLASS, s.oid, 0, PG_CLASS, table, attnum, kind);
        }
        for (table, attnum) in catalog.defaults_on(s.oid) {
            push(PG_ATTRDEF, default_oid(table.oid, attnum), 0, PG_CLASS, s.oid, 0, 'n');
        }
    }
    for v in catalog.all_views() {
        push(PG_CLASS, v.oid, 0, PG_NAMESPACE, v.schema, 0, 'n');
        push(PG_REWRITE, rule_oid(v), 0, PG_CLASS, v.oid, 0, 'i');
        push(PG_REWRITE, rule_oid(v), 0, PG_CLASS, v.oid, 0, 'n');
        for on in &v.depends_on {
            if catalog.relation(*on).is_none() && crate::system::by_oid(*on).is_none() {
                push(PG_REWRITE, rule_oid(v), 0, PG_CONSTRAINT, *on, 0, 'n');
                continue;
            }
            let columns: Vec<i16> = v.columns_read.iter().filter(|c| c.0 == *on).map(|c| c.1).collect();
            if columns.is_empty() {
                push(PG_REWRITE, rule_oid(v), 0, PG_CLASS, *on, 0, 'n');
            }
            columns.iter().for_each(|a| push(PG_REWRITE, rule_oid(v), 0, PG_CLASS, *on, *a, 'n'));
        }
    }
    Ok(())
}
