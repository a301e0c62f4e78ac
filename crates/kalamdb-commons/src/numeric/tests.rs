//! Tables from PostgreSQL 15, and the order of keys.

use super::arithmetic::{Op, calculate};
use super::key::{Small, View, key_len};
use super::{Numeric, text_to_bytes};
use crate::error::Result;

fn n(text: &str) -> Numeric {
    Numeric::parse(text).unwrap_or_else(|| panic!("{text} is a numeric"))
}

/// Both ways of calculating, which must agree.
fn both(op: Op, left: &str, right: &str) -> Result<String> {
    let plain = n(left).apply(op, &n(right)).map(|value| value.to_string());
    let mut out = Vec::new();
    let fast = calculate(op, &n(left).to_bytes(), &n(right).to_bytes(), &mut out);
    assert_eq!(plain.as_ref().map(|_| ()), fast.as_ref().map(|_| ()));
    if plain.is_ok() {
        assert_eq!(
            Numeric::from_bytes(&out).map(|value| value.to_string()),
            plain.clone().ok(),
            "{left} {op:?} {right}"
        );
    }
    plain
}

#[test]
fn text_comes_back_as_postgresql_prints_it() {
    let cases = [
        ("0e100", "0"),
        ("0e-5", "0.00000"),
        ("-0.0", "0.0"),
        ("1.", "1"),
        (" .5 ", "0.5"),
        ("+inf", "Infinity"),
        ("-Infinity", "-Infinity"),
        ("nan", "NaN"),
        ("1e20", "100000000000000000000"),
        ("1.50e3", "1500"),
        ("-12345.678900", "-12345.678900"),
        ("0.0000000001", "0.0000000001"),
        ("1e-7", "0.0000001"),
        ("99999999999999999999999999999999999999", "99999999999999999999999999999999999999"),
        ("999999999999999999999999999999999999999.5", "999999999999999999999999999999999999999.5"),
        ("100", "100"),
        ("1000000.01", "1000000.01"),
    ];
    for (given, printed) in cases {
        let value = n(given);
        assert_eq!(value.to_string(), printed);
        let bytes = value.to_bytes();
        let mut direct = Vec::new();
        text_to_bytes(given, &mut direct).unwrap_or_else(|error| panic!("{given}: {error:?}"));
        assert_eq!(bytes, direct);
        assert_eq!(key_len(&bytes), Some(bytes.len() - 2));
        assert_eq!(Numeric::from_bytes(&bytes), Some(value.clone()));
        let mut text = Vec::new();
        let view = View::new(&bytes).unwrap_or_else(|| panic!("{given} has a byte form"));
        view.write_text(|piece| text.extend_from_slice(piece));
        assert_eq!(String::from_utf8_lossy(&text), printed);
        let mut wire = Vec::new();
        view.write_wire(|piece| wire.extend_from_slice(piece));
        assert_eq!(Numeric::from_wire(&wire).map(|value| value.to_string()), Ok(printed.to_string()));
    }
}

#[test]
fn what_is_no_numeric() {
    for text in ["", " ", "1e", "1 2", "x", ".", "-", "1.2.3", "-nan", "1_000", "e5", "++1"] {
        assert_eq!(Numeric::from_text(text), Err(super::ParseNumericError::Syntax), "{text}");
    }
    for text in ["1e131072", "1e-16384", "0e-16384", "1e99999999999", "0e2000000000"] {
        assert_eq!(Numeric::from_text(text), Err(super::ParseNumericError::Overflow), "{text}");
    }
    assert!(Numeric::from_text("1e131071").is_ok());
    assert!(Numeric::from_text("1e-16383").is_ok());
}

#[test]
fn wire_bytes_are_postgresqls() {
    let cases = [
        ("1e10", "00010002000000000064"),
        ("0.00012", "0002ffff00000005000107d0"),
        ("-1234567.89", "0003000140000002007b11d722c4"),
        ("0.00", "0000000000000002"),
    ];
    for (text, hex) in cases {
        let bytes = n(text).to_bytes();
        let mut wire = String::new();
        if let Some(view) = View::new(&bytes) {
            view.write_wire(|piece| piece.iter().for_each(|byte| wire += &format!("{byte:02x}")));
        }
        assert_eq!(wire, hex, "{text}");
    }
}

#[test]
fn results_have_postgresqls_scale() {
    let cases = [
        (Op::Div, "10", "3", "3.3333333333333333"),
        (Op::Div, "1", "3", "0.33333333333333333333"),
        (Op::Div, "2", "3", "0.66666666666666666667"),
        (Op::Div, "0", "5", "0.00000000000000000000"),
        (Op::Div, "1.5", "0.5", "3.0000000000000000"),
        (Op::Div, "12345.678", "0.00001", "1234567800.00000000"),
        (
            Op::Div,
            "1e100",
            "3",
            "3333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333",
        ),
        (Op::Div, "0.0001", "3", "0.000033333333333333333333"),
        (Op::Div, "-7", "2", "-3.5000000000000000"),
        (Op::Div, "5", "inf", "0"),
        (Op::Rem, "1.5", "0.4", "0.3"),
        (Op::Rem, "-7.5", "2", "-1.5"),
        (Op::Rem, "inf", "3", "NaN"),
        (Op::Rem, "3", "inf", "3"),
        (Op::Mul, "1.50", "2.0", "3.000"),
        (Op::Mul, "inf", "0", "NaN"),
        (Op::Add, "0.1", "0.2", "0.3"),
        (Op::Add, "99999999999999999999999999999999999999", "1", "100000000000000000000000000000000000000"),
        (Op::Sub, "1.00", "1", "0.00"),
        (Op::Sub, "inf", "inf", "NaN"),
        (Op::Div, "nan", "0", "NaN"),
    ];
    for (op, left, right, expected) in cases {
        assert_eq!(both(op, left, right).as_deref(), Ok(expected), "{left} {op:?} {right}");
    }
    assert!(both(Op::Div, "1", "0").is_err());
    assert!(both(Op::Div, "inf", "0").is_err());
    assert!(both(Op::Rem, "1", "0.0").is_err());
}

#[test]
fn rounding_and_precision() {
    assert_eq!(n("2.5").round(0).to_string(), "3");
    assert_eq!(n("-2.5").round(0).to_string(), "-3");
    assert_eq!(n("1.5").round(3).to_string(), "1.500");
    assert_eq!(n("1250").round(-2).to_string(), "1300");
    assert_eq!(n("0.4").round(-5).to_string(), "0");
    assert_eq!(n("-1.5").floor().to_string(), "-2");
    assert_eq!(n("-1.5").ceil().to_string(), "-1");
    assert_eq!(n("1.29").trunc(1).to_string(), "1.2");
    assert_eq!(n("12345").with_precision(3, -2).map(|value| value.to_string()), Ok("12300".into()));
    let cases = [
        ("123.456", 5, 3, "A field with precision 5, scale 3 must round to an absolute value less than 10^2."),
        ("1.5", 3, 3, "A field with precision 3, scale 3 must round to an absolute value less than 1."),
        ("inf", 3, 3, "A field with precision 3, scale 3 cannot hold an infinite value."),
        ("99950", 3, -2, "A field with precision 3, scale -2 must round to an absolute value less than 10^5."),
    ];
    for (text, precision, scale, detail) in cases {
        let error = n(text).with_precision(precision, scale).err();
        assert_eq!(error.as_ref().and_then(|error| error.detail()), Some(detail));
    }
}

#[test]
fn floats_keep_the_digits_that_postgresql_keeps() {
    assert_eq!(Numeric::from_f64(0.1).to_string(), "0.1");
    assert_eq!(Numeric::from_f64(1e20).to_string(), "100000000000000000000");
    assert_eq!(Numeric::from_f64(1e-5).to_string(), "0.00001");
    assert_eq!(Numeric::from_f64(0.0).to_string(), "0");
    assert_eq!(Numeric::from_f64(1_234_567_890.123_456_7).to_string(), "1234567890.12346");
    assert_eq!(Numeric::from_f32(0.1).to_string(), "0.1");
    assert_eq!(Numeric::from_f32(123456789.0).to_string(), "123457000");
    assert_eq!(n("0.1").to_f64(), Ok(0.1));
    assert!(n("1e400").to_f64().is_err());
    assert!(n("1e-400").to_f64().is_err());
    assert_eq!(n("9223372036854775807.4").to_i64(), Ok(i64::MAX));
    assert_eq!(
        n("9223372036854775807.5").to_i64().err().map(|e| e.message().to_string()),
        Some("bigint out of range".into())
    );
    assert_eq!(n("nan").to_i32().err().map(|e| e.message().to_string()), Some("cannot convert NaN to integer".into()));
}

#[test]
fn keys_order_as_numbers_do() {
    // A small linear generator: the same numbers in every run.
    let mut state = 42_u64;
    let mut next = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 33
    };
    let mut values: Vec<Numeric> =
        ["-inf", "inf", "nan", "0", "0.00", "1e131071", "-1e131071", "1e-16383", "-1e-16383"]
            .into_iter()
            .map(n)
            .collect();
    for _ in 0..400 {
        let digits = next() % 12 + 1;
        let mantissa = (0..digits).fold(0_i128, |value, _| value * 1000 + i128::from(next() % 1000));
        let sign = if next() % 2 == 0 { "-" } else { "" };
        let exponent = (next() % 200) as i64 - 100;
        values.push(n(&format!("{sign}{mantissa}e{exponent}")));
    }
    for a in &values {
        for b in &values {
            let (x, y) = (a.to_bytes(), b.to_bytes());
            assert_eq!(a.compare(b), Numeric::key(&x).cmp(Numeric::key(&y)), "{a} and {b}");
        }
        if let Some(small) = Small::read(&a.to_bytes()) {
            let mut bytes = Vec::new();
            small.write(&mut bytes);
            assert_eq!(bytes, a.to_bytes());
        }
    }
}

/// Prints operations with random operands as SQL, to compare with PostgreSQL by hand:
/// `cargo test -p kalamdb-commons --lib -- --ignored --nocapture differential | grep ^select | psql`: all rows are `t`.
#[test]
#[ignore = "prints SQL for a running PostgreSQL"]
fn differential() {
    let mut state = 7_u64;
    let mut next = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 33
    };
    for _ in 0..3000 {
        let mut operand = || {
            let digits = next() % 9 + 1;
            let mantissa = (0..digits).fold(0_i128, |value, _| value * 1000 + i128::from(next() % 1000));
            let sign = if next() % 2 == 0 { "-" } else { "" };
            n(&format!("{sign}{mantissa}e{}", (next() % 30) as i64 - 20)).to_string()
        };
        let (a, b) = (operand(), operand());
        for (op, sign) in [(Op::Add, '+'), (Op::Sub, '-'), (Op::Mul, '*'), (Op::Div, '/'), (Op::Rem, '%')] {
            if let Ok(result) = both(op, &a, &b) {
                println!("select '{result}' = ('{a}'::numeric {sign} '{b}')::text, '{a} {sign} {b}';");
            }
        }
    }
}
