//! What a component requests must agree with the configuration it says it has.

use serde_json::Value;
use tidegate_extraction::SecretSlot;
use tidegate_model::{Capability, CapabilityKind, Code, Fault, Manifest, Placement, Result, suggestion};

use crate::configuration::Shape;

/// A pattern such as `{config.location}` that no configuration can fill would ask an administrator for something
/// nobody can name. A slot that only one of the two knows could not be bound, or would be bound in vain.
pub fn check(manifest: &Manifest, schema: &Value, slots: &[SecretSlot]) -> Result<()> {
    for capability in &manifest.capabilities {
        let patterns = [("is for", &capability.target), ("is used with", &capability.place)];
        for (verb, pattern) in patterns {
            let pattern = pattern.as_deref().unwrap_or_default();
            keys(pattern).try_for_each(|path| check_key(&capability.id, verb, path, schema))?;
        }
        check_place(capability)?;
    }
    check_slots(manifest, slots)
}

fn check_key(id: &str, verb: &str, path: &str, schema: &Value) -> Result<()> {
    let mut place = Shape::of(schema);
    for key in path.split('.') {
        place = place.key(key).ok_or_else(|| {
            let message = format!(
                "capability `{id}` {verb} `config.{path}`, and the connector's configuration has no such key"
            );
            Fault::internal(Code::BadRequest, message).help(suggestion(key, place.keys()))
        })?;
    }
    Ok(())
}

/// A way to use a secret must be one, whatever words fill its patterns.
fn check_place(capability: &Capability) -> Result<()> {
    let Some(place) = &capability.place else { return Ok(()) };
    let filled: Vec<_> =
        place.split_whitespace().map(|word| if word.contains('{') { "word" } else { word }).collect();
    filled
        .join(" ")
        .parse::<Placement>()
        .map(drop)
        .map_err(|why| Fault::internal(Code::BadRequest, format!("capability `{}`: {why}", capability.id)))
}

fn check_slots(manifest: &Manifest, slots: &[SecretSlot]) -> Result<()> {
    let bad = |why: String| {
        let help = "what `spec` calls a secret is a capability of kind `credential` with that id";
        Err(Fault::internal(Code::BadRequest, why).help(help))
    };
    let requested: Vec<_> =
        manifest.capabilities.iter().filter(|one| one.kind == CapabilityKind::Credential).collect();
    for slot in slots {
        let name = &slot.name;
        match requested.iter().find(|capability| capability.id == *name) {
            None => return bad(format!("the connector has a secret `{name}` that it does not request")),
            Some(capability) if capability.required != slot.required => {
                let words = |required| if required { "required" } else { "optional" };
                return bad(format!(
                    "the connector's secret `{name}` is {} in its `spec` and {} in its request",
                    words(slot.required),
                    words(capability.required)
                ));
            }
            Some(_) => {}
        }
    }
    match requested.iter().find(|capability| !slots.iter().any(|slot| slot.name == capability.id)) {
        Some(capability) => bad(format!(
            "the connector requests a credential `{}` that its `spec` does not name",
            capability.id
        )),
        None => Ok(()),
    }
}

/// The `KEY` of every `{config.KEY}` in a pattern.
fn keys(pattern: &str) -> impl Iterator<Item = &str> {
    pattern
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
            "contract": "0.3", "name": "pages", "version": "0.1.0", "world": "extractor",
            "capabilities": [{ "id": "source", "kind": "http", "target": target, "reason": "reads" }],
        }))
        .unwrap();
        let schema = json!({
            "type": "object",
            "properties": { "location": { "type": "string" }, "server": { "$ref": "#/$defs/Server" } },
            "$defs": { "Server": { "properties": { "host": { "type": "string" } } } },
        });
        check(&manifest, &schema, &[]).map_or_else(|fault| fault.to_string(), |()| "fine".to_owned())
    }

    /// A request with one credential, beside what `spec` says of secrets: a name, and whether it is required.
    fn told_of_slots(place: &str, slots: &[(&str, bool)]) -> String {
        let manifest: Manifest = serde_json::from_value(json!({
            "contract": "0.3", "name": "pages", "version": "0.1.0", "world": "extractor",
            "capabilities": [{
                "id": "token", "kind": "credential", "target": "https://x", "place": place, "required": true,
                "reason": "is known there",
            }],
        }))
        .unwrap();
        let schema = json!({ "type": "object", "properties": { "user": { "type": "string" } } });
        let slot = |(name, required): &(&str, bool)| SecretSlot {
            name: (*name).to_owned(),
            description: String::new(),
            required: *required,
        };
        let slots: Vec<_> = slots.iter().map(slot).collect();
        check(&manifest, &schema, &slots).map_or_else(|fault| fault.message, |()| "fine".to_owned())
    }

    #[test]
    fn slots_and_the_ways_to_use_them_must_agree() {
        let token = ("token", true);
        for (place, slots, expected) in [
            ("bearer", &[token][..], "fine"),
            ("basic {config.user}", &[token], "fine"),
            ("header x-{config.user}", &[token], "fine"),
            ("basic {config.name}", &[token], "`token` is used with `config.name`"),
            ("cookie", &[token], "`cookie` is no way to use a secret"),
            ("basic", &[token], "`basic` is no way to use a secret"),
            ("bearer", &[], "requests a credential `token` that its `spec` does not name"),
            ("bearer", &[token, ("other", false)], "a secret `other` that it does not request"),
            ("bearer", &[("token", false)], "is optional in its `spec` and required in its request"),
        ] {
            let told = told_of_slots(place, slots);
            assert!(told.contains(expected), "{place} {slots:?}: {told}");
        }
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
