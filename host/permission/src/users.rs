//! People of the platform and its service accounts, and what they are.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tidegate_infrastructure::{Store, Table, clock};
use tidegate_model::{Code, Fault, Result, nearest};

use crate::principal::Principal;
use crate::roles::Role;

const USERS: Table = Table::new("users");
const LONGEST_NAME: usize = 64;
/// Users that are read together.
const PAGE: usize = 256;
/// Times that a change is tried while others change users too.
const TRIES: usize = 100;

/// A user of the platform, by the name that the operating system gives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    pub roles: BTreeSet<Role>,
    /// A service account: no person answers to the name, and it decides nothing for people.
    #[serde(default)]
    pub service: bool,
    pub changed_by: String,
    pub changed_at: DateTime<Utc>,
}

/// The users that somebody added, in the platform's own store.
///
/// While nobody was ever added, whoever runs a command is an admin: it is their machine. From then on whoever was
/// not added may do nothing. There is always a person who is an admin.
#[derive(Debug)]
pub struct Users<'a>(&'a dyn Store);

impl<'a> Users<'a> {
    pub fn of(store: &'a dyn Store) -> Self {
        Self(store)
    }

    /// All of them, by name.
    pub fn list(&self) -> Result<BTreeMap<String, User>> {
        let mut all = BTreeMap::new();
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = self.0.scan(USERS, b"", after.as_deref(), PAGE)?;
            let Some((last, _)) = page.last() else { return Ok(all) };
            after = Some(last.clone());
            for (name, user) in page {
                let name = String::from_utf8_lossy(&name).into_owned();
                let user = serde_json::from_slice(&user).map_err(|error| {
                    Fault::external(
                        Code::Storage,
                        format!("the record of the user `{name}` cannot be read: {error}"),
                    )
                    .help("`tidegate store restore` puts a backup in the store's place")
                })?;
                all.insert(name, user);
            }
        }
    }

    /// Whoever runs this command, and what they are.
    pub fn operator(&self) -> Result<(Principal, Vec<Role>)> {
        let person = Principal::operator();
        let name = person.user().unwrap_or_default();
        let all = self.list()?;
        Ok(match all.get(name) {
            None if all.is_empty() => (person, vec![Role::Admin]),
            None => (person, Vec::new()),
            Some(User { roles, service, .. }) => {
                let roles = roles.iter().copied().collect();
                (if *service { Principal::account(name) } else { person }, roles)
            }
        })
    }

    /// Adds a user or an account, or says anew what they are.
    pub fn set(&self, name: &str, roles: BTreeSet<Role>, service: bool, by: &Principal) -> Result<()> {
        check_name(name)?;
        let user = User { roles, service, changed_by: by.to_string(), changed_at: clock::now() };
        self.change(name, Some(&user), by)
    }

    pub fn remove(&self, name: &str, by: &Principal) -> Result<()> {
        let all = self.list()?;
        if !all.contains_key(name) {
            let fault = Fault::user(Code::BadUsage, format!("there is no user `{name}`"));
            return Err(match nearest(name, all.keys().map(String::as_str)) {
                Some(near) => {
                    fault.help(format!("did you mean `{near}`? `tidegate user list` shows them all"))
                }
                None => fault.help("`tidegate user list` shows who there is"),
            });
        }
        self.change(name, None, by)
    }

    /// One process has the store at a time, so nobody changes users between the look and the write; the write
    /// makes sure of it.
    fn change(&self, name: &str, to: Option<&User>, by: &Principal) -> Result<()> {
        let bytes = to
            .map(serde_json::to_vec)
            .transpose()
            .map_err(|error| Fault::internal(Code::Bug, format!("a user that cannot be written: {error}")))?;
        for _ in 0..TRIES {
            let was = self.0.get(USERS, name.as_bytes())?;
            let mut all = self.list()?;
            match to {
                Some(user) => all.insert(name.to_owned(), user.clone()),
                None => all.remove(name),
            };
            // The last one can go: then it is as if nobody had ever been added.
            let admin = |user: &User| user.roles.contains(&Role::Admin) && !user.service;
            if !all.is_empty() && !all.values().any(admin) {
                let me = by.user().unwrap_or("NAME");
                return Err(Fault::user(
                    Code::BadUsage,
                    "then nobody would be an admin, and nobody could change that",
                )
                .help(format!("tidegate user set {me} --role admin")));
            }
            if self.0.compare_and_swap(USERS, name.as_bytes(), was.as_deref(), bytes.as_deref())? {
                return Ok(());
            }
        }
        Err(Fault::external(Code::Storage, format!("others went on changing the user `{name}`"))
            .help("try again"))
    }
}

fn check_name(name: &str) -> Result<()> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.@".contains(&byte);
    if (1..=LONGEST_NAME).contains(&name.len()) && name.bytes().all(fits) && !name.starts_with('-') {
        return Ok(());
    }
    Err(Fault::user(Code::BadUsage, format!("`{}` cannot be a user's name", name.escape_debug()))
        .help(format!("1 to {LONGEST_NAME} letters, digits and `-_.@`, as `id -un` prints it")))
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;
    use tidegate_infrastructure::{DataDir, SledStore};

    use super::*;

    fn store() -> (TempDir, SledStore) {
        let folder = tempfile::tempdir().unwrap();
        let store = SledStore::open(&DataDir::open(folder.path()).unwrap()).unwrap();
        (folder, store)
    }

    #[test]
    fn whoever_was_added_is_what_they_are_and_others_are_nothing() {
        let (_folder, store) = store();
        let users = Users::of(&store);
        let by = Principal::operator();
        let me = by.user().unwrap();
        let told = || {
            let (who, roles) = users.operator().unwrap();
            (who.to_string().replace(me, "me"), roles)
        };
        assert_eq!(told(), ("user:me".to_owned(), vec![Role::Admin]), "nobody was added yet");
        users.set("boss", [Role::Admin].into(), false, &by).unwrap();
        assert_eq!(told(), ("user:me".to_owned(), vec![]));
        users.set(me, [Role::Viewer, Role::Author].into(), false, &by).unwrap();
        assert_eq!(told(), ("user:me".to_owned(), vec![Role::Viewer, Role::Author]));
        assert_eq!(users.list().unwrap()[me].changed_by, by.to_string());
        users.set(me, [Role::Operator].into(), true, &by).unwrap();
        assert_eq!(told(), ("account:me".to_owned(), vec![Role::Operator]));
        users.remove(me, &by).unwrap();
        assert_eq!(told(), ("user:me".to_owned(), vec![]));
        users.remove("boss", &by).unwrap();
        assert_eq!(told(), ("user:me".to_owned(), vec![Role::Admin]), "as if nobody had ever been added");
    }

    #[test]
    fn what_an_earlier_version_kept_is_a_person() {
        let text = r#"{"roles":["viewer"],"changed_by":"user:a","changed_at":"2026-11-28T00:00:00Z"}"#;
        assert!(!serde_json::from_str::<User>(text).unwrap().service);
    }

    #[test]
    fn there_is_always_an_admin() {
        let (_folder, store) = store();
        let users = Users::of(&store);
        let by = Principal::operator();
        let told = |outcome: Result<()>| outcome.unwrap_err().message;
        let nobody = "then nobody would be an admin, and nobody could change that";
        assert_eq!(told(users.set("bob", [Role::Author].into(), false, &by)), nobody);
        assert_eq!(told(users.set("robot", [Role::Admin].into(), true, &by)), nobody, "no person");
        users.set("alice", [Role::Admin].into(), false, &by).unwrap();
        users.set("bob", [Role::Author].into(), false, &by).unwrap();
        assert_eq!(told(users.set("alice", [Role::Viewer].into(), false, &by)), nobody);
        assert_eq!(told(users.remove("alice", &by)), nobody);
        assert_eq!(users.list().unwrap().len(), 2);
    }

    #[test]
    fn a_name_is_one() {
        let (_folder, store) = store();
        let users = Users::of(&store);
        let by = Principal::operator();
        for name in ["", "a b", "-x", "é", "\u{1b}[2J", &"x".repeat(65)] {
            let fault = users.set(name, [Role::Admin].into(), false, &by).unwrap_err();
            assert!(fault.message.ends_with("cannot be a user's name"), "{fault}");
        }
        let fault = users.remove("alise", &by).unwrap_err();
        assert_eq!(fault.message, "there is no user `alise`");
    }
}
