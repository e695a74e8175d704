//! Functions, operators, casts and aggregates.

use crate::types::TypeOid;

/// One row of pg_proc (operators' functions included).
#[derive(Debug)]
pub struct Function {
    pub oid: u32,
    pub name: &'static str,
    pub args: Vec<TypeOid>,
    pub strict: bool,
}

/// What a function may depend on besides its arguments.
#[derive(Debug, Clone, Default)]
pub struct EvalContext {
    pub format: crate::types::text::FormatSettings,
}
