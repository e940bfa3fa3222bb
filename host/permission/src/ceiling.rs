use std::sync::{Arc, OnceLock};

use chrono::TimeDelta;
use tidegate_infrastructure::{clock, files};
use tidegate_model::{CapabilityKind, CeilingText, Permission, PipelineName, Result};

use crate::endpoint::Endpoint;
use crate::grants::Grant;
use crate::location::Location;
use crate::principal::Principal;
use crate::rules::{Policies, Rules, Scope, Source, check, joined, shipped};
use crate::socket::Socket;
use crate::vocabulary::{Action, Resource};

/// Where an organisation's ceiling is. Nothing that a user sets can put another one in its place.
const OF_THE_ORGANISATION: &str = "/etc/tidegate/ceiling.cedar";
/// The ceiling of a machine whose organisation has none: `developer`, `strict` or a file's path.
const VARIABLE: &str = "TIDEGATE_CEILING";

/// How long a proposed grant lasts where the ceiling wants it to end.
const PROPOSED_DAYS: i64 = 90;

/// Permits what the ceiling does not forbid, so that the ceiling alone decides.
const OPEN: &str = r#"@id("ceiling.open") permit (principal, action == Action::"grant.add", resource);"#;

/// What can be granted at all: the organisation's word, above everybody's grants.
#[derive(Debug, Clone)]
pub struct Ceiling {
    text: CeilingText,
    rules: Arc<Rules>,
}

/// What a ceiling may ask about a grant, besides what is granted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Terms {
    /// The component carries the signature of a publisher who is trusted here.
    pub signed: bool,
    /// Days until the grant ends by itself.
    pub days: Option<i64>,
}

impl Ceiling {
    /// The one that holds on this machine: `/etc/tidegate/ceiling.cedar` where there is one, else what
    /// `TIDEGATE_CEILING` names, else a developer's. Read once in a process.
    pub fn of_this_machine() -> Result<Self> {
        static READ: OnceLock<Ceiling> = OnceLock::new();
        match READ.get() {
            Some(ceiling) => Ok(ceiling.clone()),
            None => Self::read().map(|ceiling| READ.get_or_init(|| ceiling).clone()),
        }
    }

    fn read() -> Result<Self> {
        if let Some(text) = files::read_if_exists(OF_THE_ORGANISATION)? {
            return Self::from_file(OF_THE_ORGANISATION, text);
        }
        match std::env::var(VARIABLE).unwrap_or_default().as_str() {
            "" | "developer" => Self::developer(),
            "strict" => Self::strict(),
            path => Self::from_file(path, files::read_to_string(path)?),
        }
    }

    /// What a developer's own machine needs: every kind, and services that run on this machine.
    pub fn developer() -> Result<Self> {
        Self::new(CeilingText { name: "developer".into(), text: shipped::ceiling_developer().text })
    }

    /// What a server needs that several people use.
    pub fn strict() -> Result<Self> {
        Self::new(CeilingText { name: "strict".into(), text: shipped::ceiling_strict().text })
    }

    /// Policies that somebody wrote. Refused when they do not fit the schema or permit something.
    pub fn from_file(path: &str, text: String) -> Result<Self> {
        check(&Source { file: path.to_owned(), text: text.clone() }, false)?;
        Self::new(CeilingText { name: path.to_owned(), text })
    }

    /// The one that came with an order: it was checked where it was read.
    pub(crate) fn of_order(text: &CeilingText) -> Result<Self> {
        Self::new(text.clone())
    }

    fn new(text: CeilingText) -> Result<Self> {
        let open = Source { file: "ceiling".to_owned(), text: OPEN.to_owned() };
        let parts = [shipped::always(), source(&text), open].map(|source| Policies::known(&source));
        let policies = joined(parts)?;
        Ok(Self { text, rules: Arc::new(Rules::new(policies, Scope::default())) })
    }

    /// Where it is from, and its policies.
    pub fn text(&self) -> &CeilingText {
        &self.text
    }

    /// Why this cannot be granted for a pipeline; `None` when it can. What is not understood cannot.
    pub(crate) fn refuses(
        &self,
        pipeline: &PipelineName,
        permission: &Permission,
        terms: Terms,
    ) -> Option<String> {
        if let Some(why) = cannot_be_granted(permission) {
            return Some(why);
        }
        if let Some(url) = permission.binding.as_ref().and_then(|binding| binding.place.token_url()) {
            // The host sends there, which is no less a request than the component's own.
            let token = Permission::new(CapabilityKind::Http, Some(url.to_owned()));
            if let Some(why) = self.refuses(pipeline, &token, terms) {
                return Some(why);
            }
        }
        let grant = Resource::Grant {
            pipeline: pipeline.clone(),
            digest: String::new(),
            permission: permission.clone(),
            signed: terms.signed,
            days: terms.days,
        };
        let ruling = self.rules.judge(&Principal::operator(), Action::GrantAdd, &grant);
        (!ruling.allowed).then_some(ruling.why)
    }
}

impl Ceiling {
    /// In how many days a grant of this must end; none: it need not. Why it cannot be granted at all.
    pub(crate) fn term(
        &self,
        pipeline: &PipelineName,
        permission: &Permission,
        signed: bool,
    ) -> Result<Option<i64>, String> {
        match self.refuses(pipeline, permission, Terms { signed, days: None }) {
            None => Ok(None),
            Some(why) => {
                match self.refuses(pipeline, permission, Terms { signed, days: Some(PROPOSED_DAYS) }) {
                    None => Ok(Some(PROPOSED_DAYS)),
                    Some(_) => Err(why),
                }
            }
        }
    }

    /// The grant with the end that it must have, if it must have one.
    #[must_use]
    pub fn on_its_terms(&self, grant: Grant, signed: bool) -> Grant {
        let days = grant
            .allow
            .iter()
            .find_map(|permission| self.term(&grant.pipeline, permission, signed).ok().flatten());
        match days {
            Some(days) if grant.expires.is_none() => {
                Grant { expires: Some(clock::now() + TimeDelta::days(days)), ..grant }
            }
            _ => grant,
        }
    }
}

/// The texts of all policies that decide, by where decisions say that they stand; without what grants add to them.
pub fn policies_in_force(ceiling: &Ceiling) -> Vec<(String, String)> {
    let all = [shipped::always(), shipped::modules(), shipped::roles(), source(ceiling.text())];
    all.map(|Source { file, text }| (file, text)).into()
}

/// A ceiling's policies, to be compiled with others.
pub(crate) fn source(ceiling: &CeilingText) -> Source {
    Source { file: ceiling.name.clone(), text: ceiling.text.clone() }
}

/// What is not well formed cannot be granted by anybody.
pub(crate) fn cannot_be_granted(permission: &Permission) -> Option<String> {
    let kind = permission.kind;
    let target = match permission.target.as_deref() {
        None if kind.has_target() => return Some(format!("`{kind}` needs a target")),
        Some(_) if !kind.has_target() => return Some(format!("`{kind}` has no target")),
        None => return None,
        Some(target) => target,
    };
    let socket = || Socket::parse(target).map(drop).ok_or("it is not `HOST:PORT`");
    let understood = match kind {
        CapabilityKind::Decode => Ok(()),
        CapabilityKind::Files => match Location::parse(target) {
            Ok(location) if location.is_the_kernels() => {
                Err("what lies there is the kernel's, and every process's memory is among it")
            }
            location => location.map(drop),
        },
        CapabilityKind::Http => Endpoint::parse(target).map(drop),
        CapabilityKind::Tcp => socket(),
        CapabilityKind::Credential if permission.binding.is_none() => Err("it names no slot and no secret"),
        CapabilityKind::Credential if target.contains("://") => match Endpoint::parse(target) {
            Ok(url) if !url.is_private() => {
                Err("a secret is not sent over plain http to another machine; use https")
            }
            url => url.map(drop),
        },
        CapabilityKind::Credential => socket(),
    };
    let method = permission
        .methods
        .iter()
        .find(|method| method.is_empty() || !method.bytes().all(|b| b.is_ascii_uppercase()));
    match (understood, method) {
        (Err(why), _) => Some(format!("`{target}` cannot be granted: {why}")),
        (Ok(()), Some(method)) => Some(format!("`{method}` is not a method in upper case, such as `GET`")),
        (Ok(()), None) => None,
    }
}

#[cfg(test)]
mod tests {
    use tidegate_model::Binding;

    use super::*;

    fn flights() -> PipelineName {
        PipelineName::new("flights").unwrap()
    }

    #[test]
    fn a_ceiling_can_know_the_pipeline() {
        let text = r#"@id("a") @why("not for flights") forbid (principal, action == Action::"grant.add", resource)
            when { resource.pipeline == "flights" };"#;
        let ceiling = Ceiling::from_file("c.cedar", text.to_owned()).unwrap();
        let permission = Permission::new(CapabilityKind::Decode, None);
        let told =
            |name: &str| ceiling.refuses(&PipelineName::new(name).unwrap(), &permission, Terms::default());
        assert_eq!(told("flights").as_deref(), Some("not for flights"));
        assert_eq!(told("airlines"), None);
        assert!(ceiling.term(&flights(), &permission, true).is_err());
    }

    #[test]
    fn what_can_be_granted() {
        let developer = Ceiling::developer().unwrap();
        let strict = Ceiling::strict().unwrap();
        let nothing = r#"@id("none") @why("nothing is granted here") forbid (principal, action == Action::"grant.add", resource);"#;
        let nothing = Ceiling::from_file("none.cedar", nothing.to_owned()).unwrap();
        let open = Ceiling::from_file("open.cedar", "// nothing is forbidden".to_owned()).unwrap();
        let signed = Terms { signed: true, days: Some(90) };
        for (kind, target, ceiling, terms, expected) in [
            ("files", "./data", &developer, Terms::default(), ""),
            ("files", "./data", &strict, signed, "files of this machine are not allowed here"),
            ("files", "./data", &nothing, signed, "nothing is granted here"),
            ("files", "s3://bucket/x", &strict, signed, ""),
            (
                "files",
                "s3://bucket/x",
                &strict,
                Terms { signed: false, ..signed },
                "the component has no signature of a publisher who is trusted here",
            ),
            (
                "files",
                "s3://bucket/x",
                &strict,
                Terms { days: None, ..signed },
                "a grant must say when it ends, within a year",
            ),
            ("files", "https://x.org/a.csv", &strict, signed, ""),
            ("files", "http://localhost/a.csv", &strict, signed, "loopback addresses are not allowed here"),
            (
                "files",
                "a/../b",
                &developer,
                signed,
                "`a/../b` cannot be granted: it climbs (`..`) after it went down",
            ),
            ("http", "http://localhost:8080", &developer, signed, ""),
            ("http", "http://127.1:8080", &developer, signed, ""),
            ("http", "http://[::1]/", &strict, signed, "loopback addresses are not allowed here"),
            (
                "http",
                "http://10.0.0.1/",
                &developer,
                signed,
                "private network addresses are not allowed here",
            ),
            ("http", "http://10.0.0.1/", &open, signed, ""),
            (
                "http",
                "http://169.254.169.254/",
                &open,
                signed,
                "cloud metadata addresses are not allowed here",
            ),
            (
                "http",
                "http://[::ffff:127.0.0.1]/",
                &open,
                signed,
                "IPv4-mapped addresses are not allowed here",
            ),
            (
                "http",
                "ftp://x.org",
                &developer,
                signed,
                "`ftp://x.org` cannot be granted: its scheme is neither http nor https",
            ),
            ("tcp", "localhost:5432", &developer, signed, ""),
            ("tcp", "10.0.0.1:5432", &developer, signed, "private network addresses are not allowed here"),
            ("tcp", "db", &developer, signed, "`db` cannot be granted: it is not `HOST:PORT`"),
            ("decode", "", &strict, signed, ""),
            ("decode", "x", &strict, signed, "`decode` has no target"),
            ("files", "", &developer, signed, "`files` needs a target"),
        ] {
            let kind = CapabilityKind::ALL.into_iter().find(|known| known.as_str() == kind).unwrap();
            let target = (!target.is_empty()).then(|| target.to_owned());
            let permission = Permission::new(kind, target);
            assert_eq!(
                ceiling.refuses(&flights(), &permission, terms).unwrap_or_default(),
                expected,
                "{permission}"
            );
        }
    }

    #[test]
    fn a_ceiling_that_would_not_hold_is_refused() {
        for (text, expected) in [
            (r#"@id("a") forbid (principal, action == Action::"grant.ad", resource);"#, "unrecognized"),
            (r#"@id("a") permit (principal, action, resource);"#, "permits something"),
            (r#"forbid (principal, action, resource);"#, "no `@id"),
            (r#"@id("a") forbid (principal, action, resource) when { resource.clas == "x" };"#, "clas"),
            (r#"@id("a") forbid (principal, action"#, "unexpected end"),
            (
                r#"@id("a") forbid (principal, action, resource); @id("a") forbid (principal, action, resource);"#,
                "two policies `a`",
            ),
        ] {
            let fault = Ceiling::from_file("c.cedar", text.to_owned()).unwrap_err();
            assert_eq!(fault.code, tidegate_model::Code::BadPolicy);
            assert!(fault.to_string().contains(expected), "{fault}");
        }
    }

    #[test]
    fn a_secret_cannot_be_traded_where_a_request_could_not_go() {
        let permission = |token_url: &str| {
            let place = format!("oauth2-client {token_url} me").parse().unwrap();
            let binding = Binding { slot: "app".into(), secret: "env:APP".parse().unwrap(), place };
            let target = Some("https://api.example.org".to_owned());
            Permission { binding: Some(binding), ..Permission::new(CapabilityKind::Credential, target) }
        };
        for (token_url, expected) in [
            ("https://auth.example.org/token", ""),
            ("http://localhost/token", ""),
            ("https://10.0.0.1/token", "private network addresses are not allowed here"),
            ("http://169.254.169.254/token", "cloud metadata addresses are not allowed here"),
            ("token", "`token` cannot be granted: it is not an absolute URL"),
        ] {
            let developer = Ceiling::developer().unwrap();
            let told =
                developer.refuses(&flights(), &permission(token_url), Terms::default()).unwrap_or_default();
            assert_eq!(told, expected, "{token_url}");
        }
    }
}
