//! From tokens to the tree.

use super::scan::{Scanner, Token, Word};
use super::{Arithmetic, Comparison, Expr, Head, JsonPath, Method, Pattern, Predicate, Sign, Step};
use kalamdb_commons::{Numeric, Result, SqlError, SqlState};

/// How deep expressions may nest.
const DEPTH_MAX: usize = 3000;

/// Reads a whole expression.
pub(super) fn path(text: &str) -> Result<JsonPath> {
    let mut parser = Parser { scanner: Scanner::new(text), token: Token::End, depth: 0 };
    parser.advance()?;
    let empty = parser.token == Token::End;
    let strict = parser.is_word(Word::Strict);
    if strict || parser.is_word(Word::Lax) {
        parser.advance()?;
    }
    if empty {
        let message = format!("invalid input syntax for type jsonpath: \"{text}\"");
        return Err(SqlError::new(SqlState::INVALID_TEXT_REPRESENTATION, message));
    }
    let root = parser.any()?.0;
    if parser.token != Token::End {
        return Err(parser.syntax());
    }
    check(&root, Place::default())?;
    Ok(JsonPath { strict, root })
}

/// Where an expression stands.
#[derive(Clone, Copy, Default)]
struct Place {
    in_filter: bool,
    in_subscript: bool,
}

/// `@` has a meaning in filters, `last` in subscripts.
fn check(expr: &Expr, place: Place) -> Result<()> {
    let misplaced = |message: &str| Err(SqlError::new(SqlState::SYNTAX_ERROR, message));
    stacker::maybe_grow(64 * 1024, 1024 * 1024, || {
        match &expr.head {
            Head::Current if !place.in_filter => return misplaced("@ is not allowed in root expressions"),
            Head::Last if !place.in_subscript => return misplaced("LAST is allowed only in array subscripts"),
            Head::Arithmetic(_, left, right) => {
                check(left, place)?;
                check(right, place)?;
            }
            Head::Sign(_, operand) => check(operand, place)?,
            Head::Predicate(predicate) => match &**predicate {
                Predicate::And(left, right)
                | Predicate::Or(left, right)
                | Predicate::Compare(_, left, right)
                | Predicate::StartsWith(left, right) => {
                    check(left, place)?;
                    check(right, place)?;
                }
                Predicate::Not(inner)
                | Predicate::IsUnknown(inner)
                | Predicate::Exists(inner)
                | Predicate::LikeRegex(inner, _) => check(inner, place)?,
            },
            _ => {}
        }
        for step in &expr.steps {
            match step {
                Step::Filter(condition) => check(condition, Place { in_filter: true, ..place })?,
                Step::Items(items) => {
                    let place = Place { in_subscript: true, ..place };
                    for (from, to) in items {
                        check(from, place)?;
                        to.iter().try_for_each(|to| check(to, place))?;
                    }
                }
                _ => {}
            }
        }
        Ok(())
    })
}

struct Parser<'a> {
    scanner: Scanner<'a>,
    token: Token,
    depth: usize,
}

/// Whether an expression is a condition, which cannot be an operand of arithmetic or comparison.
#[derive(Clone, Copy, PartialEq)]
enum Sort {
    Value,
    Condition,
}

type Sorted = (Expr, Sort);

fn value(head: Head) -> Expr {
    Expr { head, steps: Vec::new() }
}

fn condition(predicate: Predicate) -> Sorted {
    (value(Head::Predicate(Box::new(predicate))), Sort::Condition)
}

fn too_deep() -> SqlError {
    SqlError::new(SqlState::STATEMENT_TOO_COMPLEX, "stack depth limit exceeded")
}

impl Parser<'_> {
    fn advance(&mut self) -> Result<()> {
        self.token = self.scanner.next()?;
        Ok(())
    }

    fn syntax(&self) -> SqlError {
        self.scanner.error("syntax error")
    }

    fn is_sign(&self, sign: &str) -> bool {
        matches!(&self.token, Token::Sign(found) if *found == sign)
    }

    fn is_word(&self, word: Word) -> bool {
        matches!(&self.token, Token::Name(_, Some(found)) if *found == word)
    }

    /// Takes the sign, if it is there.
    fn take(&mut self, sign: &str) -> Result<bool> {
        let found = self.is_sign(sign);
        if found {
            self.advance()?;
        }
        Ok(found)
    }

    fn expect(&mut self, sign: &str) -> Result<()> {
        if self.take(sign)? { Ok(()) } else { Err(self.syntax()) }
    }

    fn expect_word(&mut self, word: Word) -> Result<()> {
        if !self.is_word(word) {
            return Err(self.syntax());
        }
        self.advance()
    }

    fn string(&mut self) -> Result<String> {
        let Token::String(text) = &mut self.token else { return Err(self.syntax()) };
        let text = std::mem::take(text);
        self.advance()?;
        Ok(text)
    }

    fn want(&self, (expr, sort): Sorted, wanted: Sort) -> Result<Expr> {
        if sort == wanted { Ok(expr) } else { Err(self.syntax()) }
    }

    /// A value or a condition.
    fn any(&mut self) -> Result<Sorted> {
        if self.depth == DEPTH_MAX {
            return Err(too_deep());
        }
        self.depth += 1;
        let found = stacker::maybe_grow(128 * 1024, 1024 * 1024, || self.or())?;
        self.depth -= 1;
        Ok(found)
    }

    fn value(&mut self) -> Result<Expr> {
        let found = self.any()?;
        self.want(found, Sort::Value)
    }

    fn condition(&mut self) -> Result<Expr> {
        let found = self.any()?;
        self.want(found, Sort::Condition)
    }

    fn or(&mut self) -> Result<Sorted> {
        self.chain("||", Self::and, Predicate::Or)
    }

    fn and(&mut self) -> Result<Sorted> {
        self.chain("&&", Self::comparison, Predicate::And)
    }

    fn chain(
        &mut self,
        sign: &str,
        operand: fn(&mut Self) -> Result<Sorted>,
        of: fn(Expr, Expr) -> Predicate,
    ) -> Result<Sorted> {
        let mut left = operand(self)?;
        let mut links = self.depth;
        while self.is_sign(sign) {
            let whole = self.want(left, Sort::Condition)?;
            self.advance()?;
            let right = operand(self)?;
            left = condition(of(whole, self.want(right, Sort::Condition)?));
            links += 1;
            if links > DEPTH_MAX {
                return Err(too_deep());
            }
        }
        Ok(left)
    }

    fn comparison(&mut self) -> Result<Sorted> {
        if self.take("!")? {
            // Only what is delimited can be negated.
            if self.is_sign("(") {
                self.advance()?;
                let inner = self.condition()?;
                self.expect(")")?;
                return Ok(condition(Predicate::Not(inner)));
            }
            let exists = self.exists()?;
            return Ok(condition(Predicate::Not(exists)));
        }
        let left = self.sum()?;
        let comparison = match &self.token {
            Token::Sign("==") => Comparison::Equal,
            Token::Sign("!=" | "<>") => Comparison::NotEqual,
            Token::Sign("<") => Comparison::Less,
            Token::Sign("<=") => Comparison::LessOrEqual,
            Token::Sign(">") => Comparison::Greater,
            Token::Sign(">=") => Comparison::GreaterOrEqual,
            Token::Name(_, Some(Word::Starts)) => {
                let left = self.want(left, Sort::Value)?;
                self.advance()?;
                self.expect_word(Word::With)?;
                let initial = match &mut self.token {
                    Token::String(text) => Head::String(std::mem::take(text)),
                    Token::Variable(name) => Head::Variable(std::mem::take(name)),
                    _ => return Err(self.syntax()),
                };
                self.advance()?;
                return Ok(condition(Predicate::StartsWith(left, value(initial))));
            }
            Token::Name(_, Some(Word::LikeRegex)) => {
                let left = self.want(left, Sort::Value)?;
                self.advance()?;
                let text = self.string()?;
                let flags = if self.is_word(Word::Flag) {
                    self.advance()?;
                    self.string()?
                } else {
                    String::new()
                };
                return Ok(condition(Predicate::LikeRegex(left, Box::new(pattern(text, &flags)?))));
            }
            _ => return Ok(left),
        };
        let left = self.want(left, Sort::Value)?;
        self.advance()?;
        let right = self.sum()?;
        Ok(condition(Predicate::Compare(comparison, left, self.want(right, Sort::Value)?)))
    }

    fn sum(&mut self) -> Result<Sorted> {
        self.operation(Self::product, |token| match token {
            Token::Sign("+") => Some(Arithmetic::Add),
            Token::Sign("-") => Some(Arithmetic::Subtract),
            _ => None,
        })
    }

    fn product(&mut self) -> Result<Sorted> {
        self.operation(Self::signed, |token| match token {
            Token::Sign("*") => Some(Arithmetic::Multiply),
            Token::Sign("/") => Some(Arithmetic::Divide),
            Token::Sign("%") => Some(Arithmetic::Modulo),
            _ => None,
        })
    }

    fn operation(
        &mut self,
        operand: fn(&mut Self) -> Result<Sorted>,
        operator: fn(&Token) -> Option<Arithmetic>,
    ) -> Result<Sorted> {
        let mut left = operand(self)?;
        let mut links = self.depth;
        while let Some(operator) = operator(&self.token) {
            let whole = self.want(left, Sort::Value)?;
            self.advance()?;
            let right = operand(self)?;
            let right = self.want(right, Sort::Value)?;
            left = (value(Head::Arithmetic(operator, Box::new(whole), Box::new(right))), Sort::Value);
            links += 1;
            if links > DEPTH_MAX {
                return Err(too_deep());
            }
        }
        Ok(left)
    }

    fn signed(&mut self) -> Result<Sorted> {
        let mut signs = Vec::new();
        loop {
            signs.push(match self.token {
                Token::Sign("-") => Sign::Minus,
                Token::Sign("+") => Sign::Plus,
                _ => break,
            });
            self.advance()?;
            if signs.len() + self.depth > DEPTH_MAX {
                return Err(too_deep());
            }
        }
        let found = self.accessors()?;
        if signs.is_empty() {
            return Ok(found);
        }
        let mut operand = self.want(found, Sort::Value)?;
        for sign in signs.into_iter().rev() {
            operand = match (operand, sign) {
                // A signed number is a number.
                (Expr { head: Head::Number(text), steps }, sign) if steps.is_empty() => {
                    value(Head::Number(match sign {
                        Sign::Plus => text,
                        Sign::Minus => negative(&text),
                    }))
                }
                (operand, sign) => value(Head::Sign(sign, Box::new(operand))),
            };
        }
        Ok((operand, Sort::Value))
    }

    fn exists(&mut self) -> Result<Expr> {
        self.expect_word(Word::Exists)?;
        self.expect("(")?;
        let inner = self.value()?;
        self.expect(")")?;
        Ok(condition(Predicate::Exists(inner)).0)
    }

    /// Something with the accessors behind it.
    fn accessors(&mut self) -> Result<Sorted> {
        let bracketed = self.is_sign("(");
        let (mut expr, mut sort) = self.primary()?;
        // Accessors of a condition need brackets around it.
        let is_open = sort == Sort::Condition
            && (!bracketed || matches!(&expr.head, Head::Predicate(last) if matches!(**last, Predicate::IsUnknown(_))));
        if is_open {
            return Ok((expr, sort));
        }
        while let Some(step) = self.step()? {
            expr.steps.push(step);
            sort = Sort::Value;
        }
        Ok((expr, sort))
    }

    fn primary(&mut self) -> Result<Sorted> {
        let head = match &mut self.token {
            Token::Name(_, Some(Word::Exists)) => return Ok((self.exists()?, Sort::Condition)),
            Token::Sign("(") => {
                self.advance()?;
                let (inner, sort) = self.any()?;
                self.expect(")")?;
                if sort == Sort::Condition && self.is_word(Word::Is) {
                    self.advance()?;
                    self.expect_word(Word::Unknown)?;
                    return Ok(condition(Predicate::IsUnknown(inner)));
                }
                return Ok((inner, sort));
            }
            Token::Name(_, Some(Word::Null)) => Head::Null,
            Token::Name(_, Some(Word::True)) => Head::Bool(true),
            Token::Name(_, Some(Word::False)) => Head::Bool(false),
            Token::Name(_, Some(Word::Last)) => Head::Last,
            Token::Sign("$") => Head::Root,
            Token::Sign("@") => Head::Current,
            Token::String(text) => Head::String(std::mem::take(text)),
            Token::Variable(name) => Head::Variable(std::mem::take(name)),
            Token::Integer(text) | Token::Number(text) => {
                let number = Numeric::from_text(text).map_err(|error| error.report(text))?;
                Head::Number(number.to_string())
            }
            _ => return Err(self.syntax()),
        };
        self.advance()?;
        Ok((value(head), Sort::Value))
    }

    fn step(&mut self) -> Result<Option<Step>> {
        Ok(Some(match &self.token {
            Token::Sign("[") => {
                self.advance()?;
                let step = if self.take("*")? { Step::AnyItem } else { Step::Items(self.items()?) };
                self.expect("]")?;
                step
            }
            Token::Sign("?") => {
                self.advance()?;
                self.expect("(")?;
                let condition = self.condition()?;
                self.expect(")")?;
                Step::Filter(condition)
            }
            Token::Sign(".") => {
                self.advance()?;
                self.member()?
            }
            _ => return Ok(None),
        }))
    }

    fn items(&mut self) -> Result<Vec<(Expr, Option<Expr>)>> {
        let mut items = Vec::new();
        loop {
            let from = self.value()?;
            let to = match self.is_word(Word::To) {
                true => {
                    self.advance()?;
                    Some(self.value()?)
                }
                false => None,
            };
            items.push((from, to));
            if !self.take(",")? {
                return Ok(items);
            }
        }
    }

    /// What stands behind a point.
    fn member(&mut self) -> Result<Step> {
        let (name, word) = match &mut self.token {
            Token::Sign("*") => {
                self.advance()?;
                return Ok(Step::AnyMember);
            }
            Token::Sign("**") => {
                self.advance()?;
                return self.levels();
            }
            Token::String(name) => (std::mem::take(name), None),
            Token::Name(name, word) => (std::mem::take(name), *word),
            _ => return Err(self.syntax()),
        };
        self.advance()?;
        let method = match word {
            Some(Word::Type) => Method::Type,
            Some(Word::Size) => Method::Size,
            Some(Word::Double) => Method::Double,
            Some(Word::Ceiling) => Method::Ceiling,
            Some(Word::Floor) => Method::Floor,
            Some(Word::Abs) => Method::Abs,
            Some(Word::Keyvalue) => Method::KeyValue,
            Some(Word::Datetime) if self.is_sign("(") => {
                self.advance()?;
                let template = if self.is_sign(")") { None } else { Some(self.string()?) };
                self.expect(")")?;
                return Ok(Step::Datetime(template));
            }
            _ => return Ok(Step::Member(name)),
        };
        if !self.take("(")? {
            return Ok(Step::Member(name));
        }
        self.expect(")")?;
        Ok(Step::Method(method))
    }

    /// `{first to last}` behind `.**`.
    fn levels(&mut self) -> Result<Step> {
        if !self.take("{")? {
            return Ok(Step::Descend { first: Some(0), last: None });
        }
        let first = self.level()?;
        let last = if self.is_word(Word::To) {
            self.advance()?;
            self.level()?
        } else {
            first
        };
        self.expect("}")?;
        Ok(Step::Descend { first, last })
    }

    fn level(&mut self) -> Result<Option<u32>> {
        let level = match &self.token {
            Token::Name(_, Some(Word::Last)) => None,
            Token::Integer(text) => match text.parse::<i32>() {
                Ok(level) => Some(level as u32),
                Err(_) => {
                    let message = format!("value \"{text}\" is out of range for type integer");
                    return Err(SqlError::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, message));
                }
            },
            _ => return Err(self.syntax()),
        };
        self.advance()?;
        Ok(level)
    }
}

fn negative(text: &str) -> String {
    Numeric::parse(text).map_or_else(|| text.to_owned(), |number| number.negate().to_string())
}

/// A pattern with its flags.
fn pattern(text: String, written: &str) -> Result<Pattern> {
    if let Some(unknown) = written.chars().find(|flag| !"ismxq".contains(*flag)) {
        let error = SqlError::new(SqlState::SYNTAX_ERROR, "invalid input syntax for type jsonpath");
        return Err(error.with_detail(format!("Unrecognized flag character \"{unknown}\" in LIKE_REGEX predicate.")));
    }
    let flags: String = "ismxq".chars().filter(|flag| written.contains(*flag)).collect();
    let has = |flag: char| flags.contains(flag);
    let mut options = String::new();
    if has('i') {
        options.push('i');
    }
    if has('q') {
        options.push('q');
    } else if has('x') {
        return Err(SqlError::new(
            SqlState::FEATURE_NOT_SUPPORTED,
            "XQuery \"x\" flag (expanded regular expressions) is not implemented",
        ));
    } else {
        // Without `s` a point stops at line ends; with `m` there are anchors at lines.
        options.push(match (has('s'), has('m')) {
            (false, false) => 'p',
            (false, true) => 'n',
            (true, false) => 's',
            (true, true) => 'w',
        });
    }
    let regex = crate::function::regular_expression(&text, &options)?;
    Ok(Pattern { text, flags, regex })
}
