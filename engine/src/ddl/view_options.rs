//! Options of a view: `WITH (…)`, WITH CHECK OPTION, and ALTER VIEW SET and RESET.

use std::sync::Arc;

use sqlparser::ast::{CreateTableOptions, ObjectName, SqlOption};

use super::names::{self, Name};
use super::view::CHECK_MARK;
use super::{DdlContext, privilege, put};
use crate::catalog::{CheckOption, Object, Relation, ViewDef};
use crate::error::{Error, Result, SqlState};
use crate::sql::parse::parse_query;
use crate::txn::Transaction;

type Options = Vec<(String, String)>;

/// The options of CREATE VIEW; WITH CHECK OPTION is one of them, as the parser marks it.
pub fn written(options: &CreateTableOptions) -> Result<Options> {
    let options = match options {
        CreateTableOptions::None => return Ok(Vec::new()),
        CreateTableOptions::With(options) | CreateTableOptions::Options(options) => options,
        _ => return Err(Error::unsupported("CREATE VIEW with these options")),
    };
    let mut found = Options::new();
    for option in options {
        let SqlOption::KeyValue { key, value } = option else {
            return Err(Error::unsupported(format!("the view option {option}")));
        };
        let mut name = names::ident(key);
        if name == CHECK_MARK {
            name = "check_option".to_owned();
        }
        if found.iter().any(|(known, _)| *known == name) {
            let message = format!("parameter \"{name}\" specified more than once");
            return Err(Error::new(SqlState::InvalidParameterValue, message));
        }
        found.push((name, value.to_string().trim_matches('\'').to_lowercase()));
    }
    Ok(found)
}

fn boolean(name: &str, value: &str) -> Result<bool> {
    match value {
        "true" | "on" | "yes" | "1" => Ok(true),
        "false" | "off" | "no" | "0" => Ok(false),
        _ => Err(Error::new(
            SqlState::InvalidParameterValue,
            format!("invalid value for boolean option \"{name}\": {value}"),
        )),
    }
}

/// The view with these options and no others.
pub fn apply(view: &ViewDef, options: Options) -> Result<ViewDef> {
    let (mut invoker, mut check) = (false, None);
    for (name, value) in &options {
        match name.as_str() {
            "check_option" => {
                check = Some(match value.as_str() {
                    "local" => CheckOption::Local,
                    "cascaded" => CheckOption::Cascaded,
                    _ => {
                        let message = format!("invalid value for enum option \"check_option\": {value}");
                        return Err(Error::new(SqlState::InvalidParameterValue, message)
                            .detail("Valid values are \"local\" and \"cascaded\"."));
                    }
                });
            }
            "security_invoker" => invoker = boolean(name, value)?,
            "security_barrier" => {
                boolean(name, value)?;
            }
            _ => {
                return Err(Error::new(SqlState::InvalidParameterValue, format!("unrecognized parameter \"{name}\"")));
            }
        }
    }
    if check.is_some() {
        // What cannot be changed has nothing to check.
        let (query, _) = parse_query(&view.query)?;
        if let Err(detail) = crate::sql::bind::view_target::changeable(&query) {
            return Err(Error::new(
                SqlState::FeatureNotSupported,
                "WITH CHECK OPTION is supported only on automatically updatable views",
            )
            .hint(detail));
        }
    }
    Ok(ViewDef { options, invoker, check_option: check, ..view.clone() })
}

/// ALTER VIEW SET (…) and RESET (…).
pub fn alter(
    name: &ObjectName,
    if_exists: bool,
    set: &[(String, String)],
    reset: &[String],
    tx: &mut Transaction,
    context: &mut DdlContext<'_>,
) -> Result<String> {
    let tag = "ALTER VIEW".to_owned();
    let catalog = tx.catalog();
    let name = Name::new(name, &catalog)?;
    let Some(relation) = super::resolve_if(&name, if_exists, &catalog, context)? else { return Ok(tag) };
    let Relation::View(view) = relation else {
        return Err(Error::new(SqlState::WrongObjectType, format!("\"{}\" is not a view", relation.name())));
    };
    privilege::check_owner(&catalog, context.user, view.owner, "view", &view.name)?;
    let mut options = view.options.clone();
    options.retain(|(name, _)| !reset.contains(name) && !set.iter().any(|(given, _)| given == name));
    options.extend_from_slice(set);
    put(tx, Object::View(Arc::new(apply(&view, options)?)))?;
    Ok(tag)
}
