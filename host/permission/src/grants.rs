use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde::de::IgnoredAny;
use tidegate_infrastructure::FolderLock;
use tidegate_infrastructure::files::{self, Access};
use tidegate_model::{
    Binding, Code, ComponentRef, Fault, Limits, Permission, PipelineName, Placed, Result, StreamName,
    from_yaml, short_digest,
};

use crate::ceiling::Terms;
use crate::narrowing;
use crate::principal::Principal;
use crate::yaml::scalar;

const HEADER: &str = "\
# What components may do. Everything else is denied.
# A grant holds for one pipeline, for one component (by its digest, or by the key of its publisher and versions), and
# for what it lists: less than what is requested narrows it, more widens nothing.
# `tidegate grant` edits this file; so may you.
";

/// What somebody allows one component to do for one pipeline.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    pub pipeline: PipelineName,
    /// Name and version, for people, where a digest decides; the name, where a publisher does.
    pub connector: String,
    /// The one component that is meant: `sha256:` and 64 hexadecimal digits.
    #[serde(default)]
    pub digest: Option<String>,
    /// Or all that this key has signed, in these versions: 16 hexadecimal digits.
    #[serde(default)]
    pub publisher: Option<String>,
    #[serde(default)]
    pub versions: Option<semver::VersionReq>,
    pub allow: Vec<Permission>,
    /// Of these streams only these columns; of others all.
    #[serde(default)]
    pub columns: BTreeMap<StreamName, BTreeSet<String>>,
    /// Narrower than those of the pipeline file.
    #[serde(default)]
    pub limits: Limits,
    /// From then on it grants nothing.
    #[serde(default)]
    pub expires: Option<DateTime<Utc>>,
    #[serde(default)]
    pub granted_by: Option<String>,
    #[serde(default)]
    pub granted_at: Option<DateTime<Utc>>,
    #[serde(default)]
    pub note: Option<String>,
}

impl Grant {
    /// For this very component, by its digest.
    pub fn new(pipeline: &PipelineName, component: &ComponentRef, allow: Vec<Permission>) -> Self {
        Self {
            pipeline: pipeline.clone(),
            connector: format!("{}@{}", component.name, component.version),
            digest: Some(component.digest.clone()),
            publisher: None,
            versions: None,
            allow,
            columns: BTreeMap::new(),
            limits: Limits::default(),
            expires: None,
            granted_by: None,
            granted_at: None,
            note: None,
        }
    }

    /// For all versions that the publisher of this one signs, as far as they are compatible with it.
    pub fn for_publisher(self, component: &ComponentRef) -> Result<Self> {
        let Some(publisher) = &component.publisher else {
            let why = format!("{} carries no signature of a publisher who is trusted here", self.connector);
            return Err(Fault::user(Code::BadSignature, why).help(
                "grant it by its digest, without `--publisher`, or `tidegate plugin trust` its publisher",
            ));
        };
        let versions = semver::VersionReq::parse(&format!("^{}", component.version))
            .map_err(|error| Fault::internal(Code::Bug, format!("a version is no requirement: {error}")))?;
        Ok(Self {
            connector: component.name.clone(),
            digest: None,
            publisher: Some(publisher.key.clone()),
            versions: Some(versions),
            ..self
        })
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

    /// Who it is for: `sha256:12ab34cd56ef`, or `versions ^0.1.0 signed by 0123456789abcdef`.
    pub fn holder(&self) -> String {
        match (&self.digest, &self.publisher, &self.versions) {
            (Some(digest), ..) => short_digest(digest).to_owned(),
            (None, Some(key), Some(versions)) => format!("versions {versions} signed by {key}"),
            (None, Some(key), None) => format!("all versions signed by {key}"),
            (None, None, _) => "nobody".to_owned(),
        }
    }

    /// What a ceiling may ask about it at a time.
    pub fn terms(&self, signed: bool, now: DateTime<Utc>) -> Terms {
        Terms { signed, days: self.expires.map(|at| (at - now).num_days()) }
    }

    /// The grant as an entry of the list in `grants.yaml`, ready to be pasted at its end.
    pub(crate) fn to_yaml(&self) -> String {
        let mut text = format!("  - pipeline: {}\n", scalar(self.pipeline.as_str()));
        let mut line = |key: &str, value: Option<&str>| {
            if let Some(value) = value {
                // Writing to a text cannot fail.
                let _ = writeln!(text, "    {key}: {}", scalar(value));
            }
        };
        let seconds = |at: DateTime<Utc>| at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
        line("connector", Some(&self.connector));
        line("digest", self.digest.as_deref());
        line("publisher", self.publisher.as_deref());
        line("versions", self.versions.as_ref().map(ToString::to_string).as_deref());
        text.push_str(if self.allow.is_empty() { "    allow: []\n" } else { "    allow:\n" });
        for permission in &self.allow {
            text.push_str(&permission_line(permission));
        }
        text.push_str(&columns_lines(&self.columns));
        text.push_str(&limits_line(&self.limits));
        let mut line = |key: &str, value: Option<&str>| {
            if let Some(value) = value {
                let _ = writeln!(text, "    {key}: {}", scalar(value));
            }
        };
        line("expires", self.expires.map(seconds).as_deref());
        line("granted_by", self.granted_by.as_deref());
        line("granted_at", self.granted_at.map(seconds).as_deref());
        line("note", self.note.as_deref());
        text
    }

    fn is_for(&self, pipeline: &PipelineName, component: &ComponentRef) -> bool {
        let holds = match (&self.digest, &self.publisher) {
            (Some(digest), _) => *digest == component.digest,
            (None, Some(key)) => {
                component.publisher.as_ref().is_some_and(|publisher| publisher.key.eq_ignore_ascii_case(key))
                    && self.name() == component.name
                    && self.versions.as_ref().is_none_or(|versions| versions.matches(&component.version))
            }
            (None, None) => false,
        };
        holds && self.pipeline == *pipeline
    }

    fn is_meant(&self, pipeline: &PipelineName, connector: &str) -> bool {
        self.pipeline == *pipeline && (self.name() == connector || self.connector == connector)
    }

    fn is_over(&self, now: DateTime<Utc>) -> bool {
        self.expires.is_some_and(|at| at <= now)
    }

    fn name(&self) -> &str {
        self.connector.split('@').next().unwrap_or_default()
    }
}

/// What a grant allows of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowance {
    pub permission: Permission,
    /// Where it is granted: `grants.yaml:12`.
    pub place: String,
    pub terms: Terms,
}

fn columns_lines(columns: &BTreeMap<StreamName, BTreeSet<String>>) -> String {
    let mut text = String::new();
    for (stream, columns) in columns {
        let columns: Vec<_> = columns.iter().map(|column| scalar(column)).collect();
        // Writing to a text cannot fail.
        let _ = writeln!(text, "      {}: [{}]", scalar(stream.as_str()), columns.join(", "));
    }
    if text.is_empty() { text } else { format!("    columns:\n{text}") }
}

fn limits_line(limits: &Limits) -> String {
    let memory = limits.memory.map(|bytes| format!("memory: {bytes}"));
    let parallelism = limits.parallelism.map(|splits| format!("parallelism: {splits}"));
    let parts: Vec<String> = [memory, parallelism].into_iter().flatten().collect();
    if parts.is_empty() { String::new() } else { format!("    limits: {{ {} }}\n", parts.join(", ")) }
}

/// `      - { kind: files, target: ./data }`
pub(crate) fn permission_line(permission: &Permission) -> String {
    let mut parts = vec![format!("kind: {}", permission.kind)];
    if let Some(target) = &permission.target {
        parts.push(format!("target: {}", scalar(target)));
    }
    if !permission.methods.is_empty() {
        let methods: Vec<_> = permission.methods.iter().map(|method| scalar(method)).collect();
        parts.push(format!("methods: [{}]", methods.join(", ")));
    }
    if let Some(Binding { slot, secret, place }) = &permission.binding {
        let (secret, place) = (secret.to_string(), place.to_string());
        let [slot, secret, place] = [slot, &secret, &place].map(|text| scalar(text));
        parts.push(format!("binding: {{ slot: {slot}, secret: {secret}, place: {place} }}"));
    }
    format!("      - {{ {} }}\n", parts.join(", "))
}

/// The file `grants.yaml` beside the pipeline file. People edit it, so what they wrote stays as long as it
/// can.
#[derive(Debug, Clone)]
pub struct Grants {
    path: PathBuf,
    text: String,
    list: Vec<Grant>,
    /// The lines of each grant, found when one is first asked for.
    lines: OnceLock<Vec<Lines>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    grants: Option<Vec<Grant>>,
}

/// The same file, for where its lines are.
#[derive(Deserialize)]
struct FileLines {
    #[serde(default)]
    grants: Option<Vec<Lines>>,
}

#[derive(Debug, Clone, Deserialize)]
struct Lines {
    #[serde(default)]
    allow: Vec<Placed<IgnoredAny>>,
    #[serde(default)]
    columns: BTreeMap<StreamName, Placed<IgnoredAny>>,
}

impl Grants {
    /// Reads the file; where there is none, nothing is granted.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let text = files::read_if_exists(path)?.unwrap_or_default();
        let list = parse(&path.display().to_string(), &text)?;
        Ok(Self { path: path.to_owned(), text, list, lines: OnceLock::new() })
    }

    /// Nothing granted, and no file to grant it in.
    pub fn none() -> Self {
        Self { path: PathBuf::new(), text: String::new(), list: Vec::new(), lines: OnceLock::new() }
    }

    pub fn list(&self) -> &[Grant] {
        &self.list
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the grants allow of a request: several parts where several grants narrow it. What is over allows
    /// nothing.
    pub fn allowances(
        &self,
        pipeline: &PipelineName,
        component: &ComponentRef,
        requested: &Permission,
        now: DateTime<Utc>,
    ) -> Vec<Allowance> {
        let mut found: Vec<Allowance> = Vec::new();
        for (number, grant) in self.list.iter().enumerate() {
            if !grant.is_for(pipeline, component) || grant.is_over(now) {
                continue;
            }
            for (line, granted) in grant.allow.iter().enumerate() {
                if let Some(permission) = narrowing::common(requested, granted)
                    && found.iter().all(|known| known.permission != permission)
                {
                    let terms = grant.terms(component.publisher.is_some(), now);
                    found.push(Allowance {
                        permission,
                        place: self.place(number, |lines| lines.allow.get(line)),
                        terms,
                    });
                }
            }
        }
        found
    }

    /// A grant of nothing, on the terms of what a component has now: the earliest end of its grants, and what its
    /// connector is narrowed to. Says whether it has anything.
    pub(crate) fn terms(
        &self,
        pipeline: &PipelineName,
        component: &ComponentRef,
        now: DateTime<Utc>,
    ) -> (Grant, bool) {
        let holding = || self.holding(pipeline, component, now);
        let grant = Grant {
            expires: holding().filter_map(|grant| grant.expires).min(),
            limits: self.limits(pipeline, component),
            columns: self.columns(pipeline, component),
            ..Grant::new(pipeline, component, Vec::new())
        };
        (grant, holding().next().is_some())
    }

    /// Those of a component's connector, whichever version they are for and whether they are over or not.
    fn about<'a>(
        &'a self,
        pipeline: &'a PipelineName,
        component: &'a ComponentRef,
    ) -> impl Iterator<Item = &'a Grant> {
        let of = move |grant: &&Grant| {
            grant.is_for(pipeline, component)
                || (grant.pipeline == *pipeline && grant.name() == component.name)
        };
        self.list.iter().filter(of)
    }

    fn holding<'a>(
        &'a self,
        pipeline: &'a PipelineName,
        component: &'a ComponentRef,
        now: DateTime<Utc>,
    ) -> impl Iterator<Item = &'a Grant> {
        self.list.iter().filter(move |grant| grant.is_for(pipeline, component) && !grant.is_over(now))
    }

    /// The columns that streams are narrowed to: those that all grants of a connector list that list the stream at
    /// all. Also grants for other versions, and those that are over: what was narrowed stays so until somebody
    /// grants anew, and no update and no end of a grant widens it.
    pub fn columns(
        &self,
        pipeline: &PipelineName,
        component: &ComponentRef,
    ) -> BTreeMap<StreamName, BTreeSet<String>> {
        let mut narrowed: BTreeMap<StreamName, BTreeSet<String>> = BTreeMap::new();
        for (stream, columns) in self.about(pipeline, component).flat_map(|grant| &grant.columns) {
            narrowed
                .entry(stream.clone())
                .and_modify(|known| known.retain(|column| columns.contains(column)))
                .or_insert_with(|| columns.clone());
        }
        narrowed
    }

    /// The limits that the grants of a connector set, the narrowest of each; of the same grants as the columns.
    pub fn limits(&self, pipeline: &PipelineName, component: &ComponentRef) -> Limits {
        let limits = || self.about(pipeline, component).map(|grant| &grant.limits);
        Limits {
            memory: limits().filter_map(|limits| limits.memory).min(),
            parallelism: limits().filter_map(|limits| limits.parallelism).min(),
        }
    }

    /// Where a stream's columns are narrowed; the first of such places.
    pub(crate) fn place_of_columns(
        &self,
        pipeline: &PipelineName,
        component: &ComponentRef,
        stream: &StreamName,
    ) -> Option<String> {
        let narrows = |grant: &Grant| {
            grant.pipeline == *pipeline
                && grant.name() == component.name
                && grant.columns.contains_key(stream)
        };
        let number = self.list.iter().position(narrows)?;
        Some(self.place(number, |lines| lines.columns.get(stream)))
    }

    /// `grants.yaml:12`.
    fn place(&self, grant: usize, find: impl FnOnce(&Lines) -> Option<&Placed<IgnoredAny>>) -> String {
        let file = self.path.file_name().map_or_else(|| "grants".into(), |name| name.to_string_lossy());
        let lines = self.lines.get_or_init(|| {
            let read = from_yaml::<FileLines>("", &self.text).ok().and_then(|lines| lines.grants);
            read.unwrap_or_default()
        });
        match lines.get(grant).and_then(find) {
            Some(placed) => format!("{file}:{}", placed.line),
            None => file.into_owned(),
        }
    }

    /// The digest that this connector had when it was last granted something for this pipeline, when that was
    /// another one.
    pub(crate) fn changed_from(&self, pipeline: &PipelineName, component: &ComponentRef) -> Option<&str> {
        let of_name = |grant: &&Grant| grant.pipeline == *pipeline && grant.name() == component.name;
        let last = self.list.iter().rfind(of_name)?;
        let known = self.list.iter().any(|grant| grant.is_for(pipeline, component));
        last.digest.as_deref().filter(|_| !known)
    }

    /// What to add to the file, as it is now, so that it holds this grant too: the whole of it when there is
    /// none yet.
    pub fn addition(&self, grant: &Grant) -> String {
        if self.list.is_empty() { format!("grants:\n{}", grant.to_yaml()) } else { grant.to_yaml() }
    }

    /// Adds a grant in the place of others for the same pipeline and connector (an older build's grant is of
    /// no use), and writes the file. One by digest and one for a publisher stand beside each other.
    pub fn add(&mut self, grant: Grant) -> Result<()> {
        let _turn = self.turn()?;
        let mut list = self.list.clone();
        let replaced = |old: &Grant| {
            (&old.pipeline, old.name(), &old.publisher) == (&grant.pipeline, grant.name(), &grant.publisher)
        };
        list.retain(|old| !replaced(old));
        let appends = list.len() == self.list.len() && !list.is_empty();
        list.push(grant);
        let appended = appends.then(|| self.with_entry(&list)).flatten();
        self.write(appended.unwrap_or_else(|| render(&list)), list)
    }

    /// The grants that are meant by a pipeline and a connector (a name, or name and version).
    pub fn meant<'a>(
        &'a self,
        pipeline: &'a PipelineName,
        connector: &'a str,
    ) -> impl Iterator<Item = &'a Grant> {
        self.list.iter().filter(move |grant| grant.is_meant(pipeline, connector))
    }

    /// Takes back what is granted to a connector (a name, or name and version) for a pipeline, and writes the
    /// file. Gives back what was revoked.
    pub fn revoke(&mut self, pipeline: &PipelineName, connector: &str) -> Result<Vec<Grant>> {
        let _turn = self.turn()?;
        let (revoked, kept): (Vec<_>, Vec<_>) =
            self.list.iter().cloned().partition(|grant| grant.is_meant(pipeline, connector));
        if !revoked.is_empty() {
            self.write(render(&kept), kept)?;
        }
        Ok(revoked)
    }

    /// The right to change the file, which is read anew: what somebody took back or granted in the meantime, as while
    /// a question was waiting for its answer, stays so.
    fn turn(&mut self) -> Result<FolderLock> {
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let turn = FolderLock::take(folder.unwrap_or(Path::new(".")))?;
        *self = Self::load(&self.path)?;
        Ok(turn)
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
        self.lines = OnceLock::new();
        Ok(())
    }
}

fn parse(file: &str, text: &str) -> Result<Vec<Grant>> {
    if text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
        return Ok(Vec::new());
    }
    let list = from_yaml::<File>(file, text)?.grants.unwrap_or_default();
    for grant in &list {
        if let Some((why, help)) = mistake(grant) {
            let why = format!("the grant of `{}` for `{}` {why}", grant.connector, grant.pipeline);
            return Err(Fault::user(Code::BadFile, why).help(help).at(file, None, None));
        }
    }
    Ok(list)
}

/// What is wrong with a grant, and what to write.
fn mistake(grant: &Grant) -> Option<(String, &'static str)> {
    let hex = |text: &str, digits: usize| {
        text.len() == digits && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    match (&grant.digest, &grant.publisher) {
        (Some(digest), None) if hex(digest.strip_prefix("sha256:").unwrap_or_default(), 64) => None,
        (Some(digest), None) => Some((
            format!("has no digest of a component: `{digest}`"),
            "write `sha256:` and 64 lower-case hexadecimal digits; `tidegate plugin inspect` shows it",
        )),
        (None, Some(key)) if hex(&key.to_lowercase(), 16) => None,
        (None, Some(key)) => Some((
            format!("has no key of a publisher: `{key}`"),
            "write the 16 hexadecimal digits that `tidegate plugin trust list` shows",
        )),
        (Some(_), Some(_)) => {
            Some(("is for a digest and for a publisher".to_owned(), "keep one of `digest` and `publisher`"))
        }
        (None, None) => Some((
            "does not say for which component it is".to_owned(),
            "add `digest: sha256:...`, or `publisher:` and `versions:`",
        )),
    }
}

fn render(list: &[Grant]) -> String {
    let entries: String = list.iter().map(Grant::to_yaml).collect();
    let none = if list.is_empty() { " []" } else { "" };
    format!("{HEADER}grants:{none}\n{entries}")
}
