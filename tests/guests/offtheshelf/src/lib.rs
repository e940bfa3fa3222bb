//! A connector for tests that asks the web through a client of the registry, by `wasi:http`: nothing in that client
//! knows of Tidegate.
//!
//! Never: part of anything that is delivered.

use schemars::JsonSchema;
use serde::Deserialize;
use tidegate_sdk::Level;
use tidegate_sdk::prelude::*;
use wasi_http_client::{Client, Method};

/// What to ask.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Config {
    /// Some address that may be called.
    #[expect(dead_code, reason = "the request names it, for whoever grants")]
    url: String,
    /// What `check` calls, one after the other.
    calls: Vec<Call>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Call {
    url: String,
    #[serde(default)]
    headers: Vec<(String, String)>,
    /// What is posted; without one it is a GET.
    body: Option<String>,
}

impl Call {
    /// Status, headers and body as the client gives them, or its words.
    fn make(&self) -> String {
        let method = if self.body.is_some() { Method::Post } else { Method::Get };
        let mut request = Client::new().request(method, &self.url);
        for (name, value) in &self.headers {
            request = request.header(name.as_str(), value.as_bytes());
        }
        if let Some(body) = &self.body {
            request = request.body(body.as_bytes());
        }
        let answer = match request.send() {
            Ok(answer) => answer,
            Err(error) => return format!("{error:?}"),
        };
        let status = answer.status();
        let mut headers: Vec<_> =
            answer.headers().iter().map(|(name, value)| format!("{name}={value}")).collect();
        headers.sort();
        match answer.body() {
            Ok(body) => format!("{status} {}; {}", headers.join(" "), String::from_utf8_lossy(&body)),
            Err(error) => format!("{error:?}"),
        }
    }
}

#[derive(Default)]
struct OffTheShelf;

impl Extractor for OffTheShelf {
    type Config = Config;

    fn check(&self, cx: &Context<Config>) -> Result<()> {
        for call in &cx.config.calls {
            cx.log(Level::Info, call.make());
        }
        Ok(())
    }

    fn discover(&self, _: &Context<Config>) -> Result<Vec<Stream>> {
        Ok(Vec::new())
    }

    fn read(&self, _: &Context<Config>, split: Split, _: &mut Output) -> Result<()> {
        Err(split.request.unknown_stream())
    }
}

export_extractor!(OffTheShelf, {
    name: "offtheshelf",
    capabilities: [
        { id: "call", kind: http, target: "{config.url}", reason: "tries what comes back" },
        {
            id: "token",
            kind: credential,
            target: "{config.url}",
            place: "bearer",
            required: false,
            reason: "to be known there",
        },
    ],
});
