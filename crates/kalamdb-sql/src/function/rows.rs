//! Rows of Arrow arrays as Rust values: what lets a function of the table be one line.
//!
//! [`f!`] writes a row of the table: its facts and its body, which sees one row's arguments as values. [`x!`] is for
//! functions that work on whole arrays. The markers in this module (`Int4`, `Text` …) say how a type's arrays are
//! read and written; the body's result is a `Result` of a value, or of an `Option` of it where NULL can come out.

use super::Call;
use crate::types;
use arrow_array::builder::{
    BinaryBuilder, BooleanBuilder, FixedSizeBinaryBuilder, ListBuilder, PrimitiveBuilder, StringBuilder,
};
use arrow_array::types::*;
use arrow_array::{Array, ArrayRef, BinaryArray, BooleanArray, FixedSizeBinaryArray, PrimitiveArray, StringArray};
use kalamdb_commons::{Datum, PgType, Result, SqlError, SqlState, SqlType};
use std::borrow::Cow;
use std::sync::Arc;

/// A row of the table with a body for each row: `f!(oid flags "name" (arg: Type, …) -> Type { body })`. Flags are the
/// methods of [`super::Function`] that differ from "strict, immutable". `f!(call; …)` names the call for the body.
macro_rules! f {
    ($oid:literal $($rest:tt)*) => { f!(_call; $oid $($rest)*) };
    ($call:ident; $oid:literal $($flag:ident $(($n:expr))?)* $name:literal ($($arg:ident : $ty:ident),*) -> $ret:ident $body:block) => {
        $crate::function::Function::new(
            $oid,
            $name,
            &[$(kalamdb_commons::SqlType::$ty),*],
            kalamdb_commons::SqlType::$ret,
            $crate::function::Kind::Scalar(|args, call| {
                #[allow(unused_imports)] // a function without arguments reads none
                use $crate::function::rows::{self, Builder as _, Push as _, Read as _, Write as _};
                let [$($arg),*] = rows::arity(args)?;
                $(let $arg = rows::$ty::read($arg)?;)*
                let mut out = rows::$ret::builder(call.rows);
                for row in 0..call.rows {
                    $(let $arg = rows::$ty::item($arg, row);)*
                    let _ = row;
                    let body = || -> kalamdb_commons::Result<_> {
                        let $call = call;
                        $body
                    };
                    out.push(body()?);
                }
                Ok(out.done(call))
            }),
        )$(.$flag($($n)?))*
    };
}

/// A row of the table whose implementation works on whole arrays: `x!(oid flags "name" (Type, …) -> Type = path)`.
macro_rules! x {
    ($oid:literal $($flag:ident $(($n:expr))?)* $name:literal ($($ty:ident),*) -> $ret:ident = $path:expr) => {
        $crate::function::Function::new(
            $oid,
            $name,
            &[$(kalamdb_commons::SqlType::$ty),*],
            kalamdb_commons::SqlType::$ret,
            $crate::function::Kind::Scalar($path),
        )$(.$flag($($n)?))*
    };
}

/// A row of the table of another kind: `k!(oid flags "name" (Type, …) -> Type = kind)`.
macro_rules! k {
    ($oid:literal $($flag:ident $(($n:expr))?)* $name:literal ($($ty:ident),*) -> $ret:ident = $kind:expr) => {
        $crate::function::Function::new(
            $oid,
            $name,
            &[$(kalamdb_commons::SqlType::$ty),*],
            kalamdb_commons::SqlType::$ret,
            $kind,
        )$(.$flag($($n)?))*
    };
}

pub(super) use {f, k, x};

/// The arguments, when there are as many as the function's row says.
pub(super) fn arity<const N: usize>(args: &[ArrayRef]) -> Result<&[ArrayRef; N]> {
    args.try_into().map_err(|_| SqlError::internal(format!("a function of {N} arguments got {}", args.len())))
}

/// An array as what it must be.
pub(super) fn typed<A: Array + 'static>(array: &dyn Array) -> Result<&A> {
    array
        .as_any()
        .downcast_ref()
        .ok_or_else(|| SqlError::internal(format!("unexpected array of type {}", array.data_type())))
}

/// How a type's arrays are read.
pub(super) trait Read {
    /// The array's Rust type.
    type Array: Array + 'static;
    /// One row's value.
    type Item<'a>;
    /// The value of a row that is not NULL.
    fn item(array: &Self::Array, row: usize) -> Self::Item<'_>;
    /// The array as what it must be.
    fn read(array: &ArrayRef) -> Result<&Self::Array> {
        typed(array.as_ref())
    }
}

/// How a type's arrays are written.
pub(super) trait Write {
    /// What gathers the values.
    type Builder: Builder;
    /// A builder for so many rows.
    fn builder(rows: usize) -> Self::Builder;
}

/// Gathers values.
pub(super) trait Builder {
    /// The array.
    fn done(self, call: &Call<'_>) -> ArrayRef;
}

/// Takes a value.
pub(super) trait Push<T> {
    /// Appends it.
    fn push(&mut self, value: T);
}

/// A builder of arrow's with the type its array must have.
pub(super) struct Gather<B>(pub(super) B);

macro_rules! primitive {
    ($($name:ident = $arrow:ty),* $(,)?) => { $(
        pub(super) struct $name;
        impl Read for $name {
            type Array = PrimitiveArray<$arrow>;
            type Item<'a> = <$arrow as ArrowPrimitiveType>::Native;
            #[inline]
            fn item(array: &Self::Array, row: usize) -> Self::Item<'_> {
                array.value(row)
            }
        }
        impl Write for $name {
            type Builder = Gather<PrimitiveBuilder<$arrow>>;
            fn builder(rows: usize) -> Self::Builder {
                Gather(PrimitiveBuilder::with_capacity(rows))
            }
        }
    )* };
}

primitive! {
    Int2 = Int16Type, Int4 = Int32Type, Int8 = Int64Type, Float4 = Float32Type, Float8 = Float64Type,
    Oid = UInt32Type, Date = Date32Type, Time = Time64MicrosecondType, Timestamp = TimestampMicrosecondType,
}

macro_rules! push_primitive {
    ($($arrow:ty: $native:ty),* $(,)?) => { $(
        impl Push<$native> for Gather<PrimitiveBuilder<$arrow>> {
            #[inline]
            fn push(&mut self, value: $native) {
                self.0.append_value(value);
            }
        }
        impl Push<Option<$native>> for Gather<PrimitiveBuilder<$arrow>> {
            fn push(&mut self, value: Option<$native>) {
                self.0.append_option(value);
            }
        }
    )* };
}

push_primitive! {
    Int16Type: i16, Int32Type: i32, Int64Type: i64, Float32Type: f32, Float64Type: f64, UInt32Type: u32,
    Date32Type: i32, Time64MicrosecondType: i64, TimestampMicrosecondType: i64,
    IntervalMonthDayNanoType: IntervalMonthDayNano,
}

impl<T: ArrowPrimitiveType> Builder for Gather<PrimitiveBuilder<T>> {
    fn done(mut self, _: &Call<'_>) -> ArrayRef {
        Arc::new(self.0.finish())
    }
}

/// timestamptz: as timestamp, with UTC in the Arrow type.
pub(super) struct Timestamptz;

impl Read for Timestamptz {
    type Array = PrimitiveArray<TimestampMicrosecondType>;
    type Item<'a> = i64;
    fn item(array: &Self::Array, row: usize) -> i64 {
        array.value(row)
    }
}

pub(super) struct ZonedBuilder(PrimitiveBuilder<TimestampMicrosecondType>);

impl Write for Timestamptz {
    type Builder = ZonedBuilder;
    fn builder(rows: usize) -> Self::Builder {
        ZonedBuilder(PrimitiveBuilder::with_capacity(rows))
    }
}

impl Push<i64> for ZonedBuilder {
    fn push(&mut self, value: i64) {
        self.0.append_value(value);
    }
}

impl Push<Option<i64>> for ZonedBuilder {
    fn push(&mut self, value: Option<i64>) {
        self.0.append_option(value);
    }
}

impl Builder for ZonedBuilder {
    fn done(mut self, _: &Call<'_>) -> ArrayRef {
        Arc::new(self.0.finish().with_timezone("UTC"))
    }
}

/// interval
pub(super) struct Interval;

impl Read for Interval {
    type Array = PrimitiveArray<IntervalMonthDayNanoType>;
    type Item<'a> = kalamdb_commons::Interval;
    fn item(array: &Self::Array, row: usize) -> kalamdb_commons::Interval {
        let value = array.value(row);
        kalamdb_commons::Interval { months: value.months, days: value.days, us: value.nanoseconds / 1000 }
    }
}

impl Write for Interval {
    type Builder = Gather<PrimitiveBuilder<IntervalMonthDayNanoType>>;
    fn builder(rows: usize) -> Self::Builder {
        Gather(PrimitiveBuilder::with_capacity(rows))
    }
}

/// An interval in the Arrow form, which counts nanoseconds.
///
/// # Errors
/// 22008 beyond 292 years of microseconds.
pub(super) fn interval_native(value: kalamdb_commons::Interval) -> Result<IntervalMonthDayNano> {
    let nanoseconds = value
        .us
        .checked_mul(1000)
        .ok_or_else(|| SqlError::new(SqlState::DATETIME_VALUE_OUT_OF_RANGE, "interval out of range"))?;
    Ok(IntervalMonthDayNano { months: value.months, days: value.days, nanoseconds })
}

pub(super) use arrow_buffer::IntervalMonthDayNano;

/// boolean
pub(super) struct Bool;

impl Read for Bool {
    type Array = BooleanArray;
    type Item<'a> = bool;
    fn item(array: &BooleanArray, row: usize) -> bool {
        array.value(row)
    }
}

impl Write for Bool {
    type Builder = Gather<BooleanBuilder>;
    fn builder(rows: usize) -> Self::Builder {
        Gather(BooleanBuilder::with_capacity(rows))
    }
}

impl Push<bool> for Gather<BooleanBuilder> {
    fn push(&mut self, value: bool) {
        self.0.append_value(value);
    }
}

impl Push<Option<bool>> for Gather<BooleanBuilder> {
    fn push(&mut self, value: Option<bool>) {
        self.0.append_option(value);
    }
}

impl Builder for Gather<BooleanBuilder> {
    fn done(mut self, _: &Call<'_>) -> ArrayRef {
        Arc::new(self.0.finish())
    }
}

/// text and every type that is Utf8.
pub(super) struct Text;
pub(super) type Varchar = Text;
pub(super) type Name = Text;
pub(super) type Bpchar = Text;
pub(super) type Char = Text;
pub(super) type Json = Text;
pub(super) type Jsonb = Text;
pub(super) type PgNodeTree = Text;
pub(super) type Regclass = Oid;
pub(super) type Xid = Oid;
pub(super) type Regtype = Oid;
pub(super) type Regproc = Oid;
pub(super) type Regnamespace = Oid;
pub(super) type Regrole = Oid;
pub(super) type Regcollation = Oid;

impl Read for Text {
    type Array = StringArray;
    type Item<'a> = &'a str;
    fn item(array: &StringArray, row: usize) -> &str {
        array.value(row)
    }
}

impl Write for Text {
    type Builder = Gather<StringBuilder>;
    fn builder(rows: usize) -> Self::Builder {
        Gather(StringBuilder::with_capacity(rows, rows * 8))
    }
}

macro_rules! push_text {
    ($($ty:ty),*) => { $(
        impl Push<$ty> for Gather<StringBuilder> {
            fn push(&mut self, value: $ty) {
                self.0.append_value(value);
            }
        }
        impl Push<Option<$ty>> for Gather<StringBuilder> {
            fn push(&mut self, value: Option<$ty>) {
                self.0.append_option(value);
            }
        }
    )* };
}

push_text!(&str, String, Cow<'_, str>);

impl Builder for Gather<StringBuilder> {
    fn done(mut self, _: &Call<'_>) -> ArrayRef {
        Arc::new(self.0.finish())
    }
}

/// bytea
pub(super) struct Bytea;
pub(super) type Vector = Bytea;

impl Read for Bytea {
    type Array = BinaryArray;
    type Item<'a> = &'a [u8];
    fn item(array: &BinaryArray, row: usize) -> &[u8] {
        array.value(row)
    }
}

impl Write for Bytea {
    type Builder = Gather<BinaryBuilder>;
    fn builder(rows: usize) -> Self::Builder {
        Gather(BinaryBuilder::with_capacity(rows, rows * 8))
    }
}

macro_rules! push_bytes {
    ($($ty:ty),*) => { $(
        impl Push<$ty> for Gather<BinaryBuilder> {
            fn push(&mut self, value: $ty) {
                self.0.append_value(value);
            }
        }
        impl Push<Option<$ty>> for Gather<BinaryBuilder> {
            fn push(&mut self, value: Option<$ty>) {
                self.0.append_option(value);
            }
        }
    )* };
}

push_bytes!(&[u8], Vec<u8>);

impl Builder for Gather<BinaryBuilder> {
    fn done(mut self, _: &Call<'_>) -> ArrayRef {
        Arc::new(self.0.finish())
    }
}

macro_rules! decoded {
    ($($(#[$doc:meta])* $name:ident, $ty:ty;)*) => { $(
        $(#[$doc])*
        pub(super) struct $name;

        impl Read for $name {
            type Array = BinaryArray;
            type Item<'a> = $ty;
            fn item(array: &BinaryArray, row: usize) -> $ty {
                <$ty>::from_bytes(array.value(row))
            }
        }

        impl Write for $name {
            type Builder = Gather<BinaryBuilder>;
            fn builder(rows: usize) -> Self::Builder {
                Gather(BinaryBuilder::with_capacity(rows, rows * 12))
            }
        }

        impl Push<$ty> for Gather<BinaryBuilder> {
            fn push(&mut self, value: $ty) {
                self.0.append_value(value.to_bytes());
            }
        }

        impl Push<Option<$ty>> for Gather<BinaryBuilder> {
            fn push(&mut self, value: Option<$ty>) {
                self.0.append_option(value.map(|value| value.to_bytes()));
            }
        }
    )* };
}

decoded! {
    /// timetz
    Timetz, types::datetime::Timetz;
    /// xid8
    Xid8, types::unsigned::Unsigned;
    /// inet
    Inet, types::network::Network;
}

pub(super) type PgLsn = Xid8;
pub(super) type Cidr = Inet;
pub(super) type Macaddr = Bytea;
pub(super) type Macaddr8 = Bytea;

/// numeric, decoded. The four operations read the bytes instead ([`super::arithmetic`]).
pub(super) struct Numeric;

impl Read for Numeric {
    type Array = BinaryArray;
    type Item<'a> = kalamdb_commons::Numeric;
    fn item(array: &BinaryArray, row: usize) -> kalamdb_commons::Numeric {
        // Columns hold what to_bytes wrote.
        kalamdb_commons::Numeric::from_bytes(array.value(row)).unwrap_or(kalamdb_commons::Numeric::NaN)
    }
}

impl Write for Numeric {
    type Builder = Gather<BinaryBuilder>;
    fn builder(rows: usize) -> Self::Builder {
        Gather(BinaryBuilder::with_capacity(rows, rows * 8))
    }
}

impl Push<kalamdb_commons::Numeric> for Gather<BinaryBuilder> {
    fn push(&mut self, value: kalamdb_commons::Numeric) {
        self.0.append_value(value.to_bytes());
    }
}

impl Push<Option<kalamdb_commons::Numeric>> for Gather<BinaryBuilder> {
    fn push(&mut self, value: Option<kalamdb_commons::Numeric>) {
        self.0.append_option(value.map(|value| value.to_bytes()));
    }
}

/// uuid
pub(super) struct Uuid;

impl Read for Uuid {
    type Array = FixedSizeBinaryArray;
    type Item<'a> = [u8; 16];
    fn item(array: &FixedSizeBinaryArray, row: usize) -> [u8; 16] {
        array.value(row).try_into().unwrap_or_default()
    }
}

impl Write for Uuid {
    type Builder = Gather<FixedSizeBinaryBuilder>;
    fn builder(rows: usize) -> Self::Builder {
        Gather(FixedSizeBinaryBuilder::with_capacity(rows, 16))
    }
}

impl Push<[u8; 16]> for Gather<FixedSizeBinaryBuilder> {
    fn push(&mut self, value: [u8; 16]) {
        // 16 bytes always fit a builder of 16.
        let _ = self.0.append_value(value);
    }
}

impl Builder for Gather<FixedSizeBinaryBuilder> {
    fn done(mut self, _: &Call<'_>) -> ArrayRef {
        Arc::new(self.0.finish())
    }
}

/// text[]
pub(super) struct TextArray;

impl Write for TextArray {
    type Builder = Gather<ListBuilder<StringBuilder>>;
    fn builder(rows: usize) -> Self::Builder {
        Gather(ListBuilder::with_capacity(StringBuilder::new(), rows))
    }
}

impl Push<Vec<Option<String>>> for Gather<ListBuilder<StringBuilder>> {
    fn push(&mut self, value: Vec<Option<String>>) {
        self.0.append_value(value);
    }
}

impl Push<Option<Vec<Option<String>>>> for Gather<ListBuilder<StringBuilder>> {
    fn push(&mut self, value: Option<Vec<Option<String>>>) {
        self.0.append_option(value);
    }
}

impl Builder for Gather<ListBuilder<StringBuilder>> {
    fn done(mut self, _: &Call<'_>) -> ArrayRef {
        kalamdb_commons::array::assemble(self.0.finish(), None)
    }
}

/// void: NULL in Arrow, the empty text on the wire.
pub(super) struct Void;

impl Write for Void {
    type Builder = usize;
    fn builder(_: usize) -> usize {
        0
    }
}

impl Push<()> for usize {
    fn push(&mut self, (): ()) {
        *self += 1;
    }
}

impl Builder for usize {
    fn done(self, call: &Call<'_>) -> ArrayRef {
        Arc::new(arrow_array::NullArray::new(call.rows))
    }
}

/// A function of whole rows of datums, for functions whose types are not fixed.
pub(super) fn by_datum(
    args: &[ArrayRef],
    call: &Call<'_>,
    mut body: impl FnMut(&[Datum]) -> Result<Datum>,
) -> Result<ArrayRef> {
    let mut items = Vec::with_capacity(call.rows);
    let mut row_args = Vec::with_capacity(args.len());
    for row in 0..call.rows {
        row_args.clear();
        for (arg, ty) in args.iter().zip(call.arg_types) {
            row_args.push(types::datum_at(arg.as_ref(), row, *ty));
        }
        items.push(body(&row_args)?);
    }
    types::array_of(call.returns, &items)
}

/// What a value's output function writes.
pub(super) fn text_of(datum: &Datum, ty: PgType, call: &Call<'_>) -> Result<String> {
    match datum {
        Datum::Text(text) if ty.ty != SqlType::Char => Ok(text.to_string()),
        Datum::Null => Ok(String::new()),
        _ => types::to_text(datum, ty, call.around.style(), call.around.catalog()),
    }
}

/// An error of a function.
pub(super) fn fail<T>(state: SqlState, message: impl Into<String>) -> Result<T> {
    Err(SqlError::new(state, message))
}

/// 22003: `integer out of range` and its kin.
pub(super) fn range(type_name: &str) -> SqlError {
    SqlError::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, format!("{type_name} out of range"))
}

/// 22012
pub(super) fn division_by_zero() -> SqlError {
    SqlError::new(SqlState::DIVISION_BY_ZERO, "division by zero")
}
