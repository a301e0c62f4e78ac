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
    /// Its OID.
    pub id: Oid,
    /// What people read; a rename changes it.
    pub label: String,
    /// Where it stands among the others: what rows hold. It never changes; there is room for others between two.
    pub rank: i64,
    /// Whether it came later than its type.
    pub is_added: bool,
}

/// How far apart the ranks of labels are that were declared one after the other.
const RANK_STEP: i64 = 1 << 32;

impl EnumLabel {
    /// The rank of a type's label by its place in the declaration.
    pub fn first_rank(at: usize) -> i64 {
        i64::try_from(at + 1).unwrap_or(i64::MAX >> 33).saturating_mul(RANK_STEP)
    }

    /// `pg_enum.enumsortorder`
    pub fn sort_order(&self) -> f32 {
        (self.rank as f64 / RANK_STEP as f64) as f32
    }

    /// A rank between two neighbours; `None` when there is none left.
    pub fn rank_between(below: Option<i64>, above: Option<i64>) -> Option<i64> {
        match (below, above) {
            (None, None) => Some(RANK_STEP),
            (Some(below), None) => below.checked_add(RANK_STEP),
            (None, Some(above)) => above.checked_sub(RANK_STEP),
            (Some(below), Some(above)) => {
                let middle = below + (above - below) / 2;
                (middle != below && middle != above).then_some(middle)
            }
        }
    }
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
