//! What a component requests must agree with the configuration it says it has.

use serde_json::Value;
use tidegate_model::{Code, Fault, Manifest, Result, suggestion};

use crate::configuration::Shape;

/// A target such as `{config.location}` that no configuration can fill would ask an administrator for
/// something nobody can name.
pub fn check(manifest: &Manifest, schema: &Value) -> Result<()> {
    for capability in &manifest.capabilities {
        for path in keys(capability.target.as_deref().unwrap_or_default()) {
            let mut place = Shape::of(schema);
            for key in path.split('.') {
                place = place.key(key).ok_or_else(|| {
                    let message = format!(
                        "capability `{}` is for `config.{path}`, and the connector's configuration has no such key",
                        capability.id
                    );
                    Fault::internal(Code::BadRequest, message).help(suggestion(key, place.keys()))
                })?;
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(target: &str) -> String {
        let manifest: Manifest = serde_json::from_value(json!({
            "contract": "0.2", "name": "pages", "version": "0.1.0", "world": "extractor",
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
