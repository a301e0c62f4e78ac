//! Views.

use kalamdb_commons::ids::FIRST_USER_OID;
use kalamdb_commons::{
    AccessLevel, ColumnId, ColumnName, NamespaceId, Oid, PgType, SqlType, TableId, TableName, UserId,
};
use serde::{Deserialize, Serialize};

/// A view: a query with a name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ViewDef {
    /// Its id.
    pub id: TableId,
    /// Its namespace.
    pub namespace: NamespaceId,
    /// Its name.
    pub name: TableName,
    /// Who made it: what the query needs is judged as for this user, unless `security_invoker`.
    pub owner: UserId,
    /// Who may read it, as of a SHARED table.
    pub access: AccessLevel,
    /// Raised by each change.
    pub schema_version: u32,
    /// Its columns, in order.
    pub columns: Vec<ViewColumn>,
    /// The query as it was written.
    pub query: String,
    /// What the names in it meant when it was written: they mean the same for ever, whatever is renamed or made later.
    pub names: Vec<SeenName>,
    /// TimeZone, DateStyle and IntervalStyle, by which its constants were read.
    pub settings: [String; 3],
    /// What the query names: it cannot go without the view.
    pub uses: Vec<Use>,
    /// `security_invoker`, `security_barrier`, `check_option`, as they are shown in pg_class.reloptions.
    pub options: Vec<String>,
    /// The OID of its row type.
    pub row_type: Oid,
    /// The OID of the rule that PostgreSQL clients expect behind it (`pg_rewrite`).
    pub rule: Oid,
    /// Microseconds since 1970 UTC.
    pub created_at: i64,
}

/// A column of a view.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ViewColumn {
    /// Its name.
    pub name: ColumnName,
    /// Its type.
    pub ty: PgType,
}

/// A relation's name in a stored query.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SeenName {
    /// The namespace, where it was written.
    pub namespace: Option<String>,
    /// The name.
    pub name: String,
    /// What it meant.
    pub relation: TableId,
    /// The columns that were there, with the names that they had.
    pub columns: Vec<(ColumnId, String)>,
}

/// Something that a definition names.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Use {
    /// A relation as a whole.
    Relation(TableId),
    /// A relation's column.
    Column(TableId, ColumnId),
    /// A type that values have.
    Type(Oid),
    /// A user's type by a name, which means it for ever.
    TypeNamed {
        /// The name as it was written.
        parts: Vec<String>,
        /// What it meant.
        ty: Oid,
    },
    /// A constant that the catalog gave its meaning, which it keeps: an enum's label, `'name'::regclass` and kin.
    Constant {
        /// Its text.
        text: String,
        /// Its type.
        ty: Oid,
        /// A label's rank, or an OID.
        value: i64,
    },
    /// The domain of a column of the view's own.
    Domain(ColumnId, Oid),
}

impl Use {
    /// The user's type that is named, if one is.
    pub fn type_named(&self) -> Option<Oid> {
        match self {
            Use::TypeNamed { ty, .. } => Some(*ty),
            Use::Constant { ty, .. } if *ty >= FIRST_USER_OID => Some(*ty),
            // The array over a type has the number behind the type's.
            Use::Constant { ty, value, .. } if *ty == SqlType::Regtype.oid() => user_oid(*value).map(|oid| oid & !1),
            _ => None,
        }
    }

    /// The relation that a constant names, if it does.
    pub fn relation_named(&self) -> Option<TableId> {
        match self {
            Use::Constant { ty, value, .. } if *ty == SqlType::Regclass.oid() => user_oid(*value).map(TableId),
            _ => None,
        }
    }
}

fn user_oid(value: i64) -> Option<Oid> {
    Oid::try_from(value).ok().filter(|oid| *oid >= FIRST_USER_OID)
}

impl ViewDef {
    /// The domain of a column, by its number.
    pub fn domain_of(&self, column: ColumnId) -> Option<Oid> {
        self.uses.iter().find_map(|using| match using {
            Use::Domain(id, domain) if *id == column => Some(*domain),
            _ => None,
        })
    }
}
