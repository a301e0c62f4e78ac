//! Templates of numbers: `to_char(numeric, '9,990.99')` and `to_number` (PostgreSQL manual 9.8).

use super::Function;
use super::rows::{f, fail};
use super::template::ordinal_ending;
use kalamdb_commons::numeric::arithmetic::{Op, power_of_ten};
use kalamdb_commons::{Numeric, Result, SqlError, SqlState};

#[rustfmt::skip]
pub(super) static FUNCTIONS: &[Function] = &[
    f!(1773 stable "to_char" (a: Int4, template: Text) -> Text { Picture::new(template)?.print(&Numeric::from(i64::from(a))) }),
    f!(1774 stable "to_char" (a: Int8, template: Text) -> Text { Picture::new(template)?.print(&Numeric::from(a)) }),
    f!(1772 stable "to_char" (a: Numeric, template: Text) -> Text { Picture::new(template)?.print(&a) }),
    f!(1775 stable "to_char" (a: Float4, template: Text) -> Text { Picture::new(template)?.print_float(f64::from(a), 6) }),
    f!(1776 stable "to_char" (a: Float8, template: Text) -> Text { Picture::new(template)?.print_float(a, 15) }),
    f!(1777 stable "to_number" (text: Text, template: Text) -> Numeric { Picture::new(template)?.read(text) }),
];

#[derive(Clone, Copy, PartialEq, Debug)]
enum Part {
    Nine,
    Zero,
    Point,
    Comma,
    /// `S` before the digits, or behind them.
    Sign,
    /// `MI`
    Minus,
    /// `PL`
    Plus,
    /// `SG`
    PlusMinus,
    Currency,
    Ordinal {
        upper: bool,
    },
    Roman {
        upper: bool,
    },
    Char(char),
}

/// A template taken apart.
struct Picture {
    parts: Vec<Part>,
    /// Digits before the point.
    whole: usize,
    /// Digits behind it.
    fraction: usize,
    /// The first `0`'s place among the digits before the point.
    zero_start: Option<usize>,
    /// How many digits behind the point up to the last `0`.
    zero_end: usize,
    fill: bool,
    brackets: bool,
    /// `S` was given: before the digits (`false`: behind).
    sign_first: Option<bool>,
    /// `V`: so many digits are shifted before the point.
    shift: Option<usize>,
    scientific: bool,
}

fn prefix<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    text.get(..word.len()).filter(|start| start.eq_ignore_ascii_case(word)).map(|_| &text[word.len()..])
}

fn syntax<T>(why: &str) -> Result<T> {
    fail(SqlState::SYNTAX_ERROR, why)
}

impl Picture {
    fn new(template: &str) -> Result<Picture> {
        let mut picture = Picture {
            parts: Vec::new(),
            whole: 0,
            fraction: 0,
            zero_start: None,
            zero_end: 0,
            fill: true,
            brackets: false,
            sign_first: None,
            shift: None,
            scientific: false,
        };
        let mut behind_point = false;
        let mut rest = template;
        while let Some(first) = rest.chars().next() {
            if first == '"' {
                let end = rest[1..].find('"').map_or(rest.len(), |at| at + 1);
                picture.parts.extend(rest[1..end].chars().map(Part::Char));
                rest = rest.get(end + 1..).unwrap_or("");
                continue;
            }
            rest = picture.take(rest, first, &mut behind_point)?;
        }
        if picture.scientific && !picture.fill {
            return syntax("\"EEEE\" is incompatible with other formats");
        }
        Ok(picture)
    }

    /// Takes the next pattern; gives what follows it.
    fn take<'a>(&mut self, rest: &'a str, first: char, behind_point: &mut bool) -> Result<&'a str> {
        let single = &rest[first.len_utf8()..];
        match first {
            '9' | '0' => {
                self.digit(first == '0', *behind_point);
                return Ok(single);
            }
            '.' | 'D' | 'd' => {
                if *behind_point {
                    return syntax("multiple decimal points");
                }
                *behind_point = true;
                self.parts.push(Part::Point);
                return Ok(single);
            }
            ',' | 'G' | 'g' => {
                self.parts.push(Part::Comma);
                return Ok(single);
            }
            'V' | 'v' => {
                self.shift = Some(0);
                return Ok(single);
            }
            _ => {}
        }
        if let Some(rest) = prefix(rest, "FM") {
            self.fill = false;
            return Ok(rest);
        }
        if let Some(rest) = prefix(rest, "EEEE") {
            self.scientific = true;
            return Ok(rest);
        }
        if let Some(rest) = prefix(rest, "PR") {
            self.brackets = true;
            return Ok(rest);
        }
        let upper = first.is_ascii_uppercase();
        let words = [
            ("MI", Part::Minus),
            ("PL", Part::Plus),
            ("SG", Part::PlusMinus),
            ("TH", Part::Ordinal { upper }),
            ("RN", Part::Roman { upper }),
            ("L", Part::Currency),
            ("S", Part::Sign),
        ];
        for (word, part) in words {
            if let Some(rest) = prefix(rest, word) {
                if part == Part::Sign {
                    if self.sign_first.is_some() {
                        return syntax("cannot use \"S\" twice");
                    }
                    self.sign_first = Some(self.whole + self.fraction == 0);
                }
                self.parts.push(part);
                return Ok(rest);
            }
        }
        self.parts.push(Part::Char(first));
        Ok(single)
    }

    fn digit(&mut self, zero: bool, behind_point: bool) {
        if let Some(shift) = &mut self.shift {
            *shift += 1;
        }
        if behind_point {
            self.fraction += 1;
            if zero {
                self.zero_end = self.fraction;
            }
        } else {
            if zero && self.zero_start.is_none() {
                self.zero_start = Some(self.whole);
            }
            self.whole += 1;
        }
        self.parts.push(if zero { Part::Zero } else { Part::Nine });
    }

    fn print(&self, value: &Numeric) -> Result<String> {
        if self.scientific {
            return Ok(self.print_scientific(value));
        }
        if !value.is_finite() {
            let word = if *value == Numeric::NaN { "NaN" } else { "Infinity" };
            return Ok(self.layout(value.sign() < 0, word, None));
        }
        let value = match self.shift {
            Some(shift) => value.apply(Op::Mul, &power_of_ten(shift as i32)?)?,
            None => value.clone(),
        };
        let text = value.round(self.fraction as i32).to_string();
        Ok(self.print_text(&text))
    }

    fn print_float(&self, value: f64, digits: usize) -> Result<String> {
        if self.scientific {
            return Ok(self.print_scientific(&Numeric::from_f64(value)));
        }
        if !value.is_finite() {
            let word = if value.is_nan() { "NaN" } else { "Infinity" };
            return Ok(self.layout(value < 0.0, word, None));
        }
        let value = self.shift.map_or(value, |shift| value * 10_f64.powi(shift as i32));
        // Digits beyond the type's precision are not shown.
        let whole = format!("{:.0}", value.abs()).len();
        let fraction = self.fraction.min(digits.saturating_sub(whole));
        let mut text = format!("{value:.fraction$}");
        if self.fraction > 0 {
            if fraction == 0 {
                text.push('.');
            }
            text.extend(std::iter::repeat_n('0', self.fraction - fraction));
        }
        Ok(self.print_text(&text))
    }

    /// `-12.50`
    fn print_text(&self, text: &str) -> String {
        let (negative, digits) = match text.strip_prefix('-') {
            // What rounds to zero has no sign.
            Some(digits) => (digits.bytes().any(|byte| matches!(byte, b'1'..=b'9')), digits),
            None => (false, text),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        self.layout(negative, whole, Some(fraction))
    }

    fn print_scientific(&self, value: &Numeric) -> String {
        if !value.is_finite() {
            return "#".repeat(self.whole + self.fraction + 7);
        }
        let (mantissa, scale) = value.parts();
        let digits = mantissa.magnitude().to_string();
        let mut exponent = digits.len() as i64 - 1 - i64::from(scale);
        // Rounding to the digits behind the point can make one more before it.
        let places = self.fraction as i64 - exponent;
        let rounded = value.abs().round(places as i32);
        let digits = rounded.parts().0.to_string();
        let digits = digits.trim_start_matches('0');
        let before = i64::from(rounded.scale());
        if !rounded.is_zero() {
            exponent = digits.len() as i64 - 1 - before;
        } else {
            exponent = 0;
        }
        let mut shown: String = digits.chars().chain(std::iter::repeat('0')).take(self.fraction + 1).collect();
        if self.fraction > 0 {
            shown.insert(1, '.');
        }
        let sign = if value.sign() < 0 { "-" } else { " " };
        format!("{sign}{shown}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
    }

    /// `whole` and `fraction` are digits, or a word without a fraction.
    fn layout(&self, negative: bool, whole: &str, fraction: Option<&str>) -> String {
        let sharps = "#".repeat(self.whole);
        let number = whole;
        let overflow = whole.len() > self.whole;
        let fraction_sharps = "#".repeat(self.fraction);
        let (whole, fraction) =
            if overflow { (sharps.as_str(), fraction.map(|_| fraction_sharps.as_str())) } else { (whole, fraction) };
        let leading = self.whole - whole.len();
        // A single zero before the point is not shown, unless asked for.
        let hidden_zero = whole == "0" && self.fraction > 0 && self.zero_start.is_none();
        // Without padding, zeros at the end are not shown either.
        let relevant = fraction.map_or(0, |fraction| {
            if self.fill { fraction.len() } else { fraction.trim_end_matches('0').len().max(self.zero_end) }
        });
        let signs = self.parts.iter().any(|part| matches!(part, Part::Minus | Part::PlusMinus));
        let mut line = Line {
            out: String::new(),
            negative,
            pending: !signs && (negative || self.fill || self.sign_first.is_some()),
            picture: self,
        };
        let (mut place, mut behind, mut in_number) = (0, 0, false);
        let mut past_point = false;
        let last_digit = self.parts.iter().rposition(|part| matches!(part, Part::Nine | Part::Zero | Part::Point));
        for (at, part) in self.parts.iter().enumerate() {
            match part {
                Part::Nine | Part::Zero if past_point => {
                    if let Some(digit) = fraction.and_then(|fraction| fraction.get(behind..behind + 1))
                        && behind < relevant
                    {
                        line.out.push_str(digit);
                    }
                    behind += 1;
                }
                Part::Nine | Part::Zero => {
                    let zero = self.zero_start.is_some_and(|start| start <= place);
                    if place >= leading {
                        if hidden_zero {
                            if relevant == 0 && !self.fill {
                                line.sign();
                                line.out.push('0');
                            } else if self.fill {
                                line.out.push(' ');
                            }
                        } else {
                            line.sign();
                            line.out.push_str(&whole[place - leading..=place - leading]);
                            in_number = true;
                        }
                    } else if zero {
                        line.sign();
                        line.out.push('0');
                        in_number = true;
                    } else if self.fill {
                        line.out.push(' ');
                    }
                    place += 1;
                }
                Part::Point => {
                    past_point = true;
                    if fraction.is_some() {
                        line.sign();
                        line.out.push('.');
                    }
                }
                Part::Comma if in_number => line.out.push(','),
                Part::Comma if self.fill => line.out.push(' '),
                Part::Comma | Part::Sign => {}
                Part::Minus if negative => line.out.push('-'),
                Part::Plus if !negative => line.out.push('+'),
                Part::PlusMinus => line.out.push(if negative { '-' } else { '+' }),
                Part::Minus | Part::Plus if self.fill => line.out.push(' '),
                Part::Minus | Part::Plus => {}
                Part::Currency => line.out.push(' '),
                Part::Ordinal { upper } => {
                    if !negative && !overflow && fraction == Some("") {
                        let last: i64 = whole[whole.len().saturating_sub(2)..].parse().unwrap_or(0);
                        line.out.push_str(ordinal_ending(last, *upper));
                    }
                }
                Part::Roman { upper } => line.out.push_str(&self.roman(number, negative, *upper)),
                Part::Char(c) => line.out.push(*c),
            }
            if Some(at) == last_digit {
                line.close();
            }
        }
        line.out
    }

    fn roman(&self, digits: &str, negative: bool, upper: bool) -> String {
        const NUMERALS: [(u32, &str); 13] = [
            (1000, "M"),
            (900, "CM"),
            (500, "D"),
            (400, "CD"),
            (100, "C"),
            (90, "XC"),
            (50, "L"),
            (40, "XL"),
            (10, "X"),
            (9, "IX"),
            (5, "V"),
            (4, "IV"),
            (1, "I"),
        ];
        let mut rest = match digits.parse::<u32>() {
            Ok(value @ 1..=3999) if !negative => value,
            _ => return "#".repeat(15),
        };
        let mut numeral = String::new();
        for (value, letters) in NUMERALS {
            while rest >= value {
                numeral.push_str(letters);
                rest -= value;
            }
        }
        let numeral = if upper { numeral } else { numeral.to_lowercase() };
        if self.fill { format!("{numeral:>15}") } else { numeral }
    }

    fn read(&self, text: &str) -> Result<Numeric> {
        if self.scientific {
            return Err(SqlError::unsupported("\"EEEE\" in to_number"));
        }
        let mut digits = String::new();
        let mut negative = false;
        let mut rest = text;
        let is_digit = |c: char| c.is_ascii_digit();
        for part in &self.parts {
            match part {
                Part::Nine | Part::Zero => {
                    rest = rest.trim_start();
                    while let Some(after) = rest.strip_prefix(['-', '+', '<']) {
                        negative |= !rest.starts_with('+');
                        rest = after;
                    }
                    if let Some(digit) = rest.chars().next().filter(|c| is_digit(*c)) {
                        digits.push(digit);
                        rest = &rest[1..];
                    }
                }
                Part::Point => {
                    if let Some(after) = rest.strip_prefix('.') {
                        digits.push('.');
                        rest = after;
                    }
                }
                Part::Comma => rest = rest.strip_prefix(',').unwrap_or(rest),
                Part::Sign | Part::Minus | Part::Plus | Part::PlusMinus => {
                    if let Some(after) = rest.strip_prefix(['-', '+']) {
                        negative |= rest.starts_with('-');
                        rest = after;
                    }
                }
                Part::Roman { .. } => return Err(SqlError::unsupported("\"RN\" in to_number")),
                Part::Ordinal { .. } => rest = rest.get(2..).unwrap_or(""),
                Part::Currency | Part::Char(_) => {
                    if rest.chars().next().is_some_and(|c| !is_digit(c)) {
                        let mut chars = rest.chars();
                        chars.next();
                        rest = chars.as_str();
                    }
                }
            }
        }
        negative |= rest.starts_with('-') && self.sign_first.is_some();
        if !digits.bytes().any(|byte| byte.is_ascii_digit()) {
            return Err(kalamdb_commons::numeric::ParseNumericError::Syntax.report(text.trim()));
        }
        let value = Numeric::from_text(&digits).map_err(|error| error.report(text))?;
        let value = match self.shift {
            Some(shift) => value.apply(Op::Div, &power_of_ten(shift as i32)?)?,
            None => value,
        };
        Ok(if negative { value.negate() } else { value })
    }
}

/// A line in the making.
struct Line<'a> {
    out: String,
    negative: bool,
    /// The sign is still to be written, before the first digit.
    pending: bool,
    picture: &'a Picture,
}

impl Line<'_> {
    fn sign(&mut self) {
        if !self.pending || self.picture.sign_first == Some(false) {
            return;
        }
        self.pending = false;
        let sign = match (self.picture.sign_first, self.picture.brackets, self.negative) {
            (Some(_), _, true) => "-",
            (Some(_), _, false) => "+",
            (None, true, true) => "<",
            (None, false, true) => "-",
            (None, _, false) if self.picture.fill => " ",
            _ => "",
        };
        self.out.push_str(sign);
    }

    /// Behind the last digit.
    fn close(&mut self) {
        if self.picture.sign_first == Some(false) {
            self.out.push(if self.negative { '-' } else { '+' });
        } else if self.picture.brackets {
            match (self.negative, self.picture.fill) {
                (true, _) => self.out.push('>'),
                (false, true) => self.out.push(' '),
                (false, false) => {}
            }
        }
    }
}
