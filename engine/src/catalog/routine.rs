//! Functions and procedures in SQL that users made.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Catalog, Oid, SearchPath};
use crate::functions::Volatility;
use crate::functions::resolve::{ANYCOMPATIBLE, ANYCOMPATIBLEARRAY, is_polymorphic};
use crate::types::names::element_of;
use crate::types::{PgType, TypeOid};

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RoutineDef {
    pub oid: Oid,
    pub schema: Oid,
    pub name: String,
    pub owner: Oid,
    pub procedure: bool,
    pub args: Vec<RoutineArg>,
    /// `void` of a procedure; `record` of a function whose columns are its OUT and TABLE arguments.
    pub ret: PgType,
    /// The relation whose rows it returns.
    pub ret_relation: Option<Oid>,
    pub returns_set: bool,
    pub strict: bool,
    /// As pg_proc.provolatile: `i`, `s` or `v`.
    pub volatility: char,
    pub security_definer: bool,
    pub leakproof: bool,
    /// As pg_proc.proparallel.
    pub parallel: char,
    pub cost: f32,
    pub rows: f32,
    /// Text between the quotes, or of RETURN and BEGIN ATOMIC.
    pub body: String,
    /// `RETURN …` or `BEGIN ATOMIC … END` instead of a string.
    pub standard_body: bool,
    /// Its statements are run one after the other when it is called; else its query becomes part of the caller's.
    pub runs: bool,
    /// Columns of its rows, as its query has them.
    pub columns: Vec<(String, PgType)>,
    pub depends_on: Vec<Oid>,
    pub comment: Option<String>,
    pub aggregate: Option<AggregateDef>,
}

/// What makes an aggregate of a routine.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AggregateDef {
    /// Functions, built in or users'.
    pub transition: Oid,
    pub finish: Option<Oid>,
    pub combine: Option<Oid>,
    /// The final function takes the arguments too, all of them NULL.
    pub finish_extra: bool,
    /// As pg_aggregate.aggfinalmodify.
    pub finish_modify: char,
    pub state: PgType,
    /// PostgreSQL's estimate of the state's size.
    pub state_space: i32,
    pub initial: Option<String>,
    /// OID of an operator.
    pub sort_operator: u32,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RoutineArg {
    pub name: Option<String>,
    pub ty: PgType,
    pub mode: ArgMode,
    /// Text of the DEFAULT, as it was written.
    pub default: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ArgMode {
    In,
    Out,
    InOut,
    Table,
    /// An array of all arguments from its place on.
    Variadic,
}

impl ArgMode {
    /// Whether calls give it.
    pub fn is_input(self) -> bool {
        matches!(self, ArgMode::In | ArgMode::InOut | ArgMode::Variadic)
    }

    /// Whether it is a column of the result.
    pub fn is_output(self) -> bool {
        matches!(self, ArgMode::Out | ArgMode::InOut | ArgMode::Table)
    }
}

impl RoutineDef {
    /// Arguments that a call gives.
    pub fn inputs(&self) -> impl Iterator<Item = &RoutineArg> {
        self.args.iter().filter(|a| a.mode.is_input())
    }

    /// Arguments that a call lists: of a procedure the OUT ones, too.
    pub fn given(&self) -> impl Iterator<Item = &RoutineArg> {
        self.args.iter().filter(|a| a.mode.is_input() || self.procedure && a.mode != ArgMode::Table)
    }

    /// The type of the rows that calls in expressions have; `None`: it returns no rows.
    pub fn row_type(&self, catalog: &Catalog) -> Option<TypeOid> {
        if self.outputs().count() > 1 {
            return Some(TypeOid::RECORD);
        }
        if let Some(relation) = self.ret_relation {
            return Some(TypeOid(catalog.relation(relation)?.row_type()?.0));
        }
        let ret = catalog.base_type(self.ret).oid;
        (self.outputs().count() == 0 && ret.is_row()).then_some(ret)
    }

    pub fn input_types(&self) -> Vec<TypeOid> {
        self.inputs().map(|a| a.ty.oid).collect()
    }

    /// Columns of OUT, INOUT and TABLE arguments.
    pub fn outputs(&self) -> impl Iterator<Item = &RoutineArg> {
        self.args.iter().filter(|a| a.mode.is_output())
    }

    /// Type of the single arguments that the VARIADIC one collects.
    pub fn variadic_element(&self) -> Option<TypeOid> {
        let last = self.args.iter().find(|a| a.mode == ArgMode::Variadic)?;
        match last.ty.oid {
            TypeOid::ANYARRAY => Some(TypeOid::ANYELEMENT),
            ANYCOMPATIBLEARRAY => Some(ANYCOMPATIBLE),
            array => element_of(array),
        }
    }

    /// Whether types of the declaration are settled by each call.
    pub fn is_polymorphic(&self) -> bool {
        self.args.iter().any(|a| is_polymorphic(a.ty.oid))
    }

    pub fn kind_name(&self) -> &'static str {
        match (self.procedure, &self.aggregate) {
            (true, _) => "procedure",
            (false, Some(_)) => "aggregate",
            (false, None) => "function",
        }
    }

    pub fn volatility(&self) -> Volatility {
        match self.volatility {
            'i' => Volatility::Immutable,
            's' => Volatility::Stable,
            _ => Volatility::Volatile,
        }
    }

    /// `name(type, type)`, as messages have it.
    pub fn signature(&self) -> String {
        let types: Vec<String> =
            self.inputs().map(|a| crate::system::deparse::type_name(PgType::from(a.ty.oid))).collect();
        format!("{}({})", self.name, types.join(","))
    }
}

impl Catalog {
    /// Routines of a name, those of earlier schemas of the path first.
    pub fn routines_named<'a>(
        &'a self,
        schema: Option<&str>,
        name: &'a str,
        path: &SearchPath,
    ) -> Vec<&'a Arc<RoutineDef>> {
        if self.routines.is_empty() {
            return Vec::new();
        }
        let schemas: Vec<Oid> = match schema {
            Some(schema) => self.schema(schema).map(|s| s.oid).into_iter().collect(),
            // Nobody calls a temporary function without saying so.
            None => path.schemas.iter().copied().filter(|schema| !schema.is_temporary()).collect(),
        };
        let of = |schema: Oid| self.routines.values().filter(move |r| r.schema == schema && r.name == name);
        schemas.into_iter().flat_map(of).collect()
    }

    /// Whether a relation or type is needed by a routine.
    pub fn routines_on(&self, oid: Oid) -> impl Iterator<Item = &Arc<RoutineDef>> {
        self.routines
            .values()
            .filter(move |r| r.ret_relation == Some(oid) || (r.standard_body && r.depends_on.contains(&oid)))
    }
}
