//! pg_type and pg_enum of the types that users make.

use super::deparse::Display;
use super::rows::{Null, row};
use super::{RowSink, RowSource, SystemContext};
use crate::catalog::acl::ObjectKind;
use crate::catalog::{DomainDef, Oid, TypeBody, TypeDef};
use crate::error::Result;
use crate::functions::{extension, registry};
use crate::types::{TypeOid, names, text};

pub const SOURCES: &[(&str, RowSource)] = &[
    ("pg_catalog.pg_enum", pg_enum),
    ("pg_catalog.pg_range", pg_range),
    ("pg_catalog.pg_extension", pg_extension),
    ("pg_catalog.pg_available_extensions", pg_available_extensions),
    ("pg_catalog.pg_available_extension_versions", pg_available_extension_versions),
];

/// OID of a function that pg_type names.
fn function(name: &str) -> u32 {
    registry().lookup(name).first().map_or(0, |f| f.oid)
}

pub(super) fn pg_type(context: &SystemContext, sink: &mut RowSink) {
    for def in context.catalog.types.values() {
        own_row(def, context, sink);
        array_row(def, context, sink);
    }
}

fn own_row(def: &TypeDef, context: &SystemContext, sink: &mut RowSink) {
    let ty = TypeOid(def.oid.0);
    let array = ty.user_array().map_or(0, |t| t.0);
    match &def.body {
        TypeBody::Enum(_) => row!(sink;
            def.oid, &def.name, def.schema, def.owner, 4i16, true, 'e', 'E', false, true, ',', 0u32, 0u32, 0u32, array,
            function("enum_in"), function("enum_out"), 3532u32, function("enum_send"), 0u32, 0u32, 0u32,
            'i', 'p', false, 0u32, -1i32, 0i32, 0u32, Null, Null, sink.acl(ObjectKind::Type, def.oid)),
        TypeBody::Base => base_row(def, sink),
        TypeBody::Domain(domain) => domain_row(def, domain, context, sink),
        TypeBody::Range(_) => range_row(def, 'r', [3834, 3835, 3836, 3837, 3916], context, sink),
        TypeBody::Multirange(_) => range_row(def, 'm', [4231, 4232, 4233, 4234, 4242], context, sink),
        TypeBody::Composite(_) => row!(sink;
            def.oid, &def.name, def.schema, def.owner, -1i16, false, 'c', 'C', false, true, ',', ty.user_number(), 0u32,
            0u32, array, 2290u32, 2291u32, 2402u32, 2403u32, 0u32, 0u32, 0u32, 'd', 'x', false, 0u32, -1i32, 0i32, 0u32,
            Null, Null, sink.acl(ObjectKind::Type, def.oid)),
    }
}

fn range_alignment(def: &TypeDef, context: &SystemContext) -> char {
    let range = TypeOid(def.oid.0).user_range().map_or(def.oid, |range| Oid(range.0));
    let range = context.catalog.types.get(&range).and_then(|def| def.range());
    names::range_alignment(range.map(|range| range.subtype)) as char
}

/// A range or multirange type: its functions are input, output, receive, send and analyze.
fn range_row(
    def: &TypeDef,
    kind: char,
    [input, output, receive, send, analyze]: [u32; 5],
    context: &SystemContext,
    sink: &mut RowSink,
) {
    let ty = TypeOid(def.oid.0);
    let array = ty.user_array().map_or(0, |t| t.0);
    let align = range_alignment(def, context);
    row!(sink;
        def.oid, &def.name, def.schema, def.owner, -1i16, false, kind, 'R', false, true, ',', 0u32, 0u32, 0u32, array,
        input, output, receive, send, 0u32, 0u32, analyze, align, 'x', false, 0u32, -1i32, 0i32, 0u32, Null, Null,
        sink.acl(ObjectKind::Type, def.oid));
}

/// The built-in ranges, then those that users made.
fn pg_range(context: &SystemContext, sink: &mut RowSink) -> Result<()> {
    super::fixed::fixed(context, sink)?;
    for def in context.catalog.types.values() {
        let (Some(range), Some(multirange)) = (def.range(), TypeOid(def.oid.0).user_multirange()) else { continue };
        let collation =
            range.collation.map_or_else(|| names::layout(range.subtype).map_or(0, |l| l.collation), |c| c.0);
        let class = super::relations::operator_class(range.subtype, 403, None);
        row!(sink;
            def.oid, range.domain.unwrap_or(Oid(range.subtype.0)), multirange, collation, class, 0u32, range.difference.map_or(0, |f| f.0));
    }
    Ok(())
}

/// The type of an extension.
fn base_row(def: &TypeDef, sink: &mut RowSink) {
    let ty = TypeOid(def.oid.0);
    let array = ty.user_array().map_or(0, |t| t.0);
    let category = names::category(ty) as char;
    let collation = names::layout(ty).map_or(0, |l| l.collation);
    let [input, output, receive, send] = match ty {
        TypeOid::CITEXT => ["citextin", "citextout", "citextrecv", "citextsend"],
        _ => ["hstore_in", "hstore_out", "hstore_recv", "hstore_send"],
    }
    .map(function);
    row!(sink;
        def.oid, &def.name, def.schema, def.owner, -1i16, false, 'b', category, false, true, ',', 0u32, 0u32, 0u32, array,
        input, output, receive, send, 0u32, 0u32, 0u32, 'i', 'x', false, 0u32, -1i32, 0i32, collation, Null, Null,
        sink.acl(ObjectKind::Type, def.oid));
}

fn pg_extension(context: &SystemContext, sink: &mut RowSink) -> Result<()> {
    for e in context.catalog.extensions.values() {
        row!(sink; e.oid, &e.name, e.owner, e.schema, true, &e.version, Null, Null);
    }
    Ok(())
}

fn pg_available_extensions(context: &SystemContext, sink: &mut RowSink) -> Result<()> {
    for e in &extension::EXTENSIONS {
        let installed = context.catalog.extension(e.name).map(|e| e.version.clone());
        row!(sink; e.name, e.version, installed, e.comment);
    }
    Ok(())
}

fn pg_available_extension_versions(context: &SystemContext, sink: &mut RowSink) -> Result<()> {
    for e in &extension::EXTENSIONS {
        let installed = context.catalog.extension(e.name).is_some();
        row!(sink; e.name, e.version, installed, true, true, true, Null, Null, e.comment);
    }
    Ok(())
}

/// A domain looks like its base type, but for its input.
fn domain_row(def: &TypeDef, domain: &DomainDef, context: &SystemContext, sink: &mut RowSink) {
    let array = TypeOid(def.oid.0).user_array().map_or(0, |t| t.0);
    let layout = names::layout(domain.base.oid);
    let base = names::row(domain.base.oid);
    let functions = base.map_or([0; 7], |r| r.functions);
    let [_, output, _, send, ..] = functions;
    let (len, by_value) = layout.map_or((-1, false), |l| (l.len, l.by_value));
    let (align, storage) = layout.map_or((b'i', b'x'), |l| (l.align, l.storage));
    let collation = domain.collation.map_or_else(|| layout.map_or(0, |l| l.collation), |c| c.0);
    let category = names::category(domain.base.oid) as char;
    let over = domain.over.unwrap_or(Oid(domain.base.oid.0));
    let typmod = if domain.over.is_some() { -1 } else { domain.base.typmod };
    let display = Display::plain(&context.catalog, &context.path);
    let default = domain.default.as_ref().map(|d| display.expression(d, None));
    row!(sink;
        def.oid, &def.name, def.schema, def.owner, len, by_value, 'd', category, false, true, ',', 0u32, 0u32, 0u32,
        array, function("domain_in"), output, function("domain_recv"), send, 0u32, 0u32, 0u32, align as char,
        storage as char, domain.not_null, over, typmod, 0i32, collation, default.clone(), default,
        sink.acl(ObjectKind::Type, def.oid));
}

fn array_row(def: &TypeDef, context: &SystemContext, sink: &mut RowSink) {
    let Some(array) = TypeOid(def.oid.0).user_array() else { return };
    let name = text::truncate_name(&format!("_{}", def.name)).to_owned();
    let align = match &def.body {
        TypeBody::Enum(_) | TypeBody::Base => 'i',
        TypeBody::Composite(_) => 'd',
        TypeBody::Range(_) | TypeBody::Multirange(_) => range_alignment(def, context),
        TypeBody::Domain(domain) => {
            names::layout(domain.base.oid).map_or('i', |l| if l.align == b'd' { 'd' } else { 'i' })
        }
    };
    row!(sink;
        array, name, def.schema, def.owner, -1i16, false, 'b', 'A', false, true, ',', 0u32, 6179u32, def.oid, 0u32,
        750u32, 751u32, 2400u32, 2401u32, 0u32, 0u32, 3816u32, align, 'x', false, 0u32, -1i32, 0i32, 0u32, Null, Null,
        Null);
}

fn pg_enum(context: &SystemContext, sink: &mut RowSink) -> Result<()> {
    for def in context.catalog.types.values() {
        for value in def.enum_values().unwrap_or_default() {
            row!(sink; value.oid, def.oid, value.order, &value.label);
        }
    }
    Ok(())
}
