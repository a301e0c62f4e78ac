//! Arrays, and the two vector types, in text and binary.

use super::{Encoder, Style, cell, trim};
use crate::function::CatalogNames;
use arrow_array::{Array, StructArray};
use bytes::{BufMut, BytesMut};
use kalamdb_commons::array::{Arrays, Brackets, DIMENSIONS_MAX, Dimension, ITEMS_MAX, Shape, dimensions_of};
use kalamdb_commons::ids::FIRST_USER_OID;
use kalamdb_commons::{ArrayDatum, Datum, PgType, Result, SqlError, SqlState, SqlType};

/// Reads an array's or a vector's text.
pub(super) fn read(text: &str, ty: PgType, style: &Style, names: &dyn CatalogNames) -> Result<Datum> {
    let element = element_of(ty)?;
    if is_vector(ty.ty) {
        let parts = text.split_ascii_whitespace();
        let items = parts.map(|part| super::from_text(part, element, style, names)).collect::<Result<_>>()?;
        return Ok(ArrayDatum::usual(element.ty, items).into());
    }
    let (dimensions, parts) = Literal::new(text).array()?;
    let read = |part: Option<String>| match part {
        Some(part) => super::from_text(&part, element, style, names),
        None => Ok(Datum::Null),
    };
    let items = parts.into_iter().map(read).collect::<Result<_>>()?;
    Ok(ArrayDatum { element: element.ty, items, shape: Shape::of(&dimensions, 1) }.into())
}

/// The element's type; the array's modifier is the element's.
pub(super) fn element_of(ty: PgType) -> Result<PgType> {
    let element = ty.ty.element().ok_or_else(|| SqlError::internal(format!("{ty} is no array")))?;
    Ok(PgType { ty: element, typmod: ty.typmod })
}

fn is_vector(ty: SqlType) -> bool {
    matches!(ty, SqlType::Int2vector | SqlType::Oidvector)
}

/// 54000: more dimensions than an array may have.
pub fn too_many_dimensions(count: usize) -> SqlError {
    let message = format!("number of array dimensions ({count}) exceeds the maximum allowed ({DIMENSIONS_MAX})");
    SqlError::new(SqlState::PROGRAM_LIMIT_EXCEEDED, message)
}

/// Checks that so many dimensions, items and subscripts can be; the number of items.
///
/// # Errors
/// 54000
pub fn checked(dimensions: &[Dimension]) -> Result<usize> {
    let limit = |message: String| SqlError::new(SqlState::PROGRAM_LIMIT_EXCEEDED, message);
    if dimensions.len() > DIMENSIONS_MAX {
        return Err(too_many_dimensions(dimensions.len()));
    }
    let mut items: usize = usize::from(!dimensions.is_empty());
    for dimension in dimensions {
        let length = usize::try_from(dimension.length).ok();
        let product = length.and_then(|length| items.checked_mul(length)).filter(|items| *items <= ITEMS_MAX);
        items = product.ok_or_else(|| limit(format!("array size exceeds the maximum allowed ({ITEMS_MAX})")))?;
    }
    match dimensions.iter().find(|dimension| dimension.lower.checked_add(dimension.length).is_none()) {
        Some(dimension) => Err(limit(format!("array lower bound is too large: {}", dimension.lower))),
        None => Ok(items),
    }
}

/// A reader of `[1:2]={{a,"b"},{NULL,c}}`.
struct Literal<'a> {
    whole: &'a str,
    rest: &'a str,
    /// The lengths found so far, the outermost first.
    lengths: Vec<usize>,
    /// At which depth items stand, once there was one.
    leaves: Option<usize>,
    items: Vec<Option<String>>,
}

impl<'a> Literal<'a> {
    fn new(whole: &'a str) -> Self {
        Literal { whole, rest: trim(whole), lengths: Vec::new(), leaves: None, items: Vec::new() }
    }

    fn malformed(&self, detail: &str) -> SqlError {
        SqlError::new(SqlState::INVALID_TEXT_REPRESENTATION, format!("malformed array literal: \"{}\"", self.whole))
            .with_detail(detail)
    }

    fn unexpected(&self, what: char) -> SqlError {
        self.malformed(&format!("Unexpected \"{what}\" character."))
    }

    fn ended(&self) -> SqlError {
        self.malformed("Unexpected end of input.")
    }

    fn skip_blanks(&mut self) {
        self.rest = self.rest.trim_start_matches(super::is_blank);
    }

    fn eat(&mut self, mark: char) -> bool {
        match self.rest.strip_prefix(mark) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn array(mut self) -> Result<(Vec<Dimension>, Vec<Option<String>>)> {
        let said = self.dimensions()?;
        if !said.is_empty() {
            if !self.eat('=') {
                return Err(self.malformed("Missing \"=\" after array dimensions."));
            }
            self.skip_blanks();
        }
        if !self.eat('{') {
            return Err(self.malformed(match said.as_slice() {
                [] => "Array value must start with \"{\" or dimension information.",
                _ => "Array contents must start with \"{\".",
            }));
        }
        self.level(0)?;
        self.skip_blanks();
        if !self.rest.is_empty() {
            return Err(self.malformed("Junk after closing right brace."));
        }
        let found: Vec<Dimension> = match self.items.is_empty() {
            true => Vec::new(),
            false => self.lengths.iter().map(|length| Dimension::new(1, *length as i32)).collect(),
        };
        let dimensions = match said.is_empty() {
            true => found,
            false => {
                let same = said.len() == found.len() && said.iter().zip(&found).all(|(a, b)| a.length == b.length);
                if !same {
                    return Err(self.malformed("Specified array dimensions do not match array contents."));
                }
                said
            }
        };
        checked(&dimensions)?;
        Ok((dimensions, self.items))
    }

    /// `[1:2][0:3]`
    fn dimensions(&mut self) -> Result<Vec<Dimension>> {
        let mut said: Vec<Dimension> = Vec::new();
        while self.eat('[') {
            if said.len() == DIMENSIONS_MAX {
                return Err(too_many_dimensions(said.len() + 1));
            }
            let first = self
                .bound()
                .ok_or_else(|| self.malformed("\"[\" must introduce explicitly-specified array dimensions."))?;
            let (lower, upper) = match self.eat(':') {
                true => (first, self.bound().ok_or_else(|| self.malformed("Missing array dimension value."))?),
                false => (1, first),
            };
            if !self.eat(']') {
                return Err(self.malformed("Missing \"]\" after array dimensions."));
            }
            if upper < lower {
                let message = "upper bound cannot be less than lower bound";
                return Err(SqlError::new(SqlState::ARRAY_SUBSCRIPT_ERROR, message));
            }
            let length = i64::from(upper) - i64::from(lower) + 1;
            said.push(Dimension::new(lower, i32::try_from(length).unwrap_or(i32::MAX)));
            self.skip_blanks();
        }
        Ok(said)
    }

    /// A bound's digits, read as C's `atoi` reads them.
    fn bound(&mut self) -> Option<i32> {
        let end = self.rest.find(|ch: char| !ch.is_ascii_digit() && !matches!(ch, '+' | '-'));
        let (digits, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        if digits.is_empty() {
            return None;
        }
        self.rest = rest;
        let signs = digits.len() - digits.trim_start_matches(['+', '-']).len();
        let until = digits[signs..].find(['+', '-']).map_or(digits.len(), |at| signs + at);
        Some(digits[..until].parse::<i64>().map_or(0, |value| value as i32))
    }

    /// What stands behind an opening bracket, up to the closing one.
    fn level(&mut self, depth: usize) -> Result<()> {
        if depth == DIMENSIONS_MAX {
            return Err(too_many_dimensions(depth + 1));
        }
        self.skip_blanks();
        if self.rest.starts_with('}') {
            // Only the whole array may be empty.
            if depth > 0 {
                return Err(self.unexpected('}'));
            }
            self.eat('}');
            return Ok(());
        }
        let mut count = 0;
        loop {
            self.skip_blanks();
            match self.rest.chars().next() {
                None => return Err(self.ended()),
                Some('{') if self.leaves.is_some_and(|leaves| leaves == depth) => return Err(self.unexpected('{')),
                Some('{') => {
                    self.eat('{');
                    self.level(depth + 1)?;
                }
                Some(mark @ (',' | '}')) => return Err(self.unexpected(mark)),
                Some(mark) => {
                    if *self.leaves.get_or_insert(depth) != depth {
                        return Err(self.malformed("Unexpected array element."));
                    }
                    let item = if mark == '"' { Some(self.quoted()?) } else { self.bare()? };
                    self.items.push(item);
                }
            }
            count += 1;
            self.skip_blanks();
            match self.rest.chars().next() {
                None => return Err(self.ended()),
                Some(',') => self.eat(','),
                Some('}') => break,
                Some('{') => return Err(self.unexpected('{')),
                Some(_) => return Err(self.malformed("Unexpected array element.")),
            };
        }
        self.eat('}');
        // Inner brackets close first: this level's place is made when it is met first.
        if self.lengths.len() <= depth {
            self.lengths.resize(depth + 1, 0);
        }
        match self.lengths[depth] {
            0 => self.lengths[depth] = count,
            length if length == count => {}
            _ => {
                let detail = "Multidimensional arrays must have sub-arrays with matching dimensions.";
                return Err(self.malformed(detail));
            }
        }
        Ok(())
    }

    fn quoted(&mut self) -> Result<String> {
        let mut item = String::new();
        let mut chars = self.rest.char_indices().skip(1);
        while let Some((at, ch)) = chars.next() {
            match ch {
                '"' => {
                    self.rest = &self.rest[at + 1..];
                    return Ok(item);
                }
                '\\' => match chars.next() {
                    Some((_, escaped)) => item.push(escaped),
                    None => break,
                },
                _ => item.push(ch),
            }
        }
        Err(self.ended())
    }

    fn bare(&mut self) -> Result<Option<String>> {
        let mut item = String::new();
        // Blanks at the end do not count, unless they were escaped.
        let mut kept = 0;
        let mut escaped = false;
        let mut chars = self.rest.char_indices();
        loop {
            let Some((at, ch)) = chars.next() else { return Err(self.ended()) };
            match ch {
                ',' | '}' => {
                    self.rest = &self.rest[at..];
                    break;
                }
                '{' => return Err(self.unexpected('{')),
                '"' => return Err(self.malformed("Unexpected array element.")),
                '\\' => match chars.next() {
                    Some((_, next)) => {
                        item.push(next);
                        kept = item.len();
                        escaped = true;
                    }
                    None => return Err(self.ended()),
                },
                _ => {
                    item.push(ch);
                    if !super::is_blank(ch) {
                        kept = item.len();
                    }
                }
            }
        }
        item.truncate(kept);
        let is_null = !escaped && item.eq_ignore_ascii_case("null");
        Ok((!is_null).then_some(item))
    }
}

/// Reads an array's binary form.
pub(super) fn read_binary(bytes: &[u8], ty: PgType) -> Result<Datum> {
    let element = element_of(ty)?;
    let mut reader = Reader(bytes);
    let (count, flags, oid) = (reader.i32()?, reader.i32()?, reader.i32()? as u32);
    let malformed = |message: String| SqlError::new(SqlState::INVALID_BINARY_REPRESENTATION, message);
    let count = usize::try_from(count).map_err(|_| malformed(format!("invalid number of dimensions: {count}")))?;
    if count > DIMENSIONS_MAX {
        return Err(too_many_dimensions(count));
    }
    if flags != 0 && flags != 1 {
        return Err(malformed("invalid array flags".into()));
    }
    // Drivers send text for varchar and the like: what is one in Arrow is taken.
    // A label of an enum is text.
    let sent = SqlType::from_oid(oid).or((oid >= FIRST_USER_OID).then_some(SqlType::Text));
    if oid != element.ty.oid() && sent.is_none_or(|sent| sent.arrow() != element.ty.arrow()) {
        let name = sent.map_or_else(|| "???".to_owned(), |sent| PgType::new(sent).to_string());
        let message = format!(
            "binary data has array element type {oid} ({name}) instead of expected {} ({})",
            element.ty.oid(),
            PgType::new(element.ty)
        );
        return Err(SqlError::new(SqlState::DATATYPE_MISMATCH, message));
    }
    let mut dimensions = Vec::with_capacity(count);
    for _ in 0..count {
        let (length, lower) = (reader.i32()?, reader.i32()?);
        dimensions.push(Dimension::new(lower, length));
    }
    let total = checked(&dimensions)?;
    let mut items = Vec::new();
    for _ in 0..total {
        items.push(match reader.i32()? {
            -1 => Datum::Null,
            length => super::from_binary(reader.take(usize::try_from(length).unwrap_or(usize::MAX))?, element)?,
        });
    }
    if !reader.0.is_empty() {
        return Err(super::surplus());
    }
    let first = i32::from(!is_vector(ty.ty));
    let shape = Shape::of(&dimensions, first);
    if first == 0 && shape.is_some() {
        return Err(malformed(format!("invalid {ty} data")));
    }
    Ok(ArrayDatum { element: element.ty, items, shape }.into())
}

/// The rest of a message.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or_else(super::insufficient)?;
        self.0 = rest;
        Ok(taken)
    }
    fn i32(&mut self) -> Result<i32> {
        let (word, rest) = self.0.split_first_chunk::<4>().ok_or_else(super::insufficient)?;
        self.0 = rest;
        Ok(i32::from_be_bytes(*word))
    }
}

/// `{a,b}`; items that hold only digits and the like are never quoted.
pub(super) struct ArrayText {
    pub element: Box<dyn Encoder>,
    pub may_need_quotes: bool,
}
/// `1 2 3`
pub(super) struct VectorText(pub Box<dyn Encoder>);
/// An array in binary.
pub(super) struct ArrayBinary {
    pub element: Box<dyn Encoder>,
    pub oid: u32,
    pub lower: i32,
}

/// A column of arrays as what its type says it is.
pub(super) fn arrays(array: &dyn Array) -> Arrays<'_> {
    match Arrays::new(array) {
        Some(arrays) => arrays,
        None => panic!("a column of Arrow type {} is read as arrays", cell::<StructArray>(array).data_type()),
    }
}

impl Encoder for ArrayText {
    fn encode(&self, array: &dyn Array, row: usize, out: &mut BytesMut) {
        let arrays = arrays(array);
        let items = arrays.lists().value(row);
        if items.is_empty() {
            return out.put_slice(b"{}");
        }
        let shape = arrays.shape(row);
        if let Some(shape) = &shape
            && shape.dimensions().iter().any(|dimension| dimension.lower != 1)
        {
            for dimension in shape.dimensions() {
                out.put_slice(format!("[{}:{}]", dimension.lower, dimension.upper()).as_bytes());
            }
            out.put_u8(b'=');
        }
        let brackets = shape.as_ref().map(|shape| Brackets::new(Some(shape), items.len()));
        if brackets.is_none() {
            out.put_u8(b'{');
        }
        for place in 0..items.len() {
            if place > 0 {
                out.put_u8(b',');
            }
            if let Some(brackets) = &brackets {
                out.put_bytes(b'{', brackets.opening(place));
            }
            if items.is_null(place) {
                out.put_slice(b"NULL");
            } else {
                let start = out.len();
                self.element.encode(items.as_ref(), place, out);
                if self.may_need_quotes {
                    quote(start, out);
                }
            }
            if let Some(brackets) = &brackets {
                out.put_bytes(b'}', brackets.closing(place));
            }
        }
        if brackets.is_none() {
            out.put_u8(b'}');
        }
    }
}

/// Puts quotes around what was written since `start`, if it would be read as something else without.
fn quote(start: usize, out: &mut BytesMut) {
    let written = &out[start..];
    let special =
        |byte: &u8| matches!(byte, b'"' | b'\\' | b'{' | b'}' | b',' | b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c);
    if !written.is_empty() && !written.iter().any(special) && !written.eq_ignore_ascii_case(b"null") {
        return;
    }
    let written = out.split_off(start);
    out.put_u8(b'"');
    for byte in written {
        if matches!(byte, b'"' | b'\\') {
            out.put_u8(b'\\');
        }
        out.put_u8(byte);
    }
    out.put_u8(b'"');
}

impl Encoder for VectorText {
    fn encode(&self, array: &dyn Array, row: usize, out: &mut BytesMut) {
        let items = arrays(array).lists().value(row);
        for place in 0..items.len() {
            if place > 0 {
                out.put_u8(b' ');
            }
            self.0.encode(items.as_ref(), place, out);
        }
    }
}

impl Encoder for ArrayBinary {
    fn encode(&self, array: &dyn Array, row: usize, out: &mut BytesMut) {
        let arrays = arrays(array);
        let items = arrays.lists().value(row);
        let shape = arrays.shape(row);
        let mut dimensions = dimensions_of(shape.as_ref(), items.len(), self.lower);
        // A vector has its one dimension even when it is empty.
        if self.lower == 0 && dimensions.is_empty() {
            dimensions.push(Dimension::new(0, 0));
        }
        out.put_i32(dimensions.len() as i32);
        out.put_i32(i32::from(items.null_count() > 0));
        out.put_u32(self.oid);
        for dimension in dimensions {
            out.put_i32(dimension.length);
            out.put_i32(dimension.lower);
        }
        for place in 0..items.len() {
            if items.is_null(place) {
                out.put_i32(-1);
                continue;
            }
            let start = out.len();
            out.put_i32(0);
            self.element.encode(items.as_ref(), place, out);
            let length = (out.len() - start - 4) as i32;
            out[start..start + 4].copy_from_slice(&length.to_be_bytes());
        }
    }
}
