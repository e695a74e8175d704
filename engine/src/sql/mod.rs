//! From text to bound statements: [`parse`] turns text into syntax trees once, [`bind`] resolves names and types as
//! PostgreSQL does and yields a relational tree ([`rel`]) of scalar expressions. What runs it is `query` (the general
//! path) or the point path; neither sees a SQL name.

pub mod bind;
mod chain;
pub mod current_of;
pub(crate) mod dialect;
pub mod exclusion;
pub mod key_details;
pub mod lift;
mod operators;
pub mod parse;
mod precedence;
mod query_tail;
mod quoted;
pub mod rel;
pub(crate) mod rewrite;
pub mod scope;
mod several;
pub mod spellings;
mod stars;
mod subscripted;
pub mod traversal;
pub mod utility;
mod visit;

pub use bind::access::{live_columns, permission_denied};
pub use bind::parts::RowQuery;
pub use bind::{Binder, BoundQuery, Environment, LockRequest, LockStrength, SimpleSelect, Target};
pub use parse::{Parsed, Source, Statement, parse};
pub use rel::{QueryExpr, Rel};
pub use scope::{Scope, ScopeColumn};
pub use utility::Utility;
