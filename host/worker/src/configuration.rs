//! A connector's configuration beside the JSON Schema that the connector gives of it.

use serde_json::Value;
use tidegate_model::{Code, ConfigKey, Fault, Result, WorkOrder, suggestion, tame};

/// References and alternatives followed from one place of a schema: a stranger's schema may lead in circles.
const HOPS: usize = 8;
/// Characters of a name in a schema that people are shown.
const LONGEST_NAME: usize = 64;
/// Characters of a description that people are shown.
const LONGEST_DESCRIPTION: usize = 1000;

/// Refuses what the connector would not know, before it is asked for anything: a misspelt key or word is told
/// with the line where somebody wrote it.
pub fn check(order: &WorkOrder, schema: &Value) -> Result<()> {
    let mut path = Vec::new();
    let Some(fault) = mistake(Shape::of(schema), &order.config, &mut path) else { return Ok(()) };
    let fault = fault.context(format!("the configuration of `{}`", order.component.name));
    Err(match &order.document {
        Some(document) => document.blame(&path, fault),
        None => fault,
    })
}

/// The first mistake, and in `path` the keys that lead to it.
fn mistake<'a>(shape: Shape, value: &'a Value, path: &mut Vec<&'a str>) -> Option<Fault> {
    match value {
        Value::Object(map) => map.iter().find_map(|(key, value)| {
            path.push(key);
            let fault = match shape.key(key) {
                Some(shape) => mistake(shape, value, path),
                None => shape.is_closed().then(|| {
                    Fault::user(Code::UnknownKey, format!("unknown key `{key}`"))
                        .help(suggestion(key, shape.keys()))
                }),
            };
            if fault.is_none() {
                path.pop();
            }
            fault
        }),
        Value::Array(items) => {
            let shape = shape.item()?;
            items.iter().find_map(|item| mistake(shape, item, path))
        }
        Value::String(word) => {
            let words = shape.words()?;
            (!words.contains(&word.as_str())).then(|| {
                let words = words.into_iter().map(|known| line(known, LONGEST_NAME));
                Fault::user(Code::BadConfig, format!("unknown value `{word}`")).help(suggestion(word, words))
            })
        }
        _ => None,
    }
}

/// What there is to configure, for people.
pub fn keys(schema: &Value) -> Vec<ConfigKey> {
    let whole = Shape::of(schema);
    let required = whole.here.get("required").and_then(Value::as_array);
    let is_required = |name: &str| required.is_some_and(|names| names.iter().any(|known| known == name));
    let known = whole.here.get("properties").and_then(Value::as_object);
    known
        .into_iter()
        .flatten()
        .map(|(name, property)| ConfigKey {
            name: line(name, LONGEST_NAME),
            kind: whole.at(property).kind(),
            required: is_required(name),
            description: line(
                property.get("description").and_then(Value::as_str).unwrap_or_default(),
                LONGEST_DESCRIPTION,
            ),
        })
        .collect()
}

/// A place in a schema: what one value of the configuration may be.
#[derive(Debug, Clone, Copy)]
pub struct Shape<'a> {
    root: &'a Value,
    here: &'a Value,
}

impl<'a> Shape<'a> {
    /// Of the whole configuration.
    pub fn of(schema: &'a Value) -> Self {
        Self { root: schema, here: schema }.at(schema)
    }

    /// What the value of a key may be; none when the schema has no place for such a key.
    pub fn key(self, key: &str) -> Option<Self> {
        let named = self.here.get("properties").and_then(|known| known.get(key));
        let other = self.here.get("additionalProperties").filter(|other| **other != Value::Bool(false));
        named.or(other).map(|here| self.at(here))
    }

    /// The keys that it names, fit for people.
    pub fn keys(self) -> Vec<String> {
        let known = self.here.get("properties").and_then(Value::as_object);
        known.into_iter().flat_map(|known| known.keys()).map(|key| line(key, LONGEST_NAME)).collect()
    }

    /// Whether no key is allowed but those that it names.
    fn is_closed(self) -> bool {
        self.here.get("additionalProperties") == Some(&Value::Bool(false))
            && self.here.get("patternProperties").is_none()
    }

    fn item(self) -> Option<Self> {
        self.here.get("items").map(|here| self.at(here))
    }

    /// The only words that it allows, if it allows words and no others.
    fn words(self) -> Option<Vec<&'a str>> {
        let list = |key| self.here.get(key).and_then(Value::as_array);
        let words: Vec<&Value> = match (list("enum"), list("oneOf")) {
            (Some(words), _) => words.iter().collect(),
            (None, Some(alternatives)) => {
                alternatives.iter().map(|one| one.get("const")).collect::<Option<_>>()?
            }
            (None, None) => return None,
        };
        Some(words.into_iter().filter_map(Value::as_str).collect())
    }

    /// `csv | json`, `string`, `list of string`.
    fn kind(self) -> String {
        if let Some(words) = self.words() {
            let words: Vec<_> = words.into_iter().map(|word| line(word, LONGEST_NAME)).collect();
            return words.join(" | ");
        }
        let named = |kind: &Value| kind.as_str().filter(|kind| *kind != "null").map(str::to_owned);
        let kind = match self.here.get("type") {
            Some(Value::Array(kinds)) => kinds.iter().find_map(named),
            Some(kind) => named(kind),
            None => None,
        };
        match (kind.as_deref(), self.item()) {
            // Lists in lists are not unfolded: a stranger's schema may lead in circles.
            (Some("array"), Some(item)) if item.item().is_none() => format!("list of {}", item.kind()),
            (Some("array"), _) => "list".to_owned(),
            (Some(kind), _) => line(kind, LONGEST_NAME),
            (None, _) => "anything".to_owned(),
        }
    }

    /// Another place of the same schema, behind the references that lead to it and the `null` that goes with
    /// what is optional: so generators write nested and optional objects.
    fn at(self, mut here: &'a Value) -> Self {
        for _ in 0..HOPS {
            let reference = here.get("$ref").and_then(Value::as_str).and_then(|to| to.strip_prefix('#'));
            let next = match reference {
                Some(pointer) => self.root.pointer(pointer),
                None => ["anyOf", "oneOf", "allOf"].iter().find_map(|of| only_choice(here.get(of)?)),
            };
            match next {
                Some(next) => here = next,
                None => break,
            }
        }
        Self { here, ..self }
    }
}

/// The alternative that is left when `null` is taken away.
fn only_choice(alternatives: &Value) -> Option<&Value> {
    let mut choices = alternatives.as_array()?.iter().filter(|one| one.get("type") != Some(&"null".into()));
    choices.next().filter(|_| choices.next().is_none())
}

/// A stranger's words on one line.
fn line(text: &str, most: usize) -> String {
    tame(text).split_whitespace().collect::<Vec<_>>().join(" ").chars().take(most).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// As `schemars` writes it.
    fn schema() -> Value {
        json!({
            "type": "object",
            "additionalProperties": false,
            "required": ["location"],
            "properties": {
                "location": { "type": "string" },
                "format": { "anyOf": [{ "$ref": "#/$defs/Format" }, { "type": "null" }] },
                "lane": { "oneOf": [{ "const": "kernel" }, { "const": "guest" }], "description": "Where\nit runs" },
                "streams": { "type": "object", "additionalProperties": { "$ref": "#/$defs/Selection" } },
                "calls": { "type": "array", "items": { "$ref": "#/$defs/Selection" } },
                "free": { "type": "object" },
                "circle": { "$ref": "#/properties/circle" },
            },
            "$defs": {
                "Format": { "type": "string", "enum": ["csv", "json"] },
                "Selection": {
                    "type": "object",
                    "additionalProperties": false,
                    "properties": { "glob": { "type": ["string", "null"] }, "a\nb\u{1b}": {} },
                },
            },
        })
    }

    #[test]
    fn what_a_schema_has_no_place_for_is_found_wherever_it_is() {
        for (config, path, expected) in [
            (json!({ "location": "x", "format": "csv", "lane": "guest" }), "", ""),
            (json!({ "format": null, "free": { "any": { "thing": 1 } }, "circle": { "x": 1 } }), "", ""),
            (json!({ "streams": { "any name": { "glob": "*.csv" } }, "calls": [{}] }), "", ""),
            (
                json!({ "locaton": "x" }),
                "locaton",
                "TG0102: unknown key `locaton`; did you mean `location`? known here: location, format, lane, streams, calls, free, circle",
            ),
            (
                json!({ "format": "csvv" }),
                "format",
                "TG0105: unknown value `csvv`; did you mean `csv`? known here: csv, json",
            ),
            (json!({ "lane": "host" }), "lane", "TG0105: unknown value `host`; known here: kernel, guest"),
            (
                json!({ "location": "x", "streams": { "a": {}, "b": { "globb": 1 } } }),
                "streams.b.globb",
                "TG0102: unknown key `globb`; did you mean `glob`? known here: glob, a b\u{fffd}",
            ),
            (
                json!({ "calls": [{}, { "x": 1 }] }),
                "calls.x",
                "TG0102: unknown key `x`; known here: glob, a b\u{fffd}",
            ),
        ] {
            let (schema, mut found) = (schema(), Vec::new());
            let told = mistake(Shape::of(&schema), &config, &mut found);
            assert_eq!(told.map(|fault| fault.to_string()).unwrap_or_default(), expected, "{config}");
            assert_eq!(found.join("."), path, "{config}");
        }
    }

    #[test]
    fn a_schema_is_told_in_words() {
        let told: Vec<String> = keys(&schema())
            .into_iter()
            .map(|key| format!("{} ({}) {} {}", key.name, key.kind, key.required, key.description))
            .collect();
        assert_eq!(
            told.iter().map(|line| line.trim_end()).collect::<Vec<_>>(),
            [
                "location (string) true",
                "format (csv | json) false",
                "lane (kernel | guest) false Where it runs",
                "streams (object) false",
                "calls (list of object) false",
                "free (object) false",
                "circle (anything) false",
            ]
        );
    }
}
