//! What a value says that a domain refuses (PostgreSQL manual 8.18).

use super::rows::x;
use super::{Call, Function};
use arrow_array::{ArrayRef, new_empty_array};
use kalamdb_commons::{Datum, PgType, Result, SqlError, SqlState, SqlType};

/// The OID of the function whose call is the error.
pub const DOMAIN_VIOLATION: u32 = 9300;

#[rustfmt::skip]
pub(super) static FUNCTIONS: &[Function] = &[
    // Volatile, so that nobody calls it before there is a value: the domain, its constraint (empty for NOT NULL).
    x!(9300 volatile lax "kalam_domain_violation" (Oid, Text) -> Void = violation),
];

fn violation(args: &[ArrayRef], call: &Call<'_>) -> Result<ArrayRef> {
    if call.rows == 0 {
        return Ok(new_empty_array(&call.returns.ty.arrow()));
    }
    let cell = |at: usize, ty: SqlType| crate::types::datum_at(args[at].as_ref(), 0, PgType::new(ty));
    let (Datum::Oid(oid), constraint) = (cell(0, SqlType::Oid), cell(1, SqlType::Text)) else {
        return Err(SqlError::internal("a domain without its OID"));
    };
    let (name, (schema, own)) = match call.around.catalog().domain(oid) {
        Some(domain) => (domain.name, domain.place),
        None => (oid.to_string(), Default::default()),
    };
    Err(match constraint.as_str().unwrap_or_default() {
        "" => SqlError::new(SqlState::NOT_NULL_VIOLATION, format!("domain {name} does not allow null values")),
        constraint => {
            let message = format!("value for domain {name} violates check constraint \"{constraint}\"");
            SqlError::new(SqlState::CHECK_VIOLATION, message).with_constraint(constraint)
        }
    }
    .with_schema(schema)
    .with_data_type(own))
}
