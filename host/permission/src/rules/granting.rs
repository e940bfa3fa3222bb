//! Grants are data; as policies they decide together with the others.

use std::collections::BTreeSet;
use std::fmt::Write;

use tidegate_model::{CapabilityKind, Permission, PipelineName, StreamName};

use super::policies::Source;

/// Permissions of one component for one pipeline, and where each was granted.
#[derive(Debug, Clone)]
pub(crate) struct Granting<'a> {
    pub(crate) digest: &'a str,
    pub(crate) pipeline: &'a PipelineName,
    /// Each with its place, such as `grants.yaml:12`.
    pub(crate) permissions: Vec<(&'a Permission, String)>,
    /// Of these streams only these columns, and where that was said.
    pub(crate) columns: Vec<(&'a StreamName, &'a BTreeSet<String>, String)>,
}

/// The same as Cedar: one policy for each permission, or two where two kinds of resource are meant.
pub(crate) fn policies_of(granting: &Granting<'_>) -> Source {
    let mut text = String::new();
    for (number, (permission, place)) in granting.permissions.iter().enumerate() {
        let target = permission.target.as_deref().unwrap_or_default();
        let web = target.contains("://") && target.get(..4).is_some_and(|s| s.eq_ignore_ascii_case("http"));
        let of_methods = |methods: &[String]| match methods {
            [] => String::new(),
            methods => {
                let methods: Vec<String> = methods.iter().map(|method| quoted(method)).collect();
                format!(" && [{}].contains(resource.method)", methods.join(", "))
            }
        };
        let reading = ["GET", "HEAD"].map(str::to_owned);
        let scopes: Vec<(&str, &str, String)> = match permission.kind {
            CapabilityKind::Files if web => vec![
                (r#"in [Action::"files.list", Action::"files.read"]"#, "Location", String::new()),
                (r#"== Action::"http.request""#, "Endpoint", of_methods(&reading)),
                (r#"== Action::"http.connect""#, "Endpoint", String::new()),
            ],
            CapabilityKind::Files => {
                vec![(r#"in [Action::"files.list", Action::"files.read"]"#, "Location", String::new())]
            }
            CapabilityKind::Http => vec![
                (r#"== Action::"http.request""#, "Endpoint", of_methods(&permission.methods)),
                (r#"== Action::"http.connect""#, "Endpoint", String::new()),
            ],
            CapabilityKind::Tcp => {
                vec![(r#"in [Action::"tcp.connect", Action::"tcp.dial"]"#, "Socket", String::new())]
            }
            CapabilityKind::Credential => {
                vec![(r#"== Action::"credential.use""#, "Credential", String::new())]
            }
            CapabilityKind::Decode => vec![(r#"== Action::"decode.use""#, "", String::new())],
        };
        for (part, (action, kind, condition)) in scopes.into_iter().enumerate() {
            let resource = match kind {
                "" => "resource".to_owned(),
                "Credential" => format!("resource in Credential::{}", quoted(&credential_name(permission))),
                kind => format!("resource in {kind}::{}", quoted(target)),
            };
            // Writing to a text cannot fail.
            let _ = write!(
                text,
                "@id({id})\n@why({why})\n@at({at})\npermit (\n  principal == Plugin::{digest},\n  action {action},\n  {resource}\n)\nwhen {{ principal.pipeline == {pipeline}{condition} }};\n\n",
                id = quoted(&format!("grant.{}.{number}.{part}", granting.pipeline)),
                why = quoted(&format!("grant for pipeline {}", granting.pipeline)),
                at = quoted(place),
                digest = quoted(granting.digest),
                pipeline = quoted(granting.pipeline.as_str()),
            );
        }
    }
    text.push_str(&columns_policies(granting));
    Source { file: "grants".to_owned(), text }
}

/// Every column, and of streams whose columns are listed no other.
fn columns_policies(granting: &Granting<'_>) -> String {
    let id = |part: &str| quoted(&format!("grant.{}.columns{part}", granting.pipeline));
    let plugin = quoted(granting.digest);
    let mut text = format!(
        "@id({})\n@why({})\npermit (principal == Plugin::{plugin}, action == Action::\"column.read\", resource);\n",
        id(""),
        quoted(&format!("all columns that nothing narrows, for pipeline {}", granting.pipeline)),
    );
    for (stream, columns, place) in &granting.columns {
        let listed: Vec<String> = columns.iter().map(|column| quoted(column)).collect();
        let why = format!("of {stream}, the grant for pipeline {} has other columns", granting.pipeline);
        // Writing to a text cannot fail.
        let _ = write!(
            text,
            "\n@id({id})\n@why({why})\n@at({at})\nforbid (\n  principal == Plugin::{plugin},\n  action == Action::\"column.read\",\n  resource\n)\nwhen {{ resource.stream == {stream} && ![{listed}].contains(resource.name) }};\n",
            id = id(&format!(".{stream}")),
            why = quoted(&why),
            at = quoted(place),
            stream = quoted(stream.as_str()),
            listed = listed.join(", "),
        );
    }
    text
}

/// A binding and its endpoint, as one name.
pub(crate) fn credential_name(permission: &Permission) -> String {
    permission.to_string()
}

/// A string as Cedar writes it.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.escape_debug())
}
