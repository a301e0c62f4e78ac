//! Tokens with their places in the whole string.
//!
//! White space and comments end here. Adjacent string constants that a newline parts are one constant (PostgreSQL
//! manual 4.1.2.1). What the tokeniser refuses is explained by a scan of our own, in PostgreSQL's sentences.

use crate::dialect::KalamDialect;
use kalamdb_commons::{Result, SqlError, SqlState};
use sqlparser::ast::DollarQuotedString;
use sqlparser::tokenizer::{Location, Span, Token, Tokenizer, Word};

/// A token that means something, and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct Lexeme {
    pub token: Token,
    /// Lines and columns in the whole string.
    pub span: Span,
    /// Bytes in the whole string.
    pub start: usize,
    pub end: usize,
    /// Characters before it.
    pub char_start: usize,
}

/// Tokenises the whole string once.
pub(crate) fn lex(sql: &str) -> Result<Vec<Lexeme>> {
    let dialect = KalamDialect::default();
    let tokens = Tokenizer::new(&dialect, sql).tokenize_with_location().map_err(|_| unreadable(sql))?;
    let mut places = Places::new(sql);
    let mut lexemes: Vec<Lexeme> = Vec::with_capacity(tokens.len() / 2 + 1);
    for token in tokens {
        if matches!(token.token, Token::Whitespace(_) | Token::EOF) {
            continue;
        }
        let (start, char_start) = places.seek(token.span.start);
        let (end, _) = places.seek(token.span.end);
        let lexeme = Lexeme { token: token.token, span: token.span, start, end, char_start };
        match lexemes.last_mut() {
            Some(last) if last.end == start && is_junk(&last.token, &lexeme.token) => {
                return Err(junk_after_number(sql, last));
            }
            Some(last) if continues(sql, last, &lexeme) => join(last, lexeme),
            _ => signs_apart(lexeme, &mut lexemes),
        }
    }
    join_taxicabs(&mut lexemes);
    mark_expansions(&mut lexemes);
    mark_names(&mut lexemes);
    mark_offsets(&mut lexemes);
    mark_exclusions(&mut lexemes);
    if let Some(lexeme) = lexemes.iter().find(|lexeme| is_nameless(&lexeme.token)) {
        return Err(error_at(sql, lexeme.start, "zero-length delimited identifier", "\"\""));
    }
    if let Some(lexeme) = lexemes.iter().find(|lexeme| is_broken_parameter(&lexeme.token) || is_long(&lexeme.token)) {
        return Err(match lexeme.token {
            Token::Placeholder(_) => junk(sql, lexeme.start, lexeme.end, "parameter"),
            _ => junk(sql, lexeme.start, lexeme.end, "numeric literal"),
        });
    }
    Ok(lexemes)
}

/// An operator of several characters ends in a sign only when it has one of `~!@#%^&|`?` too (PostgreSQL manual 4.1.3):
/// in `a>-1` they are two.
fn signs_apart(lexeme: Lexeme, lexemes: &mut Vec<Lexeme>) {
    let parts = match &lexeme.token {
        Token::CustomBinaryOperator(text) if !text.contains(['~', '!', '@', '#', '%', '^', '&', '|', '`', '?']) => {
            Some((text.clone(), text.trim_end_matches(['+', '-']).len()))
                .filter(|(text, kept)| (1..text.len()).contains(kept))
        }
        _ => None,
    };
    let Some((text, kept)) = parts else { return lexemes.push(lexeme) };
    let ends = std::iter::once(kept).chain(kept + 1..=text.len());
    let mut from = 0;
    for to in ends {
        let part = Tokenizer::new(&KalamDialect::default(), &text[from..to]).tokenize().unwrap_or_default();
        let Some(token) = part.into_iter().next() else { continue };
        let place = |at: usize| Location { column: lexeme.span.start.column + at as u64, ..lexeme.span.start };
        lexemes.push(Lexeme {
            token,
            span: Span { start: place(from), end: place(to) },
            start: lexeme.start + from,
            end: lexeme.start + to,
            char_start: lexeme.char_start + from,
        });
        from = to;
    }
}

/// The library knows no operator that begins with `<+`: `<+>`, the taxicab distance of vectors, is three tokens to it.
fn join_taxicabs(lexemes: &mut Vec<Lexeme>) {
    let mut joined: Vec<Lexeme> = Vec::with_capacity(lexemes.len());
    for lexeme in lexemes.drain(..) {
        if lexeme.token == Token::Gt
            && let [.., left, plus] = joined.as_slice()
            && left.token == Token::Lt
            && plus.token == Token::Plus
            && left.end == plus.start
            && plus.end == lexeme.start
        {
            joined.pop();
            if let Some(left) = joined.last_mut() {
                left.token = Token::CustomBinaryOperator("<+>".to_owned());
                (left.end, left.span.end) = (lexeme.end, lexeme.span.end);
            }
            continue;
        }
        joined.push(lexeme);
    }
    *lexemes = joined;
}

/// Words that the library takes for functions without parentheses, wherever they stand.
#[rustfmt::skip]
const BARE_FUNCTIONS: &[&str] = &[
    "current_user", "session_user", "user", "current_role", "current_catalog", "current_schema", "current_date",
    "current_time", "current_timestamp", "localtime", "localtimestamp",
];

/// Behind a qualifier every word is a name: `pg_catalog.current_user()` calls a function as others are called.
fn mark_names(lexemes: &mut [Lexeme]) {
    for place in 1..lexemes.len().saturating_sub(1) {
        let around = (&lexemes[place - 1].token, &lexemes[place + 1].token);
        let Token::Word(word) = &lexemes[place].token else { continue };
        if around == (&Token::Period, &Token::LParen) && word.quote_style.is_none() {
            let name = word.value.to_ascii_lowercase();
            if BARE_FUNCTIONS.contains(&name.as_str()) {
                lexemes[place].token = Token::make_word(&name, Some('"'));
            }
        }
    }
}

/// The library takes a string before PRECEDING or FOLLOWING for an interval. In dollar quotes it is any value.
fn mark_offsets(lexemes: &mut [Lexeme]) {
    let is = |lexeme: &Lexeme, words: &[&str]| match &lexeme.token {
        Token::Word(word) => word.quote_style.is_none() && words.iter().any(|it| word.value.eq_ignore_ascii_case(it)),
        _ => false,
    };
    for place in 1..lexemes.len() {
        let Token::SingleQuotedString(text) = &lexemes[place].token else { continue };
        let begins = is(&lexemes[place - 1], &["ROWS", "RANGE", "GROUPS", "BETWEEN", "AND"]);
        let mut rest = lexemes[place + 1..].iter().take_while(|next| next.token != Token::RParen).take(OFFSET_TOKENS);
        if begins && rest.any(|next| is(next, &["PRECEDING", "FOLLOWING"])) {
            let value = text.clone();
            lexemes[place].token = Token::DollarQuotedString(DollarQuotedString { value, tag: None });
        }
    }
}

/// How many tokens behind a string may belong to the offset that it begins: `'1'::double precision PRECEDING`.
const OFFSET_TOKENS: usize = 8;

/// The quotes of the star in `(row).*`: none that can be written.
pub(crate) const EXPANSION: char = '`';

/// The library reads `t.*` and not `(row).*`: there the star becomes a field's name.
fn mark_expansions(lexemes: &mut [Lexeme]) {
    for place in 2..lexemes.len() {
        let before = (&lexemes[place - 2].token, &lexemes[place - 1].token);
        if lexemes[place].token == Token::Mul && matches!(before, (Token::RParen | Token::RBracket, Token::Period)) {
            lexemes[place].token = Token::make_word("*", Some(EXPANSION));
        }
    }
}

/// The quotes of the name that stands for a frame's EXCLUDE: as [`EXPANSION`], none that can be written.
pub(crate) const EXCLUSION: char = '`';

/// The library does not read EXCLUDE. It becomes a part of the name that the window is based on, or the whole name where
/// there is none: [`super::exclusion`] reads it.
fn mark_exclusions(lexemes: &mut Vec<Lexeme>) {
    let mut place = 0;
    while place < lexemes.len() {
        if let Some((name, words)) = exclusion_at(lexemes, place)
            && let Some(open) = opening(lexemes, place)
        {
            let mut mark = lexemes[place].clone();
            lexemes.drain(place..place + words);
            let base = match &lexemes[open + 1].token {
                Token::Word(word) if is_window_base(word) => Some(word.clone()),
                _ => None,
            };
            let folded = |word: &Word| match word.quote_style {
                Some(_) => word.value.clone(),
                None => word.value.to_ascii_lowercase(),
            };
            let name = base.as_ref().map_or(name.to_owned(), |base| format!("{name} {}", folded(base)));
            match base {
                Some(_) => lexemes[open + 1].token = Token::make_word(&name, Some(EXCLUSION)),
                None => {
                    mark.token = Token::make_word(&name, Some(EXCLUSION));
                    lexemes.insert(open + 1, mark);
                }
            }
        }
        place += 1;
    }
}

/// Whether a window's first word names the window that it is based on.
fn is_window_base(word: &Word) -> bool {
    use sqlparser::keywords::Keyword;
    word.quote_style.is_some()
        || !matches!(
            word.keyword,
            Keyword::PARTITION | Keyword::ORDER | Keyword::ROWS | Keyword::RANGE | Keyword::GROUPS
        )
}

/// The EXCLUDE at a place that ends a frame, and how many words it has.
fn exclusion_at(lexemes: &[Lexeme], place: usize) -> Option<(&'static str, usize)> {
    let is = |place: usize, word: &str| match lexemes.get(place).map(|lexeme| &lexeme.token) {
        Some(Token::Word(found)) => found.quote_style.is_none() && found.value.eq_ignore_ascii_case(word),
        _ => false,
    };
    let before = place.checked_sub(1)?;
    if !is(place, "EXCLUDE") || !["PRECEDING", "FOLLOWING", "ROW"].iter().any(|word| is(before, word)) {
        return None;
    }
    let forms: [(&[&str], &str); 4] =
        [(&["CURRENT", "ROW"], "row"), (&["GROUP"], "group"), (&["TIES"], "ties"), (&["NO", "OTHERS"], "none")];
    let (words, name) = forms.into_iter().find(|(words, _)| {
        words.iter().enumerate().all(|(at, word)| is(place + 1 + at, word))
            && lexemes.get(place + 1 + words.len()).is_some_and(|next| next.token == Token::RParen)
    })?;
    Some((name, words.len() + 1))
}

/// The parenthesis that the one behind a place closes.
fn opening(lexemes: &[Lexeme], place: usize) -> Option<usize> {
    let mut depth = 0;
    (0..place).rev().find(|at| match lexemes[*at].token {
        Token::RParen => {
            depth += 1;
            false
        }
        Token::LParen if depth == 0 => true,
        Token::LParen => {
            depth -= 1;
            false
        }
        _ => false,
    })
}

/// Turns rising lines and columns (from 1) into bytes and characters, in one walk over the text.
struct Places<'a> {
    chars: std::str::Chars<'a>,
    bytes: usize,
    count: usize,
    line: u64,
    column: u64,
}

impl<'a> Places<'a> {
    fn new(sql: &'a str) -> Self {
        Self { chars: sql.chars(), bytes: 0, count: 0, line: 1, column: 1 }
    }

    fn seek(&mut self, to: Location) -> (usize, usize) {
        while (self.line, self.column) < (to.line, to.column) {
            let Some(ch) = self.chars.next() else { break };
            self.bytes += ch.len_utf8();
            self.count += 1;
            if ch == '\n' {
                self.line += 1;
                self.column = 1;
            } else {
                self.column += 1;
            }
        }
        (self.bytes, self.count)
    }
}

/// Characters from 1 for a line and a column from 1.
pub(crate) fn position(text: &str, line: u64, column: u64) -> Option<usize> {
    if line == 0 || column == 0 {
        return None;
    }
    let mut places = Places::new(text);
    let (_, count) = places.seek(Location { line, column });
    ((places.line, places.column) == (line, column)).then_some(count + 1)
}

fn is_junk(number: &Token, next: &Token) -> bool {
    matches!((number, next), (Token::Number(..), Token::Word(word)) if word.quote_style.is_none())
}

// The library reads `10L` as a long integer of other dialects.
fn is_long(token: &Token) -> bool {
    matches!(token, Token::Number(_, true))
}

fn is_nameless(token: &Token) -> bool {
    matches!(token, Token::Word(word) if word.quote_style.is_some() && word.value.is_empty())
}

fn is_broken_parameter(token: &Token) -> bool {
    let Token::Placeholder(text) = token else { return false };
    let digits = text.strip_prefix('$').unwrap_or_default();
    digits.chars().next().is_some_and(|ch| ch.is_ascii_digit()) && !digits.chars().all(|ch| ch.is_ascii_digit())
}

fn junk_after_number(sql: &str, number: &Lexeme) -> SqlError {
    let end = number.end + sql[number.end..].chars().next().map_or(0, char::len_utf8);
    junk(sql, number.start, end, "numeric literal")
}

fn junk(sql: &str, start: usize, end: usize, after: &str) -> SqlError {
    error_at(sql, start, &format!("trailing junk after {after}"), &sql[start..end])
}

fn continues(sql: &str, last: &Lexeme, next: &Lexeme) -> bool {
    matches!(next.token, Token::SingleQuotedString(_))
        && matches!(last.token, Token::SingleQuotedString(_) | Token::EscapedStringLiteral(_))
        && sql[last.end..next.start].contains('\n')
}

fn join(last: &mut Lexeme, next: Lexeme) {
    if let (Token::SingleQuotedString(text) | Token::EscapedStringLiteral(text), Token::SingleQuotedString(more)) =
        (&mut last.token, &next.token)
    {
        text.push_str(more);
        last.end = next.end;
        last.span.end = next.span.end;
    }
}

fn error_at(sql: &str, byte: usize, what: &str, near: &str) -> SqlError {
    let message = format!("{what} at or near \"{near}\"");
    SqlError::new(SqlState::SYNTAX_ERROR, message).at(Some(sql[..byte].chars().count() + 1))
}

/// Why the tokeniser refused the text: a quote or comment that never ends, or a character that begins nothing.
fn unreadable(sql: &str) -> SqlError {
    let bytes = sql.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let rest = &sql[at..];
        let length = match bytes[at] {
            b'\'' if is_escape_string(sql, at) => quoted(rest, '\'', true),
            b'\'' => quoted(rest, '\'', false),
            b'"' if rest.starts_with("\"\"") && !rest.starts_with("\"\"\"") => {
                return error_at(sql, at, "zero-length delimited identifier", "\"\"");
            }
            b'"' => quoted(rest, '"', false),
            b'-' if rest.starts_with("--") => Some(rest.find('\n').unwrap_or(rest.len())),
            b'/' if rest.starts_with("/*") => comment(rest),
            b'$' => dollar_quoted(sql, at),
            _ => Some(rest.chars().next().map_or(1, char::len_utf8)),
        };
        let Some(length) = length else {
            let what = match bytes[at] {
                b'\'' => "unterminated quoted string",
                b'"' => "unterminated quoted identifier",
                b'$' => "unterminated dollar-quoted string",
                _ => "unterminated /* comment",
            };
            let start = if bytes[at] == b'\'' && is_escape_string(sql, at) { at - 1 } else { at };
            return error_at(sql, start, what, &sql[start..]);
        };
        if bytes[at] == b'\''
            && is_escape_string(sql, at)
            && let Some(error) = foreign_bytes(&rest[1..length - 1])
        {
            return error;
        }
        at += length;
    }
    // Something inside a well-formed quote: an escape that means no character.
    SqlError::new(SqlState::SYNTAX_ERROR, "invalid escape sequence in a quoted string")
}

/// Why the bytes that an escape string spells are no text.
fn foreign_bytes(body: &str) -> Option<SqlError> {
    let body = body.as_bytes();
    let (mut out, mut at) = (Vec::with_capacity(body.len()), 0);
    while let Some(&byte) = body.get(at) {
        at += 1;
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        let (skip, base, most) = match body.get(at) {
            Some(b'x') => (1, 16, 2),
            Some(b'0'..=b'7') => (0, 8, 3),
            _ => (0, 0, 0),
        };
        let digits = body[(at + skip).min(body.len())..].iter().take(most);
        let digits: Vec<u32> = digits.map_while(|digit| char::from(*digit).to_digit(base)).collect();
        if digits.is_empty() {
            out.extend(body.get(at));
            at += 1;
        } else {
            at += skip + digits.len();
            out.push(digits.iter().fold(0, |value, digit| value * base + digit) as u8);
        }
    }
    std::str::from_utf8(&out).err().map(|_| SqlError::not_utf8(&out))
}

fn is_escape_string(sql: &str, quote: usize) -> bool {
    let mut before = sql[..quote].chars().rev();
    matches!(before.next(), Some('e' | 'E')) && !before.next().is_some_and(|ch| ch.is_alphanumeric() || ch == '_')
}

/// The length of a quoted text in bytes, `None` when it does not end. A doubled quote is one.
fn quoted(text: &str, quote: char, backslash: bool) -> Option<usize> {
    let mut chars = text.char_indices().skip(1).peekable();
    while let Some((at, ch)) = chars.next() {
        if backslash && ch == '\\' {
            chars.next();
        } else if ch == quote {
            match chars.peek() {
                Some((_, next)) if *next == quote => {
                    chars.next();
                }
                _ => return Some(at + ch.len_utf8()),
            }
        }
    }
    None
}

/// The length of a comment, which nests.
fn comment(text: &str) -> Option<usize> {
    let mut depth = 0;
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        if rest.starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return Some(at);
            }
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    None
}

/// The length of a dollar-quoted text; 1 for a dollar sign that opens none.
fn dollar_quoted(sql: &str, at: usize) -> Option<usize> {
    let rest = &sql[at..];
    let inside_word = sql[..at].chars().next_back().is_some_and(|ch| ch.is_alphanumeric() || ch == '_');
    let tag_end = rest[1..].find('$').map(|end| end + 1);
    match tag_end {
        Some(end) if !inside_word && is_tag(&rest[1..end]) => {
            let tag = &rest[..=end];
            rest[tag.len()..].find(tag).map(|body| tag.len() + body + tag.len())
        }
        _ => Some(1),
    }
}

fn is_tag(text: &str) -> bool {
    !text.starts_with(|ch: char| ch.is_ascii_digit()) && text.chars().all(|ch| ch.is_alphanumeric() || ch == '_')
}
