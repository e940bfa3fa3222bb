//! What a component requests must agree with the configuration it says it has.

use serde_json::Value;
use tidegate_model::{Code, Fault, Manifest, Result, suggestion};

/// A target such as `{config.location}` that no configuration can fill would ask an administrator for something nobody can name.
pub fn check(manifest: &Manifest, schema: &Value) -> Result<()> {
    for capability in &manifest.capabilities {
        for path in keys(capability.target.as_deref().unwrap_or_default()) {
            let mut place = schema;
            for key in path.split('.') {
                let known = resolved(schema, place).get("properties");
                let Some(next) = known.and_then(|properties| properties.get(key)) else {
                    let names: Vec<&str> = known
                        .and_then(Value::as_object)
                        .map(|properties| properties.keys().map(String::as_str).collect())
                        .unwrap_or_default();
                    return Err(Fault::internal(
                        Code::BadRequest,
                        format!(
                            "capability `{}` is for `config.{path}`, and the connector's configuration has no such key",
                            capability.id
                        ),
                    )
                    .help(suggestion(key, &names)));
                };
                place = next;
            }
        }
    }
    Ok(())
}

/// The `KEY` of every `{config.KEY}` in a target.
fn keys(target: &str) -> impl Iterator<Item = &str> {
    target
        .split('{')
        .skip(1)
        .filter_map(|rest| rest.split_once('}'))
        .filter_map(|(inside, _)| inside.strip_prefix("config."))
}

/// Follows a `$ref` to the schema's own definitions, once: that is how generators write nested objects.
fn resolved<'a>(schema: &'a Value, place: &'a Value) -> &'a Value {
    place
        .get("$ref")
        .and_then(Value::as_str)
        .and_then(|reference| schema.pointer(reference.strip_prefix('#')?))
        .unwrap_or(place)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(target: &str) -> String {
        let manifest: Manifest = serde_json::from_value(json!({
            "contract": "0.1", "name": "pages", "version": "0.1.0", "world": "extractor",
            "capabilities": [{ "id": "source", "kind": "http", "target": target, "reason": "reads" }],
        }))
        .unwrap();
        let schema = json!({
            "type": "object",
            "properties": { "location": { "type": "string" }, "server": { "$ref": "#/$defs/Server" } },
            "$defs": { "Server": { "properties": { "host": { "type": "string" } } } },
        });
        check(&manifest, &schema).map_or_else(|fault| fault.to_string(), |()| "fine".to_owned())
    }

    #[test]
    fn a_target_that_no_configuration_can_fill_is_refused() {
        for fine in ["{config.location}", "https://{config.server.host}/{config.location}", "https://fixed"] {
            assert_eq!(told(fine), "fine", "{fine}");
        }
        assert_eq!(
            told("{config.lokation}"),
            "TG0204: capability `source` is for `config.lokation`, and the connector's configuration has no such key; did you mean `location`? known here: location, server"
        );
        assert!(told("{config.server.port}").contains("`config.server.port`"));
    }
}
