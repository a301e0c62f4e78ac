//! Types that users make: enums and domains.

use kalamdb_commons::{NamespaceId, Oid, PgType, UserId};
use serde::{Deserialize, Serialize};

/// A type that a user made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TypeDef {
    /// Its OID.
    pub id: Oid,
    /// The OID of the array type over it.
    pub array: Oid,
    /// Its namespace.
    pub namespace: NamespaceId,
    /// Its name.
    pub name: String,
    /// Who made it.
    pub owner: UserId,
    /// What it is.
    pub kind: TypeKind,
}

/// What a type is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum TypeKind {
    /// One of these labels, in this order.
    Enum(Vec<EnumLabel>),
    /// Another type with conditions.
    Domain {
        /// The type below it; never another domain.
        base: PgType,
        /// NOT NULL
        not_null: bool,
        /// DEFAULT, as SQL text.
        default: Option<String>,
        /// CHECK, in order.
        checks: Vec<DomainCheck>,
    },
}

/// A label of an enum.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EnumLabel {
    /// Its OID: what rows hold.
    pub id: Oid,
    /// What people read; a rename changes it.
    pub label: String,
    /// Where it stands among the others (`pg_enum.enumsortorder`).
    pub sort_order: f32,
}

/// A condition of a domain.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DomainCheck {
    /// Its OID.
    pub id: Oid,
    /// Its name, unique in its domain.
    pub name: String,
    /// The condition, as SQL text over `VALUE`.
    pub expression: String,
    /// Whether values from before were looked at.
    pub validated: bool,
}
