//! The tables of functions, operators and casts, loaded once from PostgreSQL's catalog data.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use super::{Function, Kind, RowFunction, SetFunction, Volatility};
use crate::types::TypeOid;

/// A row of pg_operator. `left` is `None` for a prefix operator.
#[derive(Debug, Clone)]
pub struct Operator {
    pub oid: u32,
    pub name: &'static str,
    pub left: Option<TypeOid>,
    pub right: TypeOid,
    pub ret: TypeOid,
    pub function: Arc<Function>,
    pub commutator: u32,
    pub negator: u32,
    pub can_merge: bool,
    pub can_hash: bool,
}

/// How a cast is performed.
#[derive(Debug, Clone)]
pub enum CastMethod {
    Function(Arc<Function>),
    Binary,
    InOut,
}

/// A row of pg_cast.
#[derive(Debug, Clone)]
pub struct CastRow {
    pub oid: u32,
    pub source: TypeOid,
    pub target: TypeOid,
    /// `i` implicit, `a` assignment, `e` explicit.
    pub context: u8,
    pub method: CastMethod,
}

/// All that is known; see [`registry`].
pub struct Registry {
    functions: Vec<Arc<Function>>,
    /// Those of extensions.
    extensions: Vec<Arc<Function>>,
    by_name: HashMap<&'static str, Vec<Arc<Function>>>,
    by_oid: HashMap<u32, Arc<Function>>,
    operators: Vec<Arc<Operator>>,
    operators_by_name: HashMap<&'static str, Vec<Arc<Operator>>>,
    casts: HashMap<(TypeOid, TypeOid), CastRow>,
}

/// Where the families put their implementations.
#[derive(Default)]
pub struct Implementations {
    scalars: HashMap<&'static str, RowFunction>,
    sets: HashMap<&'static str, SetFunction>,
}

impl Implementations {
    /// Implementation of the function with this C symbol (`#oid` for those written in SQL).
    pub fn scalar(&mut self, symbol: &'static str, function: RowFunction) {
        let before = self.scalars.insert(symbol, function);
        debug_assert!(before.is_none(), "two implementations of {symbol}");
    }

    /// For functions of many types: those that a family has already given stay.
    pub fn scalar_unless_there(&mut self, symbol: &'static str, function: RowFunction) {
        self.scalars.entry(symbol).or_insert(function);
    }

    pub fn scalars(&mut self, table: &[(&'static str, RowFunction)]) {
        table.iter().for_each(|(symbol, function)| self.scalar(symbol, *function));
    }

    pub fn set(&mut self, symbol: &'static str, function: SetFunction) {
        self.sets.insert(symbol, function);
    }
}

static REGISTRY: LazyLock<Registry> = LazyLock::new(Registry::load);

/// The functions, operators and casts of the server.
pub fn registry() -> &'static Registry {
    &REGISTRY
}

impl Registry {
    fn load() -> Registry {
        let mut implementations = Implementations::default();
        super::register_families(&mut implementations);
        let functions: Vec<Arc<Function>> = include_str!("pg_proc.tsv")
            .lines()
            .filter_map(|line| read_function(line, &implementations).map(Arc::new))
            .collect();
        let extensions: Vec<Arc<Function>> = include_str!("extension/proc.tsv")
            .lines()
            .filter_map(|line| read_function(line, &implementations).map(Arc::new))
            .collect();
        let mut by_name: HashMap<&'static str, Vec<Arc<Function>>> = HashMap::new();
        for function in functions.iter().chain(&extensions) {
            by_name.entry(function.name).or_default().push(Arc::clone(function));
        }
        let by_oid: HashMap<u32, Arc<Function>> =
            functions.iter().chain(&extensions).map(|f| (f.oid, Arc::clone(f))).collect();
        let operators: Vec<Arc<Operator>> = include_str!("pg_operator.tsv")
            .lines()
            .chain(include_str!("extension/operator.tsv").lines())
            .filter_map(|line| read_operator(line, &by_oid).map(Arc::new))
            .collect();
        let mut operators_by_name: HashMap<&'static str, Vec<Arc<Operator>>> = HashMap::new();
        for operator in &operators {
            operators_by_name.entry(operator.name).or_default().push(Arc::clone(operator));
        }
        let casts = include_str!("pg_cast.tsv")
            .lines()
            .chain(include_str!("extension/cast.tsv").lines())
            .filter_map(|line| read_cast(line, &by_oid))
            .map(|cast| ((cast.source, cast.target), cast))
            .collect();
        Registry { functions, extensions, by_name, by_oid, operators, operators_by_name, casts }
    }

    /// Every function, by OID.
    pub fn functions(&self) -> &[Arc<Function>] {
        &self.functions
    }

    /// Functions of all extensions, created or not.
    pub fn extension_functions(&self) -> &[Arc<Function>] {
        &self.extensions
    }

    /// Overloads of a name.
    pub fn lookup(&self, name: &str) -> &[Arc<Function>] {
        self.by_name.get(name).map_or(&[], Vec::as_slice)
    }

    pub fn function(&self, oid: u32) -> Option<&Arc<Function>> {
        self.by_oid.get(&oid)
    }

    pub fn operators(&self) -> &[Arc<Operator>] {
        &self.operators
    }

    pub fn operators_named(&self, name: &str) -> &[Arc<Operator>] {
        self.operators_by_name.get(name).map_or(&[], Vec::as_slice)
    }

    /// The operator of exactly these types.
    pub fn operator(&self, name: &str, left: Option<TypeOid>, right: TypeOid) -> Option<&Arc<Operator>> {
        self.operators_named(name).iter().find(|o| o.left == left && o.right == right)
    }

    /// Whether a function is an equality by which values can be hashed and joined: that of boxes compares their areas.
    pub fn is_equality(&self, function: u32) -> bool {
        let mut named = self.operators_named("=").iter();
        named.any(|o| o.function.oid == function && !crate::types::geometry::is_geometric(o.right))
    }

    pub fn operator_by_oid(&self, oid: u32) -> Option<&Arc<Operator>> {
        self.operators.binary_search_by_key(&oid, |o| o.oid).ok().and_then(|i| self.operators.get(i))
    }

    pub fn cast(&self, source: TypeOid, target: TypeOid) -> Option<&CastRow> {
        self.casts.get(&(source, target))
    }

    pub fn casts(&self) -> impl Iterator<Item = &CastRow> {
        self.casts.values()
    }
}

fn oid_list(field: &str) -> Vec<TypeOid> {
    field.split_ascii_whitespace().filter_map(|f| f.parse().ok().map(TypeOid)).collect()
}

fn read_function(line: &'static str, implementations: &Implementations) -> Option<Function> {
    let f: Vec<&'static str> = line.split('\t').collect();
    let number = |i: usize| f.get(i)?.parse::<u32>().ok();
    let args = oid_list(f.get(9)?);
    let symbol = *f.get(10)?;
    let variadic = number(7).filter(|v| *v != 0).map(TypeOid);
    Some(Function {
        oid: number(0)?,
        name: f.get(1)?,
        args,
        variadic,
        defaults: number(8)? as usize,
        ret: TypeOid(number(6)?),
        kind: match *f.get(2)? {
            "a" => Kind::Aggregate,
            "w" => Kind::Window,
            "p" => Kind::Procedure,
            _ => Kind::Scalar,
        },
        returns_set: *f.get(4)? == "1",
        strict: *f.get(3)? == "1",
        volatility: match *f.get(5)? {
            "i" => Volatility::Immutable,
            "s" => Volatility::Stable,
            _ => Volatility::Volatile,
        },
        symbol,
        all_args: oid_list(f.get(11).unwrap_or(&"")),
        arg_modes: f.get(12).unwrap_or(&"").bytes().filter(|b| *b != b' ').collect(),
        arg_names: match f.get(13) {
            Some(names) if !names.is_empty() => names.split(' ').collect(),
            _ => Vec::new(),
        },
        scalar: implementations.scalars.get(symbol).copied(),
        set: implementations.sets.get(symbol).copied(),
    })
}

fn read_operator(line: &'static str, functions: &HashMap<u32, Arc<Function>>) -> Option<Operator> {
    let f: Vec<&'static str> = line.split('\t').collect();
    let number = |i: usize| f.get(i)?.parse::<u32>().ok();
    Some(Operator {
        oid: number(0)?,
        name: f.get(1)?,
        left: number(3).filter(|l| *l != 0).map(TypeOid),
        right: TypeOid(number(4)?),
        ret: TypeOid(number(5)?),
        function: functions.get(&number(6)?).cloned()?,
        commutator: number(7)?,
        negator: number(8)?,
        can_merge: *f.get(9)? == "1",
        can_hash: *f.get(10)? == "1",
    })
}

fn read_cast(line: &str, functions: &HashMap<u32, Arc<Function>>) -> Option<CastRow> {
    let f: Vec<&str> = line.split('\t').collect();
    let number = |i: usize| f.get(i)?.parse::<u32>().ok();
    let method = match *f.get(5)? {
        "b" => CastMethod::Binary,
        "i" => CastMethod::InOut,
        _ => CastMethod::Function(functions.get(&number(3)?).cloned()?),
    };
    Some(CastRow {
        oid: number(0)?,
        source: TypeOid(number(1)?),
        target: TypeOid(number(2)?),
        context: f.get(4)?.bytes().next()?,
        method,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_catalog_loads() {
        let registry = registry();
        assert_eq!(registry.functions().len(), include_str!("pg_proc.tsv").lines().count());
        assert_eq!(registry.lookup("generate_series").len(), 8);
        let plus = registry.operator("+", Some(TypeOid::INT4), TypeOid::INT4).unwrap();
        assert_eq!((plus.function.symbol, plus.ret), ("int4pl", TypeOid::INT4));
        assert!(registry.operator("-", None, TypeOid::NUMERIC).is_some());
        assert_eq!(registry.cast(TypeOid::INT4, TypeOid::INT8).unwrap().context, b'i');
        assert_eq!(registry.operator_by_oid(plus.oid).unwrap().oid, plus.oid);
    }

    #[test]
    fn every_implementation_belongs_to_a_function() {
        let mut implementations = Implementations::default();
        super::super::register_families(&mut implementations);
        let all = registry().functions().iter().chain(registry().extension_functions());
        let known: std::collections::HashSet<&str> = all.map(|f| f.symbol).collect();
        let scalars = implementations.scalars.keys().filter(|s| !known.contains(*s)).collect::<Vec<_>>();
        let sets = implementations.sets.keys().filter(|s| !known.contains(*s)).collect::<Vec<_>>();
        assert!(scalars.is_empty() && sets.is_empty(), "{scalars:?} {sets:?}");
    }
}
