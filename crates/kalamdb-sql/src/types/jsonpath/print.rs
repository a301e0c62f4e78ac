//! The normal text of a path expression: every key quoted, every operation in the brackets that it needs.

use super::{Arithmetic, Comparison, Expr, Head, JsonPath, Predicate, Sign, Step};
use crate::types::json::write_string;
use std::fmt::{Display, Formatter, Result, Write as _};

impl Display for JsonPath {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        if self.strict {
            f.write_str("strict ")?;
        }
        write_expr(&self.root, true, f)
    }
}

impl Display for Comparison {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.write_str(match self {
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
        })
    }
}

/// How strongly an operation binds.
fn priority(head: &Head) -> u8 {
    match head {
        Head::Predicate(predicate) => match **predicate {
            Predicate::Or(..) => 0,
            Predicate::And(..) => 1,
            Predicate::Compare(..) | Predicate::StartsWith(..) => 2,
            _ => 6,
        },
        Head::Arithmetic(Arithmetic::Add | Arithmetic::Subtract, ..) => 3,
        Head::Arithmetic(..) => 4,
        Head::Sign(..) => 5,
        _ => 6,
    }
}

fn write_expr(expr: &Expr, brackets: bool, f: &mut Formatter<'_>) -> Result {
    stacker::maybe_grow(64 * 1024, 1024 * 1024, || {
        write_head(&expr.head, brackets || !expr.steps.is_empty(), !expr.steps.is_empty(), f)?;
        expr.steps.iter().try_for_each(|step| write_step(step, f))
    })
}

/// An operand of an operation: in brackets unless it binds more strongly.
fn write_operand(operand: &Expr, of: &Head, f: &mut Formatter<'_>) -> Result {
    write_expr(operand, priority(&operand.head) <= priority(of), f)
}

fn write_binary(left: &Expr, operator: &dyn Display, right: &Expr, of: &Head, f: &mut Formatter<'_>) -> Result {
    write_operand(left, of, f)?;
    write!(f, " {operator} ")?;
    write_operand(right, of, f)
}

fn write_head(head: &Head, brackets: bool, followed: bool, f: &mut Formatter<'_>) -> Result {
    match head {
        Head::Null => f.write_str("null"),
        Head::Bool(value) => write!(f, "{value}"),
        Head::Number(text) if followed => write!(f, "({text})"),
        Head::Number(text) => f.write_str(text),
        Head::String(text) => write_string(text, f),
        Head::Variable(name) => {
            f.write_char('$')?;
            write_string(name, f)
        }
        Head::Root => f.write_char('$'),
        Head::Current => f.write_char('@'),
        Head::Last => f.write_str("last"),
        Head::Predicate(predicate) => write_predicate(predicate, head, brackets, f),
        Head::Arithmetic(operator, left, right) => {
            bracketed(brackets, f, |f| write_binary(left, &operator.sign(), right, head, f))
        }
        Head::Sign(sign, operand) => bracketed(brackets, f, |f| {
            f.write_char(if *sign == Sign::Minus { '-' } else { '+' })?;
            write_operand(operand, head, f)
        }),
    }
}

fn bracketed(brackets: bool, f: &mut Formatter<'_>, write: impl FnOnce(&mut Formatter<'_>) -> Result) -> Result {
    if !brackets {
        return write(f);
    }
    f.write_char('(')?;
    write(f)?;
    f.write_char(')')
}

fn write_predicate(predicate: &Predicate, head: &Head, brackets: bool, f: &mut Formatter<'_>) -> Result {
    match predicate {
        Predicate::And(left, right) => bracketed(brackets, f, |f| write_binary(left, &"&&", right, head, f)),
        Predicate::Or(left, right) => bracketed(brackets, f, |f| write_binary(left, &"||", right, head, f)),
        Predicate::Compare(op, left, right) => bracketed(brackets, f, |f| write_binary(left, op, right, head, f)),
        Predicate::StartsWith(left, right) => {
            bracketed(brackets, f, |f| write_binary(left, &"starts with", right, head, f))
        }
        Predicate::LikeRegex(operand, pattern) => bracketed(brackets, f, |f| {
            write_operand(operand, head, f)?;
            f.write_str(" like_regex ")?;
            write_string(&pattern.text, f)?;
            if pattern.flags.is_empty() { Ok(()) } else { write!(f, " flag \"{}\"", pattern.flags) }
        }),
        Predicate::Not(inner) => {
            f.write_str("!(")?;
            write_expr(inner, false, f)?;
            f.write_char(')')
        }
        Predicate::IsUnknown(inner) => {
            f.write_char('(')?;
            write_expr(inner, false, f)?;
            f.write_str(") is unknown")
        }
        Predicate::Exists(inner) => {
            f.write_str("exists (")?;
            write_expr(inner, false, f)?;
            f.write_char(')')
        }
    }
}

fn write_step(step: &Step, f: &mut Formatter<'_>) -> Result {
    match step {
        Step::Member(name) => {
            f.write_char('.')?;
            write_string(name, f)
        }
        Step::AnyMember => f.write_str(".*"),
        Step::AnyItem => f.write_str("[*]"),
        Step::Items(items) => {
            f.write_char('[')?;
            for (place, (from, to)) in items.iter().enumerate() {
                if place > 0 {
                    f.write_char(',')?;
                }
                write_expr(from, false, f)?;
                if let Some(to) = to {
                    f.write_str(" to ")?;
                    write_expr(to, false, f)?;
                }
            }
            f.write_char(']')
        }
        Step::Descend { first: Some(0), last: None } => f.write_str(".**"),
        Step::Descend { first, last } if first == last => match first {
            Some(level) => write!(f, ".**{{{level}}}"),
            None => f.write_str(".**{last}"),
        },
        Step::Descend { first, last } => {
            let level = |level: &Option<u32>| level.map_or("last".to_owned(), |level| level.to_string());
            write!(f, ".**{{{} to {}}}", level(first), level(last))
        }
        Step::Filter(condition) => {
            f.write_str("?(")?;
            write_expr(condition, false, f)?;
            f.write_char(')')
        }
        Step::Method(method) => write!(f, ".{}()", method.name()),
        Step::Datetime(template) => {
            f.write_str(".datetime(")?;
            if let Some(template) = template {
                write_string(template, f)?;
            }
            f.write_char(')')
        }
    }
}
