//! PostgreSQL 15's grammar for sqlparser: its own dialect, without names of arguments that are expressions
//! (`json_object('key' : value)`, which came with 16), and with an end to trying again.
//!
//! The parser tries a construct, and where that fails goes back and tries another; nested n deep this can take 2^n
//! steps. Names of arguments did so for every call; what is left does so only for statements that are wrong.

use std::any::TypeId;
use std::cell::Cell;

use sqlparser::ast::{Expr, SetExpr};
use sqlparser::dialect::{Dialect, PostgreSqlDialect, Precedence};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::Token;

/// Expressions that may be begun for each token of a statement, and beside that.
const STEPS_PER_TOKEN: usize = 64;
const STEPS_BESIDE: usize = 10_000;

/// For one statement.
#[derive(Debug)]
pub(crate) struct PostgreSql15 {
    base: PostgreSqlDialect,
    steps_left: Cell<usize>,
}

impl PostgreSql15 {
    pub(crate) fn new(tokens: usize) -> PostgreSql15 {
        PostgreSql15 { base: PostgreSqlDialect {}, steps_left: Cell::new(tokens * STEPS_PER_TOKEN + STEPS_BESIDE) }
    }
}

/// A subquery that begins with VALUES, or with a query in parentheses of its own: sqlparser takes these for other things.
fn subquery(parser: &mut Parser<'_>) -> Option<Result<Expr, ParserError>> {
    let mut opened = 0;
    while parser.peek_nth_token_ref(opened).token == Token::LParen {
        opened += 1;
    }
    let keyword = match &parser.peek_nth_token_ref(opened).token {
        Token::Word(word) => word.keyword,
        _ => return None,
    };
    let in_parentheses = |parser: &mut Parser<'_>| {
        parser.expect_token(&Token::LParen)?;
        let query = parser.parse_query()?;
        parser.expect_token(&Token::RParen)?;
        Ok(query)
    };
    match (opened, keyword) {
        (1, Keyword::VALUES) => Some(in_parentheses(parser).map(Expr::Subquery)),
        // `((SELECT …) + 1)` is none, and `((SELECT …))` is one in any case.
        (2.., Keyword::VALUES | Keyword::SELECT | Keyword::WITH) => {
            let found = parser.maybe_parse(|parser| {
                let query = in_parentheses(parser)?;
                let plain = matches!(*query.body, SetExpr::Query(_)) && query.order_by.is_none();
                match plain && query.limit_clause.is_none() && query.fetch.is_none() {
                    true => Err(ParserError::ParserError(String::new())),
                    false => Ok(Expr::Subquery(query)),
                }
            });
            found.transpose()
        }
        _ => None,
    }
}

/// What is as in sqlparser's dialect.
macro_rules! as_in_base {
    ($($name:ident),* $(,)?) => { $(fn $name(&self) -> bool { self.base.$name() })* };
}

impl Dialect for PostgreSql15 {
    fn dialect(&self) -> TypeId {
        TypeId::of::<PostgreSqlDialect>()
    }

    fn parse_prefix(&self, parser: &mut Parser<'_>) -> Option<Result<Expr, ParserError>> {
        match self.steps_left.get().checked_sub(1) {
            Some(left) => {
                self.steps_left.set(left);
                subquery(parser)
            }
            // The only error after which the parser tries little else, and that ends here as well.
            None => Some(Err(ParserError::RecursionLimitExceeded)),
        }
    }

    fn get_next_precedence(&self, parser: &Parser<'_>) -> Option<Result<u8, ParserError>> {
        self.base.get_next_precedence(parser)
    }

    /// COLLATE behind a cast: elsewhere sqlparser reads it as a part of its operand.
    fn parse_infix(&self, parser: &mut Parser<'_>, expr: &Expr, _: u8) -> Option<Result<Expr, ParserError>> {
        parser.parse_keyword(Keyword::COLLATE).then(|| {
            let collation = parser.parse_object_name(false)?;
            Ok(Expr::Collate { expr: Box::new(expr.clone()), collation })
        })
    }

    fn supports_named_fn_args_with_expr_name(&self) -> bool {
        false
    }

    fn supports_named_fn_args_with_colon_operator(&self) -> bool {
        false
    }

    fn identifier_quote_style(&self, identifier: &str) -> Option<char> {
        self.base.identifier_quote_style(identifier)
    }

    fn is_delimited_identifier_start(&self, ch: char) -> bool {
        self.base.is_delimited_identifier_start(ch)
    }

    fn is_identifier_start(&self, ch: char) -> bool {
        self.base.is_identifier_start(ch)
    }

    fn is_identifier_part(&self, ch: char) -> bool {
        self.base.is_identifier_part(ch)
    }

    fn is_reserved_for_identifier(&self, keyword: Keyword) -> bool {
        self.base.is_reserved_for_identifier(keyword)
    }

    /// Signs may be operators of their own, and the others begin comments: see [`super::operators`].
    fn is_custom_operator_part(&self, ch: char) -> bool {
        self.base.is_custom_operator_part(ch) && !matches!(ch, '+' | '-' | '*' | '/')
    }

    /// `INSERT … SELECT 1 ON CONFLICT …`.
    fn is_column_alias(&self, keyword: &Keyword, parser: &mut Parser<'_>) -> bool {
        *keyword != Keyword::ON && self.base.is_column_alias(keyword, parser)
    }

    fn prec_value(&self, precedence: Precedence) -> u8 {
        self.base.prec_value(precedence)
    }

    as_in_base!(
        supports_unicode_string_literal,
        supports_filter_during_aggregation,
        supports_group_by_expr,
        allow_extract_custom,
        allow_extract_single_quotes,
        supports_create_index_with_clause,
        supports_explain_with_utility_options,
        supports_listen_notify,
        supports_factorial_operator,
        supports_bitwise_shift_operators,
        supports_comment_on,
        supports_load_extension,
        supports_empty_projections,
        supports_nested_comments,
        supports_string_escape_constant,
        supports_numeric_literal_underscores,
        supports_array_typedef_with_brackets,
        supports_geometric_types,
        supports_set_names,
        supports_alter_column_type_using,
        supports_notnull_operator,
        supports_interval_options,
        supports_insert_table_alias,
        supports_create_table_like_parenthesized,
        supports_select_wildcard_with_alias,
        supports_comma_separated_trim,
        supports_xml_expressions,
        supports_comment_optimizer_hint,
    );
}
