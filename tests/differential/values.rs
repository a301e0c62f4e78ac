//! Values to try: for each type those at its edges, as its input function reads them, and random ones.
//!
//! Text arguments that mean something to one function alone (a template, a field, a zone) are in [`words`]. Numbers are
//! drawn so that small ones and those near a type's ends are frequent, since both are where answers differ.

use rand::RngExt as _;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;

/// The values at the edges of a type, by `pg_type.typname`. NULL is tried for every type.
pub fn edges(type_name: &str) -> Option<&'static [&'static str]> {
    Some(match type_name {
        "bool" => &["t", "f"],
        "int2" => &["0", "1", "-1", "2", "7", "32767", "-32768", "100"],
        "int4" => &["0", "1", "-1", "2", "3", "7", "10", "31", "32", "33", "100", "2147483647", "-2147483648"],
        "int8" => &[
            "0",
            "1",
            "-1",
            "2",
            "10",
            "63",
            "64",
            "2147483648",
            "4294967296",
            "9223372036854775807",
            "-9223372036854775808",
        ],
        "oid" | "regproc" | "regprocedure" | "regoper" | "regoperator" | "regnamespace" | "regrole"
        | "regcollation" => &["0", "1", "4294967295"],
        "regclass" => &["0", "1", "pg_class", "pg_catalog.pg_type", "4294967295"],
        "regtype" => &["0", "23", "text", "integer[]", "4294967295"],
        "xid" | "cid" => &["0", "1", "3", "4294967295"],
        "tid" => &["(0,0)", "(0,1)", "(4294967295,65535)"],
        "float4" => &[
            "0",
            "-0",
            "1",
            "-1",
            "0.5",
            "1.5",
            "2.5",
            "-2.5",
            "0.1",
            "3.4028235e38",
            "-3.4028235e38",
            "1e-45",
            "1e-38",
            "16777217",
            "NaN",
            "Infinity",
            "-Infinity",
        ],
        "float8" => &[
            "0",
            "-0",
            "1",
            "-1",
            "0.5",
            "1.5",
            "2.5",
            "-2.5",
            "0.1",
            "2",
            "10",
            "100",
            "-3",
            "1e15",
            "1e16",
            "9007199254740993",
            "2147483647.5",
            "-2147483648.5",
            "9223372036854775807",
            "1.7976931348623157e308",
            "-1.7976931348623157e308",
            "5e-324",
            "2.2250738585072014e-308",
            "1e-200",
            "1e200",
            "NaN",
            "Infinity",
            "-Infinity",
        ],
        "numeric" => &[
            "0",
            "0.00",
            "1",
            "-1",
            "1.0",
            "0.5",
            "-0.5",
            "1.5",
            "2.5",
            "-2.5",
            "10",
            "100",
            "0.1",
            "0.000000000000000000001",
            "123456789012345678901234567890.123456789",
            "-99999999999999999999.9999",
            "32767.5",
            "2147483647.5",
            "9223372036854775807.5",
            "1e100",
            "1e-100",
            "NaN",
            "Infinity",
            "-Infinity",
        ],
        "text" | "varchar" => &[
            "",
            " ",
            "a",
            "abc",
            "Hello World",
            "  both  ",
            "aaa",
            "ABC",
            "äöü ÄÖÜ ß",
            "日本語",
            "e\u{301}",
            "é",
            "😀👍🏽",
            "%a_b\\%",
            "a\tb\nc",
            "it's \"quoted\"",
            "\\x41",
            "12",
            "-3.5",
            "NULL",
            "a,b,,c",
            "{1,2}",
            "[1, null]",
            "\u{1}\u{7f}",
            "ﬁ ǆ İı",
            "x' OR '1'='1",
        ],
        "bpchar" => &["", " ", "a", "a  ", "abc   ", "  x", "äö  ", "日本 "],
        "name" => {
            &["", "a", "pg_class", "Mixed Case", "ä", "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijk"]
        }
        "char" => &["", "a", "Z", " ", "~"],
        "bytea" => &[
            "\\x",
            "\\x00",
            "\\xff",
            "\\x41",
            "\\x616263",
            "\\x0001020304",
            "\\xdeadbeef",
            "\\xc3a4",
            "\\xe2",
            "\\x616200",
            "\\x2020612020",
        ],
        "date" => &[
            "2000-01-01",
            "1999-12-31",
            "1970-01-01",
            "2024-02-29",
            "2023-03-26",
            "2026-12-31",
            "0001-01-01",
            "0001-12-31 BC",
            "4714-11-24 BC",
            "5874897-12-31",
            "294246-12-31",
            "infinity",
            "-infinity",
        ],
        "time" => &["00:00:00", "24:00:00", "23:59:59.999999", "12:34:56.5", "00:00:00.000001", "13:00"],
        "timetz" => &["00:00:00+00", "24:00:00-15:59", "23:59:59.999999+15:59", "12:34:56.5-05", "08:00:00+05:30"],
        "timestamp" => &[
            "2000-01-01 00:00:00",
            "1999-12-31 23:59:59.999999",
            "1970-01-01 00:00:00",
            "2024-02-29 12:34:56.789012",
            "2024-03-10 02:30:00",
            "2024-11-03 01:30:00",
            "0001-01-01 00:00:00",
            "0044-03-15 10:00:00 BC",
            "4714-11-24 00:00:00 BC",
            "294246-12-31 23:59:59.999999",
            "9999-12-31 23:59:59.5",
            "infinity",
            "-infinity",
        ],
        "timestamptz" => &[
            "2000-01-01 00:00:00+00",
            "1999-12-31 23:59:59.999999+00",
            "1970-01-01 00:00:00+00",
            "2024-02-29 12:34:56.789012+02",
            "2024-03-10 07:00:00+00",
            "2024-11-03 05:30:00+00",
            "2024-11-03 06:30:00+00",
            "1883-11-18 17:00:00+00",
            "0001-01-01 00:00:00+00",
            "4714-11-24 00:00:00+00 BC",
            "294246-12-31 23:59:59.999999+00",
            "infinity",
            "-infinity",
        ],
        "interval" => &[
            "0",
            "1 microsecond",
            "-1 second",
            "1 day",
            "-1 day 23:59:59.999999",
            "1 mon",
            "1 year 2 mons 3 days 04:05:06.789",
            "-1 year -2 mons +3 days -04:05:06.789",
            "30 days",
            "31 days 25:00:00",
            "100:00:00",
            "2147483647 mons",
            "-2147483648 mons",
            "2147483647 days",
            "-2147483648 days",
            "178000000 years",
        ],
        "uuid" => &[
            "00000000-0000-0000-0000-000000000000",
            "ffffffff-ffff-ffff-ffff-ffffffffffff",
            "550e8400-e29b-41d4-a716-446655440000",
        ],
        "json" => &[
            "null",
            "true",
            "0",
            "-1.50e3",
            "\"\"",
            "\"a\\u00e4\\n\\\"\"",
            "[]",
            "{}",
            "[1, \"a\", null, {\"b\": [true]}]",
            "{\"a\": 1, \"b\": {\"c\": [1, 2, {\"d\": null}]}}",
            "{\"a\":1,\"a\":2}",
            " {\"b\" : 2 , \"a\" : \"x\"} ",
        ],
        "jsonb" => &[
            "null",
            "false",
            "0",
            "1.50",
            "12345678901234567890.5",
            "\"\"",
            "\"a\\u00e4\\n\\\"\"",
            "[]",
            "{}",
            "[1, \"a\", null, {\"b\": [true]}]",
            "[[1, 2], [3]]",
            "{\"a\": 1, \"b\": {\"c\": [1, 2, {\"d\": null}]}}",
            "{\"a\": null, \"aa\": 1, \"b\": 2}",
        ],
        "jsonpath" => &["$", "$.a", "$[*]", "$.** ? (@ > 1)", "lax $.a[0]", "strict $.a"],
        "_bool" => &["{}", "{t,f,NULL}"],
        "_int2" => &["{}", "{1}", "{1,NULL,-32768}"],
        "_int4" => &["{}", "{1}", "{1,2,3}", "{3,2,1,2}", "{1,NULL,2}", "{NULL}", "{2147483647,-2147483648}"],
        "_int8" => &["{}", "{1}", "{1,NULL,9223372036854775807}"],
        "_text" | "_varchar" => &[
            "{}",
            "{a}",
            "{a,b,c}",
            "{\"\",NULL,\"NULL\"}",
            "{\"a,b\",\"c\\\"d\",\"e\\\\f\"}",
            "{ä,日本,0,1}",
            "{b,c}",
        ],
        "_name" => &["{}", "{a,b}"],
        "_bytea" => &["{}", "{\"\\\\x00\",NULL}"],
        "_float4" => &["{}", "{0,-0,NaN,Infinity,NULL}"],
        "_float8" => &["{}", "{1}", "{0,0.5,1}", "{0.25,NULL}", "{0,-0,NaN,Infinity,NULL}"],
        "_numeric" => &["{}", "{1.0,1.00,NULL}", "{NaN,Infinity}"],
        "_date" => &["{}", "{2000-01-01,infinity}"],
        "_timestamp" => &["{}", "{\"2000-01-01 00:00:00\",NULL,infinity}"],
        "_timestamptz" => &["{}", "{\"2000-01-01 00:00:00+00\",NULL,infinity}"],
        "_interval" => &["{}", "{\"1 mon\",\"30 days\",NULL}"],
        "_uuid" => &["{}", "{550e8400-e29b-41d4-a716-446655440000}"],
        "_json" | "_jsonb" => &["{}", "{\"{\\\"a\\\": 1}\",NULL,null}"],
        "_oid" => &["{}", "{0,4294967295}"],
        "oidvector" | "int2vector" => &["", "1", "1 2 3"],
        "cstring" | "unknown" => return None,
        _ => return None,
    })
}

/// Texts that are not of the type though they look like it, and unusual spellings that are: what casts from text read.
pub fn spellings(type_name: &str) -> &'static [&'static str] {
    match type_name {
        "bool" => &["", " TRUE ", "yes", "of", "on", "o", "2", "tru", "n"],
        "int2" | "int4" | "int8" => &[
            "",
            " 1 ",
            "+5",
            "--5",
            "1.0",
            "1e3",
            "0x10",
            "1_000",
            "abc",
            "99999999999999999999",
            "32768",
            "2147483648",
            "-2147483649",
            "\t7\n",
            "1 2",
            "\u{a0}1",
        ],
        "oid" => &["", "-1", "4294967296", "1a", " 5 "],
        "float4" | "float8" => &[
            "",
            " 1 ",
            "1e400",
            "-1e400",
            "1e-400",
            "1e39",
            "1e-50",
            "nan",
            "inf",
            "+infinity",
            "-inf",
            "infinit",
            "1.",
            ".5",
            ".",
            "1e",
            "1e+",
            "0x1p3",
            "1_0",
            "1.5abc",
            "NaN ",
            "-nan",
        ],
        "numeric" => &[
            "",
            " 1.50 ",
            "1.",
            ".5",
            ".",
            "1e",
            "1e10",
            "1e-10",
            "1e131072",
            "1e-16384",
            "nan",
            "inf",
            "-infinity",
            "+inf",
            "infi",
            "0x1",
            "1_0",
            "--1",
            "00001.10",
        ],
        "bytea" => &["", "abc", "\\x4", "\\xzz", "\\x 41 42", "\\101\\\\", "\\400", "\\", "ä"],
        "date" | "timestamp" | "timestamptz" => &[
            "",
            "2024-02-30",
            "2024-13-01",
            "20240229",
            "240229",
            "Feb 29 2024",
            "29 feb 2024",
            "2/3/04",
            "15/3/2004",
            "2024.060",
            "J2460000",
            "2024-1-5",
            "epoch",
            "Infinity",
            "+infinity",
            "2024-02-29T12:34:56Z",
            "2024-02-29 24:00:00",
            "2024-02-29 25:00",
            "2024-02-29 12:60",
            "2024-02-29 12:34:60",
            "2024-02-29 12:34:56.1234567",
            "2024-02-29 12:34 PM",
            "2024-02-29 00:34 AM",
            "2024-02-29 13:00 PM",
            "2024-02-29 12:34:56+05:30:15",
            "2024-02-29 12:34:56 America/Los_Angeles",
            "2024-02-29 12:34:56 PST",
            "2024-02-29 12:34:56 Nowhere/City",
            "2024-02-29 12:34:56+20",
            "0000-01-01",
            "4714-11-23 BC",
            "5874898-01-01",
            "294276-12-31 23:59:59.999999",
            "294277-01-01",
            "Thursday 2024-02-29",
            "99-01-01",
            "1-1-1 BC",
            "not a date",
            "2024-02-29 BC",
        ],
        "time" | "timetz" => &[
            "",
            "12",
            "12:34",
            "1234",
            "123456",
            "12:34:56.789",
            "24:00:00.000001",
            "24:00",
            "25:00",
            "12:60",
            "23:59:60",
            "4:05 PM",
            "04:05 am",
            "13:00 PM",
            "T12:34",
            "12:34+05",
            "12:34 EST",
            "allballs",
            "2024-02-29 12:34:56 America/New_York",
            "12:34 America/New_York",
            "abc",
        ],
        "interval" => &[
            "",
            "1",
            "1.5",
            "1 day ago",
            "P1Y2M3DT4H5M6S",
            "P0001-02-03T04:05:06",
            "PT0.5S",
            "P",
            "1-2",
            "-1-2 3 -4:05:06",
            "1.5 months",
            "0.1 years",
            "1 fortnight",
            "2 centuries",
            "1 h 2 m 3 s",
            "1:2",
            "1:2:3.4567891",
            "@ 1 minute",
            "1 week 2 days",
            "99999999999 years",
            "9223372036854775807 microseconds",
            "infinity",
            "1 day 1 day",
            "1.5 weeks",
            "-00:00:00.5",
            "1 mon 1 year",
        ],
        "uuid" => &[
            "",
            "{550e8400-e29b-41d4-a716-446655440000}",
            "550E8400E29B41D4A716446655440000",
            "550e-8400-e29b-41d4-a716-4466-5544-0000",
            "550e8400-e29b-41d4-a716-44665544000",
            "g50e8400-e29b-41d4-a716-446655440000",
            "5-50e8400e29b41d4a716446655440000",
        ],
        "json" | "jsonb" => &[
            "",
            "{",
            "[1,]",
            "{\"a\"}",
            "nul",
            "\"\\u0000\"",
            "\"\\ud83d\"",
            "01",
            "1.",
            "'a'",
            "\"a\nb\"",
            "[1] x",
            "1e999999",
        ],
        _ if type_name.starts_with('_') => &[
            "",
            "{",
            "{a",
            "{a}}",
            "{,}",
            "{\"a}",
            "[0:1]={1,2}",
            "{{1,2},{3,4}}",
            "{{1},{2,3}}",
            " { 1 , 2 } ",
            "{1}x",
        ],
        _ => &[],
    }
}

const FIELDS: &[&str] = &[
    "microseconds",
    "milliseconds",
    "second",
    "minute",
    "hour",
    "day",
    "week",
    "month",
    "quarter",
    "year",
    "decade",
    "century",
    "millennium",
    "dow",
    "isodow",
    "doy",
    "isoyear",
    "julian",
    "epoch",
    "timezone",
    "timezone_hour",
    "timezone_minute",
    "YEARS",
    "sec",
    "",
    "nonsense",
    "now",
];
const ZONES: &[&str] = &[
    "UTC",
    "America/New_York",
    "europe/berlin",
    "Asia/Kolkata",
    "Pacific/Apia",
    "EST",
    "PST",
    "CEST",
    "+02",
    "-03:30",
    "UTC+3",
    "EST5EDT",
    "GMT",
    "Nowhere/City",
    "",
    "02:00",
];
const NUMBER_TEMPLATES: &[&str] = &[
    "",
    "9",
    "999",
    "000",
    "9990.99",
    "0000.00",
    "9,999,999.99",
    "S999",
    "999S",
    "MI999",
    "999MI",
    "SG999",
    "PL999",
    "999PR",
    "L999",
    "999D99",
    "9G999",
    "RN",
    "rn",
    "FMRN",
    "999th",
    "999TH",
    "FM999.99",
    "FM000.000",
    "FM9990.0",
    "9.99EEEE",
    "99V99",
    "\"text\" 999",
    "999 \"x\"",
    "B999",
    "FM",
    "....",
    "999.999.9",
    "SMI999",
    "EEEE",
    "0",
    "FM0.9",
    "00000000000000000000",
    "9999999999999999999999.99999999",
    "$999",
];
const MOMENT_TEMPLATES: &[&str] = &[
    "",
    "YYYY-MM-DD",
    "YYYY-MM-DD HH24:MI:SS",
    "HH12:MI:SS AM",
    "hh:mi:ss p.m.",
    "MS US",
    "FF1 FF2 FF3 FF4 FF5 FF6",
    "SSSS SSSSS",
    "Y,YYY YYY YY Y",
    "IYYY IYY IY I",
    "BC AD b.c. A.D.",
    "MONTH Month month MON Mon mon",
    "FMMonth FMDD",
    "DAY Day day DY Dy dy",
    "DDD IDDD D ID W WW IW",
    "CC J Q RM rm",
    "TZ tz TZH TZM OF",
    "DDth DDTH",
    "\"quoted YYYY\" YYYY",
    "FMHH24:FMMI",
    "TMMonth TMDay",
    "YYYYMMDD",
    "\\Y\"Y",
    "HH24:MI:SS.US",
    "DD/MM/YY",
    "FXYYYY MM",
    "x y z",
    "ds",
    "YYYY YYYY",
    "SSSSS.MS",
    "日YYYY",
];
const MOMENT_TEXTS: &[&str] = &[
    "",
    "2024-02-29",
    "2024-02-29 13:45:56",
    "01:02:03 PM",
    "20240229",
    "29 February 2024",
    "feb 2024",
    "044 BC",
    "123 456",
    "1234567",
    "2,024",
    "2024-366",
    "J2460000",
    "2024-13-45",
    "XII",
    "xyz",
    "  2024  2  9 ",
    "2024/02/29",
    "12:34:56.789012",
    "99",
    "-44-02-01",
    "Thursday",
    "+05:30",
    "2024-W09-4",
    "86399",
];
const PATTERNS: &[&str] = &[
    "",
    "a",
    ".",
    "a|b",
    "^a",
    "c$",
    "a*",
    "a+?",
    "(a)(b)?",
    "(?:b)c",
    "[a-c]+",
    "[^a]",
    "\\d+",
    "\\w",
    "\\s",
    "\\m",
    "\\y",
    "(",
    "[",
    "a{2}",
    "a{1,2}",
    "\\1",
    "(a)\\1",
    "x*",
    "(?i)A",
    "(?n)^",
    "***=a.",
    "[[:alpha:]]+",
    "\\x41",
    "日",
    "a(?=b)",
    "a(?!b)",
    "\\Aa",
    "b\\Z",
    "()",
    "$",
    "%",
    "_b%",
    "a\\",
    "l+o",
];

/// The words that a text argument of this function takes (its place counts from 1). Other texts are tried too.
pub fn words(function: &str, place: usize) -> &'static [&'static str] {
    match (function, place) {
        ("date_part" | "date_trunc" | "extract", 1) => FIELDS,
        ("date_trunc", 3) | ("timezone", 1) | ("make_timestamptz", 7) => ZONES,
        ("to_char(number)", 2) | ("to_number", 2) => NUMBER_TEMPLATES,
        ("to_char", 2) | ("to_date" | "to_timestamp", 2) => MOMENT_TEMPLATES,
        ("to_date" | "to_timestamp", 1) => MOMENT_TEXTS,
        ("to_number", 1) => &[
            "", "12", "-12.5", "1,234.50", "<12>", "12-", "+7", "$99", "MCMXC", "1e5", "  5", "abc", "12,34,56",
            "0.001", "12th", "- 3",
        ],
        // What is longer only costs time.
        ("lpad" | "rpad" | "repeat" | "bpchar", 2) => &["0", "1", "2", "5", "17", "-1", "2147483647", "-2147483648"],
        ("encode" | "decode", 2) => &["hex", "base64", "escape", "HEX", "Base64", "rot13", ""],
        ("decode", 1) => &[
            "", "61", "6", "zz", "YWJj", "YW Jj", "YWI=", "YQ==", "YQ", "YQ=", "====", "\\101", "\\\\", "\\4", "abc\\",
            " 61 62 ", "Ym Fy\n", "ä",
        ],
        ("convert_from" | "convert_to", 2) | ("length", 2) => {
            &["UTF8", "utf-8", "LATIN1", "ISO_8859_15", "SQL_ASCII", "WIN1252", "nonsense", "", "EUC_JP"]
        }
        ("convert", 2 | 3) => &["UTF8", "LATIN1", "SQL_ASCII", "WIN1251", "nonsense"],
        ("normalize" | "is_normalized", 2) => &["NFC", "NFD", "NFKC", "nfkd", "x", ""],
        ("unistr", 1) => &[
            "",
            "\\0061",
            "\\+000061",
            "\\u0061",
            "\\U00000061",
            "\\\\",
            "\\",
            "\\d83d\\de00",
            "\\d83d",
            "\\de00",
            "\\zzzz",
            "\\0000",
            "d\\0061t",
        ],
        ("pg_size_bytes", 1) => {
            &["1", "1 kB", "1.5 MB", "-1GB", "1 TB", "10 bytes", "1 xB", "", "1e3 kB", ".5 PB", "1 eb"]
        }
        ("parse_ident", 1) => {
            &["a", "a.b", "\"A b\".c", "a.", ".a", "", "a b", "1a", "A.B.\"c\"\"d\"", "ä.ö", "a . b", "\"\""]
        }
        ("to_regclass" | "to_regtype" | "to_regnamespace" | "to_regrole" | "to_regproc" | "to_regprocedure", 1) => &[
            "pg_class",
            "integer",
            "pg_catalog",
            "nothing",
            "pg_catalog.pg_class",
            "a.b.c.d",
            "",
            "int4[]",
            "numeric(10,2)",
            "now",
        ],
        ("quote_ident", 1) => &["select", "abc", "Abc", "a\"b", "", "table", "1a", "a1_$", "ä"],
        ("format", 1) => &[
            "",
            "%s",
            "%I %L",
            "%%",
            "%1$s %1$s",
            "%2$s %1$s",
            "%5s|",
            "%-5s|",
            "%*s",
            "%",
            "%x",
            "%0$s",
            "%3$s",
            "%s %s %s",
            "%-s",
            "%2$*1$s",
        ],
        (
            "regexp_match"
            | "regexp_matches"
            | "regexp_replace"
            | "regexp_split_to_array"
            | "regexp_split_to_table"
            | "regexp_count"
            | "regexp_instr"
            | "regexp_substr"
            | "regexp_like"
            | "textregexeq"
            | "textregexne"
            | "texticregexeq"
            | "texticregexne"
            | "nameregexeq"
            | "bpcharregexeq"
            | "substring",
            2,
        ) => PATTERNS,
        ("regexp_replace", 3) => &["", "X", "<\\1>", "\\&", "[\\0]", "\\\\", "\\9"],
        ("regexp_match" | "regexp_matches" | "regexp_split_to_array" | "regexp_split_to_table" | "regexp_like", 3)
        | ("regexp_replace" | "regexp_count", 4)
        | ("regexp_substr", 5)
        | ("regexp_instr" | "regexp_replace(6)", 6) => {
            &["", "g", "i", "gi", "n", "x", "s", "w", "q", "b", "e", "m", "p", "c", "t", "z"]
        }
        (
            "like" | "notlike" | "textlike" | "textnlike" | "texticlike" | "texticnlike" | "bpcharlike" | "namelike",
            2,
        )
        | ("similar_to_escape" | "similar_escape", 1) => &[
            "", "%", "_", "a%", "%a", "a_c", "\\%", "a\\", "A%", "%ö%", "__", "%%", "(a|b)%", "a{2}", "[a-c]*", "a+",
            "x?", "a\"b\"c", "日%",
        ],
        ("like_escape", 2) | ("similar_to_escape" | "similar_escape", 2) => &["", "\\", "#", "a", "%", "ab"],
        ("json_extract_path" | "json_extract_path_text" | "jsonb_extract_path" | "jsonb_extract_path_text", 2 | 3)
        | (
            "json_object_field"
            | "json_object_field_text"
            | "jsonb_object_field"
            | "jsonb_object_field_text"
            | "jsonb_exists",
            2,
        ) => &["a", "b", "c", "0", "-1", "", "x"],
        _ => &[],
    }
}

/// A random value of a type as text; `None` where the edges are all there is.
pub fn random(type_name: &str, random: &mut StdRng) -> Option<String> {
    Some(match type_name {
        "int2" => integer(random, 15).to_string(),
        "int4" => integer(random, 31).to_string(),
        "int8" => integer(random, 63).to_string(),
        "oid" | "xid" | "cid" => random.random::<u32>().to_string(),
        "float8" => match random.random_range(0..4) {
            0 => f64::from_bits(random.random::<u64>()).to_string(),
            1 => integer(random, 40).to_string(),
            _ => (random.random_range(-1000.0..1000.0_f64)).to_string(),
        },
        "float4" => match random.random_range(0..4) {
            0 => f32::from_bits(random.random::<u32>()).to_string(),
            1 => integer(random, 20).to_string(),
            _ => (random.random_range(-1000.0..1000.0_f32)).to_string(),
        },
        "numeric" => decimal(random),
        "text" | "varchar" | "bpchar" => text(random),
        "bytea" => {
            let length = random.random_range(0..12);
            let bytes: Vec<String> = (0..length).map(|_| format!("{:02x}", random.random::<u8>())).collect();
            format!("\\x{}", bytes.concat())
        }
        "date" => date(random),
        "time" => time(random),
        "timetz" => format!("{}{:+03}", time(random), random.random_range(-15..=15)),
        "timestamp" => format!("{} {}", date(random), time(random)),
        "timestamptz" => format!("{} {}{:+03}", date(random), time(random), random.random_range(-12..=14)),
        "interval" => {
            let small = |random: &mut StdRng| random.random_range(-40..=40);
            let (years, months, days) = (small(random), small(random), small(random));
            let seconds = random.random_range(-200_000_000_000_i64..200_000_000_000) as f64 / 1e6;
            format!("{years} years {months} mons {days} days {seconds} seconds")
        }
        "uuid" => {
            let value: u128 = random.random();
            format!("{value:032x}")
        }
        "_int4" => {
            let length = random.random_range(0..5);
            let items: Vec<String> = (0..length).map(|_| random.random_range(-3..4).to_string()).collect();
            format!("{{{}}}", items.join(","))
        }
        _ => return None,
    })
}

/// An integer of at most so many bits, small ones as frequent as large ones.
fn integer(random: &mut StdRng, bits: u32) -> i64 {
    let width = random.random_range(0..=bits);
    let value = if width == 0 { 0 } else { (random.random::<u64>() >> (64 - width)) as i64 };
    if random.random() { value } else { -value }
}

fn decimal(random: &mut StdRng) -> String {
    let digits = |random: &mut StdRng, most: usize| -> String {
        let count = random.random_range(0..=most);
        (0..count).map(|_| char::from(b'0' + random.random_range(0..10_u8))).collect()
    };
    let longest = *[3, 6, 25].choose(random).unwrap_or(&3);
    let (whole, fraction) = (digits(random, longest), digits(random, longest));
    let sign = if random.random() { "-" } else { "" };
    format!("{sign}0{whole}.{fraction}0")
}

fn text(random: &mut StdRng) -> String {
    const LETTERS: &[&str] =
        &["a", "b", "c", "A", "B", " ", "_", "%", "\\", ".", "1", "0", "-", ",", "ä", "Ö", "日", "é", "😀", "'", "x"];
    let length = random.random_range(0..10);
    (0..length).map(|_| *LETTERS.choose(random).unwrap_or(&"a")).collect()
}

fn date(random: &mut StdRng) -> String {
    let year = match random.random_range(0..4) {
        0 => random.random_range(1..10_000),
        _ => random.random_range(1890..2100),
    };
    format!("{year:04}-{:02}-{:02}", random.random_range(1..=12), random.random_range(1..=28))
}

fn time(random: &mut StdRng) -> String {
    let us = if random.random() { random.random_range(0..1_000_000) } else { 0 };
    format!(
        "{:02}:{:02}:{:02}.{us:06}",
        random.random_range(0..24),
        random.random_range(0..60),
        random.random_range(0..60)
    )
}
