//! A connector for tests: a valid component whose request does not agree with what it says of itself. It asks
//! for `config.adress`, and its configuration has an `address`.
//!
//! Never: part of anything that is delivered.

use schemars::JsonSchema;
use serde::Deserialize;
use tidegate_sdk::prelude::*;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Config {
    /// Where the data is.
    address: Option<String>,
}

#[derive(Default)]
struct Contradiction;

impl Extractor for Contradiction {
    type Config = Config;

    fn discover(&self, cx: &Context<Config>) -> Result<Vec<Stream>> {
        let address = cx.config.address.as_deref().unwrap_or(".");
        cx.files().list(address, None)?;
        Ok(Vec::new())
    }

    fn read(&self, _: &Context<Config>, split: Split, _: &mut Output) -> Result<()> {
        Err(split.request.unknown_stream())
    }
}

export_extractor!(Contradiction, {
    name: "contradiction",
    capabilities: [
        { id: "source", kind: files, target: "{config.adress}", reason: "reads what lies there" },
    ],
});
