//! Running a jsonpath over a document: `jsonb_path_query` and its kin, `@?`, `@@` (PostgreSQL's jsonpath_exec.c).
//!
//! Invariant: a failure of the path is [`Failure::Soft`], which predicates turn into unknown and `silent` into nothing;
//! what is wrong with the call itself is [`Failure::Hard`].

use std::borrow::Cow;

use super::args;
use super::json_path_time::{self, Moment};
use super::registry::Implementations;
use super::{Call, Rows};
use crate::error::{Error, Result, SqlState};
use crate::types::Datum;
use crate::types::calendar::Zone;
use crate::types::json::{self, Json};
use crate::types::jsonpath::{Accessor, Arithmetic, Comparison, Head, Item, Level, Method, Path, parsed};
use crate::types::numeric::Numeric;

pub(super) enum Failure {
    Soft(Error),
    Hard(Error),
}

pub(super) type Outcome<T> = std::result::Result<T, Failure>;

pub(super) fn soft<T>(state: SqlState, message: impl Into<String>) -> Outcome<T> {
    Err(Failure::Soft(Error::new(state, message)))
}

/// A value on the way.
#[derive(Debug, Clone)]
pub(super) enum Value<'a> {
    Json(Cow<'a, Json>),
    Moment(Moment),
}

impl<'a> Value<'a> {
    fn owned(json: Json) -> Value<'a> {
        Value::Json(Cow::Owned(json))
    }

    fn json(&self) -> Option<&Json> {
        match self {
            Value::Json(json) => Some(json),
            Value::Moment(_) => None,
        }
    }

    fn into_json(self) -> Json {
        match self {
            Value::Json(json) => json.into_owned(),
            Value::Moment(moment) => Json::String(moment.shown()),
        }
    }

    /// The members of an array.
    fn items(&self) -> Option<Vec<Value<'a>>> {
        match self {
            Value::Json(Cow::Borrowed(Json::Array(items))) => {
                Some(items.iter().map(|item| Value::Json(Cow::Borrowed(item))).collect())
            }
            Value::Json(Cow::Owned(Json::Array(items))) => Some(items.iter().cloned().map(Value::owned).collect()),
            _ => None,
        }
    }

    fn members(&self) -> Option<Vec<(String, Value<'a>)>> {
        match self {
            Value::Json(Cow::Borrowed(Json::Object(members))) => {
                Some(members.iter().map(|(k, v)| (k.clone(), Value::Json(Cow::Borrowed(v)))).collect())
            }
            Value::Json(Cow::Owned(Json::Object(members))) => {
                Some(members.iter().map(|(k, v)| (k.clone(), Value::owned(v.clone()))).collect())
            }
            _ => None,
        }
    }

    fn member(&self, key: &str) -> Option<Value<'a>> {
        match self {
            Value::Json(Cow::Borrowed(Json::Object(members))) => {
                members.iter().find(|(k, _)| k == key).map(|(_, v)| Value::Json(Cow::Borrowed(v)))
            }
            Value::Json(Cow::Owned(Json::Object(members))) => {
                members.iter().find(|(k, _)| k == key).map(|(_, v)| Value::owned(v.clone()))
            }
            _ => None,
        }
    }
}

/// Three-valued results of predicates; `None` is unknown.
type Truth = Option<bool>;

struct Run<'a> {
    strict: bool,
    /// Structural errors are passed over: in lax mode, and below `.**`.
    lenient: bool,
    root: Value<'a>,
    current: Value<'a>,
    variables: &'a Json,
    /// Size of the innermost array that is subscripted.
    innermost: Option<i64>,
    zoned: bool,
    time_zone: Zone,
}

impl<'a> Run<'a> {
    /// What a path yields from a value; arrays among it are taken apart in lax mode if `unwrap`.
    fn item(&mut self, item: &Item, unwrap: bool) -> Outcome<Vec<Value<'a>>> {
        let mut found = Vec::new();
        self.head(item, &mut found)?;
        if unwrap && !self.strict {
            found = found.into_iter().flat_map(|v| v.items().unwrap_or_else(|| vec![v])).collect();
        }
        Ok(found)
    }

    fn head(&mut self, item: &Item, found: &mut Vec<Value<'a>>) -> Outcome<()> {
        let rest = item.accessors.as_slice();
        let value = match &*item.head {
            Head::Null => Value::owned(Json::Null),
            Head::Bool(value) => Value::owned(Json::Bool(*value)),
            Head::Number(value) => Value::owned(Json::Number(value.clone())),
            Head::String(text) => Value::owned(Json::String(text.clone())),
            Head::Variable(name) => self.variable(name)?,
            Head::Root => self.root.clone(),
            Head::Current => self.current.clone(),
            Head::Last => {
                let last = self.innermost.ok_or_else(|| {
                    Failure::Hard(Error::internal("evaluating jsonpath LAST outside of array subscript"))
                })?;
                Value::owned(Json::Number(Numeric::from(last - 1)))
            }
            Head::Arithmetic(operator, left, right) => {
                let value = self.arithmetic(*operator, left, right)?;
                return self.next(value, rest, found);
            }
            Head::Plus(arg) | Head::Minus(arg) => {
                let minus = matches!(&*item.head, Head::Minus(_));
                for value in self.item(arg, true)? {
                    let Some(Json::Number(number)) = value.json() else {
                        return soft(
                            SqlState::JsonNumberNotFound,
                            format!(
                                "operand of unary jsonpath operator {} is not a numeric value",
                                if minus { "-" } else { "+" }
                            ),
                        );
                    };
                    let number = if minus { number.negate() } else { number.clone() };
                    self.next(Value::owned(Json::Number(number)), rest, found)?;
                }
                return Ok(());
            }
            _ => {
                let truth = self.predicate(item)?;
                Value::owned(truth.map_or(Json::Null, Json::Bool))
            }
        };
        self.next(value, rest, found)
    }

    fn variable(&self, name: &str) -> Outcome<Value<'a>> {
        match self.variables {
            Json::Object(members) => match members.iter().find(|(key, _)| key == name) {
                Some((_, value)) => Ok(Value::Json(Cow::Borrowed(value))),
                None => Err(Failure::Hard(Error::new(
                    SqlState::UndefinedObject,
                    format!("could not find jsonpath variable \"{name}\""),
                ))),
            },
            _ => Err(Failure::Hard(Error::internal("jsonpath variables that are no object"))),
        }
    }

    fn arithmetic(&mut self, operator: Arithmetic, left: &Item, right: &Item) -> Outcome<Value<'a>> {
        let (l, r) = (self.item(left, true)?, self.item(right, true)?);
        let single = |values: Vec<Value<'a>>, side: &str| match values.as_slice() {
            [only] => match only.json() {
                Some(Json::Number(number)) => Ok(number.clone()),
                _ => wrong_operand(side, operator),
            },
            _ => wrong_operand(side, operator),
        };
        let (a, b) = (single(l, "left")?, single(r, "right")?);
        let value = match operator {
            Arithmetic::Add => Ok(a.add(&b)),
            Arithmetic::Subtract => Ok(a.sub(&b)),
            Arithmetic::Multiply => Ok(a.mul(&b)),
            Arithmetic::Divide => a.div(&b),
            Arithmetic::Modulo => a.rem(&b),
        };
        value.map(|v| Value::owned(Json::Number(v))).map_err(Failure::Soft)
    }

    /// The accessors behind a value.
    fn next(&mut self, value: Value<'a>, rest: &[Accessor], found: &mut Vec<Value<'a>>) -> Outcome<()> {
        self.access(value, rest, found, !self.strict)
    }

    fn access(
        &mut self,
        value: Value<'a>,
        accessors: &[Accessor],
        found: &mut Vec<Value<'a>>,
        unwrap: bool,
    ) -> Outcome<()> {
        let Some((accessor, rest)) = accessors.split_first() else {
            found.push(value);
            return Ok(());
        };
        // In lax mode most accessors look into the members of an array.
        let looks_inside = !matches!(accessor, Accessor::AnyArray | Accessor::Index(_) | Accessor::Any(..))
            && !matches!(accessor, Accessor::Method(Method::Type | Method::Size));
        if unwrap
            && looks_inside
            && let Some(items) = value.items()
        {
            return items.into_iter().try_for_each(|item| self.access(item, accessors, found, false));
        }
        match accessor {
            Accessor::Key(key) => {
                if let Some(member) = value.member(key) {
                    return self.next(member, rest, found);
                }
                if self.lenient {
                    return Ok(());
                }
                match value.json() {
                    Some(Json::Object(_)) => {
                        soft(SqlState::JsonMemberNotFound, format!("JSON object does not contain key \"{key}\""))
                    }
                    _ => {
                        soft(SqlState::JsonMemberNotFound, "jsonpath member accessor can only be applied to an object")
                    }
                }
            }
            Accessor::AnyKey => match value.members() {
                Some(members) => members.into_iter().try_for_each(|(_, member)| self.next(member, rest, found)),
                None if self.lenient => Ok(()),
                None => soft(
                    SqlState::JsonObjectNotFound,
                    "jsonpath wildcard member accessor can only be applied to an object",
                ),
            },
            Accessor::AnyArray => match value.items() {
                Some(items) => items.into_iter().try_for_each(|item| self.next(item, rest, found)),
                None if !self.strict => self.next(value, rest, found),
                None if self.lenient => Ok(()),
                None => soft(
                    SqlState::JsonArrayNotFound,
                    "jsonpath wildcard array accessor can only be applied to an array",
                ),
            },
            Accessor::Index(list) => self.indexes(value, list, rest, found),
            Accessor::Any(first, last) => {
                let lenient = std::mem::replace(&mut self.lenient, true);
                let result = self.descend(value, 0, (*first, *last), rest, found);
                self.lenient = lenient;
                result
            }
            Accessor::Filter(predicate) => {
                let outer = std::mem::replace(&mut self.current, value.clone());
                let truth = self.predicate(predicate);
                self.current = outer;
                match truth? {
                    Some(true) => self.next(value, rest, found),
                    _ => Ok(()),
                }
            }
            Accessor::Method(method) => self.method(*method, value, rest, found),
            Accessor::Datetime(template) => {
                let Some(Json::String(text)) = value.json() else {
                    return soft(
                        SqlState::InvalidArgumentForJsonDatetime,
                        "jsonpath item method .datetime() can only be applied to a string",
                    );
                };
                let moment = json_path_time::read(text, template.as_deref())?;
                self.next(Value::Moment(moment), rest, found)
            }
        }
    }

    fn indexes(
        &mut self,
        value: Value<'a>,
        list: &[(Item, Option<Item>)],
        rest: &[Accessor],
        found: &mut Vec<Value<'a>>,
    ) -> Outcome<()> {
        let items = match value.items() {
            Some(items) => items,
            None if !self.strict => vec![value],
            None if self.lenient => return Ok(()),
            None => {
                return soft(SqlState::JsonArrayNotFound, "jsonpath array accessor can only be applied to an array");
            }
        };
        let size = items.len() as i64;
        let outer = self.innermost.replace(size);
        let mut run = || -> Outcome<()> {
            for (from, to) in list {
                let from = self.index(from)?;
                let to = to.as_ref().map_or(Ok(from), |to| self.index(to))?;
                if !self.lenient && (from < 0 || from > to || to >= size) {
                    return soft(SqlState::InvalidJsonSubscript, "jsonpath array subscript is out of bounds");
                }
                for at in from.max(0)..=to.min(size - 1) {
                    if let Some(item) = items.get(at as usize) {
                        self.next(item.clone(), rest, found)?;
                    }
                }
            }
            Ok(())
        };
        let result = run();
        self.innermost = outer;
        result
    }

    fn index(&mut self, item: &Item) -> Outcome<i64> {
        let values = self.item(item, false)?;
        let [only] = values.as_slice() else {
            return soft(SqlState::InvalidJsonSubscript, "jsonpath array subscript is not a single numeric value");
        };
        let Some(Json::Number(number)) = only.json() else {
            return soft(SqlState::InvalidJsonSubscript, "jsonpath array subscript is not a single numeric value");
        };
        match number.trunc(0).to_i64().and_then(|n| i32::try_from(n).ok()) {
            Some(index) => Ok(index.into()),
            None => soft(SqlState::InvalidJsonSubscript, "jsonpath array subscript is out of integer range"),
        }
    }

    /// `.**`: the value itself and everything below, within levels.
    fn descend(
        &mut self,
        value: Value<'a>,
        level: u32,
        (first, last): (Level, Level),
        rest: &[Accessor],
        found: &mut Vec<Value<'a>>,
    ) -> Outcome<()> {
        if last.is_some_and(|last| level > last) {
            return Ok(());
        }
        let below: Option<Vec<Value<'a>>> =
            value.items().or_else(|| value.members().map(|m| m.into_iter().map(|(_, v)| v).collect()));
        let wanted = match first {
            Some(first) => level >= first,
            None => below.is_none() && level > 0 || below.is_none() && last.is_none(),
        };
        if wanted {
            self.next(value, rest, found)?;
        }
        for inner in below.unwrap_or_default() {
            self.descend(inner, level + 1, (first, last), rest, found)?;
        }
        Ok(())
    }

    fn method(
        &mut self,
        method: Method,
        value: Value<'a>,
        rest: &[Accessor],
        found: &mut Vec<Value<'a>>,
    ) -> Outcome<()> {
        let name = method.name();
        let result = match (method, &value) {
            (Method::Type, Value::Moment(moment)) => Json::String(moment.type_name().into()),
            (Method::Type, Value::Json(json)) => Json::String(json.type_name().into()),
            (Method::Size, value) => match value.json() {
                Some(Json::Array(items)) => Json::Number(Numeric::from(items.len() as i64)),
                _ if !self.strict || self.lenient => Json::Number(Numeric::from(1i32)),
                _ => {
                    return soft(
                        SqlState::JsonArrayNotFound,
                        "jsonpath item method .size() can only be applied to an array",
                    );
                }
            },
            (Method::Abs | Method::Floor | Method::Ceiling, value) => match (value.json(), method) {
                (Some(Json::Number(n)), Method::Abs) => Json::Number(n.abs()),
                (Some(Json::Number(n)), Method::Floor) => Json::Number(n.floor()),
                (Some(Json::Number(n)), _) => Json::Number(n.ceil()),
                _ => {
                    return soft(
                        SqlState::NonNumericJsonItem,
                        format!("jsonpath item method .{name}() can only be applied to a numeric value"),
                    );
                }
            },
            (Method::Double, value) => Json::Number(double(value)?),
            (Method::KeyValue, value) => {
                let Some(members) = value.members() else {
                    return soft(
                        SqlState::JsonObjectNotFound,
                        "jsonpath item method .keyvalue() can only be applied to an object",
                    );
                };
                for (key, member) in members {
                    let triple = vec![
                        ("id".to_string(), Json::Number(Numeric::from(0i32))),
                        ("key".to_string(), Json::String(key)),
                        ("value".to_string(), member.into_json()),
                    ];
                    self.next(Value::owned(Json::Object(triple)), rest, found)?;
                }
                return Ok(());
            }
        };
        self.next(Value::owned(result), rest, found)
    }

    fn predicate(&mut self, item: &Item) -> Outcome<Truth> {
        Ok(match &*item.head {
            Head::And(left, right) => match self.predicate(left)? {
                Some(false) => Some(false),
                left => match (left, self.predicate(right)?) {
                    (_, Some(false)) => Some(false),
                    (Some(true), right) => right,
                    _ => None,
                },
            },
            Head::Or(left, right) => match self.predicate(left)? {
                Some(true) => Some(true),
                left => match (left, self.predicate(right)?) {
                    (_, Some(true)) => Some(true),
                    (Some(false), right) => right,
                    _ => None,
                },
            },
            Head::Not(arg) => self.predicate(arg)?.map(|truth| !truth),
            Head::IsUnknown(arg) => Some(self.predicate(arg)?.is_none()),
            Head::Exists(arg) => self.quiet(arg, false)?.map(|found| !found.is_empty()),
            Head::Compare(comparison, left, right) => {
                let (comparison, strict_zone) = (*comparison, (self.zoned, self.time_zone));
                self.pairs(left, Some(right), |l, r| compare(comparison, l, r, strict_zone))?
            }
            Head::StartsWith(left, right) => self.pairs(left, Some(right), |l, r| match (l.json(), r.json()) {
                (Some(Json::String(whole)), Some(Json::String(start))) => Ok(Some(whole.starts_with(start.as_str()))),
                _ => Ok(None),
            })?,
            Head::LikeRegex { item, pattern, flags } => self.pairs(item, None, |value, _| match value.json() {
                Some(Json::String(text)) => {
                    super::patterns::like_regex(text, pattern, flags).map(Some).map_err(Failure::Hard)
                }
                _ => Ok(None),
            })?,
            _ => return Err(Failure::Hard(Error::internal("an expression where jsonpath wants a predicate"))),
        })
    }

    /// The values of a path inside a predicate; `None` if it fails.
    fn quiet(&mut self, item: &Item, unwrap: bool) -> Outcome<Option<Vec<Value<'a>>>> {
        match self.item(item, unwrap) {
            Ok(found) => Ok(Some(found)),
            Err(Failure::Soft(_)) => Ok(None),
            Err(hard) => Err(hard),
        }
    }

    /// Whether a test holds for some pair of values.
    fn pairs(
        &mut self,
        left: &Item,
        right: Option<&Item>,
        mut test: impl FnMut(&Value<'a>, &Value<'a>) -> Outcome<Truth>,
    ) -> Outcome<Truth> {
        let Some(lefts) = self.quiet(left, true)? else { return Ok(None) };
        let rights = match right {
            None => vec![Value::owned(Json::Null)],
            Some(right) => match self.quiet(right, true)? {
                None => return Ok(None),
                Some(rights) => rights,
            },
        };
        let (mut found, mut failed) = (false, false);
        for l in &lefts {
            for r in &rights {
                match test(l, r) {
                    Ok(Some(true)) if !self.strict => return Ok(Some(true)),
                    Ok(Some(true)) => found = true,
                    Ok(Some(false)) => {}
                    Ok(None) | Err(Failure::Soft(_)) if self.strict => return Ok(None),
                    Ok(None) | Err(Failure::Soft(_)) => failed = true,
                    Err(hard) => return Err(hard),
                }
            }
        }
        Ok(match (found, failed) {
            (true, _) => Some(true),
            (false, true) => None,
            (false, false) => Some(false),
        })
    }
}

fn wrong_operand<T>(side: &str, operator: Arithmetic) -> Outcome<T> {
    soft(
        SqlState::SingletonJsonItemRequired,
        format!("{side} operand of jsonpath operator {} is not a single numeric value", operator.sign()),
    )
}

fn double(value: &Value<'_>) -> Outcome<Numeric> {
    let not_finite =
        || soft(SqlState::NonNumericJsonItem, "NaN or Infinity is not allowed for jsonpath item method .double()");
    let number = match value.json() {
        Some(Json::Number(number)) => {
            let value = number.to_f64();
            if value.is_infinite() {
                return soft(
                    SqlState::NonNumericJsonItem,
                    "numeric argument of jsonpath item method .double() is out of range for type double precision",
                );
            }
            value
        }
        Some(Json::String(text)) => match crate::types::float::parse_f64(text) {
            Ok(value) => value,
            Err(_) => {
                return soft(
                    SqlState::NonNumericJsonItem,
                    "string argument of jsonpath item method .double() is not a valid representation of a double precision number",
                );
            }
        },
        _ => {
            return soft(
                SqlState::NonNumericJsonItem,
                "jsonpath item method .double() can only be applied to a string or numeric value",
            );
        }
    };
    if !number.is_finite() {
        return not_finite();
    }
    Ok(Numeric::from_f64(number))
}

fn holds(comparison: Comparison, order: std::cmp::Ordering) -> bool {
    match comparison {
        Comparison::Equal => order.is_eq(),
        Comparison::NotEqual => order.is_ne(),
        Comparison::Less => order.is_lt(),
        Comparison::LessOrEqual => order.is_le(),
        Comparison::Greater => order.is_gt(),
        Comparison::GreaterOrEqual => order.is_ge(),
    }
}

fn compare(
    comparison: Comparison,
    left: &Value<'_>,
    right: &Value<'_>,
    (zoned, time_zone): (bool, Zone),
) -> Outcome<Truth> {
    let order = match (left, right) {
        (Value::Moment(a), Value::Moment(b)) => match json_path_time::compare(a, b, zoned, time_zone)? {
            Some(order) => order,
            None => return Ok(None),
        },
        (Value::Json(a), Value::Json(b)) => match (&**a, &**b) {
            (Json::Null, Json::Null) => std::cmp::Ordering::Equal,
            (Json::Bool(a), Json::Bool(b)) => a.cmp(b),
            (Json::Number(a), Json::Number(b)) => a.cmp(b),
            (Json::String(a), Json::String(b)) => a.as_bytes().cmp(b.as_bytes()),
            // NULL differs from everything else and is neither less nor greater.
            (Json::Null, _) | (_, Json::Null) => return Ok(Some(comparison == Comparison::NotEqual)),
            _ => return Ok(None),
        },
        (Value::Json(json), _) | (_, Value::Json(json)) if matches!(**json, Json::Null) => {
            return Ok(Some(comparison == Comparison::NotEqual));
        }
        _ => return Ok(None),
    };
    Ok(Some(holds(comparison, order)))
}

/// What is asked of a path.
struct Question {
    document: Json,
    path: std::rc::Rc<Path>,
    variables: Json,
    silent: bool,
    zoned: bool,
    time_zone: Zone,
}

impl Question {
    fn of(call: &Call<'_>, args: &[Datum], operator: bool) -> Result<Question> {
        let variables = match args.get(2) {
            Some(Datum::Text(variables)) => json::parse(variables)?,
            _ => Json::Object(Vec::new()),
        };
        if !matches!(variables, Json::Object(_)) {
            return Err(Error::new(SqlState::InvalidParameterValue, "\"vars\" argument is not an object")
                .detail("Jsonpath parameters should be encoded as key-value pairs of \"vars\" object."));
        }
        Ok(Question {
            document: json::parse(args::text(args.first())?)?,
            path: parsed(args::text(args.get(1))?)?,
            variables,
            silent: operator || matches!(args.get(3), Some(Datum::Bool(true))),
            zoned: call.function.symbol.ends_with("_tz"),
            time_zone: call.context.format.time_zone,
        })
    }

    /// What the path finds, and whether it failed and is to be silent about it.
    fn answer(&self) -> Result<(Vec<Json>, bool)> {
        let root = Value::Json(Cow::Borrowed(&self.document));
        let mut run = Run {
            strict: self.path.strict,
            lenient: !self.path.strict,
            current: root.clone(),
            root,
            variables: &self.variables,
            innermost: None,
            zoned: self.zoned,
            time_zone: self.time_zone,
        };
        let mut found = Vec::new();
        let failed = match run.head(&self.path.root, &mut found) {
            Ok(()) => false,
            Err(Failure::Soft(_)) if self.silent => true,
            Err(Failure::Soft(error) | Failure::Hard(error)) => return Err(error),
        };
        Ok((found.into_iter().map(Value::into_json).collect(), failed))
    }
}

fn shown(value: &Json) -> Result<Datum> {
    let mut out = Vec::new();
    value.write_spaced(&mut out);
    String::from_utf8(out).map(Datum::from).map_err(|e| Error::internal(e.to_string()))
}

fn exists(call: &Call<'_>, args: &[Datum], operator: bool) -> Result<Datum> {
    let question = Question::of(call, args, operator)?;
    Ok(match question.answer()? {
        // Lax mode ends with the first match, before anything can fail behind it.
        (found, true) if question.path.strict || found.is_empty() => Datum::Null,
        (found, _) => Datum::Bool(!found.is_empty()),
    })
}

fn matched(call: &Call<'_>, args: &[Datum], operator: bool) -> Result<Datum> {
    let question = Question::of(call, args, operator)?;
    let (found, _) = question.answer()?;
    match found.as_slice() {
        [Json::Bool(value)] => Ok(Datum::Bool(*value)),
        [Json::Null] => Ok(Datum::Null),
        _ if question.silent => Ok(Datum::Null),
        _ => Err(Error::new(SqlState::SingletonJsonItemRequired, "single boolean result is expected")),
    }
}

fn query(call: &Call<'_>, args: &[Datum]) -> Result<Rows> {
    let found = Question::of(call, args, false)?.answer()?.0;
    let rows = found.iter().map(|v| shown(v).map(|v| vec![v])).collect::<Vec<_>>();
    Ok(Box::new(rows.into_iter()))
}

fn array(call: &Call<'_>, args: &[Datum]) -> Result<Datum> {
    let found = Question::of(call, args, false)?.answer()?.0;
    shown(&Json::Array(found))
}

fn first(call: &Call<'_>, args: &[Datum]) -> Result<Datum> {
    let found = Question::of(call, args, false)?.answer()?.0;
    found.first().map_or(Ok(Datum::Null), shown)
}

pub(super) fn register(implementations: &mut Implementations) {
    implementations.scalars(&[
        ("jsonb_path_exists", |call, args| exists(call, args, false)),
        ("jsonb_path_exists_tz", |call, args| exists(call, args, false)),
        ("jsonb_path_exists_opr", |call, args| exists(call, args, true)),
        ("jsonb_path_match", |call, args| matched(call, args, false)),
        ("jsonb_path_match_tz", |call, args| matched(call, args, false)),
        ("jsonb_path_match_opr", |call, args| matched(call, args, true)),
        ("jsonb_path_query_array", array),
        ("jsonb_path_query_array_tz", array),
        ("jsonb_path_query_first", first),
        ("jsonb_path_query_first_tz", first),
    ]);
    implementations.set("jsonb_path_query", query);
    implementations.set("jsonb_path_query_tz", query);
}
