//! Every line of `cases.txt`: what PostgreSQL 15 says to a text. And round trips through both wire formats.

use super::copy::{CopyReader, CopyRow, CopyWriter};
use super::*;
use crate::function::PrivilegeObject;
use crate::statement::{CopyFormat, CopyHeader, CopyOptions};
use bytes::BytesMut;
use kalamdb_commons::TableId;

/// A catalog in which there is nothing.
struct Nobody;

impl CatalogNames for Nobody {
    fn relation_by_name(&self, _: &[String]) -> Option<TableId> {
        None
    }
    fn relation_name(&self, _: u32) -> Option<String> {
        None
    }
    fn namespace_by_name(&self, _: &str) -> Option<u32> {
        None
    }
    fn namespace_name(&self, _: u32) -> Option<String> {
        None
    }
    fn role_by_name(&self, _: &str) -> Option<u32> {
        None
    }
    fn role_name(&self, _: u32) -> Option<String> {
        None
    }
    fn relation_is_visible(&self, _: u32) -> Option<bool> {
        None
    }
    fn index_definition(&self, _: u32, _: i32, _: bool) -> Option<String> {
        None
    }
    fn constraint_definition(&self, _: u32, _: bool) -> Option<String> {
        None
    }
    fn view_definition(&self, _: u32, _: bool) -> Option<String> {
        None
    }
    fn description(&self, _: u32, _: &str, _: i32) -> Option<String> {
        None
    }
    fn relation_size(&self, _: u32) -> Option<i64> {
        None
    }
    fn has_privilege(&self, _: u32, _: PrivilegeObject, _: &str) -> Result<Option<bool>> {
        Ok(None)
    }
    fn search_path(&self, _: bool) -> Vec<String> {
        Vec::new()
    }
}

fn ty(name: &str) -> PgType {
    // The parser knows "char" only as a quoted name of pg_catalog.
    oid::type_by_name(name).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn set(style: &mut Style, name: &str, value: &str) {
    match (name, value) {
        ("timezone", zone) => style.time_zone = datetime::zone::parse(zone).unwrap_or(TimeZone::Named(chrono_tz::UTC)),
        ("datestyle", value) => {
            let (format, order) = value.split_once('/').unwrap_or((value, "MDY"));
            style.date_style.format = match format {
                "SQL" => DateFormat::Sql,
                "Postgres" => DateFormat::Postgres,
                "German" => DateFormat::German,
                _ => DateFormat::Iso,
            };
            style.date_style.order = match order {
                "DMY" => DateOrder::Dmy,
                "YMD" => DateOrder::Ymd,
                _ => DateOrder::Mdy,
            };
        }
        (_, value) => {
            style.interval_style = match value {
                "postgres_verbose" => IntervalStyle::PostgresVerbose,
                "sql_standard" => IntervalStyle::SqlStandard,
                "iso_8601" => IntervalStyle::Iso8601,
                _ => IntervalStyle::Postgres,
            }
        }
    }
}

/// Reads the text and prints the value again; on the way it goes through both wire formats.
fn outcome(text: &str, ty: PgType, style: &Style) -> String {
    let datum = match from_text(text, ty, style, &Nobody) {
        Ok(datum) => datum,
        Err(error) => {
            let detail = error.detail().map(|detail| format!(" | {detail}")).unwrap_or_default();
            let hint = error.hint().map(|hint| format!(" ? {hint}")).unwrap_or_default();
            return format!("{} {}{detail}{hint}", error.state(), error.message());
        }
    };
    let array = array_of(ty, std::slice::from_ref(&datum)).unwrap_or_else(|error| panic!("{text}: {error}"));
    assert_eq!(same(&datum_at(array.as_ref(), 0, ty)), same(&datum), "{ty} {text}");
    assert!(scalar_value(&datum, ty).is_ok());
    let encoded = |format| {
        let encoder = encoder(ty, format, style, Arc::new(Nobody)).unwrap_or_else(|error| panic!("{ty}: {error}"));
        let mut out = BytesMut::new();
        encoder.encode(array.as_ref(), 0, &mut out);
        out
    };
    let binary = encoded(Format::Binary);
    let back = match from_binary(&binary, ty) {
        Ok(back) => back,
        // PostgreSQL reads a zone of its own making (`LUT41`) in text, and refuses its displacement in binary.
        Err(error) if ty.ty == SqlType::Timetz && error.state().code() == "22009" => return error.message().to_owned(),
        Err(error) => panic!("{ty} {text}: {error}"),
    };
    assert_eq!(same(&back), same(&datum), "{ty} {text} in binary");
    let printed = encoded(Format::Text);
    let printed = std::str::from_utf8(&printed).unwrap_or_else(|error| panic!("{ty} {text}: {error}"));
    if style.date_style.format == DateFormat::Iso || ty.ty == SqlType::Interval {
        let again = from_text(printed, ty, style, &Nobody).map(|datum| same(&datum));
        assert_eq!(again, Ok(same(&datum)), "{ty} {printed}");
    }
    format!("OK {printed}").replace('\n', "\\n").replace('\t', "\\t")
}

/// NaN is equal to itself here.
fn same(datum: &Datum) -> String {
    format!("{datum:?}")
}

/// Where we differ from PostgreSQL, and why.
const DIFFERENT: &[(&str, &str, &str)] = &[
    // Our copy of the zone database keeps only the present abbreviations of zones that were merged.
    ("timestamptz", "1900-07-04 12:00:01.5", "OK 04/07/1900 12:00:01.5 WET"),
];

/// The text of a case: `\n`, `\t` and `\\` stand for what they usually do.
fn unescaped(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(ch) = chars.next() {
        match (ch, ch == '\\') {
            (_, true) => out.push(match chars.next() {
                Some('n') => '\n',
                Some('t') => '\t',
                _ => '\\',
            }),
            (plain, false) => out.push(plain),
        }
    }
    out
}

#[test]
fn texts_mean_what_they_mean_to_postgresql() {
    let mut style = Style::default();
    let mut wrong = Vec::new();
    for line in include_str!("cases.txt").lines().filter(|line| !line.starts_with('#')) {
        if let Some(settings) = line.strip_prefix("set ") {
            style = Style::default();
            for (name, value) in settings.split(", ").filter_map(|setting| setting.split_once('=')) {
                set(&mut style, name, value);
            }
            continue;
        }
        let mut parts = line.splitn(3, '\t');
        let (Some(name), Some(text), Some(expected)) = (parts.next(), parts.next(), parts.next()) else { continue };
        if line == "set " || name.is_empty() {
            continue;
        }
        let text = unescaped(text);
        let found = outcome(&text, ty(name), &style);
        if found != expected && !DIFFERENT.contains(&(name, &text, &found)) {
            wrong.push(format!("{name} {text:?}\n  expected {expected}\n  found    {found}"));
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

/// Reads `data` in chunks of every size and prints the rows.
fn read_copy(options: &CopyOptions, columns: &[&str], data: &str) -> std::result::Result<String, String> {
    let columns: Vec<String> = columns.iter().map(|name| (*name).to_owned()).collect();
    let mut answers = (1..=data.len().max(1)).map(|size| {
        let mut reader = CopyReader::new(options, columns.clone()).map_err(|error| error.to_string())?;
        let mut row = CopyRow::default();
        let mut rows = String::new();
        let mut drain = |reader: &mut CopyReader| {
            while reader.next_row(&mut row).map_err(|error| error.message().to_owned())? {
                reader.check_complete(&row).map_err(|error| error.message().to_owned())?;
                let fields =
                    (0..row.len()).map(|place| row.field(place).map_or("NULL".into(), |text| format!("{text:?}")));
                rows += &(fields.collect::<Vec<_>>().join("|") + "\n");
            }
            Ok::<(), String>(())
        };
        for chunk in data.as_bytes().chunks(size) {
            reader.feed(chunk);
            drain(&mut reader)?;
        }
        reader.end();
        drain(&mut reader)?;
        Ok(rows)
    });
    let first = answers.next().unwrap_or(Ok(String::new()));
    assert!(answers.all(|answer| answer == first), "the size of the chunks matters");
    first
}

#[test]
fn copy_reads_text() {
    let text = CopyOptions::default();
    let cases = [
        ("1\ta\n2\t\\N\n", "\"1\"|\"a\"\n\"2\"|NULL\n"),
        ("1\t\n", "\"1\"|\"\"\n"),
        ("1\\\t2\ta\\nb\\\\c\\x41\\101\\q\n", "\"1\\t2\"|\"a\\nb\\\\cAAq\"\n"),
        ("1\ta\\\nb\n", "\"1\"|\"a\\nb\"\n"),
        ("1\ta\r\n2\tb\r\n", "\"1\"|\"a\"\n\"2\"|\"b\"\n"),
        ("1\ta\n\\.\nrubbish", "\"1\"|\"a\"\n"),
        ("1\tno newline", "\"1\"|\"no newline\"\n"),
        ("\\\\N\t\\N\n", "\"\\\\N\"|NULL\n"),
        ("\\xc3\\xa9\té\n", "\"é\"|\"é\"\n"),
    ];
    for (data, rows) in cases {
        assert_eq!(read_copy(&text, &["a", "b"], data).as_deref(), Ok(rows), "{data:?}");
    }
    let faults = [
        ("1\n", "missing data for column \"b\""),
        ("1\t2\t3\n", "extra data after last expected column"),
        ("1\ta\n2\tb\r\n", "literal carriage return found in data"),
        ("\\xff\ta\n", "invalid byte sequence for encoding \"UTF8\": 0xff"),
    ];
    for (data, message) in faults {
        assert_eq!(read_copy(&text, &["a", "b"], data), Err(message.to_owned()), "{data:?}");
    }
}

#[test]
fn copy_reads_csv() {
    let csv = CopyOptions { format: CopyFormat::Csv, ..CopyOptions::default() };
    let cases = [
        ("1,a\n2,\n3,\"\"\n", "\"1\"|\"a\"\n\"2\"|NULL\n\"3\"|\"\"\n"),
        ("\"a\"\"b\",\"x\ny\"\n", "\"a\\\"b\"|\"x\\ny\"\n"),
        ("a\"b,c\"d,e\n", "\"ab,cd\"|\"e\"\n"),
        ("\\x,\\.\n", "\"\\\\x\"|\"\\\\.\"\n"),
        (" a , b \n", "\" a \"|\" b \"\n"),
        ("\"\",\"a\"\"\"\n", "\"\"|\"a\\\"\"\n"),
    ];
    for (data, rows) in cases {
        assert_eq!(read_copy(&csv, &["a", "b"], data).as_deref(), Ok(rows), "{data:?}");
    }
    assert_eq!(read_copy(&csv, &["a", "b"], "1,\"a\n"), Err("unterminated CSV quoted field".to_owned()));
    let header = CopyOptions { header: CopyHeader::Match, ..csv.clone() };
    assert_eq!(read_copy(&header, &["a", "b"], "a,b\n1,2\n").as_deref(), Ok("\"1\"|\"2\"\n"));
    assert_eq!(
        read_copy(&header, &["a", "b"], "a,c\n1,2\n"),
        Err("column name mismatch in header line field 2: got \"c\", expected \"b\"".to_owned())
    );
    let forced = CopyOptions {
        escape: Some(b'\\'),
        force_null: vec!["a".into()],
        force_not_null: vec!["b".into()],
        header: CopyHeader::Line,
        ..csv.clone()
    };
    // Both at once: what is not quoted is text, what is quoted is NULL.
    let both = CopyOptions { force_null: vec!["b".into()], force_not_null: vec!["b".into()], ..csv };
    assert_eq!(read_copy(&both, &["a", "b"], "1,\n2,\"\"\n").as_deref(), Ok("\"1\"|\"\"\n\"2\"|NULL\n"));
    assert_eq!(
        read_copy(&forced, &["a", "b"], "x\n\"\",\n\"q\\\"\\\\\",1\n").as_deref(),
        Ok("NULL|\"\"\n\"q\\\"\\\\\"|\"1\"\n")
    );
}

#[test]
fn copy_writes_what_it_reads() {
    let items =
        [Datum::text("a\tb\\\n\r\x0b,\"é"), Datum::Null, Datum::text(""), Datum::text("\\N"), Datum::text("\\.")];
    let text = PgType::new(SqlType::Text);
    let array = array_of(text, &items).unwrap_or_else(|error| panic!("{error}"));
    for format in [CopyFormat::Text, CopyFormat::Csv] {
        let options = CopyOptions { format, header: CopyHeader::Match, ..CopyOptions::default() };
        let encoders = vec![
            encoder(text, Format::Text, &Style::default(), Arc::new(Nobody)).unwrap_or_else(|error| panic!("{error}")),
        ];
        let mut writer =
            CopyWriter::new(&options, vec!["a".into()], encoders).unwrap_or_else(|error| panic!("{error}"));
        let mut out = BytesMut::new();
        writer.header(&mut out);
        for row in 0..items.len() {
            writer.row(std::slice::from_ref(&array), row, &mut out);
        }
        let data = String::from_utf8_lossy(&out).into_owned();
        let expected: String =
            items.iter().map(|item| item.as_str().map_or("NULL".into(), |text| format!("{text:?}")) + "\n").collect();
        assert_eq!(read_copy(&options, &["a"], &data), Ok(expected), "{data:?}");
    }
}

#[test]
fn names_split_and_quote() {
    assert_eq!(oid::split_name("Public.\"A\"\"b.c\""), Ok(vec!["public".to_owned(), "A\"b.c".to_owned()]));
    assert!(oid::split_name("a b").is_err());
    assert!(oid::split_name("").is_err());
    assert_eq!(oid::quoted_ident("abc_1"), "abc_1");
    assert_eq!(oid::quoted_ident("select"), "\"select\"");
    assert_eq!(oid::quoted_ident("A\"b"), "\"A\"\"b\"");
}

fn a_record() -> RecordDatum {
    use kalamdb_commons::{ArrayDatum, Interval, Numeric};
    let inner = RecordDatum { fields: vec![field("f1", SqlType::Text, Datum::text("a \"b\""))] };
    let items = vec![Datum::Int4(7), Datum::Null];
    let rows = vec![Datum::Record(Box::new(inner.clone())), Datum::Null];
    RecordDatum {
        fields: vec![
            field("bool", SqlType::Bool, Datum::Bool(true)),
            field("int2", SqlType::Int2, Datum::Int2(-2)),
            field("int4", SqlType::Int4, Datum::Int4(4)),
            field("int8", SqlType::Int8, Datum::Int8(i64::MIN)),
            field("float4", SqlType::Float4, Datum::Float4(1.5)),
            field("float8", SqlType::Float8, Datum::Float8(-0.25)),
            field("numeric", SqlType::Numeric, Datum::Numeric(Numeric::parse("1.50").expect("a number"))),
            field("text", SqlType::Text, Datum::text("")),
            field("bytea", SqlType::Bytea, Datum::Bytes([0, 255].as_slice().into())),
            field("date", SqlType::Date, Datum::Date(0)),
            field("time", SqlType::Time, Datum::Time(1)),
            field("timestamp", SqlType::Timestamp, Datum::Timestamp(0)),
            field("timestamptz", SqlType::Timestamptz, Datum::Timestamptz(0)),
            field("interval", SqlType::Interval, Datum::Interval(Interval { months: 1, days: 2, us: 3 })),
            field("uuid", SqlType::Uuid, Datum::Uuid([1; 16])),
            field("oid", SqlType::Oid, Datum::Oid(16)),
            field("none", SqlType::Text, Datum::Null),
            field("items", SqlType::Int4Array, ArrayDatum::usual(SqlType::Int4, items).into()),
            field("row", SqlType::Record, Datum::Record(Box::new(inner))),
            field("rows", SqlType::RecordArray, ArrayDatum::usual(SqlType::Record, rows).into()),
        ],
    }
}

fn field(name: &str, ty: SqlType, value: Datum) -> kalamdb_commons::RecordField {
    kalamdb_commons::RecordField { name: name.into(), ty: ty.into(), value }
}

use kalamdb_commons::RecordDatum;

#[test]
fn records_come_back_and_print() {
    let datum = Datum::Record(Box::new(a_record()));
    let array = array_of(SqlType::Record.into(), std::slice::from_ref(&datum)).expect("an array");
    assert_eq!(datum_at(array.as_ref(), 0, SqlType::Record.into()), datum);
    let text = to_text(&datum, SqlType::Record.into(), &Style::default(), &Nobody).expect("a text");
    let expected = r#"(t,-2,4,-9223372036854775808,1.5,-0.25,1.50,"","\\x00ff",1970-01-01,00:00:00.000001,"1970-01-01 00:00:00","1970-01-01 00:00:00+00","1 mon 2 days 00:00:00.000003",01010101-0101-0101-0101-010101010101,16,,"{7,NULL}","(""a """"b"""""")","{""(\\""a \\""\\""b\\""\\""\\"")"",NULL}")"#;
    assert_eq!(text, expected);
}

#[test]
fn what_is_no_record_is_refused() {
    let mut bytes = Vec::new();
    record::write(&a_record(), &mut bytes);
    assert_eq!(record::read(&bytes), Some(a_record()));
    for length in 0..bytes.len() {
        assert_eq!(record::read(&bytes[..length]), None, "{length} bytes");
    }
    assert!(from_text("(1)", SqlType::Record.into(), &Style::default(), &Nobody).is_err());
    assert!(from_binary(&bytes, SqlType::Record.into()).is_err());
}

#[test]
fn records_are_sent_with_types() {
    let record =
        RecordDatum { fields: vec![field("a", SqlType::Int4, Datum::Int4(7)), field("b", SqlType::Text, Datum::Null)] };
    let array = array_of(SqlType::Record.into(), &[Datum::Record(Box::new(record))]).expect("an array");
    let encoder =
        encoder(SqlType::Record.into(), Format::Binary, &Style::default(), Arc::new(Nobody)).expect("an encoder");
    let mut out = BytesMut::new();
    encoder.encode(array.as_ref(), 0, &mut out);
    let expected: [&[u8]; 6] =
        [&[0, 0, 0, 2], &[0, 0, 0, 23], &[0, 0, 0, 4], &[0, 0, 0, 7], &[0, 0, 0, 25], &[255, 255, 255, 255]];
    assert_eq!(out.as_ref(), expected.concat());
}

/// Types that have both wire formats, without those that name objects: here is no catalog that knows the names again.
fn with_both_formats() -> Vec<PgType> {
    let types = kalamdb_commons::sql_type::TYPES.iter().filter(|facts| {
        let names_objects = facts.name.trim_start_matches('_').starts_with("reg");
        (facts.kind == 'b' && !names_objects) || facts.ty == SqlType::Record
    });
    let has = |ty: PgType, format| encoder(ty, format, &Style::default(), Arc::new(Nobody)).is_ok();
    types.map(|facts| facts.ty.into()).filter(|ty| has(*ty, Format::Text) && has(*ty, Format::Binary)).collect()
}

/// A corpus whose lines are a type, a tab and a value: the type becomes one byte, its place in the list.
fn values_of(text: &str, types: &[PgType]) -> Vec<Vec<u8>> {
    let inputs = crate::fuzz::corpus(text).into_iter().filter_map(|line| {
        let tab = line.iter().position(|byte| *byte == b'\t')?;
        let name = std::str::from_utf8(&line[..tab]).ok()?;
        let place = types.iter().position(|ty| ty.ty.facts().name == name)?;
        Some([&[u8::try_from(place).ok()?], &line[tab + 1..]].concat())
    });
    inputs.collect()
}

/// Whatever is given as text of a type is refused, or goes through both wire formats and means the same behind them.
#[test]
fn fuzz_text() {
    let types = with_both_formats();
    let inputs = values_of(include_str!("../../../../tests/fuzz/values.txt"), &types);
    assert!(inputs.len() > 40, "the corpus names its types");
    crate::fuzz::run("text", inputs, |input| {
        let Some((place, text)) = input.split_first() else { return String::new() };
        let ty = types[usize::from(*place) % types.len()];
        let text = String::from_utf8_lossy(text);
        let answer = outcome(&text, ty, &Style::default());
        let kind = if answer.starts_with("OK") { "OK" } else { answer.as_str() };
        format!("{ty} {}", crate::fuzz::unquoted(kind))
    });
}

/// Whatever is given as bytes of a type is refused, or comes back as the same bytes once it was sent.
#[test]
fn fuzz_binary() {
    let types = with_both_formats();
    let inputs = values_of(include_str!("../../../../tests/fuzz/binary.txt"), &types);
    assert!(inputs.len() > 20, "the corpus names its types");
    crate::fuzz::run("binary", inputs, |input| {
        let Some((place, bytes)) = input.split_first() else { return String::new() };
        let ty = types[usize::from(*place) % types.len()];
        let datum = match from_binary(bytes, ty) {
            Ok(datum) => datum,
            Err(error) => return format!("{ty} {}", crate::fuzz::unquoted(error.message())),
        };
        let array = array_of(ty, std::slice::from_ref(&datum)).unwrap_or_else(|error| panic!("{ty}: {error}"));
        let encoded = |array: &dyn Array, format| {
            let encoder = encoder(ty, format, &Style::default(), Arc::new(Nobody));
            let mut out = BytesMut::new();
            encoder.unwrap_or_else(|error| panic!("{ty}: {error}")).encode(array, 0, &mut out);
            out
        };
        if !array.is_null(0) {
            encoded(array.as_ref(), Format::Text);
            let sent = encoded(array.as_ref(), Format::Binary);
            let back = from_binary(&sent, ty).unwrap_or_else(|error| panic!("{ty}, sent back: {error}"));
            assert_eq!(same(&back), same(&datum), "{ty}");
        }
        format!("{ty} OK")
    });
}
