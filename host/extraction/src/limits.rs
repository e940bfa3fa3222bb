//! Invariant 4: what an extractor's answers must keep to, before anybody relies on them.

use std::collections::HashSet;

use serde_json::Value;
use tidegate_model::{Code, Fault, Mode, Result, StreamName, tame};
use tidegate_sandbox as wit;

use crate::{ConnectorSpec, Plan, SecretSlot, Split, StreamDescription};

const MAX_SPLITS: usize = 10_000;
const MAX_SPLIT: usize = 64 << 10;
const MAX_LABEL: usize = 200;
const MAX_TOKEN: usize = 64 << 10;
const MAX_BOOKMARK: usize = 1 << 20;
const MAX_STREAMS: usize = 10_000;
const MAX_NOTES: usize = 100;
/// Of a note, a name of a column, a cursor's value, a reason.
pub(crate) const MAX_TEXT: usize = 4096;

fn broke(what: impl Into<String>) -> Fault {
    let what = what.into();
    Fault::internal(Code::ConnectorFailed, format!("the connector broke the contract: {what}"))
}

fn at_most(what: &str, size: usize, most: usize) -> Result<()> {
    if size > most {
        return Err(broke(format!("{what}: {size} where at most {most} are allowed")));
    }
    Ok(())
}

/// One line of at most so many characters, fit for a terminal.
pub(crate) fn line(text: &str, most: usize) -> String {
    let start: String = text.chars().take(most).collect();
    tame(&start).replace('\n', " ")
}

pub(crate) fn spec(spec: wit::ConnectorSpec) -> Result<ConnectorSpec> {
    at_most("bytes of a configuration's schema", spec.config_schema.len(), 1 << 20)?;
    at_most("secret slots", spec.secrets.len(), 100)?;
    let config_schema: Value = serde_json::from_str(&spec.config_schema)
        .map_err(|error| broke(format!("its configuration's schema is not JSON: {error}")))?;
    let object = config_schema.get("type").is_some_and(|kind| kind == "object");
    let closed = config_schema.get("additionalProperties") == Some(&Value::Bool(false));
    if !object || !closed {
        return Err(broke(
            "its configuration's schema must be of an object with `additionalProperties: false`, or a misspelt key would pass unseen",
        ));
    }
    let mut secrets = Vec::with_capacity(spec.secrets.len());
    for slot in spec.secrets {
        secrets.push(SecretSlot {
            name: line(&slot.name, MAX_LABEL),
            description: line(&slot.description, MAX_TEXT),
            required: slot.required,
        });
    }
    Ok(ConnectorSpec { config_schema, secrets })
}

pub(crate) fn streams(streams: Vec<wit::Stream>) -> Result<Vec<StreamDescription>> {
    at_most("streams", streams.len(), MAX_STREAMS)?;
    let mut names = HashSet::new();
    let mut described = Vec::with_capacity(streams.len());
    for stream in streams {
        let name = StreamName::new(stream.name.as_str()).map_err(broke)?;
        if !names.insert(name.clone()) {
            return Err(broke(format!("two streams are called `{name}`")));
        }
        described.push(describe(stream).map_err(|fault| fault.context(format!("stream `{name}`")))?);
    }
    Ok(described)
}

fn describe(stream: wit::Stream) -> Result<StreamDescription> {
    let schema = wit::schema_from_wit(stream.schema)?;
    for column in stream.key.iter().chain(&stream.cursors) {
        if schema.column_with_name(column).is_none() {
            return Err(broke(format!("the column `{}` is not in its schema", line(column, MAX_TEXT))));
        }
    }
    let modes = [(wit::Modes::FULL, Mode::Full), (wit::Modes::INCREMENTAL, Mode::Incremental)];
    let modes = modes.into_iter().filter(|(flag, _)| stream.modes.contains(*flag)).map(|(_, mode)| mode);
    Ok(StreamDescription {
        name: stream.name,
        schema,
        modes: modes.collect(),
        key: stream.key,
        cursors: stream.cursors,
        estimated_rows: stream.estimated_rows,
        estimated_bytes: stream.estimated_bytes,
        notes: stream.notes.iter().take(MAX_NOTES).map(|note| line(note, MAX_TEXT)).collect(),
    })
}

pub(crate) fn plan(plan: wit::Plan) -> Result<Plan> {
    at_most("splits", plan.splits.len(), MAX_SPLITS)?;
    at_most("bytes of a token", plan.token.len(), MAX_TOKEN)?;
    at_most("bytes of a bookmark", plan.bookmark.as_ref().map_or(0, Vec::len), MAX_BOOKMARK)?;
    at_most("bytes of an upper bound", plan.upper_bound.as_ref().map_or(0, String::len), MAX_TEXT)?;
    let mut splits = Vec::with_capacity(plan.splits.len());
    for split in plan.splits {
        at_most("bytes of a split", split.data.len(), MAX_SPLIT)?;
        splits.push(Split {
            data: split.data,
            label: line(&split.label, MAX_LABEL),
            estimated_rows: split.estimated_rows,
            estimated_bytes: split.estimated_bytes,
        });
    }
    Ok(Plan {
        splits,
        token: plan.token,
        bookmark: plan.bookmark,
        upper_bound: plan.upper_bound,
        repeatable: plan.repeatable,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(size: usize) -> wit::Split {
        wit::Split {
            data: vec![0; size],
            label: "l\u{1b}".into(),
            estimated_rows: None,
            estimated_bytes: None,
        }
    }

    fn plan_of(splits: Vec<wit::Split>, token: usize, bookmark: usize) -> Result<Plan> {
        plan(wit::Plan {
            splits,
            token: vec![0; token],
            bookmark: Some(vec![0; bookmark]),
            upper_bound: None,
            repeatable: true,
        })
    }

    #[test]
    fn a_plan_keeps_its_limits() {
        assert_eq!(
            plan_of(vec![split(MAX_SPLIT)], MAX_TOKEN, MAX_BOOKMARK).unwrap().splits[0].label,
            "l\u{fffd}"
        );
        for (splits, token, bookmark) in [
            (vec![split(MAX_SPLIT + 1)], 0, 0),
            ((0..=MAX_SPLITS).map(|_| split(0)).collect(), 0, 0),
            (Vec::new(), MAX_TOKEN + 1, 0),
            (Vec::new(), 0, MAX_BOOKMARK + 1),
        ] {
            assert_eq!(plan_of(splits, token, bookmark).unwrap_err().code, Code::ConnectorFailed);
        }
    }

    #[test]
    fn a_configuration_schema_must_know_misspelt_keys() {
        let said = |schema: &str| {
            spec(wit::ConnectorSpec { config_schema: schema.into(), secrets: Vec::new() })
                .map_or_else(|fault| fault.message, |_| "fine".into())
        };
        assert_eq!(said(r#"{"type":"object","additionalProperties":false}"#), "fine");
        assert!(said(r#"{"type":"object"}"#).contains("misspelt"));
        assert!(said("{").contains("not JSON"));
    }
}
