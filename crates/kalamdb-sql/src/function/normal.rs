//! Unicode's normal forms (PostgreSQL manual 9.4): `normalize`, `IS NORMALIZED`.

use super::Function;
use super::rows::{f, fail};
use kalamdb_commons::{Result, SqlState};
use unicode_normalization::UnicodeNormalization as _;

#[rustfmt::skip]
pub(super) static FUNCTIONS: &[Function] = &[
    f!(4350 defaults(1) "normalize" (a: Text, form: Text) -> Text { normalize(a, form) }),
    f!(4351 defaults(1) "is_normalized" (a: Text, form: Text) -> Bool { is_normalized(a, form) }),
];

enum Form {
    Nfc,
    Nfd,
    Nfkc,
    Nfkd,
}

impl Form {
    fn named(name: &str) -> Result<Self> {
        match name.to_ascii_uppercase().as_str() {
            "NFC" => Ok(Form::Nfc),
            "NFD" => Ok(Form::Nfd),
            "NFKC" => Ok(Form::Nfkc),
            "NFKD" => Ok(Form::Nfkd),
            _ => fail(SqlState::INVALID_PARAMETER_VALUE, format!("invalid normalization form: {name}")),
        }
    }
}

fn normalize(text: &str, form: &str) -> Result<String> {
    let form = Form::named(form)?;
    if text.is_ascii() {
        return Ok(text.to_owned());
    }
    Ok(match form {
        Form::Nfc => text.nfc().collect(),
        Form::Nfd => text.nfd().collect(),
        Form::Nfkc => text.nfkc().collect(),
        Form::Nfkd => text.nfkd().collect(),
    })
}

fn is_normalized(text: &str, form: &str) -> Result<bool> {
    let form = Form::named(form)?;
    Ok(text.is_ascii()
        || match form {
            Form::Nfc => unicode_normalization::is_nfc(text),
            Form::Nfd => unicode_normalization::is_nfd(text),
            Form::Nfkc => unicode_normalization::is_nfkc(text),
            Form::Nfkd => unicode_normalization::is_nfkd(text),
        })
}
