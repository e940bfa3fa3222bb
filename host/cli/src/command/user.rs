//! `tidegate user`: who may do what on this platform.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use tidegate_infrastructure::{DataDir, SledStore};
use tidegate_model::{Result, list};
use tidegate_permission::{Action, Principal, Resource, Role, User as Known, Users};

use super::Context;
use crate::operator::Operator;
use crate::project::{absolute, data_root};
use crate::render::{Align, Table};
use crate::secrets;
use crate::terminal::Reply;

/// Say who may do what: viewers, operators, authors, admins
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    tidegate user set \"$(id -un)\" --role admin   the first one, yourself\n  \
    tidegate user set alice --role operator      she runs pipelines\n  \
    tidegate user set bob --role author --role operator\n  \
    tidegate user set nightly --role operator --service\n  \
    tidegate user list --json | jq '.users[].name'\n\n\
    Users are known by their name on this machine. Viewers see what there is; operators run pipelines; authors try \
    connectors and grant what is ordinary; admins do all that people do. While nobody was added, whoever runs a \
    command is an admin. From then on whoever was not added may run and \
    change nothing. A service account is a name that no person answers to, such as that of a nightly job: whatever \
    its role, it grants nothing, trusts nobody and changes no user.\n\n\
    This is for people who share a data folder (--data-dir) and mean well: whoever can write to the folder's files \
    can get around it.")]
pub struct User {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Add somebody, or say anew what they are
    Set {
        /// Their name, as `id -un` prints it
        name: String,

        /// What they are: viewer, operator, author or admin; several with several of these
        #[arg(long = "role", value_name = "ROLE", required = true)]
        roles: Vec<Role>,

        /// It is a service account: no person answers to the name
        #[arg(long)]
        service: bool,
    },
    /// Who there is, and what they are
    List,
    /// Remove somebody
    Remove {
        /// Their name
        name: String,
    },
}

impl User {
    pub fn execute(&self, cx: &Context) -> Result<Reply> {
        let data_dir = DataDir::open(absolute(&data_root(Path::new("."), cx.data_dir()))?)?;
        // Closed again before the store is opened here.
        let operator = Operator::new(&data_dir, None)?;
        match &self.verb {
            Verb::Set { name, roles, service } => {
                operator.may(Action::UserWrite, &Resource::User(name.clone()))?;
                let store = SledStore::open(&data_dir)?;
                let roles: BTreeSet<Role> = roles.iter().copied().collect();
                Users::of(&store).set(name, roles.clone(), *service, operator.principal())?;
                Ok(set(&data_dir, name, &roles, *service))
            }
            Verb::List => {
                operator.may(Action::UserList, &Resource::Store)?;
                show(&data_dir)
            }
            Verb::Remove { name } => {
                operator.may(Action::UserRemove, &Resource::User(name.clone()))?;
                remove(&data_dir, name, operator.principal())
            }
        }
    }
}

fn set(data_dir: &DataDir, name: &str, roles: &BTreeSet<Role>, service: bool) -> Reply {
    let account = if service { ", a service account," } else { "" };
    let text = format!("{name}{account} is {} in {}.\n", words(roles), data_dir.root().display());
    Reply::new(text, json!({ "name": name, "roles": roles, "service": service }))
}

fn show(data_dir: &DataDir) -> Result<Reply> {
    // To look does not bring a store into being.
    let users = if secrets::is_there(data_dir) {
        Users::of(&SledStore::open(data_dir)?).list()?
    } else {
        BTreeMap::new()
    };
    let document: Vec<Value> = users.iter().map(|(name, user)| document(name, user)).collect();
    Ok(Reply::new(table(&users), json!({ "users": document })))
}

fn remove(data_dir: &DataDir, name: &str, by: &Principal) -> Result<Reply> {
    let store = SledStore::open(data_dir)?;
    let users = Users::of(&store);
    users.remove(name, by)?;
    let all =
        if users.list()?.is_empty() { " Nobody is left: whoever runs a command is an admin." } else { "" };
    Ok(Reply::new(format!("Removed {name}.{all}\n"), json!({ "name": name })))
}

/// `viewer and author`
fn words(roles: &BTreeSet<Role>) -> String {
    list(&roles.iter().map(Role::to_string).collect::<Vec<_>>())
}

fn table(users: &BTreeMap<String, Known>) -> String {
    if users.is_empty() {
        return "Nobody was added: whoever runs a command is an admin.\n".to_owned();
    }
    let mut table = Table::new(["name", "kind", "roles", "changed", "by"].map(|title| (title, Align::Left)));
    for (name, user) in users {
        let at = user.changed_at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
        let kind = if user.service { "service account" } else { "person" };
        table.row(vec![name.clone(), kind.to_owned(), words(&user.roles), at, user.changed_by.clone()]);
    }
    table.render("")
}

fn document(name: &str, Known { roles, service, changed_by, changed_at }: &Known) -> Value {
    json!({
        "name": name,
        "roles": roles,
        "service": service,
        "changed_by": changed_by,
        "changed_at": changed_at,
    })
}
