//! CREATE, ALTER and DROP USER.

use super::{Outcome, query::lock_wait};
use crate::resolve::permit;
use crate::standing::Standing;
use kalamdb_auth::authorize::AdminAction;
use kalamdb_auth::password;
use kalamdb_commons::{NamespaceId, Result, Role, SqlError, SqlState, UserId, UserName, clock};
use kalamdb_sql::statement::{AlterUser, CreateUser, UserLogin};
use kalamdb_store::{Catalog, Change, Login, UserDef};
use std::sync::Arc;

/// The name space of users' names among the locked ones: no namespace has this OID (it is pg_authid's).
const USERS: NamespaceId = NamespaceId(1260);

/// What is locked in place of a name while the last `system` user might go: no user has this name.
const SYSTEM_USERS: &str = "";

/// A user by name.
///
/// # Errors
/// 42704
pub(super) fn find(catalog: &Catalog, name: &str) -> Result<Arc<UserDef>> {
    catalog
        .user_by_name(name)
        .cloned()
        .ok_or_else(|| SqlError::new(SqlState::UNDEFINED_OBJECT, format!("role \"{name}\" does not exist")))
}

/// CREATE USER
///
/// # Errors
/// 42501, 42710, 22023
pub(super) async fn create(standing: &mut Standing, create: &CreateUser) -> Result<Outcome> {
    standing.writable("CREATE ROLE")?;
    permit(&standing.identity, AdminAction::ManageUsers { target: create.role }, "user management")?;
    if create.name.is_empty() {
        return Err(SqlError::new(SqlState::INVALID_NAME, "a user's name must not be empty"));
    }
    let login = match &create.login {
        None => Login::Internal,
        Some(login) => login_of(standing.hall.login.hash_cost(), login).await?,
    };
    lock_name(standing, &create.name).await?;
    if standing.catalog().user_by_name(&create.name).is_some() {
        let message = format!("role \"{}\" already exists", create.name);
        if create.if_not_exists {
            standing.notice(format!("{message}, skipping"));
            return done("CREATE ROLE");
        }
        return Err(SqlError::new(SqlState::DUPLICATE_OBJECT, message));
    }
    if let Some(metadata) = &create.metadata {
        check_json(metadata)?;
    }
    let now = clock::now_us();
    let user = UserDef {
        id: UserId(standing.hall.store.allocate_oid()),
        name: UserName::new(create.name.as_str()),
        role: create.role,
        login,
        email: create.email.clone(),
        metadata: create.metadata.clone(),
        created_at: now,
        updated_at: now,
        deleted_at: None,
    };
    standing.transaction().define(Change::PutUser(user))?;
    done("CREATE ROLE")
}

/// A server without a `system` user who can log in has nobody left who could make one. Two transactions that take
/// away one each wait for one another here.
///
/// # Errors
/// 2BP01
async fn keep_a_system_user(standing: &mut Standing, user: &UserDef, verb: &str) -> Result<()> {
    if user.role != Role::System {
        return Ok(());
    }
    lock_name(standing, SYSTEM_USERS).await?;
    let issuers = &standing.hall.login.issuers;
    let can_log_in = |user: &UserDef| match &user.login {
        Login::Internal => false,
        Login::Password { .. } => true,
        Login::Oauth { provider, .. } => issuers.iter().any(|issuer| issuer.name() == provider.as_str()),
    };
    let reigns = |other: &UserDef| other.role == Role::System && other.deleted_at.is_none() && can_log_in(other);
    // As this transaction has made them, and as they are published: its snapshot may be older.
    let (own, published) = (standing.catalog(), standing.hall.store.published());
    let remains = |other: &Arc<UserDef>| {
        other.id != user.id && reigns(other) && published.catalog.user(other.id).is_none_or(|other| reigns(other))
    };
    if own.users().any(remains) {
        return Ok(());
    }
    Err(SqlError::new(
        SqlState::DEPENDENT_OBJECTS_STILL_EXIST,
        format!("cannot {verb} role {} because it is required by the database system", user.name),
    )
    .with_detail("It is the last system user who can log in."))
}

async fn lock_name(standing: &mut Standing, name: &str) -> Result<()> {
    let wait = lock_wait(standing);
    standing.transaction().name_lock(USERS, name, wait).await?;
    standing.begin_statement()
}

/// Hashes are made off the async threads: they are slow on purpose.
async fn login_of(cost: password::Cost, login: &UserLogin) -> Result<Login> {
    match login {
        UserLogin::Password(secret) => {
            let secret = secret.clone();
            let made = tokio::task::spawn_blocking(move || password::hash(&secret, cost)).await;
            let hashes = made.map_err(SqlError::internal)??;
            Ok(Login::Password { bcrypt: hashes.bcrypt, scram: hashes.scram })
        }
        UserLogin::Oauth(text) => {
            let malformed = || {
                SqlError::new(SqlState::INVALID_PARAMETER_VALUE, "OAUTH takes a JSON object")
                    .with_detail(r#"It has the texts "provider" and "subject"."#)
            };
            let subject: OauthSubject = serde_json::from_str(text).map_err(|_| malformed())?;
            if subject.provider.is_empty() || subject.subject.is_empty() {
                return Err(malformed());
            }
            Ok(Login::Oauth { provider: subject.provider, subject: subject.subject })
        }
    }
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct OauthSubject {
    provider: String,
    subject: String,
}

fn check_json(text: &str) -> Result<()> {
    serde_json::from_str::<serde::de::IgnoredAny>(text)
        .map(|_| ())
        .map_err(|_| SqlError::new(SqlState::INVALID_TEXT_REPRESENTATION, "invalid input syntax for type json"))
}

/// ALTER USER; `None` is the current user.
///
/// # Errors
/// 42501, 42704; 2BP01 for what leaves no `system` user.
pub(super) async fn alter(standing: &mut Standing, name: Option<&str>, change: &AlterUser) -> Result<Outcome> {
    standing.writable("ALTER ROLE")?;
    let name = name.map_or_else(|| standing.identity.name.to_string(), str::to_string);
    lock_name(standing, &name).await?;
    let target = find(&standing.catalog(), &name);
    let is_own = name == standing.identity.name.as_str();
    if is_own && matches!(change, AlterUser::Login(UserLogin::Password(_))) {
        permit(&standing.identity, AdminAction::OwnPassword, "one's own password")?;
    } else {
        // Who may not manage users is not told which exist.
        let role = target.as_ref().map_or(Role::User, |user| user.role);
        permit(&standing.identity, AdminAction::ManageUsers { target: role }, "user management")?;
        if let AlterUser::Role(role) = change {
            permit(&standing.identity, AdminAction::ManageUsers { target: *role }, "user management")?;
        }
    }
    let target = target?;
    let mut user = (*target).clone();
    match change {
        AlterUser::Login(login) => {
            if !matches!(login, UserLogin::Password(_)) {
                keep_a_system_user(standing, &target, "alter").await?;
            }
            user.login = login_of(standing.hall.login.hash_cost(), login).await?;
        }
        AlterUser::Role(role) => {
            if *role != Role::System {
                keep_a_system_user(standing, &target, "alter").await?;
            }
            user.role = *role;
        }
        AlterUser::Email(email) => user.email = Some(email.clone()),
        AlterUser::Metadata(metadata) => {
            check_json(metadata)?;
            user.metadata = Some(metadata.clone());
        }
        AlterUser::Unlock => standing.hall.login.unlock(&name),
    }
    user.updated_at = clock::now_us();
    standing.transaction().define(Change::PutUser(user))?;
    done("ALTER ROLE")
}

/// DROP USER: the record stays, marked; the name can be given again, the number never. The user's sessions end when
/// it is committed.
///
/// # Errors
/// 42501, 42704, 55006 for oneself, 2BP01 for root and the last `system` user.
pub(super) async fn drop(standing: &mut Standing, names: &[String], if_exists: bool) -> Result<Outcome> {
    standing.writable("DROP ROLE")?;
    for name in names {
        permit(&standing.identity, AdminAction::ManageUsers { target: Role::User }, "user management")?;
        lock_name(standing, name).await?;
        let user = match find(&standing.catalog(), name) {
            Ok(user) => user,
            Err(_) if if_exists => {
                standing.notice(format!("role \"{name}\" does not exist, skipping"));
                continue;
            }
            Err(error) => return Err(error),
        };
        permit(&standing.identity, AdminAction::ManageUsers { target: user.role }, "user management")?;
        if user.id == standing.identity.user {
            return Err(SqlError::new(SqlState::OBJECT_IN_USE, "current user cannot be dropped"));
        }
        if user.id == kalamdb_commons::ids::ROOT {
            return Err(SqlError::new(
                SqlState::DEPENDENT_OBJECTS_STILL_EXIST,
                format!("cannot drop role {name} because it is required by the database system"),
            ));
        }
        keep_a_system_user(standing, &user, "drop").await?;
        let now = clock::now_us();
        let dropped = UserDef { deleted_at: Some(now), updated_at: now, login: Login::Internal, ..(*user).clone() };
        standing.transaction().define(Change::PutUser(dropped))?;
        standing.drops_users = true;
    }
    done("DROP ROLE")
}

fn done(tag: &str) -> Result<Outcome> {
    Ok(Outcome::Command(tag.to_string()))
}
