use std::path::PathBuf;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};
use tidegate_infrastructure::DataDir;
use tidegate_infrastructure::files::{self, Access};
use tidegate_model::{Code, Fault, Result};

use crate::principal::Principal;

/// The components that must not run any more, by digest: a folder of small files, one a digest.
///
/// One file for each, so that two people who revoke at once cannot undo each other. That there is a file is
/// what counts: one that cannot be understood revokes all the same.
#[derive(Debug, Clone)]
pub struct Revocations {
    folder: PathBuf,
}

/// Who revoked a component, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    pub digest: String,
    /// Name and version where they were known: `pages@1.0.0`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub component: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    pub revoked_by: String,
    pub revoked_at: String,
}

impl Revocation {
    pub fn new(
        digest: &str,
        component: Option<String>,
        reason: Option<String>,
        by: &Principal,
        at: DateTime<Utc>,
    ) -> Self {
        Self {
            digest: digest.to_owned(),
            component,
            reason,
            revoked_by: by.to_string(),
            revoked_at: at.to_rfc3339_opts(SecondsFormat::Secs, true),
        }
    }

    /// `it was revoked by user:alice at 2026-01-02T03:04:05Z: leaks rows`
    pub fn in_words(&self) -> String {
        let reason = self.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        format!("it was revoked by {} at {}{reason}", self.revoked_by, self.revoked_at)
    }
}

impl Revocations {
    pub fn of(data_dir: &DataDir) -> Self {
        Self { folder: data_dir.revoked_path() }
    }

    /// The file that says so; for people.
    pub fn path(&self, digest: &str) -> Result<PathBuf> {
        Ok(self.folder.join(format!("{}.json", hexadecimal(digest)?)))
    }

    /// What revokes this component, if anything does. Where that cannot be found out it is a fault: nothing
    /// runs on the chance that it is not revoked.
    pub fn find(&self, digest: &str) -> Result<Option<Revocation>> {
        let path = self.path(digest)?;
        let Some(text) = files::read_if_exists(&path)? else { return Ok(None) };
        let unreadable = || Revocation {
            digest: digest.to_owned(),
            component: None,
            reason: Some(format!("{} cannot be understood", path.display())),
            revoked_by: "somebody".to_owned(),
            revoked_at: "an unknown time".to_owned(),
        };
        Ok(Some(serde_json::from_str(&text).unwrap_or_else(|_| unreadable())))
    }

    /// Revokes. What was revoked before stays as it was.
    pub fn add(&self, revocation: &Revocation) -> Result<()> {
        let path = self.path(&revocation.digest)?;
        if path.exists() {
            return Ok(());
        }
        let text = serde_json::to_string_pretty(revocation).map_err(|error| {
            Fault::internal(Code::Bug, format!("a revocation that cannot be written: {error}"))
        })?;
        files::create_private_dir(&self.folder)?;
        files::write_atomic(path, format!("{text}\n").as_bytes(), Access::Owner)
    }
}

/// The digits of a digest. Only they become a part of a path.
fn hexadecimal(digest: &str) -> Result<&str> {
    digest
        .strip_prefix("sha256:")
        .filter(|digits| digits.len() == 64 && digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)))
        .ok_or_else(|| {
            Fault::user(Code::BadUsage, format!("`{digest}` is not a digest"))
                .help("a digest is `sha256:` and 64 hexadecimal digits, as `tidegate plugin list --json` shows them")
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Action, Authorizer, Ceiling, Resource, Role};

    #[test]
    fn what_is_revoked_stays_revoked() {
        let folder = tempfile::tempdir().unwrap();
        let data_dir = DataDir::open(folder.path()).unwrap();
        let revocations = Revocations::of(&data_dir);
        let digest = |digit: &str| format!("sha256:{}", digit.repeat(64));
        assert_eq!(revocations.find(&digest("a")).unwrap(), None);
        let by = Principal::operator();
        let told = |digit: &str, reason: &str| {
            let reason = Some(reason.to_owned());
            Revocation::new(&digest(digit), Some("pages@1.0.0".into()), reason, &by, DateTime::UNIX_EPOCH)
        };
        revocations.add(&told("a", "leaks rows")).unwrap();
        revocations.add(&told("a", "another reason")).unwrap();
        let found = revocations.find(&digest("a")).unwrap().unwrap();
        assert_eq!(found, told("a", "leaks rows"));
        assert!(found.in_words().ends_with("at 1970-01-01T00:00:00Z: leaks rows"), "{}", found.in_words());
        assert_eq!(revocations.find(&digest("b")).unwrap(), None);

        let garbage = revocations.path(&digest("c")).unwrap();
        files::write_atomic(garbage, b"", Access::Owner).unwrap();
        assert!(revocations.find(&digest("c")).unwrap().is_some());
        for bad in ["", "sha256:12", &digest("/"), &digest("A"), &"a".repeat(71)] {
            assert_eq!(revocations.find(bad).unwrap_err().code, Code::BadUsage, "{bad}");
        }
    }

    #[test]
    fn a_revocation_is_above_every_rule_from_the_moment_it_is_made() {
        let folder = tempfile::tempdir().unwrap();
        let data_dir = DataDir::open(folder.path()).unwrap();
        let user = Principal::operator();
        let authorizer =
            Authorizer::for_operator(&data_dir, &Ceiling::developer().unwrap(), &[Role::Admin], None)
                .unwrap();
        let digest = format!("sha256:{}", "a".repeat(64));
        let load = || authorizer.decide(&user, Action::PluginLoad, &Resource::Plugin(digest.clone()));
        load().unwrap();
        let reason = Some("leaks rows".to_owned());
        let revocation = Revocation::new(&digest, None, reason, &user, DateTime::UNIX_EPOCH);
        Revocations::of(&data_dir).add(&revocation).unwrap();
        let denied = load().unwrap_err();
        assert_eq!(denied.code, Code::PluginRevoked);
        assert!(denied.message.contains("leaks rows"), "{denied}");
        let nonsense = Resource::Plugin("sha256:../x".to_owned());
        assert!(authorizer.decide(&user, Action::PluginLoad, &nonsense).is_err());
        let audit = files::read_to_string(data_dir.audit_path()).unwrap();
        assert!(audit.contains("\"deny\"") && audit.contains("leaks rows"), "{audit}");
    }
}
