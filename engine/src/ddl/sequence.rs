//! CREATE and ALTER SEQUENCE, and the sequences behind SERIAL and IDENTITY.
//!
//! Limits and defaults as in PostgreSQL's `init_params` (manual, CREATE SEQUENCE).

use std::sync::Arc;

use sqlparser::ast::{self, Expr, ObjectName};

use super::names::{self, Name};
use super::syntax::SequenceOptions;
use super::temporary::creation_schema;
use super::{DdlContext, allocate, lock, name_is_free, privilege, put};
use crate::catalog::{Catalog, Object, Oid, Relation, SequenceDef, TableDef};
use crate::error::{Error, Result, SqlState};
use crate::system::deparse::type_name;
use crate::txn::{TableLock, Transaction};
use crate::types::{PgType, TypeOid};

impl SequenceOptions {
    /// Options of `GENERATED … AS IDENTITY (…)`.
    pub fn from_ast(options: &[ast::SequenceOptions]) -> Result<SequenceOptions> {
        use ast::SequenceOptions as S;
        let mut o = SequenceOptions::default();
        for option in options {
            match option {
                S::IncrementBy(value, _) => o.increment = Some(integer(value)?),
                S::MinValue(value) => o.min = Some(value.as_ref().map(integer).transpose()?),
                S::MaxValue(value) => o.max = Some(value.as_ref().map(integer).transpose()?),
                S::StartWith(value, _) => o.start = Some(integer(value)?),
                S::Cache(value) => o.cache = Some(integer(value)?),
                S::Cycle(no) => o.cycle = Some(!no),
            }
        }
        Ok(o)
    }
}

fn integer(value: &Expr) -> Result<i64> {
    let text = value.to_string().replace(' ', "");
    text.parse().map_err(|_| {
        Error::new(SqlState::NumericValueOutOfRange, format!("value \"{text}\" is out of range for type bigint"))
    })
}

pub fn create(
    name: &ObjectName,
    temporary: bool,
    if_not_exists: bool,
    options: &SequenceOptions,
    tx: &mut Transaction,
    context: &mut DdlContext<'_>,
) -> Result<String> {
    let tag = "CREATE SEQUENCE".to_owned();
    let catalog = tx.catalog();
    let mut name = Name::new(name, &catalog)?;
    let schema = creation_schema(&mut name, temporary, tx, context)?;
    let catalog = tx.catalog();
    privilege::check_create(&catalog, context.user, schema)?;
    if !name_is_free(tx, schema, &name.name, if_not_exists, context)? {
        return Ok(tag);
    }
    let ty = options.ty.as_deref().map(sequence_type).transpose()?;
    let oid = allocate(tx)?;
    let mut sequence = new(oid, schema, &name.name, context.user, ty.unwrap_or(TypeOid::INT8.into()), options)?;
    if let Some(owner) = &options.owned_by {
        sequence.owned_by = owning_column(owner.as_ref(), schema, context.user, &catalog, context)?;
    }
    put(tx, Object::Sequence(Arc::new(sequence)))?;
    Ok(tag)
}

/// The sequence behind a SERIAL or IDENTITY column; named `table_column_seq`. The table follows.
pub fn create_owned(
    table: &TableDef,
    column: (i16, &str),
    ty: PgType,
    options: &SequenceOptions,
    tx: &mut Transaction,
) -> Result<Arc<SequenceDef>> {
    let catalog = tx.catalog();
    let (schema, name) = match &options.name {
        None => {
            let taken = |name: &str| names::is_taken(&catalog, table.schema, name);
            (table.schema, names::choose(&table.name, Some(column.1), "seq", taken))
        }
        Some(given) => {
            let given = Name::new(given, &catalog)?;
            let schema = match &given.schema {
                Some(schema) => catalog.resolve_schema(schema)?.oid,
                None => table.schema,
            };
            if names::is_taken(&catalog, schema, &given.name) {
                let message = format!("relation \"{}\" already exists", given.name);
                return Err(Error::new(SqlState::DuplicateTable, message));
            }
            (schema, given.name)
        }
    };
    let oid = allocate(tx)?;
    let mut sequence = new(oid, schema, &name, table.owner, ty, options)?;
    sequence.owned_by = Some((table.oid, column.0));
    let sequence = Arc::new(sequence);
    put(tx, Object::Sequence(sequence.clone()))?;
    Ok(sequence)
}

pub async fn alter(
    name: &ObjectName,
    if_exists: bool,
    options: &SequenceOptions,
    tx: &mut Transaction,
    context: &mut DdlContext<'_>,
) -> Result<String> {
    let tag = "ALTER SEQUENCE".to_owned();
    let catalog = tx.catalog();
    let name = Name::new(name, &catalog)?;
    let Some(relation) = super::resolve_if(&name, if_exists, &catalog, context)? else { return Ok(tag) };
    let Relation::Sequence(old) = relation else {
        return Err(Error::new(SqlState::WrongObjectType, format!("\"{}\" is not a sequence", relation.name())));
    };
    privilege::check_owner(&catalog, context.user, old.owner, "sequence", &old.name)?;
    lock(tx, old.oid, TableLock::ShareRowExclusive, context).await?;
    let ty = options.ty.as_deref().map(sequence_type).transpose()?;
    let mut sequence = changed(&old, ty, options)?;
    check_start(&sequence)?;
    if let Some(owner) = &options.owned_by {
        if is_identity(&catalog, &old) {
            return Err(Error::new(SqlState::FeatureNotSupported, "cannot change ownership of identity sequence")
                .detail(format!("Sequence \"{}\" is linked to table \"{}\".", old.name, owner_name(&catalog, &old))));
        }
        sequence.owned_by = owning_column(owner.as_ref(), old.schema, old.owner, &catalog, context)?;
    }
    store(&old, sequence, options, tx).await?;
    Ok(tag)
}

/// Options of the sequence behind an IDENTITY column.
pub async fn change(old: &SequenceDef, options: &SequenceOptions, tx: &mut Transaction) -> Result<()> {
    let sequence = changed(old, None, options)?;
    check_start(&sequence)?;
    store(old, sequence, options, tx).await
}

/// The sequence of an identity column whose type changed.
pub async fn set_type(old: &SequenceDef, ty: &str, tx: &mut Transaction) -> Result<()> {
    let options = SequenceOptions::default();
    let sequence = changed(old, Some(sequence_type(ty)?), &options)?;
    store(old, sequence, &options, tx).await
}

async fn store(
    old: &SequenceDef,
    sequence: SequenceDef,
    options: &SequenceOptions,
    tx: &mut Transaction,
) -> Result<()> {
    let (last, called) = tx.sequence_state(old);
    put(tx, Object::Sequence(Arc::new(sequence.clone())))?;
    let restart = match options.restart {
        Some(value) => Some(value.unwrap_or(sequence.start)),
        None => None,
    };
    let last = restart.unwrap_or(last);
    check_last(last, &sequence)?;
    // A sequence that gave nothing yet begins at a new START.
    let untouched = sequence.start != old.start && !called && last == old.start;
    if restart.is_some() || untouched {
        let value = if restart.is_some() { last } else { sequence.start };
        tx.restart_sequence(&sequence, value)?;
    }
    Ok(())
}

/// Whether the sequence belongs to an IDENTITY column.
pub fn is_identity(catalog: &Catalog, sequence: &SequenceDef) -> bool {
    sequence.owned_by.is_some_and(|(table, attnum)| {
        let column = catalog.tables.get(&table).and_then(|t| t.attribute(attnum));
        column.is_some_and(|c| c.identity.is_some())
    })
}

fn owner_name(catalog: &Catalog, sequence: &SequenceDef) -> String {
    let table = sequence.owned_by.and_then(|(table, _)| catalog.tables.get(&table));
    table.map_or_else(String::new, |t| t.name.clone())
}

fn sequence_type(name: &str) -> Result<PgType> {
    match name {
        "smallint" | "int2" => Ok(TypeOid::INT2.into()),
        "integer" | "int" | "int4" => Ok(TypeOid::INT4.into()),
        "bigint" | "int8" => Ok(TypeOid::INT8.into()),
        _ => Err(Error::new(SqlState::InvalidParameterValue, "sequence type must be smallint, integer, or bigint")),
    }
}

fn type_range(ty: PgType) -> (i64, i64) {
    match ty.oid {
        TypeOid::INT2 => (i16::MIN.into(), i16::MAX.into()),
        TypeOid::INT4 => (i32::MIN.into(), i32::MAX.into()),
        _ => (i64::MIN, i64::MAX),
    }
}

fn new(oid: Oid, schema: Oid, name: &str, owner: Oid, ty: PgType, options: &SequenceOptions) -> Result<SequenceDef> {
    let blank = SequenceDef {
        oid,
        schema,
        name: name.into(),
        owner,
        ty,
        start: 0,
        increment: 1,
        min: 0,
        max: 0,
        cache: 1,
        cycle: false,
        owned_by: None,
        comment: None,
    };
    let with_limits =
        SequenceOptions { min: options.min.or(Some(None)), max: options.max.or(Some(None)), ..options.clone() };
    let mut sequence = changed(&blank, None, &with_limits)?;
    if options.start.is_none() {
        sequence.start = if sequence.increment > 0 { sequence.min } else { sequence.max };
    }
    check_start(&sequence)?;
    Ok(sequence)
}

/// `old` with what the options say, checked.
fn changed(old: &SequenceDef, ty: Option<PgType>, o: &SequenceOptions) -> Result<SequenceDef> {
    let mut s = old.clone();
    let invalid = |message: String| Err(Error::new(SqlState::InvalidParameterValue, message));
    if let Some(ty) = ty {
        // A limit that was the old type's moves with the type.
        let (old_min, old_max) = type_range(old.ty);
        let (new_min, new_max) = type_range(ty);
        s.min = if s.min == old_min { new_min } else { s.min };
        s.max = if s.max == old_max { new_max } else { s.max };
        s.ty = ty;
    }
    let (lowest, highest) = type_range(s.ty);
    if let Some(increment) = o.increment {
        if increment == 0 {
            return invalid("INCREMENT must not be zero".into());
        }
        s.increment = increment;
    }
    s.cycle = o.cycle.unwrap_or(s.cycle);
    if let Some(max) = o.max {
        s.max = max.unwrap_or(if s.increment > 0 { highest } else { -1 });
    }
    if let Some(min) = o.min {
        s.min = min.unwrap_or(if s.increment > 0 { 1 } else { lowest });
    }
    let name = type_name(s.ty);
    if s.max < lowest || s.max > highest {
        return invalid(format!("MAXVALUE ({}) is out of range for sequence data type {name}", s.max));
    }
    if s.min < lowest || s.min > highest {
        return invalid(format!("MINVALUE ({}) is out of range for sequence data type {name}", s.min));
    }
    if s.min >= s.max {
        return invalid(format!("MINVALUE ({}) must be less than MAXVALUE ({})", s.min, s.max));
    }
    if let Some(cache) = o.cache {
        if cache <= 0 {
            return invalid(format!("CACHE ({cache}) must be greater than zero"));
        }
        s.cache = cache;
    }
    if let Some(start) = o.start {
        s.start = start;
        check_start(&s)?;
    }
    Ok(s)
}

fn check_start(s: &SequenceDef) -> Result<()> {
    let invalid = |message| Err(Error::new(SqlState::InvalidParameterValue, message));
    if s.start < s.min {
        return invalid(format!("START value ({}) cannot be less than MINVALUE ({})", s.start, s.min));
    }
    if s.start > s.max {
        return invalid(format!("START value ({}) cannot be greater than MAXVALUE ({})", s.start, s.max));
    }
    Ok(())
}

fn check_last(last: i64, s: &SequenceDef) -> Result<()> {
    let invalid = |message| Err(Error::new(SqlState::InvalidParameterValue, message));
    if last < s.min {
        return invalid(format!("RESTART value ({last}) cannot be less than MINVALUE ({})", s.min));
    }
    if last > s.max {
        return invalid(format!("RESTART value ({last}) cannot be greater than MAXVALUE ({})", s.max));
    }
    Ok(())
}

/// The column of OWNED BY, checked; `None`: OWNED BY NONE.
fn owning_column(
    owner: Option<&ObjectName>,
    schema: Oid,
    user: Oid,
    catalog: &Catalog,
    context: &DdlContext<'_>,
) -> Result<Option<(Oid, i16)>> {
    let Some(owner) = owner else {
        return Ok(None);
    };
    let mut table = owner.clone();
    let column = table.0.pop();
    let column = match column.as_ref().and_then(|c| c.as_ident()) {
        Some(column) if !table.0.is_empty() => names::ident(column),
        _ => {
            return Err(Error::new(SqlState::SyntaxError, "invalid OWNED BY option")
                .hint("Specify OWNED BY table.column or OWNED BY NONE."));
        }
    };
    let name = Name::new(&table, catalog)?;
    let relation = name.resolve(catalog, &context.path(catalog))?;
    let Relation::Table(table) = relation else {
        return Err(Error::new(
            SqlState::WrongObjectType,
            format!("sequence cannot be owned by relation \"{}\"", relation.name()),
        ));
    };
    let prerequisite = |message: &str| Err(Error::new(SqlState::ObjectNotInPrerequisiteState, message));
    if table.owner != user {
        return prerequisite("sequence must have same owner as table it is linked to");
    }
    if table.schema != schema {
        return prerequisite("sequence must be in same schema as table it is linked to");
    }
    let column = table.resolve_column(&column)?;
    Ok(Some((table.oid, column.attnum)))
}
