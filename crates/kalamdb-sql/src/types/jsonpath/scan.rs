//! The tokens of a path expression.

use kalamdb_commons::{Result, SqlError, SqlState};

/// The words that mean something; in any case, but for those of [`Word::is_lower`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub(super) enum Word {
    Abs,
    Ceiling,
    Datetime,
    Double,
    Exists,
    False,
    Flag,
    Floor,
    Is,
    Keyvalue,
    Last,
    Lax,
    LikeRegex,
    Null,
    Size,
    Starts,
    Strict,
    To,
    True,
    Type,
    Unknown,
    With,
}

impl Word {
    const ALL: [(&'static str, Word); 22] = [
        ("abs", Word::Abs),
        ("ceiling", Word::Ceiling),
        ("datetime", Word::Datetime),
        ("double", Word::Double),
        ("exists", Word::Exists),
        ("false", Word::False),
        ("flag", Word::Flag),
        ("floor", Word::Floor),
        ("is", Word::Is),
        ("keyvalue", Word::Keyvalue),
        ("last", Word::Last),
        ("lax", Word::Lax),
        ("like_regex", Word::LikeRegex),
        ("null", Word::Null),
        ("size", Word::Size),
        ("starts", Word::Starts),
        ("strict", Word::Strict),
        ("to", Word::To),
        ("true", Word::True),
        ("type", Word::Type),
        ("unknown", Word::Unknown),
        ("with", Word::With),
    ];

    fn of(text: &str) -> Option<Word> {
        let (known, word) = Self::ALL.iter().find(|(known, _)| known.eq_ignore_ascii_case(text))?;
        (!word.is_lower() || *known == text).then_some(*word)
    }

    /// JSON's own words are lower case.
    fn is_lower(self) -> bool {
        matches!(self, Word::Null | Word::True | Word::False)
    }
}

/// A token.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    End,
    /// A sign of one or two characters.
    Sign(&'static str),
    /// A character that is no sign of the language.
    Other,
    /// A name without quotes; maybe a word of the language.
    Name(String, Option<Word>),
    String(String),
    Variable(String),
    /// Digits alone.
    Integer(String),
    /// Another number.
    Number(String),
}

/// Reads tokens.
pub(super) struct Scanner<'a> {
    text: &'a str,
    at: usize,
    /// What an error at the newest token shows: its text; for a name what ended it, empty for the end of the input.
    shown: &'a str,
}

const SPECIAL: &[u8] = b"?%$.[]{}()|&!=<>@#,*:-+/";

fn is_special(byte: u8) -> bool {
    SPECIAL.contains(&byte)
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0c)
}

/// What names are made of.
fn is_other(byte: u8) -> bool {
    !is_special(byte) && !is_blank(byte) && byte != b'"' && byte != b'\\'
}

impl<'a> Scanner<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Scanner { text, at: 0, shown: "" }
    }

    /// An error at the newest token.
    pub(super) fn error(&self, message: &str) -> SqlError {
        let place = match self.shown {
            "" => "at end".to_owned(),
            shown => format!("at or near \"{shown}\""),
        };
        SqlError::new(SqlState::SYNTAX_ERROR, format!("{message} {place} of jsonpath input"))
    }

    fn byte(&self, ahead: usize) -> Option<u8> {
        self.text.as_bytes().get(self.at + ahead).copied()
    }

    /// How many bytes from a place on are so.
    fn count(&self, from: usize, fits: impl Fn(u8) -> bool) -> usize {
        self.text.as_bytes()[from..].iter().take_while(|byte| fits(**byte)).count()
    }

    fn fail<T>(&mut self, from: usize, to: usize, message: &str) -> Result<T> {
        // An error's text ends at a character's border.
        let to = (to..=self.text.len()).find(|at| self.text.is_char_boundary(*at)).unwrap_or(self.text.len());
        self.shown = &self.text[from..to];
        Err(self.error(message))
    }

    /// Blanks and comments.
    fn skip(&mut self) -> Result<()> {
        loop {
            self.at += self.count(self.at, is_blank);
            if !self.text[self.at..].starts_with("/*") {
                return Ok(());
            }
            match self.text[self.at + 2..].find("*/") {
                Some(end) => self.at += end + 4,
                None => {
                    self.shown = "";
                    return Err(self.error("unexpected end of comment"));
                }
            }
        }
    }

    /// The next token.
    pub(super) fn next(&mut self) -> Result<Token> {
        self.skip()?;
        let start = self.at;
        let Some(first) = self.byte(0) else {
            self.shown = "";
            return Ok(Token::End);
        };
        let digit_ahead = self.byte(1).is_some_and(|byte| byte.is_ascii_digit());
        match first {
            b'"' => {
                self.at += 1;
                self.quoted().map(Token::String)
            }
            b'$' if self.byte(1) == Some(b'"') => {
                self.at += 2;
                self.quoted().map(Token::Variable)
            }
            b'$' if self.byte(1).is_some_and(is_other) => {
                let length = self.count(start + 1, is_other);
                self.at = start + 1 + length;
                self.shown = &self.text[start..self.at];
                Ok(Token::Variable(self.text[start + 1..self.at].to_owned()))
            }
            b'0'..=b'9' => self.number(),
            b'.' if digit_ahead => self.number(),
            special if is_special(special) => Ok(self.sign()),
            _ => self.name(),
        }
    }

    fn sign(&mut self) -> Token {
        const SIGNS: [&str; 27] = [
            "&&", "||", "**", "==", "<>", "!=", "<=", ">=", "?", "%", "$", ".", "[", "]", "{", "}", "(", ")", "!", "<",
            ">", "@", ",", "*", "-", "+", "/",
        ];
        let rest = &self.text[self.at..];
        let found = SIGNS.iter().find(|sign| rest.starts_with(**sign));
        self.shown = &rest[..found.map_or(1, |sign| sign.len())];
        self.at += self.shown.len();
        found.map_or(Token::Other, |sign| Token::Sign(sign))
    }

    fn number(&mut self) -> Result<Token> {
        let digit = |byte: u8| byte.is_ascii_digit();
        let start = self.at;
        let mut end = start;
        // A leading zero is a number of its own.
        end += if self.byte(0) == Some(b'0') { 1 } else { self.count(end, digit) };
        let mut whole = true;
        let at = |place: usize| self.text.as_bytes().get(place).copied();
        if at(end) == Some(b'.') {
            whole = false;
            end += 1 + self.count(end + 1, digit);
        }
        if matches!(at(end), Some(b'e' | b'E')) {
            let signed = usize::from(matches!(at(end + 1), Some(b'+' | b'-')));
            let exponent = self.count((end + 1 + signed).min(self.text.len()), digit);
            if exponent > 0 {
                whole = false;
                end += 1 + signed + exponent;
            } else if signed > 0 {
                return self.fail(start, end + 2, "invalid numeric literal");
            }
        }
        if at(end).is_some_and(is_other) {
            return self.fail(start, end + 1, "trailing junk after numeric literal");
        }
        self.at = end;
        self.shown = &self.text[start..end];
        let text = self.shown.to_owned();
        Ok(if whole { Token::Integer(text) } else { Token::Number(text) })
    }

    fn name(&mut self) -> Result<Token> {
        let mut name = String::new();
        loop {
            let length = self.count(self.at, is_other);
            name.push_str(&self.text[self.at..self.at + length]);
            self.at += length;
            if self.byte(0) != Some(b'\\') {
                break;
            }
            self.escape(&mut name)?;
        }
        let blanks = self.count(self.at, is_blank);
        self.shown = &self.text[self.at..self.at + blanks];
        let word = Word::of(&name);
        Ok(Token::Name(name, word))
    }

    /// A string, behind its opening quote.
    fn quoted(&mut self) -> Result<String> {
        let mut string = String::new();
        loop {
            let length = self.count(self.at, |byte| byte != b'"' && byte != b'\\');
            string.push_str(&self.text[self.at..self.at + length]);
            self.at += length;
            match self.byte(0) {
                Some(b'"') => {
                    self.shown = &self.text[self.at..=self.at];
                    self.at += 1;
                    return Ok(string);
                }
                Some(_) => self.escape(&mut string)?,
                None => {
                    self.shown = "";
                    return Err(self.error("unexpected end of quoted string"));
                }
            }
        }
    }

    /// Reads an escape.
    fn escape(&mut self, out: &mut String) -> Result<()> {
        let start = self.at;
        let Some(escaped) = self.text[start + 1..].chars().next() else {
            return self.fail(start, start + 1, "unexpected end after backslash");
        };
        self.at = start + 1 + escaped.len_utf8();
        out.push(match escaped {
            'b' => '\x08',
            'f' => '\x0c',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\x0b',
            'x' => {
                let digits = self.count(self.at, |byte| byte.is_ascii_hexdigit()).min(2);
                if digits < 2 {
                    return self.fail(start, self.at + digits, "invalid hex character sequence");
                }
                self.at += 2;
                let code = self.hex(self.at - 2, self.at);
                self.character(code)?
            }
            'u' => {
                self.at = start;
                return self.unicode(out);
            }
            other => other,
        });
        Ok(())
    }

    fn hex(&self, from: usize, to: usize) -> u32 {
        u32::from_str_radix(&self.text[from..to], 16).unwrap_or(u32::MAX)
    }

    fn character(&self, code: u32) -> Result<char> {
        if code == 0 {
            let error = SqlError::new(SqlState::UNTRANSLATABLE_CHARACTER, "unsupported Unicode escape sequence");
            return Err(error.with_detail("\\u0000 cannot be converted to text."));
        }
        char::from_u32(code).ok_or_else(|| SqlError::new(SqlState::SYNTAX_ERROR, "invalid Unicode code point"))
    }

    /// A run of `\uXXXX` and `\u{X…}`, where pairs of surrogates are one character.
    fn unicode(&mut self, out: &mut String) -> Result<()> {
        let start = self.at;
        let mut codes = Vec::new();
        while self.text[self.at..].starts_with("\\u") {
            let digits = self.at + 2;
            let is_hex = |byte: u8| byte.is_ascii_hexdigit();
            if self.byte(2) == Some(b'{') {
                let length = self.count(digits + 1, is_hex).min(6);
                if length == 0 || self.byte(3 + length) != Some(b'}') {
                    return self.fail(start, digits + 1 + length, "invalid unicode sequence");
                }
                codes.push(self.hex(digits + 1, digits + 1 + length));
                self.at = digits + length + 2;
            } else {
                let length = self.count(digits, is_hex).min(4);
                if length < 4 {
                    return self.fail(start, digits + length, "invalid unicode sequence");
                }
                codes.push(self.hex(digits, digits + 4));
                self.at = digits + 4;
            }
        }
        let broken = |detail: &str| {
            let error = SqlError::new(SqlState::INVALID_TEXT_REPRESENTATION, "invalid input syntax for type jsonpath");
            Err(error.with_detail(detail))
        };
        let mut high = None;
        for code in codes {
            match (code, high) {
                (0xd800..=0xdbff, None) => high = Some(code),
                (0xd800..=0xdbff, Some(_)) => {
                    return broken("Unicode high surrogate must not follow a high surrogate.");
                }
                (0xdc00..=0xdfff, Some(first)) => {
                    out.push(self.character(0x10000 + ((first & 0x3ff) << 10) + (code & 0x3ff))?);
                    high = None;
                }
                (0xdc00..=0xdfff, None) | (_, Some(_)) => {
                    return broken("Unicode low surrogate must follow a high surrogate.");
                }
                _ => out.push(self.character(code)?),
            }
        }
        match high {
            Some(_) => broken("Unicode low surrogate must follow a high surrogate."),
            None => Ok(()),
        }
    }
}
