//! psql scripts, cut into what is sent to a server: statements, and the lines that go with a COPY.
//!
//! What psql does with a script is in its manual page: `;` outside quotes and parentheses ends a statement, `:name`
//! stands for a variable, a backslash begins a command of psql's own. Of those, `\set` and `\getenv` are obeyed, `\g`
//! and its like end a statement, and the others are left out: they show things, and change no answer.

use std::collections::HashMap;

/// A statement as it goes to the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// The line of the script on which it begins, from 1.
    pub line: usize,
    /// Its text, variables replaced.
    pub sql: String,
    /// The comment line just before it.
    pub heading: String,
    /// What follows a COPY … FROM STDIN, up to `\.`.
    pub data: Option<String>,
}

/// Cuts a script. `variables` holds what `\getenv` finds, and is given what `\set` sets.
pub fn pieces(script: &str, variables: &mut HashMap<String, String>) -> Vec<Piece> {
    Reader { text: script, at: 0, sql: String::new(), start: None, heading: String::new(), found: Vec::new() }
        .read(variables)
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    sql: String,
    start: Option<usize>,
    heading: String,
    found: Vec<Piece>,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    /// Takes `length` bytes into the statement.
    fn take(&mut self, length: usize) {
        self.sql.push_str(&self.text[self.at..self.at + length]);
        self.at += length;
    }

    fn read(mut self, variables: &mut HashMap<String, String>) -> Vec<Piece> {
        let mut depth = 0_usize;
        while let Some(first) = self.rest().chars().next() {
            if self.start.is_none() && !first.is_whitespace() && !self.rest().starts_with("--") && first != '\\' {
                self.start = Some(self.at);
            }
            let rest = self.rest();
            if rest.starts_with("--") {
                let end = rest.find('\n').unwrap_or(rest.len());
                if self.start.is_none() {
                    rest[..end].clone_into(&mut self.heading);
                    self.at += end;
                } else {
                    self.take(end);
                }
            } else if rest.starts_with("/*") {
                let length = comment(rest);
                self.take(length);
            } else if first == '\'' {
                let escapes = self.sql.ends_with(['E', 'e']) && !self.sql[..self.sql.len() - 1].ends_with(is_word);
                let length = quoted(rest, '\'', escapes);
                self.take(length);
            } else if first == '"' {
                let length = quoted(rest, '"', false);
                self.take(length);
            } else if let Some(length) = dollar_quoted(rest).filter(|_| !self.sql.ends_with(is_word)) {
                self.take(length);
            } else if rest.starts_with("::") || rest.starts_with(":=") {
                self.take(2);
            } else if let Some((length, value)) = variable(rest, variables) {
                self.sql.push_str(&value);
                self.at += length;
            } else if first == '\\' {
                self.command(variables);
            } else if first == ';' && depth == 0 {
                self.at += 1;
                self.end();
            } else {
                match first {
                    '(' => depth += 1,
                    ')' => depth = depth.saturating_sub(1),
                    _ => {}
                }
                self.take(first.len_utf8());
            }
            if self.start.is_none() {
                depth = 0;
            }
        }
        self.found
    }

    /// A statement is whole.
    fn end(&mut self) {
        let sql = std::mem::take(&mut self.sql).trim().to_owned();
        let start = self.start.take();
        let heading = std::mem::take(&mut self.heading);
        let (Some(start), false) = (start, sql.is_empty()) else { return };
        let line = self.text[..start].matches('\n').count() + 1;
        let data = is_copy_from_stdin(&sql).then(|| self.data());
        self.found.push(Piece { line, sql, heading, data });
    }

    /// The lines after a COPY.
    fn data(&mut self) -> String {
        let rest = self.rest();
        let begin = rest.find('\n').map_or(rest.len(), |at| at + 1);
        let lines = &rest[begin..];
        let mut length = 0;
        for line in lines.split_inclusive('\n') {
            if line.trim_end() == "\\." {
                self.at += begin + length + line.len();
                return lines[..length].to_owned();
            }
            length += line.len();
        }
        self.at = self.text.len();
        lines.to_owned()
    }

    /// A backslash command, to the end of its line.
    fn command(&mut self, variables: &mut HashMap<String, String>) {
        let rest = self.rest();
        if rest.starts_with("\\;") {
            self.sql.push(';');
            self.at += 2;
            return;
        }
        let end = rest.find('\n').unwrap_or(rest.len());
        let line = &rest[1..end];
        self.at += end;
        let (name, arguments) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        match name {
            "g" | "gx" | "gset" | "gdesc" | "gexec" | "crosstabview" => self.end(),
            "set" => {
                let mut words = words(arguments, variables).into_iter();
                if let Some(name) = words.next() {
                    variables.insert(name, words.collect());
                }
            }
            "getenv" => {
                let words = words(arguments, variables);
                if let [name, from] = words.as_slice()
                    && let Some(value) = variables.get(from).cloned()
                {
                    variables.insert(name.clone(), value);
                }
            }
            "r" | "reset" => {
                self.sql.clear();
                self.start = None;
            }
            _ => {}
        }
    }
}

fn is_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_' || letter == '$'
}

/// The length of a comment, which may hold others.
fn comment(text: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < text.len() {
        let rest = &text[at..];
        if rest.starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

/// The length of a quoted text with its quotes.
fn quoted(text: &str, quote: char, escapes: bool) -> usize {
    let mut letters = text.char_indices().skip(1).peekable();
    while let Some((at, letter)) = letters.next() {
        if escapes && letter == '\\' {
            letters.next();
        } else if letter == quote {
            match letters.peek() {
                Some((_, next)) if *next == quote => {
                    letters.next();
                }
                _ => return at + 1,
            }
        }
    }
    text.len()
}

/// The length of a dollar-quoted text, when one begins here.
fn dollar_quoted(text: &str) -> Option<usize> {
    let inner = text.strip_prefix('$')?;
    let end = inner.find('$')?;
    let tag = &inner[..end];
    if tag.starts_with(|letter: char| letter.is_ascii_digit()) || !tag.chars().all(is_word) {
        return None;
    }
    let mark = &text[..end + 2];
    let close = text[mark.len()..].find(mark)?;
    Some(mark.len() * 2 + close)
}

/// `:name`, `:'name'` and `:"name"`: the length and the value, when there is such a variable.
fn variable(text: &str, variables: &HashMap<String, String>) -> Option<(usize, String)> {
    let inner = text.strip_prefix(':')?;
    let quote = inner.chars().next().filter(|letter| matches!(letter, '\'' | '"'));
    let name = &inner[quote.map_or(0, char::len_utf8)..];
    let end = name.find(|letter: char| !(letter.is_alphanumeric() || letter == '_')).unwrap_or(name.len());
    let value = variables.get(&name[..end])?;
    match quote {
        None => Some((1 + end, value.clone())),
        Some(quote) => {
            let closed = name[end..].starts_with(quote);
            closed.then(|| (3 + end, format!("{quote}{}{quote}", value.replace(quote, &format!("{quote}{quote}")))))
        }
    }
}

/// The words of a backslash command's line: quotes taken off, variables replaced.
fn words(line: &str, variables: &HashMap<String, String>) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = line.trim();
    while let Some(first) = rest.chars().next() {
        if first.is_whitespace() {
            rest = rest.trim_start();
        } else if first == '\'' {
            let length = quoted(rest, '\'', true);
            words.push(rest[1..length.saturating_sub(1).max(1)].replace("''", "'"));
            rest = &rest[length..];
        } else if let Some((length, value)) = variable(rest, variables) {
            words.push(value);
            rest = &rest[length..];
        } else {
            let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
            words.push(rest[..end].to_owned());
            rest = &rest[end..];
        }
    }
    words
}

/// Whether lines of data follow.
fn is_copy_from_stdin(sql: &str) -> bool {
    let lower = sql.to_ascii_lowercase();
    let mut words = lower.split_whitespace();
    words.next() == Some("copy") && lower.split_whitespace().any(|word| word == "stdin") && !lower.contains("to stdout")
}

#[cfg(test)]
mod tests {
    use super::{HashMap, pieces};

    fn cut(script: &str) -> Vec<String> {
        pieces(script, &mut HashMap::new()).into_iter().map(|piece| piece.sql).collect()
    }

    #[test]
    fn semicolons_inside_quotes_comments_and_parentheses_do_not_end_a_statement() {
        let script = "select ';', E'a\\';', \"x;\", $q$;$q$ -- ;\n, /* ; /* ; */ */ (1;2);\nselect 2";
        assert_eq!(cut(script), ["select ';', E'a\\';', \"x;\", $q$;$q$ -- ;\n, /* ; /* ; */ */ (1;2)"]);
    }

    #[test]
    fn variables_and_commands_are_psql_s() {
        let script = "\\set a 'it''s' b\n\\d x\nselect :'a', :a, x::int, y[1:2]\\gset\nselect 1\\; select 2;";
        assert_eq!(cut(script), ["select 'it''sb', it'sb, x::int, y[1:2]", "select 1; select 2"]);
    }

    #[test]
    fn data_goes_with_its_copy() {
        let found = pieces("-- first\ncopy t from stdin;\n1;\n2\n\\.\nselect 1;", &mut HashMap::new());
        assert_eq!(found[0].data.as_deref(), Some("1;\n2\n"));
        assert_eq!((found[0].line, found[0].heading.as_str()), (2, "-- first"));
        assert_eq!(found[1].sql, "select 1");
    }
}
