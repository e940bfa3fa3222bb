//! Whoever typed the command, as the authorizer knows them.

use tidegate_infrastructure::{DataDir, clock};
use tidegate_model::{Result, RunId};
use tidegate_permission::{
    Action, Authorizer, Ceiling, Explanation, Grant, Grants, Principal, Resource, Role,
};

use crate::seal;

/// Nothing is done for a person that this did not allow and record.
#[derive(Debug)]
pub struct Operator {
    user: Principal,
    authorizer: Authorizer,
}

impl Operator {
    /// `run`: the run that the decisions belong to, if any.
    pub fn new(data_dir: &DataDir, run: Option<&RunId>) -> Result<Self> {
        seal::at_the_end(data_dir);
        let ceiling = Ceiling::of_this_machine()?;
        let authorizer = Authorizer::for_operator(data_dir, &ceiling, &[Role::Admin], run.cloned())?;
        Ok(Self { user: Principal::operator(), authorizer })
    }

    pub fn may(&self, action: Action, resource: &Resource) -> Result<()> {
        self.authorizer.decide(&self.user, action, resource)
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
