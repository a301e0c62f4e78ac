//! The parser's dialect: PostgreSQL's, with what is ours.
//!
//! It answers every question as the library's PostgreSQL dialect does, save where PostgreSQL 15 differs from it. The
//! surprising thing: it also notes how far the parser got, because the library goes back when a guess fails and then
//! stands before the token that PostgreSQL would complain about.

use sqlparser::ast::Expr;
use sqlparser::dialect::{Dialect, PostgreSqlDialect, Precedence};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::Token;
use std::any::TypeId;
use std::cell::Cell;

/// The words that name a select item after AS only.
const AS_LABELS: &[Keyword] = &[
    Keyword::ARRAY,
    Keyword::CHAR,
    Keyword::CHARACTER,
    Keyword::CREATE,
    Keyword::DAY,
    Keyword::EXCEPT,
    Keyword::FETCH,
    Keyword::FILTER,
    Keyword::FOR,
    Keyword::FROM,
    Keyword::GRANT,
    Keyword::GROUP,
    Keyword::HAVING,
    Keyword::HOUR,
    Keyword::INTERSECT,
    Keyword::INTO,
    Keyword::LIMIT,
    Keyword::MINUTE,
    Keyword::MONTH,
    Keyword::NOTNULL,
    Keyword::OFFSET,
    Keyword::ON,
    Keyword::ORDER,
    Keyword::OVER,
    Keyword::OVERLAPS,
    Keyword::PRECISION,
    Keyword::RETURNING,
    Keyword::SECOND,
    Keyword::TO,
    Keyword::UNION,
    Keyword::VARYING,
    Keyword::WHERE,
    Keyword::WINDOW,
    Keyword::WITH,
    Keyword::WITHIN,
    Keyword::WITHOUT,
    Keyword::YEAR,
];

/// One parse's dialect.
#[derive(Debug, Default)]
pub struct KalamDialect {
    postgres: PostgreSqlDialect,
    /// The highest token index at which an expression was begun or continued.
    furthest: Cell<usize>,
}

impl KalamDialect {
    /// The furthest token that the parser looked at as a part of an expression.
    pub(crate) fn furthest(&self) -> usize {
        self.furthest.get()
    }

    fn note(&self, parser: &Parser) {
        // Before the first token the library's index reads 0, as it does after the first: no harm for a maximum.
        let next = parser.get_current_index() + 1;
        self.furthest.set(self.furthest.get().max(next));
    }
}

macro_rules! as_postgres {
    ($($name:ident($($arg:ident: $ty:ty),*) -> $ret:ty;)*) => {
        $(fn $name(&self $(, $arg: $ty)*) -> $ret { self.postgres.$name($($arg),*) })*
    };
}

macro_rules! always {
    ($($name:ident = $value:literal;)*) => { $(fn $name(&self) -> bool { $value })* };
}

impl Dialect for KalamDialect {
    // The library asks "is this PostgreSQL?" by type.
    fn dialect(&self) -> TypeId {
        TypeId::of::<PostgreSqlDialect>()
    }

    fn parse_prefix(&self, parser: &mut Parser) -> Option<Result<Expr, ParserError>> {
        self.note(parser);
        None
    }

    fn get_next_precedence(&self, parser: &Parser) -> Option<Result<u8, ParserError>> {
        self.note(parser);
        // The library has these two as comparisons; to PostgreSQL they are operators like any other.
        if matches!(parser.peek_token_ref().token, Token::Spaceship | Token::TwoWayArrow) {
            return Some(Ok(self.postgres.prec_value(Precedence::PgOther)));
        }
        self.postgres.get_next_precedence(parser)
    }

    // PostgreSQL's grammar wants AS before these (`BareColLabel`).
    fn is_column_alias(&self, keyword: &Keyword, parser: &mut Parser) -> bool {
        !AS_LABELS.contains(keyword) && self.postgres.is_column_alias(keyword, parser)
    }

    as_postgres! {
        is_delimited_identifier_start(ch: char) -> bool;
        is_identifier_start(ch: char) -> bool;
        is_identifier_part(ch: char) -> bool;
        is_custom_operator_part(ch: char) -> bool;
        is_reserved_for_identifier(keyword: Keyword) -> bool;
        is_table_alias(keyword: &Keyword, parser: &mut Parser) -> bool;
        supports_string_literal_column_alias(explicit: bool) -> bool;
        supports_string_literal_table_alias(explicit: bool) -> bool;
        identifier_quote_style(identifier: &str) -> Option<char>;
        prec_value(precedence: Precedence) -> u8;
        is_interval_qualifier(keyword: Keyword) -> bool;
        is_custom_type_typed_string(keyword: Keyword, qualified: bool) -> bool;
    }

    always! {
        supports_cte_materialization = true;
        supports_unicode_string_literal = true;
        supports_filter_during_aggregation = true;
        supports_group_by_expr = true;
        allow_extract_custom = true;
        allow_extract_single_quotes = true;
        supports_factorial_operator = false;
        supports_bitwise_shift_operators = true;
        supports_tilde_like_match_operator = true;
        supports_comparison_in_between_low_bound = true;
        supports_named_fn_args_with_colon_operator = true;
        supports_named_fn_args_with_expr_name = true;
        supports_named_fn_args_with_assignment_operator = true;
        supports_empty_projections = true;
        supports_nested_comments = true;
        // COPY's data come as protocol messages, never inside the text.
        supports_copy_from_stdin_data = false;
        supports_string_escape_constant = true;
        // PostgreSQL 15 has neither 1_000 nor 0x1F.
        supports_numeric_literal_underscores = false;
        supports_non_decimal_integer_literals = false;
        supports_array_typedef_with_brackets = true;
        supports_geometric_types = true;
        supports_order_by_using_operator = true;
        supports_left_associative_joins_without_parens = false;
        supports_notnull_operator = true;
        supports_interval_options = true;
        supports_insert_table_alias = true;
        supports_select_wildcard_with_alias = false;
        supports_comma_separated_trim = true;
        supports_xml_expressions = true;
        supports_aliased_function_args = true;
        supports_comment_optimizer_hint = false;
        supports_table_inheritance_markers = true;
    }
}
