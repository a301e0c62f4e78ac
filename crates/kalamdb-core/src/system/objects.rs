//! pg_proc, pg_operator, pg_cast, pg_aggregate and the catalog's fixed objects: what the server can do.

use super::{Facts, Rows, Wanted, cells, list};
use kalamdb_commons::ids::{PG_CATALOG, ROOT, SYSTEM};
use kalamdb_commons::{Datum, NamespaceId, SqlType};
use kalamdb_sql::function::{self, CastContext, CastMethod, Function, Kind, Volatility, Work};

/// Makes the rows of one of them; `false` when it is not among them.
pub(super) fn make(name: &str, _facts: &Facts, wanted: &Wanted, rows: &mut Rows) -> bool {
    match name {
        "pg_proc" => functions(wanted, rows),
        "pg_operator" => operators(rows),
        "pg_cast" => casts(rows),
        "pg_aggregate" => aggregates(rows),
        "pg_am" => methods(rows),
        "pg_collation" => collations(rows),
        "pg_language" => languages(rows),
        "pg_extension" => extensions(rows),
        "pg_available_extensions" => available_extensions(rows),
        "pg_opclass" => super::operator_class::rows(wanted, rows),
        "pg_opfamily" => super::operator_class::families(rows),
        _ => return false,
    }
    true
}

fn kind(function: &Function) -> char {
    match function.kind {
        Kind::Aggregate(_) => 'a',
        Kind::Window(_) => 'w',
        _ => 'f',
    }
}

fn functions(wanted: &Wanted, rows: &mut Rows) {
    for function in function::all() {
        if wanted.as_ref().is_some_and(|wanted| !wanted.contains(&function.oid)) {
            continue;
        }
        let arguments = function.args.iter().map(|ty| Datum::Oid(ty.oid()));
        let variadic = if function.variadic { function.args.last().map_or(0, |ty| ty.oid()) } else { 0 };
        rows.push(cells![
            oid: function.oid, proname: function.name, pronamespace: PG_CATALOG.0, proowner: ROOT.0, prolang: 12u32,
            procost: 1f32, prorows: if matches!(function.kind, Kind::Set(_)) { 1000f32 } else { 0f32 },
            provariadic: variadic, prosupport: 0u32, prokind: kind(function), prosecdef: false, proleakproof: false,
            proisstrict: function.strict, proretset: matches!(function.kind, Kind::Set(_)),
            provolatile: match function.volatility {
                Volatility::Immutable => 'i',
                Volatility::Stable => 's',
                Volatility::Volatile => 'v',
            },
            proparallel: 's', pronargs: function.args.len() as i16, pronargdefaults: function.defaults as i16,
            prorettype: function.returns.oid(), proargtypes: list(SqlType::Oid, arguments), prosrc: function.name,
        ]);
    }
}

fn operators(rows: &mut Rows) {
    for operator in function::all_operators() {
        let code = match operator.work {
            Work::Function(oid) => oid,
            Work::Compare(_) | Work::CompareKeys(_) => 0,
        };
        rows.push(cells![
            oid: operator.oid, oprname: operator.name, oprnamespace: PG_CATALOG.0, oprowner: ROOT.0,
            oprkind: if operator.left.is_some() { 'b' } else { 'l' }, oprcanmerge: false, oprcanhash: false,
            oprleft: operator.left.map_or(0, SqlType::oid), oprright: operator.right.oid(),
            oprresult: operator.returns.oid(), oprcom: 0u32, oprnegate: 0u32, oprcode: code, oprrest: 0u32,
            oprjoin: 0u32,
        ]);
    }
}

fn casts(rows: &mut Rows) {
    // PostgreSQL's pg_cast numbers its rows below 16384; nobody refers to them.
    for (at, cast) in function::casts().enumerate() {
        let (function, method) = match cast.method {
            CastMethod::Function(oid) => (oid, 'f'),
            CastMethod::Relabel => (0, 'b'),
            CastMethod::ThroughText => continue,
        };
        rows.push(cells![
            oid: 10_000 + at as u32, castsource: cast.source.oid(), casttarget: cast.target.oid(), castfunc: function,
            castcontext: match cast.context {
                CastContext::Implicit => 'i',
                CastContext::Assignment => 'a',
                CastContext::Explicit => 'e',
            },
            castmethod: method,
        ]);
    }
}

fn aggregates(rows: &mut Rows) {
    for function in function::all() {
        if matches!(function.kind, Kind::Aggregate(_)) {
            rows.push(cells![aggfnoid: function.oid, aggkind: 'n', aggnumdirectargs: 0i16, aggtransfn: 0u32,
                aggfinalfn: 0u32, aggcombinefn: 0u32, aggserialfn: 0u32, aggdeserialfn: 0u32, aggmtransfn: 0u32,
                aggminvtransfn: 0u32, aggmfinalfn: 0u32, aggfinalextra: false, aggmfinalextra: false,
                aggfinalmodify: 'r', aggmfinalmodify: 'r', aggsortop: 0u32, aggtranstype: function.returns.oid(),
                aggtransspace: 0i32, aggmtranstype: 0u32, aggmtransspace: 0i32]);
        }
    }
}

fn methods(rows: &mut Rows) {
    rows.push(cells![oid: 2u32, amname: "heap", amhandler: 3u32, amtype: 't']);
    rows.push(cells![oid: 403u32, amname: "btree", amhandler: 330u32, amtype: 'i']);
    rows.push(cells![oid: 405u32, amname: "hash", amhandler: 331u32, amtype: 'i']);
}

fn collations(rows: &mut Rows) {
    for (oid, name) in [(100u32, "default"), (950, "C"), (951, "POSIX")] {
        rows.push(cells![
            oid: oid, collname: name, collnamespace: PG_CATALOG.0, collowner: ROOT.0,
            collprovider: if oid == 100 { 'd' } else { 'c' }, collisdeterministic: true, collencoding: -1i32,
            collcollate: (oid != 100).then_some("C"), collctype: (oid != 100).then_some("C"),
        ]);
    }
}

/// What PostgreSQL has as an extension and KalamDB has built in.
pub(crate) struct Extension {
    /// Its OID.
    pub oid: u32,
    /// Its name.
    pub name: &'static str,
    namespace: NamespaceId,
    /// The version of which KalamDB has all that is not about other types and other ways to search.
    version: &'static str,
    comment: &'static str,
}

/// The extension that the namespace `system` belongs to.
pub(crate) const OWN_EXTENSION: u32 = 9673;

/// All of them.
pub(crate) const EXTENSIONS: &[Extension] = &[
    Extension {
        oid: 9670,
        name: "vector",
        namespace: PG_CATALOG,
        version: "0.6.2",
        comment: "vector data type and its distances",
    },
    // What an extension has is no part of a dump: no other server has the namespace `system`.
    Extension {
        oid: OWN_EXTENSION,
        name: "kalamdb",
        namespace: SYSTEM,
        version: env!("CARGO_PKG_VERSION"),
        comment: "what the server knows about itself",
    },
];

fn extensions(rows: &mut Rows) {
    for extension in EXTENSIONS {
        rows.push(cells![
            oid: extension.oid, extname: extension.name, extowner: ROOT.0, extnamespace: extension.namespace.0,
            extrelocatable: false, extversion: extension.version,
        ]);
    }
}

fn available_extensions(rows: &mut Rows) {
    for extension in EXTENSIONS {
        rows.push(cells![
            name: extension.name, default_version: extension.version, installed_version: extension.version,
            comment: extension.comment,
        ]);
    }
}

fn languages(rows: &mut Rows) {
    for (oid, name) in [(12u32, "internal"), (14, "sql")] {
        rows.push(cells![
            oid: oid, lanname: name, lanowner: ROOT.0, lanispl: false, lanpltrusted: oid == 14, lanplcallfoid: 0u32,
            laninline: 0u32, lanvalidator: 0u32,
        ]);
    }
}
