//! `LIKE other INCLUDING …` in CREATE TABLE: columns of another relation, and what else was asked for of it.

use std::sync::Arc;

use super::column::{self, NewColumn};
use super::constraint::Wanted;
use super::inherit::Merging;
use super::names::{Name, joined};
use super::syntax::SequenceOptions;
use super::{DdlContext, allocate, index, table, view};
use crate::catalog::{ConstraintDef, ConstraintKind, IndexDef, Relation, TableDef};
use crate::error::{Error, Result, SqlState};
use crate::txn::Transaction;

/// What is copied besides names, types and NOT NULL.
#[derive(Debug, Clone, Copy, Default)]
pub struct Including {
    comments: bool,
    compression: bool,
    constraints: bool,
    defaults: bool,
    generated: bool,
    identity: bool,
    indexes: bool,
    statistics: bool,
}

impl Including {
    /// From `INCLUDING A EXCLUDING B …`, in order.
    pub fn parse(words: &str) -> Result<Including> {
        let mut out = Including::default();
        let mut words = words.split_whitespace();
        while let (Some(verb), Some(what)) = (words.next(), words.next()) {
            let on = verb.eq_ignore_ascii_case("including");
            let Including { comments, compression, constraints, defaults, generated, identity, indexes, statistics } =
                &mut out;
            match what.to_lowercase().as_str() {
                "comments" => *comments = on,
                "constraints" => *constraints = on,
                "defaults" => *defaults = on,
                "generated" => *generated = on,
                "identity" => *identity = on,
                "indexes" => *indexes = on,
                "statistics" => *statistics = on,
                "compression" => *compression = on,
                // Columns have that of their types.
                "storage" => {}
                "all" => {
                    let all = [comments, compression, constraints, defaults, generated, identity, indexes, statistics];
                    all.into_iter().for_each(|flag| *flag = on);
                }
                other => {
                    return Err(Error::new(SqlState::SyntaxError, format!("syntax error at or near \"{other}\"")));
                }
            }
        }
        Ok(out)
    }
}

/// What is copied when the table has all its columns.
pub struct Later {
    source: Arc<TableDef>,
    including: Including,
}

/// Adds the columns of `name` to `target`.
#[allow(clippy::too_many_arguments)]
pub fn copy_columns(
    target: &mut TableDef,
    merging: &mut Merging,
    name: &Name,
    including: Including,
    constraints: &mut Vec<Wanted>,
    sequences: &mut Vec<(i16, SequenceOptions)>,
    tx: &Transaction,
    context: &mut DdlContext<'_>,
) -> Result<Option<Later>> {
    let catalog = tx.catalog();
    let blank = |name: &str, ty, not_null| {
        let column = crate::catalog::ColumnDef { not_null, ..column::blank(0, name.to_owned(), ty) };
        NewColumn { column, constraints: Vec::new(), sequence: None, generation: None }
    };
    let mut later = None;
    let columns: Vec<NewColumn> = match name.resolve(&catalog, &context.path(&catalog))? {
        Relation::Table(source) => {
            let columns = source.live_columns().map(|c| {
                let mut new = blank(&c.name, c.ty, c.not_null);
                new.column.collation = c.collation;
                new.column.domain = c.domain;
                new.column.compression = c.compression.filter(|_| including.compression);
                if including.comments {
                    new.column.comment = c.comment.clone();
                }
                if (c.generated && including.generated) || (!c.generated && including.defaults) {
                    new.column.default = c.default.clone();
                    new.column.generated = c.generated;
                }
                if including.identity
                    && let Some(identity) = c.identity
                {
                    new.column.identity = Some(identity);
                    let options = catalog.owned_sequences(source.oid, Some(c.attnum)).next();
                    let options = options.map(|s| SequenceOptions {
                        increment: Some(s.increment),
                        min: Some(Some(s.min)),
                        max: Some(Some(s.max)),
                        start: Some(s.start),
                        cache: Some(s.cache),
                        cycle: Some(s.cycle),
                        ..SequenceOptions::default()
                    });
                    new.sequence = Some((options.unwrap_or_default(), true));
                }
                new
            });
            let columns = columns.collect();
            later = Some(Later { source, including });
            columns
        }
        Relation::View(v) => {
            let mut columns: Vec<NewColumn> = v.columns.iter().map(|(name, ty)| blank(name, *ty, false)).collect();
            for (attnum, collation) in &v.collations {
                if let Some(new) = columns.get_mut(*attnum as usize - 1) {
                    new.column.collation = Some(*collation);
                }
            }
            for (i, domain) in view::domains(&v, tx, context)? {
                if let Some(new) = columns.get_mut(i) {
                    new.column.domain = Some(domain);
                }
            }
            columns
        }
        Relation::System(s) => s.columns.iter().map(|c| blank(c.name, c.ty, c.not_null)).collect(),
        other => {
            return Err(Error::new(
                SqlState::WrongObjectType,
                format!("relation \"{}\" is invalid in LIKE clause", other.name()),
            ));
        }
    };
    for mut new in columns {
        new.column.attnum = table::next_attnum(target)?;
        merging.add(target, &mut new, &catalog, context)?;
        table::take_rest(new, constraints, sequences, &mut Vec::new());
    }
    Ok(later)
}

impl Later {
    /// CHECK constraints, indexes and statistics, under the names that PostgreSQL would choose.
    pub fn finish(&self, target: &mut TableDef, tx: &mut Transaction) -> Result<()> {
        if self.including.constraints {
            for constraint in &self.source.constraints {
                let ConstraintKind::Check { expression, columns } = &constraint.kind else { continue };
                let columns = self.mapped(columns, target)?;
                if target.constraint(&constraint.name).is_some() {
                    return Err(Error::new(
                        SqlState::DuplicateObject,
                        format!("check constraint \"{}\" already exists", constraint.name),
                    ));
                }
                let oid = allocate(tx)?;
                if self.source.keeps_constraint(constraint.oid) {
                    target.inheritance.kept.push(oid);
                }
                target.constraints.push(Arc::new(ConstraintDef {
                    oid,
                    kind: ConstraintKind::Check { expression: expression.clone(), columns },
                    comment: constraint.comment.clone().filter(|_| self.including.comments),
                    ..(**constraint).clone()
                }));
            }
        }
        if self.including.indexes {
            for index in &self.source.indexes {
                self.copy_index(index, target, tx)?;
            }
        }
        if self.including.statistics {
            let mapped = |columns: &[i16]| self.mapped(columns, target);
            super::statistics::copy(&self.source, target, mapped, self.including.comments, tx)?;
        }
        Ok(())
    }

    fn copy_index(&self, source: &IndexDef, target: &mut TableDef, tx: &mut Transaction) -> Result<()> {
        let constraint = self.source.index_constraint(source.oid);
        let mut new = source.clone();
        new.oid = allocate(tx)?;
        new.table = target.oid;
        new.include = self.mapped(&source.include, target)?;
        if let Some((_, reads)) = &mut new.predicate {
            *reads = self.mapped(reads, target)?;
        }
        for column in &mut new.columns {
            match &mut column.expression {
                Some(expression) => expression.reads = self.mapped(&expression.reads, target)?,
                None => column.attnum = self.mapped(&[column.attnum], target)?.first().copied().unwrap_or_default(),
            }
        }
        let names = index::column_names(&new.columns, &new.include, target);
        let parts = joined(names.iter().take(new.columns.len()).map(String::as_str));
        new.name = match constraint {
            Some(_) if new.primary => index::choose_name(target, None, "pkey", tx),
            Some(_) => index::choose_name(target, Some(&parts), "key", tx),
            None => index::choose_name(target, Some(&joined(names.iter().map(String::as_str))), "idx", tx),
        };
        if !self.including.comments {
            new.comment = None;
        }
        if new.primary {
            let key: Vec<i16> = new.attnums().collect();
            for column in target.columns.iter_mut().filter(|c| key.contains(&c.attnum)) {
                column.not_null = true;
            }
        }
        if let Some(constraint) = constraint {
            let index = new.oid;
            let kind =
                if new.primary { ConstraintKind::PrimaryKey { index } } else { ConstraintKind::Unique { index } };
            target.constraints.push(Arc::new(ConstraintDef {
                oid: allocate(tx)?,
                name: new.name.clone(),
                kind,
                ..(**constraint).clone()
            }));
        }
        target.indexes.push(Arc::new(new));
        Ok(())
    }

    /// Columns of the source as columns of the target: they have the same names.
    fn mapped(&self, columns: &[i16], target: &TableDef) -> Result<Vec<i16>> {
        let one = |attnum: &i16| {
            let name = self.source.attribute(*attnum).map(|c| &c.name);
            name.and_then(|name| target.column(name)).map(|c| c.attnum)
        };
        let found: Option<Vec<i16>> = columns.iter().map(one).collect();
        found.ok_or_else(|| Error::internal("LIKE lost a column"))
    }
}
