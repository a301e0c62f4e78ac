//! Forms of queries that the library does not read, brought into forms that it does.
//!
//! What is put in has a mark: a word in quotes that no client can write. The binder knows them.

use super::is_word;
use super::token::Lexeme;
use sqlparser::tokenizer::Token;

/// What marks are quoted with.
pub(crate) const FORM_QUOTE: char = '`';
/// `VARIADIC x` is read as the argument `VARIADIC => x`.
pub(crate) const VARIADIC: &str = "VARIADIC";
/// `ROWS FROM (f(), g())` is read as a function of functions.
pub(crate) const ROWS_FROM: &str = "ROWS FROM";
/// `GROUP BY DISTINCT a, b` is read as `GROUP BY` of this mark and the others.
pub(crate) const GROUP_DISTINCT: &str = "GROUP BY DISTINCT";
/// GROUPING SETS inside of GROUPING SETS are read as a function.
pub(crate) const GROUPING_SETS: &str = "GROUPING SETS";

/// Whether an identifier is this mark.
pub(crate) fn is_mark(ident: &sqlparser::ast::Ident, mark: &str) -> bool {
    ident.quote_style == Some(FORM_QUOTE) && ident.value == mark
}

/// What is known of queries and not supported: the subject of 0A000.
pub(super) fn unsupported(lexemes: &[Lexeme]) -> Option<&'static str> {
    let word = |at: usize, word: &str| lexemes.get(at).is_some_and(|lexeme| is_word(lexeme, word));
    (1..lexemes.len()).filter(|at| lexemes[at - 1].token == Token::RParen).find_map(|at| match () {
        () if word(at, "SEARCH") && (word(at + 1, "DEPTH") || word(at + 1, "BREADTH")) => Some("SEARCH in WITH"),
        () if word(at, "CYCLE") && lexemes[at..].iter().any(|lexeme| is_word(lexeme, "SET")) => Some("CYCLE in WITH"),
        () => None,
    })
}

/// The tokens in forms that the library reads; `None`: they are already.
pub(super) fn rewritten(lexemes: &[Lexeme]) -> Option<Vec<Lexeme>> {
    const WORDS: &[&str] = &["VARIADIC", "ROWS", "GROUP", "GROUPING"];
    if !lexemes.iter().any(|lexeme| WORDS.iter().any(|word| is_word(lexeme, word))) {
        return None;
    }
    let at_word = |at: usize, word: &str| lexemes.get(at).is_some_and(|lexeme| is_word(lexeme, word));
    let at_token = |at: usize, token: &Token| lexemes.get(at).is_some_and(|lexeme| lexeme.token == *token);
    let mark =
        |lexeme: &Lexeme, mark: &str| Lexeme { token: Token::make_word(mark, Some(FORM_QUOTE)), ..lexeme.clone() };
    let mut out = Vec::with_capacity(lexemes.len() + 4);
    let mut changed = false;
    // For each open bracket: whether it is that of GROUPING SETS.
    let mut open: Vec<bool> = Vec::new();
    let mut opens_sets = false;
    let mut at = 0;
    while let Some(lexeme) = lexemes.get(at) {
        let begins_item = at > 0 && matches!(lexemes[at - 1].token, Token::LParen | Token::Comma);
        let begins_from = at > 0
            && (lexemes[at - 1].token == Token::Comma
                || ["FROM", "JOIN", "LATERAL", "USING"].iter().any(|word| is_word(&lexemes[at - 1], word)));
        match () {
            () if at_word(at, "VARIADIC") && begins_item => {
                out.push(mark(lexeme, VARIADIC));
                out.push(Lexeme { token: Token::RArrow, ..lexeme.clone() });
                changed = true;
            }
            () if begins_from && at_word(at, "ROWS") && at_word(at + 1, "FROM") && at_token(at + 2, &Token::LParen) => {
                out.push(mark(lexeme, ROWS_FROM));
                changed = true;
                at += 1;
            }
            () if at_word(at, "GROUP") && at_word(at + 1, "BY") && at_word(at + 2, "DISTINCT") => {
                out.extend_from_slice(&lexemes[at..at + 2]);
                out.push(mark(&lexemes[at + 2], GROUP_DISTINCT));
                out.push(Lexeme { token: Token::Comma, ..lexemes[at + 2].clone() });
                changed = true;
                at += 2;
            }
            // ALL is what is done without it.
            () if at_word(at, "GROUP") && at_word(at + 1, "BY") && at_word(at + 2, "ALL") => {
                out.extend_from_slice(&lexemes[at..at + 2]);
                changed = true;
                at += 2;
            }
            () if at_word(at, "GROUPING") && at_word(at + 1, "SETS") && at_token(at + 2, &Token::LParen) => {
                if open.contains(&true) {
                    out.push(mark(lexeme, GROUPING_SETS));
                    changed = true;
                } else {
                    out.extend_from_slice(&lexemes[at..at + 2]);
                }
                opens_sets = true;
                at += 1;
            }
            () => {
                match lexeme.token {
                    Token::LParen => open.push(std::mem::take(&mut opens_sets)),
                    Token::RParen => {
                        open.pop();
                    }
                    _ => {}
                }
                out.push(lexeme.clone());
            }
        }
        at += 1;
    }
    changed.then_some(out)
}
