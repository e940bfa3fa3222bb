//! Whoever typed the command, as the authorizer knows them.

use tidegate_infrastructure::{DataDir, clock};
use tidegate_model::{Permission, Result, RunId};
use tidegate_permission::{Action, Authorizer, Ceiling, Grant, Grants, Principal, Resource};

/// Nothing is done for a person that this did not allow and record.
pub struct Operator {
    user: Principal,
    authorizer: Authorizer,
}

impl Operator {
    /// `run`: the run that the decisions belong to, if any.
    pub fn new(data_dir: &DataDir, run: Option<&RunId>) -> Self {
        Self {
            user: Principal::operator(),
            authorizer: Authorizer::for_operator(data_dir, Ceiling::developer(), run.cloned()),
        }
    }

    pub fn may(&self, action: Action, resource: &Resource) -> Result<()> {
        self.authorizer.decide(&self.user, action, resource)
    }

    pub fn may_grant(&self, grant: &Grant) -> Result<()> {
        self.each(Action::GrantAdd, grant)
    }

    /// Adds a grant to the file, in this person's name.
    pub fn grant(&self, grants: &mut Grants, grant: Grant, note: Option<&str>) -> Result<()> {
        self.may_grant(&grant)?;
        let grant = grant.signed(&self.user, clock::now());
        grants.add(match note {
            Some(note) => grant.with_note(note),
            None => grant,
        })
    }

    pub fn may_revoke(&self, grant: &Grant) -> Result<()> {
        self.each(Action::GrantRevoke, grant)
    }

    fn each(&self, action: Action, grant: &Grant) -> Result<()> {
        grant.allow.iter().try_for_each(|permission| self.may(action, &resource(grant, permission)))
    }
}

fn resource(grant: &Grant, permission: &Permission) -> Resource {
    Resource::Grant {
        pipeline: grant.pipeline.clone(),
        digest: grant.digest.clone(),
        permission: permission.clone(),
    }
}
