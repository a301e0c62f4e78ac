//! A place in one statement's tokens, and the small questions that our own statements are read with.
//!
//! Every failure is PostgreSQL's `syntax error at or near` at the token where the cursor stands.

use super::token::Lexeme;
use super::{Fault, Read, syntax_error};
use crate::statement::Name;
use kalamdb_commons::{SqlError, SqlState};
use sqlparser::ast;
use sqlparser::tokenizer::{Location, Token};

/// A place between two tokens of one statement.
#[derive(Clone)]
pub(crate) struct Cursor<'a> {
    /// The whole string.
    pub sql: &'a str,
    /// The statement's tokens.
    pub lexemes: &'a [Lexeme],
    /// What follows them: a statement that ends too early is wrong there.
    pub after: Option<&'a Lexeme>,
    /// The next token.
    pub at: usize,
    /// Where spans count from: the start of the statement's own text.
    pub base: Location,
}

impl<'a> Cursor<'a> {
    /// A cursor before the first of a statement's tokens.
    pub fn new(sql: &'a str, lexemes: &'a [Lexeme], after: Option<&'a Lexeme>) -> Self {
        let base = lexemes.first().map_or(Location { line: 1, column: 1 }, |first| first.span.start);
        Self { sql, lexemes, after, at: 0, base }
    }

    /// The next token.
    pub fn peek(&self) -> Option<&'a Token> {
        self.peek_at(0)
    }
    /// The token `ahead` of the next one.
    pub fn peek_at(&self, ahead: usize) -> Option<&'a Token> {
        self.lexemes.get(self.at + ahead).map(|lexeme| &lexeme.token)
    }
    /// Whether every token was read.
    pub fn is_done(&self) -> bool {
        self.at >= self.lexemes.len()
    }
    /// The next token's place, in characters from 1 of the whole string.
    pub fn position(&self) -> Option<usize> {
        self.lexemes.get(self.at).map(|lexeme| lexeme.char_start + 1)
    }
    /// The next token's place in the statement's own text.
    pub fn own_position(&self) -> Option<usize> {
        let first = self.lexemes.first()?.char_start;
        self.lexemes.get(self.at).map(|lexeme| lexeme.char_start - first + 1)
    }
    /// The syntax error at the next token.
    pub fn unexpected(&self) -> Fault {
        Fault::Error(syntax_error(self.sql, self.lexemes.get(self.at).or(self.after)))
    }
    /// An error at the next token.
    pub fn error(&self, state: SqlState, message: impl Into<String>) -> Fault {
        Fault::Error(SqlError::new(state, message).at(self.position()))
    }

    /// Whether the next token is this word (upper case), unquoted.
    pub fn is(&self, word: &str) -> bool {
        self.is_at(0, word)
    }
    /// Whether the token `ahead` of the next is this word.
    pub fn is_at(&self, ahead: usize, word: &str) -> bool {
        matches!(self.peek_at(ahead), Some(Token::Word(found)) if found.quote_style.is_none() && found.value.eq_ignore_ascii_case(word))
    }
    /// Whether the next tokens are these words, separated by spaces.
    pub fn are(&self, words: &str) -> bool {
        words.split(' ').enumerate().all(|(ahead, word)| self.is_at(ahead, word))
    }
    /// Reads these words if they are next.
    pub fn accept(&mut self, words: &str) -> bool {
        let found = self.are(words);
        if found {
            self.at += words.split(' ').count();
        }
        found
    }
    /// Reads the first of the words that is next.
    pub fn accept_one<'w>(&mut self, words: &[&'w str]) -> Option<&'w str> {
        words.iter().copied().find(|word| self.accept(word))
    }
    /// Reads these words.
    pub fn expect(&mut self, words: &str) -> Read<()> {
        words.split(' ').try_for_each(|word| if self.accept(word) { Ok(()) } else { Err(self.unexpected()) })
    }
    /// Reads a punctuation mark if it is next.
    pub fn accept_token(&mut self, token: &Token) -> bool {
        let found = self.peek() == Some(token);
        if found {
            self.at += 1;
        }
        found
    }
    /// Reads a punctuation mark.
    pub fn expect_token(&mut self, token: &Token) -> Read<()> {
        if self.accept_token(token) { Ok(()) } else { Err(self.unexpected()) }
    }
    /// The statement must end here.
    pub fn end<T>(&self, value: T) -> Read<T> {
        if self.is_done() { Ok(value) } else { Err(self.unexpected()) }
    }
    /// `IF EXISTS`
    pub fn if_exists(&mut self) -> bool {
        self.accept("IF EXISTS")
    }
    /// `IF NOT EXISTS`
    pub fn if_not_exists(&mut self) -> bool {
        self.accept("IF NOT EXISTS")
    }
    /// `CASCADE` or `RESTRICT` (the default).
    pub fn cascade(&mut self) -> bool {
        let cascade = self.accept("CASCADE");
        if !cascade {
            self.accept("RESTRICT");
        }
        cascade
    }

    /// One or more items with commas between.
    pub fn list<T>(&mut self, mut item: impl FnMut(&mut Self) -> Read<T>) -> Read<Vec<T>> {
        let mut items = vec![item(self)?];
        while self.accept_token(&Token::Comma) {
            items.push(item(self)?);
        }
        Ok(items)
    }
    /// `( item, … )`
    pub fn parenthesised<T>(&mut self, item: impl FnMut(&mut Self) -> Read<T>) -> Read<Vec<T>> {
        self.expect_token(&Token::LParen)?;
        let items = self.list(item)?;
        self.expect_token(&Token::RParen)?;
        Ok(items)
    }

    /// A word or quoted identifier, as the parser's tree has it.
    fn raw_ident(&mut self, allowed: impl Fn(&str) -> bool) -> Read<ast::Ident> {
        match self.peek() {
            Some(Token::Word(word)) if word.quote_style.is_some() || allowed(&word.value) => {
                let ident =
                    ast::Ident { value: word.value.clone(), quote_style: word.quote_style, span: super::nowhere() };
                self.at += 1;
                Ok(ident)
            }
            _ => Err(self.unexpected()),
        }
    }
    /// An identifier (not a reserved word), folded.
    pub fn ident(&mut self) -> Read<String> {
        Ok(super::fold(&self.raw_ident(|word| !is_reserved(word))?))
    }
    /// Any word, reserved or not, folded.
    pub fn label(&mut self) -> Read<String> {
        Ok(super::fold(&self.raw_ident(|_| true)?))
    }
    /// A channel's name: folded, and not cut.
    pub fn channel(&mut self) -> Read<String> {
        let ident = self.raw_ident(|word| !is_reserved(word))?;
        Ok(super::fold_long(&ident))
    }
    /// A possibly qualified name. `kalamdb.ns.t` loses its database.
    pub fn name(&mut self) -> Read<Name> {
        let position = self.own_position();
        let start = self.position();
        let mut parts = vec![self.ident()?];
        while self.accept_token(&Token::Period) {
            parts.push(self.label()?);
        }
        let name = parts.pop().unwrap_or_default();
        let namespace = parts.pop();
        if let Some(database) = parts.pop()
            && (!parts.is_empty() || !matches!(database.as_str(), "kalamdb" | "postgres"))
        {
            let full = [parts, vec![database], namespace.into_iter().collect(), vec![name]].concat().join(".");
            let message = format!("cross-database references are not implemented: \"{full}\"");
            return Err(Fault::Error(SqlError::new(SqlState::FEATURE_NOT_SUPPORTED, message).at(start)));
        }
        Ok(Name { namespace, name, position })
    }
    /// `ONLY name *`: inheritance is none, so both mean nothing.
    pub fn relation(&mut self) -> Read<Name> {
        self.accept("ONLY");
        let name = self.name()?;
        self.accept_token(&Token::Mul);
        Ok(name)
    }
    /// A string constant.
    pub fn string(&mut self) -> Read<String> {
        let text = match self.peek() {
            Some(
                Token::SingleQuotedString(text)
                | Token::EscapedStringLiteral(text)
                | Token::UnicodeStringLiteral(text)
                | Token::NationalStringLiteral(text),
            ) => text.clone(),
            Some(Token::DollarQuotedString(quoted)) => quoted.value.clone(),
            _ => return Err(self.unexpected()),
        };
        self.at += 1;
        Ok(text)
    }
    /// A user's name: a string (as it is) or an identifier (folded).
    pub fn user(&mut self) -> Read<String> {
        self.string().or_else(|_| self.ident())
    }
    /// A number with its sign, as text.
    pub fn number(&mut self) -> Read<String> {
        let sign = if self.accept_token(&Token::Minus) {
            "-"
        } else {
            self.accept_token(&Token::Plus);
            ""
        };
        match self.peek() {
            Some(Token::Number(digits, _)) => {
                self.at += 1;
                Ok(format!("{sign}{digits}"))
            }
            _ => Err(self.unexpected()),
        }
    }
    /// An integer.
    pub fn integer(&mut self) -> Read<i64> {
        let before = self.clone();
        self.number()?.parse().map_err(|_| before.unexpected())
    }

    /// The text from one token up to another.
    pub fn text(&self, from: usize, to: usize) -> &'a str {
        match (self.lexemes.get(from), to.checked_sub(1).and_then(|last| self.lexemes.get(last))) {
            (Some(first), Some(last)) if from < to => &self.sql[first.start..last.end],
            _ => "",
        }
    }
    /// Where the item that begins here ends: the next comma or closing bracket on this level, or the end.
    pub fn item_end(&self) -> usize {
        let mut depth = 0_usize;
        for (index, lexeme) in self.lexemes.iter().enumerate().skip(self.at) {
            match lexeme.token {
                Token::LParen | Token::LBracket => depth += 1,
                Token::Comma if depth == 0 => return index,
                Token::RParen | Token::RBracket if depth == 0 => return index,
                Token::RParen | Token::RBracket => depth -= 1,
                _ => {}
            }
        }
        self.lexemes.len()
    }
    /// The place of the bracket that closes the one that is next.
    pub fn closing(&self) -> Read<usize> {
        let mut inside = self.clone();
        inside.expect_token(&Token::LParen)?;
        loop {
            inside.at = inside.item_end();
            match inside.peek() {
                Some(Token::Comma) => inside.at += 1,
                Some(Token::RParen) => return Ok(inside.at),
                _ => return Err(inside.unexpected()),
            }
        }
    }
    /// A cursor over some of the tokens, with a text of its own.
    pub fn part(&self, from: usize, to: usize) -> Cursor<'a> {
        Cursor::new(self.sql, &self.lexemes[from.min(to)..to], self.lexemes.get(to).or(self.after))
    }
}

/// PostgreSQL 15's reserved words (manual, appendix C): no column or table has such a name unless quoted.
pub fn is_reserved(word: &str) -> bool {
    RESERVED.binary_search(&word.to_ascii_lowercase().as_str()).is_ok()
}

#[rustfmt::skip]
const RESERVED: &[&str] = &[
    "all", "analyse", "analyze", "and", "any", "array", "as", "asc", "asymmetric", "both", "case", "cast", "check",
    "collate", "column", "constraint", "create", "current_catalog", "current_date", "current_role", "current_time",
    "current_timestamp", "current_user", "default", "deferrable", "desc", "distinct", "do", "else", "end", "except",
    "false", "fetch", "for", "foreign", "from", "grant", "group", "having", "in", "initially", "intersect", "into",
    "lateral", "leading", "limit", "localtime", "localtimestamp", "not", "null", "offset", "on", "only", "or", "order",
    "placing", "primary", "references", "returning", "select", "session_user", "some", "symmetric", "table", "then",
    "to", "trailing", "true", "union", "unique", "user", "using", "variadic", "when", "where", "window", "with",
];
