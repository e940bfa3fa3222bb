//! Whoever typed the command, as the authorizer knows them.

use tidegate_infrastructure::{DataDir, SledStore, clock};
use tidegate_model::{Code, Result, Retry, RunId, WorkOrder, list};
use tidegate_permission::{
    Action, Authorizer, Ceiling, Explanation, Grant, Grants, Principal, Resource, Role, Users,
};

use crate::{seal, trace};

/// Nothing is done for a person that this did not allow and record.
#[derive(Debug)]
pub struct Operator {
    user: Principal,
    roles: Vec<Role>,
    authorizer: Authorizer,
}

impl Operator {
    /// `run`: the run that the decisions belong to, if any. Opens the store, if there is one, and closes it again.
    pub fn new(data_dir: &DataDir, run: Option<&RunId>) -> Result<Self> {
        Self::with(data_dir, known(data_dir)?, run)
    }

    /// Of an order, which is in their name from then on.
    pub fn who_orders(order: &mut WorkOrder) -> Result<Self> {
        let operator = Self::new(&DataDir::open(&order.data_dir)?, Some(&order.run))?;
        order.on_behalf_of = Some(operator.user.to_string());
        Ok(operator)
    }

    /// Whether they may see what is kept in a folder. Where there is none, to look leaves none.
    pub fn may_look(data_dir: &DataDir, action: Action) -> Result<()> {
        if data_dir.root().is_dir() {
            Self::new(data_dir, None)?.may(action, &Resource::Store)
        } else {
            Ok(())
        }
    }

    /// To put a backup in the place of a store which may be too damaged to say who its users are. Whoever can do
    /// that can write to its folder, and could as well remove it.
    pub fn who_restores(data_dir: &DataDir) -> Result<Self> {
        let who = match known(data_dir) {
            // One that somebody has at the moment is not damaged.
            Err(fault) if fault.code == Code::StoreUnusable && fault.retry == Retry::No => an_admin(),
            known => known?,
        };
        Self::with(data_dir, who, None)
    }

    fn with(data_dir: &DataDir, (user, roles): (Principal, Vec<Role>), run: Option<&RunId>) -> Result<Self> {
        seal::at_the_end(data_dir);
        let ceiling = Ceiling::of_this_machine()?;
        let authorizer = Authorizer::for_operator(data_dir, &ceiling, &roles, run.cloned())?;
        Ok(Self { user, roles, authorizer: authorizer.in_trace(trace::id()) })
    }

    /// In whose name things are done.
    pub fn principal(&self) -> &Principal {
        &self.user
    }

    pub fn may(&self, action: Action, resource: &Resource) -> Result<()> {
        self.authorizer.decide(&self.user, action, resource).map_err(|fault| {
            if fault.help.is_some() || fault.code != Code::NotGranted || self.roles.contains(&Role::Admin) {
                return fault;
            }
            let roles: Vec<String> = self.roles.iter().map(Role::to_string).collect();
            let are = if roles.is_empty() {
                "was not added here".to_owned()
            } else {
                format!("is {}", list(&roles))
            };
            let name = self.user.user().unwrap_or_default();
            fault.help(format!(
                "{name} {are}; an admin can change that with `tidegate user set {name} --role ROLE`"
            ))
        })
    }

    /// Why this person may or may not do something; nothing is recorded.
    pub fn explain(&self, action: Action, resource: &Resource) -> Explanation {
        self.authorizer.explain(&self.user, action, resource)
    }

    /// `signed`: the component carries the signature of a publisher who is trusted here.
    pub fn may_grant(&self, grant: &Grant, signed: bool) -> Result<()> {
        self.each(Action::GrantAdd, grant, signed)
    }

    /// Adds a grant to the file, in this person's name.
    pub fn grant(&self, grants: &mut Grants, grant: Grant, signed: bool, note: Option<&str>) -> Result<()> {
        self.may_grant(&grant, signed)?;
        let grant = grant.signed(&self.user, clock::now());
        grants.add(match note {
            Some(note) => grant.with_note(note),
            None => grant,
        })
    }

    pub fn may_revoke(&self, grant: &Grant) -> Result<()> {
        self.each(Action::GrantRevoke, grant, false)
    }

    fn each(&self, action: Action, grant: &Grant, signed: bool) -> Result<()> {
        let days = grant.terms(signed, clock::now()).days;
        grant.allow.iter().try_for_each(|permission| {
            let grant = Resource::Grant {
                pipeline: grant.pipeline.clone(),
                digest: grant.holder(),
                permission: permission.clone(),
                signed,
                days,
            };
            self.may(action, &grant)
        })
    }
}

/// Whoever runs this command, as the store knows them.
fn known(data_dir: &DataDir) -> Result<(Principal, Vec<Role>)> {
    if !SledStore::is_there(data_dir) {
        return Ok(an_admin());
    }
    Users::of(&SledStore::open(data_dir)?).operator()
}

fn an_admin() -> (Principal, Vec<Role>) {
    (Principal::operator(), vec![Role::Admin])
}
