//! Stored expressions as people read them: the brackets that the canonical form writes around every operator are left
//! out where the tree can be told without them, as PostgreSQL's pretty printer does.
//!
//! It works on the canonical text, whose form is regular: each operator, test and AND/OR/NOT stands in brackets of its
//! own, so that what a bracket holds can be told from the words at its top.

/// A piece of the text.
enum Piece {
    /// Anything outside brackets and quotes.
    Plain(String),
    /// A quoted string or name.
    Quoted(String),
    /// What stands between brackets of this kind.
    Bracket(char, Vec<Piece>),
}

/// What an expression is at its top.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    And,
    Or,
    Not,
    /// IS NULL, IS TRUE, IS DISTINCT FROM …
    Test,
    /// An operator between two operands: one of `+ -` (1), one of `* / %` (2), or another (0).
    Operator(u8),
    /// `x = ANY (…)`, COLLATE and others that keep their brackets inside an expression.
    Other,
    /// Forms that keep their brackets everywhere.
    Closed,
    /// A column, a constant, a call: nothing that brackets could stand around.
    Simple,
}

/// The canonical text of an expression without the brackets that it can do without.
pub fn pretty(text: &str) -> String {
    let mut chars = text.chars().peekable();
    let pieces = read(&mut chars, None);
    whole(&pieces)
}

fn read(chars: &mut std::iter::Peekable<std::str::Chars<'_>>, until: Option<char>) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut plain = String::new();
    while let Some(ch) = chars.next() {
        if Some(ch) == until {
            break;
        }
        let piece = match ch {
            '\'' | '"' => Piece::Quoted(quoted(ch, chars)),
            '(' => Piece::Bracket('(', read(chars, Some(')'))),
            '[' => Piece::Bracket('[', read(chars, Some(']'))),
            _ => {
                plain.push(ch);
                continue;
            }
        };
        if !plain.is_empty() {
            pieces.push(Piece::Plain(std::mem::take(&mut plain)));
        }
        pieces.push(piece);
    }
    if !plain.is_empty() {
        pieces.push(Piece::Plain(plain));
    }
    pieces
}

fn quoted(mark: char, chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> String {
    let mut out = String::from(mark);
    while let Some(ch) = chars.next() {
        out.push(ch);
        if ch == mark {
            // A mark twice is one inside.
            match chars.next_if_eq(&mark) {
                Some(again) => out.push(again),
                None => break,
            }
        }
    }
    out
}

/// An expression that stands for itself: an argument, an element, the whole.
fn whole(pieces: &[Piece]) -> String {
    match pieces {
        [Piece::Bracket('(', inner)] if kind(inner) != Kind::Closed => expression(inner),
        // What begins with a CASE's line and ends in its operator.
        other => expression(other),
    }
}

/// The words of an expression's top: brackets and strings are one sign each.
fn skeleton(pieces: &[Piece]) -> String {
    pieces.iter().fold(String::new(), |mut out, piece| {
        match piece {
            Piece::Plain(text) => out.push_str(text),
            Piece::Quoted(_) | Piece::Bracket(..) => out.push('\u{1}'),
        }
        out
    })
}

fn kind(pieces: &[Piece]) -> Kind {
    let top = skeleton(pieces);
    let trimmed = top.trim();
    if trimmed.starts_with("CASE") && trimmed.ends_with("END") {
        return Kind::Simple;
    }
    let top = match (trimmed.starts_with("CASE"), top.rfind("\nEND")) {
        // The CASE is an operand: what follows it says what the whole is.
        (true, Some(end)) => format!("\u{1}{}", &top[end + 4..]),
        _ => trimmed.to_owned(),
    };
    if top.contains(" AND ") {
        return Kind::And;
    }
    if top.contains(" OR ") {
        return Kind::Or;
    }
    if top.starts_with("NOT ") {
        return Kind::Not;
    }
    if top.starts_with("ROW\u{1} ") || top.contains(" AT TIME ZONE ") {
        return Kind::Closed;
    }
    if top.contains(" IS ") {
        return Kind::Test;
    }
    if top.contains(" COLLATE ") || top.contains(" ANY \u{1}") || top.contains(" ALL \u{1}") {
        return Kind::Other;
    }
    let mut words = top.split(' ').filter(|word| !word.is_empty());
    let is_symbol = |word: &str| word.chars().all(|c| "+-*/<>=~!@#%^&|`?".contains(c));
    match (words.next(), words.next()) {
        (Some(first), Some(_)) if is_symbol(first) => Kind::Operator(0),
        _ => match top.split(' ').filter(|word| !word.is_empty()).find(|word| is_symbol(word)) {
            Some("+" | "-") => Kind::Operator(1),
            Some("*" | "/" | "%") => Kind::Operator(2),
            Some(_) => Kind::Operator(0),
            None => Kind::Simple,
        },
    }
}

/// An expression without the brackets around it.
fn expression(pieces: &[Piece]) -> String {
    let own = kind(pieces);
    let is_case = skeleton(pieces).trim_start().starts_with("CASE");
    let case_end = pieces.iter().rposition(|piece| matches!(piece, Piece::Plain(text) if text.contains("\nEND")));
    let mut out = String::new();
    for (at, piece) in pieces.iter().enumerate() {
        let inner = match piece {
            Piece::Plain(text) => {
                out.push_str(text);
                continue;
            }
            Piece::Quoted(text) => {
                out.push_str(text);
                continue;
            }
            Piece::Bracket('[', inner) => {
                out.push_str(&format!("[{}]", list(inner)));
                continue;
            }
            Piece::Bracket(_, inner) => inner,
        };
        let before = at.checked_sub(1).map(|at| &pieces[at]);
        let is_cast = matches!(pieces.get(at + 1), Some(Piece::Plain(text)) if text.starts_with("::"));
        let is_call = match before {
            Some(Piece::Plain(text)) => {
                text.ends_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | '$'))
                    || text.ends_with(" ANY ")
                    || text.ends_with(" ALL ")
            }
            Some(Piece::Quoted(text)) => text.starts_with('"'),
            _ => false,
        };
        let in_case = is_case && case_end.is_some_and(|end| at < end);
        if matches!(before, Some(Piece::Plain(text)) if text.ends_with("POSITION")) {
            // Its operands keep their brackets.
            out.push_str(&format!("({})", verbatim(inner)));
        } else if is_call {
            out.push_str(&format!("({})", list(inner)));
        } else if is_cast {
            out.push_str(&cast(inner));
        } else if in_case {
            out.push_str(&match kind(inner) {
                Kind::Closed => format!("({})", expression(inner)),
                _ => expression(inner),
            });
        } else if is_free(own, kind(inner), at == 0) {
            out.push_str(&expression(inner));
        } else {
            out.push_str(&format!("({})", expression(inner)));
        }
    }
    out
}

/// What a cast is of: `x` in `(x)::type`.
fn cast(inner: &[Piece]) -> String {
    match inner {
        [Piece::Bracket('(', operand)] => format!("({})", expression(operand)),
        other => expression(other),
    }
}

/// Whether an operand of this kind needs no brackets inside an expression of that kind.
fn is_free(own: Kind, operand: Kind, is_first: bool) -> bool {
    match (own, operand) {
        (_, Kind::Simple) => true,
        (Kind::And | Kind::Or | Kind::Not, Kind::Test | Kind::Operator(_)) => true,
        (Kind::And | Kind::Or, Kind::Not | Kind::And) | (Kind::Or, Kind::Or) => true,
        (Kind::Operator(1), Kind::Operator(2)) => true,
        (Kind::Operator(outer @ (1 | 2)), Kind::Operator(inner)) => inner == outer && is_first,
        _ => false,
    }
}

/// Arguments or elements, between commas.
fn list(pieces: &[Piece]) -> String {
    let mut out = String::new();
    let mut item: Vec<Piece> = Vec::new();
    for piece in pieces {
        match piece {
            Piece::Plain(text) => {
                let mut parts = text.split(", ");
                if let Some(first) = parts.next().filter(|first| !first.is_empty()) {
                    item.push(Piece::Plain(first.to_owned()));
                }
                for part in parts {
                    out.push_str(&whole(&item));
                    out.push_str(", ");
                    item.clear();
                    if !part.is_empty() {
                        item.push(Piece::Plain(part.to_owned()));
                    }
                }
            }
            Piece::Quoted(text) => item.push(Piece::Quoted(text.clone())),
            Piece::Bracket(open, inner) => item.push(Piece::Bracket(*open, copied(inner))),
        }
    }
    out.push_str(&whole(&item));
    out
}

fn verbatim(pieces: &[Piece]) -> String {
    let text = |piece: &Piece| match piece {
        Piece::Plain(text) | Piece::Quoted(text) => text.clone(),
        Piece::Bracket('[', inner) => format!("[{}]", verbatim(inner)),
        Piece::Bracket(_, inner) => format!("({})", verbatim(inner)),
    };
    pieces.iter().map(text).collect()
}

fn copied(pieces: &[Piece]) -> Vec<Piece> {
    let copy = |piece: &Piece| match piece {
        Piece::Plain(text) => Piece::Plain(text.clone()),
        Piece::Quoted(text) => Piece::Quoted(text.clone()),
        Piece::Bracket(open, inner) => Piece::Bracket(*open, copied(inner)),
    };
    pieces.iter().map(copy).collect()
}

#[cfg(test)]
mod tests {
    /// PostgreSQL's own pairs: the canonical form, and below it the pretty one.
    #[test]
    fn as_postgresql() {
        let mut lines = include_str!("pretty.txt").lines().map(|line| line.replace("\\n", "\n"));
        let mut wrong = Vec::new();
        while let (Some(canonical), Some(expected)) = (lines.next(), lines.next()) {
            let expected = expected.strip_prefix("    ").expect("an indented line");
            let found = super::pretty(&canonical);
            if found != expected {
                wrong.push(format!("{canonical}\n  expected {expected}\n  found    {found}"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}
