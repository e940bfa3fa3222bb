use std::fmt::Write;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use serde::Deserialize;
use tidegate_infrastructure::files::{self, Access};
use tidegate_model::{Code, ComponentRef, Permission, PipelineName, Result, from_yaml};

use crate::principal::Principal;
use crate::yaml::scalar;

const HEADER: &str = "\
# What components may do. Everything else is denied.
# A grant holds for one pipeline, for one component by its digest, and for exactly what it lists.
# `tidegate grant` edits this file; so may you.
";

/// What somebody allows one component to do for one pipeline. Exact: another digest, or another target, is
/// another grant.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    pub pipeline: PipelineName,
    /// Name and version, for people; the digest decides.
    pub connector: String,
    /// `sha256:` and 64 hexadecimal digits.
    pub digest: String,
    pub allow: Vec<Permission>,
    #[serde(default)]
    pub granted_by: Option<String>,
    #[serde(default)]
    pub granted_at: Option<DateTime<Utc>>,
    #[serde(default)]
    pub note: Option<String>,
}

impl Grant {
    pub fn new(pipeline: &PipelineName, component: &ComponentRef, allow: Vec<Permission>) -> Self {
        Self {
            pipeline: pipeline.clone(),
            connector: format!("{}@{}", component.name, component.version),
            digest: component.digest.clone(),
            allow,
            granted_by: None,
            granted_at: None,
            note: None,
        }
    }

    /// Says who grants it, and when.
    #[must_use]
    pub fn signed(self, by: &Principal, at: DateTime<Utc>) -> Self {
        Self { granted_by: Some(by.to_string()), granted_at: Some(at), ..self }
    }

    #[must_use]
    pub fn with_note(self, note: impl Into<String>) -> Self {
        Self { note: Some(note.into()), ..self }
    }

    /// The grant as an entry of the list in `grants.yaml`, ready to be pasted at its end.
    pub(crate) fn to_yaml(&self) -> String {
        let mut text = format!("  - pipeline: {}\n", scalar(self.pipeline.as_str()));
        let mut line = |key: &str, value: &str| {
            // Writing to a text cannot fail.
            let _ = writeln!(text, "    {key}: {}", scalar(value));
        };
        line("connector", &self.connector);
        line("digest", &self.digest);
        text.push_str(if self.allow.is_empty() { "    allow: []\n" } else { "    allow:\n" });
        for permission in &self.allow {
            text.push_str(&permission_line(permission));
        }
        let mut line = |key: &str, value: Option<&str>| {
            if let Some(value) = value {
                let _ = writeln!(text, "    {key}: {}", scalar(value));
            }
        };
        line("granted_by", self.granted_by.as_deref());
        let at = self.granted_at.map(|at| at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true));
        line("granted_at", at.as_deref());
        line("note", self.note.as_deref());
        text
    }

    fn is_for(&self, pipeline: &PipelineName, digest: &str) -> bool {
        self.pipeline == *pipeline && self.digest == digest
    }

    fn name(&self) -> &str {
        self.connector.split('@').next().unwrap_or_default()
    }
}

/// `      - { kind: files, target: ./data }`
pub(crate) fn permission_line(permission: &Permission) -> String {
    match &permission.target {
        Some(target) => format!("      - {{ kind: {}, target: {} }}\n", permission.kind, scalar(target)),
        None => format!("      - {{ kind: {} }}\n", permission.kind),
    }
}

/// The file `grants.yaml` beside the pipeline file. People edit it, so what they wrote stays as long as it
/// can.
#[derive(Debug, Clone)]
pub struct Grants {
    path: PathBuf,
    text: String,
    list: Vec<Grant>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    grants: Option<Vec<Grant>>,
}

impl Grants {
    /// Reads the file; where there is none, nothing is granted.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let text = files::read_if_exists(path)?.unwrap_or_default();
        let list = parse(&path.display().to_string(), &text)?;
        Ok(Self { path: path.to_owned(), text, list })
    }

    /// Nothing granted, and no file to grant it in.
    pub fn none() -> Self {
        Self { path: PathBuf::new(), text: String::new(), list: Vec::new() }
    }

    pub fn list(&self) -> &[Grant] {
        &self.list
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether a grant allows exactly this.
    pub fn allow(&self, pipeline: &PipelineName, digest: &str, permission: &Permission) -> bool {
        self.list.iter().any(|grant| grant.is_for(pipeline, digest) && grant.allow.contains(permission))
    }

    /// The digest that this connector had when it was last granted something for this pipeline, when that was
    /// another one.
    pub(crate) fn changed_from(&self, pipeline: &PipelineName, component: &ComponentRef) -> Option<&str> {
        let of_name = |grant: &&Grant| grant.pipeline == *pipeline && grant.name() == component.name;
        let last = self.list.iter().rfind(of_name)?;
        let known = self.list.iter().any(|grant| grant.is_for(pipeline, &component.digest));
        (!known).then_some(last.digest.as_str())
    }

    /// What to add to the file, as it is now, so that it holds this grant too: the whole of it when there is
    /// none yet.
    pub fn addition(&self, grant: &Grant) -> String {
        if self.list.is_empty() { format!("grants:\n{}", grant.to_yaml()) } else { grant.to_yaml() }
    }

    /// Adds a grant in the place of others for the same pipeline and connector (an older build's grant is of
    /// no use), and writes the file.
    pub fn add(&mut self, grant: Grant) -> Result<()> {
        let mut list = self.list.clone();
        list.retain(|old| old.pipeline != grant.pipeline || old.name() != grant.name());
        let appends = list.len() == self.list.len() && !list.is_empty();
        list.push(grant);
        let appended = appends.then(|| self.with_entry(&list)).flatten();
        self.write(appended.unwrap_or_else(|| render(&list)), list)
    }

    /// Takes back what is granted to a connector (a name, or name and version) for a pipeline, and writes the
    /// file. Gives back what was revoked.
    pub fn revoke(&mut self, pipeline: &PipelineName, connector: &str) -> Result<Vec<Grant>> {
        let is_meant = |grant: &Grant| {
            grant.pipeline == *pipeline && (grant.name() == connector || grant.connector == connector)
        };
        let (revoked, kept): (Vec<_>, Vec<_>) = self.list.iter().cloned().partition(is_meant);
        if !revoked.is_empty() {
            self.write(render(&kept), kept)?;
        }
        Ok(revoked)
    }

    /// The file as people left it, with one more entry; `None` when that would not read back as it should.
    fn with_entry(&self, list: &[Grant]) -> Option<String> {
        let text = format!("{}\n{}", self.text.trim_end_matches('\n'), list.last()?.to_yaml());
        let reads_back = parse("", &text).is_ok_and(|read| read == list);
        reads_back.then_some(text)
    }

    fn write(&mut self, text: String, list: Vec<Grant>) -> Result<()> {
        files::write_atomic(&self.path, text.as_bytes(), Access::Usual)?;
        self.text = text;
        self.list = list;
        Ok(())
    }
}

fn parse(file: &str, text: &str) -> Result<Vec<Grant>> {
    if text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
        return Ok(Vec::new());
    }
    let list = from_yaml::<File>(file, text)?.grants.unwrap_or_default();
    for grant in &list {
        let digits = grant.digest.strip_prefix("sha256:").unwrap_or_default();
        if digits.len() != 64 || !digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
            let why = format!(
                "the grant of `{}` for `{}` has no digest of a component: `{}`",
                grant.connector, grant.pipeline, grant.digest
            );
            let help =
                "write `sha256:` and 64 lower-case hexadecimal digits; `tidegate plugin inspect` shows it";
            return Err(tidegate_model::Fault::user(Code::BadFile, why).help(help).at(file, None, None));
        }
    }
    Ok(list)
}

fn render(list: &[Grant]) -> String {
    let entries: String = list.iter().map(Grant::to_yaml).collect();
    let none = if list.is_empty() { " []" } else { "" };
    format!("{HEADER}grants:{none}\n{entries}")
}
