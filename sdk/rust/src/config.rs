//! The pipeline's configuration, as the connector's own type.

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use crate::{Fault, Result};

/// Reads the configuration. A mistake is the user's, and its message names the key.
pub(crate) fn parse<C: DeserializeOwned>(text: &str) -> Result<C> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().to_string();
        // The line and column are those of a document that the user never saw.
        let reason = error.into_inner().to_string();
        let reason = reason.rsplit_once(" at line ").map_or(reason.as_str(), |(reason, _)| reason);
        Fault::user(
            "invalid",
            match path.as_str() {
                "." => format!("configuration: {reason}"),
                key => format!("configuration: `{key}`: {reason}"),
            },
        )
    })
}

/// The JSON Schema of the configuration.
pub(crate) fn schema<C: JsonSchema>() -> String {
    schemars::schema_for!(C).to_value().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only its shape matters")]
    struct Config {
        location: String,
        page: Option<Page>,
    }

    #[derive(Debug, serde::Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only its shape matters")]
    struct Page {
        size: u32,
    }

    #[test]
    fn mistakes_name_the_key() {
        for (text, expected) in [
            (r#"{}"#, "configuration: missing field `location`"),
            (
                r#"{"location":"x","locaton":1}"#,
                "configuration: `locaton`: unknown field `locaton`, expected `location` or `page`",
            ),
            (
                r#"{"location":"x","page":{"size":"many"}}"#,
                r#"configuration: `page.size`: invalid type: string "many", expected u32"#,
            ),
        ] {
            let fault = parse::<Config>(text).unwrap_err();
            assert_eq!(fault.message, expected, "{text}");
            assert_eq!((fault.domain, fault.code.as_str()), (crate::FaultDomain::User, "invalid"));
        }
    }

    #[test]
    fn the_schema_is_closed() {
        let schema: serde_json::Value = serde_json::from_str(&schema::<Config>()).unwrap();
        assert_eq!(schema["additionalProperties"], false);
        assert_eq!(schema["required"], serde_json::json!(["location"]));
    }
}
