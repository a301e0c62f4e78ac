//! `permissions.txt` is the matrix: a line is one question, a column one role, `yes` or `no` the answer.

use super::*;
use kalamdb_commons::{UserId, UserName};

const MATRIX: &str = include_str!("permissions.txt");

fn identity(role: Role) -> Identity {
    Identity { user: UserId(20_000), name: UserName::new("somebody"), role }
}

#[test]
fn matrix() {
    let mut asked = 0;
    for line in MATRIX.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty()) {
        let (question, answers) = line.split_once('|').expect("question | user service dba system");
        for (role, expected) in Role::ALL.iter().zip(answers.split_whitespace()) {
            let found = answer(&identity(*role), question.trim());
            assert_eq!(found, expected, "{question} by {role}");
            asked += 1;
        }
    }
    assert!(asked > 150, "the matrix was read: {asked}");
}

fn answer(identity: &Identity, question: &str) -> &'static str {
    let words: Vec<&str> = question.split_whitespace().collect();
    let yes = |granted: Result<Granted, Denied>| if granted.is_ok() { "yes" } else { "no" };
    match words.as_slice() {
        ["rows", kind, access, owner, grant, action] => {
            let facts = ObjectFacts {
                kind: TableType::parse(kind).expect("a kind"),
                access: AccessLevel::parse(access).unwrap_or(AccessLevel::Private),
                is_owner: *owner == "owner",
                is_granted: *grant == "granted",
            };
            yes(authorize(identity, row_action(action), &facts))
        }
        ["sequence", kind, owner, action] => {
            let table = TableType::parse(kind).map(|kind| ObjectFacts {
                kind,
                access: AccessLevel::Private,
                is_owner: false,
                is_granted: false,
            });
            let facts = SequenceFacts { is_owner: *owner == "owner", table };
            yes(authorize_sequence(identity, sequence_action(action), &facts))
        }
        ["system", table] => match visible(identity, system_table(table)) {
            Visible::Nothing => "none",
            Visible::Own => "own",
            Visible::All => "all",
        },
        other => yes(authorize_admin(identity, admin_action(other))),
    }
}

fn row_action(word: &str) -> RowAction {
    match word {
        "select" => RowAction::Select,
        "insert" => RowAction::Insert,
        "update" => RowAction::Update,
        "delete" => RowAction::Delete,
        "truncate" => RowAction::Truncate,
        other => panic!("{other} is no action on rows"),
    }
}

fn sequence_action(word: &str) -> SequenceAction {
    match word {
        "next" => SequenceAction::Next,
        "read" => SequenceAction::Read,
        "set" => SequenceAction::Set,
        other => panic!("{other} is no action on a sequence"),
    }
}

fn admin_action(words: &[&str]) -> AdminAction {
    let role = |word: &str| Role::parse(word).expect("a role");
    match words {
        ["create-table", grant] => AdminAction::CreateTable { is_granted: *grant == "granted" },
        ["alter-table", owner] => AdminAction::AlterTable { is_owner: *owner == "owner" },
        ["drop-table", owner] => AdminAction::DropTable { is_owner: *owner == "owner" },
        ["vacuum", owner] => AdminAction::MaintainTable { is_owner: *owner == "owner" },
        ["flush"] => AdminAction::Flush,
        ["users", target] => AdminAction::ManageUsers { target: role(target) },
        ["own-password"] => AdminAction::OwnPassword,
        ["namespaces"] => AdminAction::ManageNamespaces,
        ["storages"] => AdminAction::ManageStorages,
        ["backup"] => AdminAction::Backup,
        ["kill-job"] => AdminAction::KillJob,
        ["kill-live-query", whose] => AdminAction::KillLiveQuery { is_own: *whose == "own" },
        ["signal", whose, target] => AdminAction::SignalSession { is_own: *whose == "own", target: role(target) },
        ["settings"] => AdminAction::Settings,
        ["execute-as", "self"] => AdminAction::ExecuteAs { is_self: true, target: Role::System },
        ["execute-as", target] => AdminAction::ExecuteAs { is_self: false, target: role(target) },
        other => panic!("{other:?} is no question"),
    }
}

fn system_table(word: &str) -> SystemTable {
    match word {
        "users" => SystemTable::Users,
        "namespaces" => SystemTable::Namespaces,
        "tables" => SystemTable::Tables,
        "table_schemas" => SystemTable::TableSchemas,
        "storages" => SystemTable::Storages,
        "jobs" => SystemTable::Jobs,
        "live_queries" => SystemTable::LiveQueries,
        "audit_log" => SystemTable::AuditLog,
        "sessions" => SystemTable::Sessions,
        "segments" => SystemTable::Segments,
        "stats" => SystemTable::Stats,
        "settings" => SystemTable::Settings,
        other => panic!("{other} is no system table"),
    }
}
