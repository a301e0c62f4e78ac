//! jsonpath (PostgreSQL manual 9.16.2): the expression as a tree, and its normal text.
//!
//! A value is stored as its normal text, which reads back as the same tree. `scan` makes tokens, `parse` the tree;
//! what an expression finds is in `function::jsonpath`.

mod parse;
mod print;
mod scan;

use kalamdb_commons::{Datum, Result};
use regex::Regex;

/// A path expression.
#[derive(Debug, Clone)]
pub struct JsonPath {
    /// strict: structural errors are errors. Otherwise (lax) arrays are wrapped and unwrapped as needed.
    pub strict: bool,
    /// What is evaluated.
    pub root: Expr,
}

/// Something, and the accessors that are applied to it in turn.
#[derive(Debug, Clone)]
pub struct Expr {
    /// What the accessors begin with.
    pub head: Head,
    /// The accessors.
    pub steps: Vec<Step>,
}

/// What accessors begin with.
#[derive(Debug, Clone)]
pub enum Head {
    /// null
    Null,
    /// true, false
    Bool(bool),
    /// A number, as a numeric prints it.
    Number(String),
    /// A string.
    String(String),
    /// `$name`
    Variable(String),
    /// `$`
    Root,
    /// `@`
    Current,
    /// `last`
    Last,
    /// `a + b`
    Arithmetic(Arithmetic, Box<Expr>, Box<Expr>),
    /// `-a`, `+a`
    Sign(Sign, Box<Expr>),
    /// A condition; its value is true, false or null.
    Predicate(Box<Predicate>),
}

/// A condition: true, false or unknown.
#[derive(Debug, Clone)]
pub enum Predicate {
    /// `a && b`
    And(Expr, Expr),
    /// `a || b`
    Or(Expr, Expr),
    /// `!(a)`
    Not(Expr),
    /// `(a) is unknown`
    IsUnknown(Expr),
    /// `exists (a)`
    Exists(Expr),
    /// `a < b`
    Compare(Comparison, Expr, Expr),
    /// `a starts with b`
    StartsWith(Expr, Expr),
    /// `a like_regex "b" flag "i"`
    LikeRegex(Expr, Box<Pattern>),
}

/// The pattern of like_regex.
#[derive(Debug, Clone)]
pub struct Pattern {
    /// As written.
    pub text: String,
    /// The flags among `ismxq`, in that order.
    pub flags: String,
    /// Ready to match.
    pub regex: Regex,
}

/// The operators of numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
}

impl Arithmetic {
    /// How it is written.
    pub fn sign(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Modulo => "%",
        }
    }
}

/// The operators of one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Sign {
    Plus,
    Minus,
}

/// Comparisons.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// An accessor.
#[derive(Debug, Clone)]
pub enum Step {
    /// `.name`
    Member(String),
    /// `.*`
    AnyMember,
    /// `.**{first to last}`; `None` is the level of the leaves.
    Descend {
        /// The first level.
        first: Option<u32>,
        /// The last level.
        last: Option<u32>,
    },
    /// `[*]`
    AnyItem,
    /// `[a, b to c]`
    Items(Vec<(Expr, Option<Expr>)>),
    /// `? (a)`
    Filter(Expr),
    /// `.size()` and kin
    Method(Method),
    /// `.datetime("template")`
    Datetime(Option<String>),
}

/// Methods without arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Method {
    Type,
    Size,
    Double,
    Ceiling,
    Floor,
    Abs,
    KeyValue,
}

impl Method {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Type => "type",
            Self::Size => "size",
            Self::Double => "double",
            Self::Ceiling => "ceiling",
            Self::Floor => "floor",
            Self::Abs => "abs",
            Self::KeyValue => "keyvalue",
        }
    }
}

impl JsonPath {
    /// Reads a path expression.
    ///
    /// # Errors
    /// PostgreSQL's: 42601 where the syntax is wrong, 22P02 for the empty text and broken escapes, 2201B for a wrong
    /// regular expression.
    pub fn parse(text: &str) -> Result<JsonPath> {
        parse::path(text)
    }
}

/// Reads a jsonpath text and makes it normal.
pub(super) fn read(text: &str) -> Result<Datum> {
    Ok(Datum::text(JsonPath::parse(text)?.to_string()))
}
