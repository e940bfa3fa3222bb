//! A connector for tests: opens connections and does with them what its configuration says, or gets the rows
//! of a query from PostgreSQL. It never sees a password.
//!
//! Never: part of anything that is delivered.

mod protocol;
mod script;

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;
use tidegate_sdk::arrow::array::{ArrayRef, RecordBatch, StringArray};
use tidegate_sdk::arrow::schema::{DataType, Field, Schema};
use tidegate_sdk::prelude::*;
use tidegate_sdk::{Connection, TcpOptions};

use protocol::Table;
use script::Step;

/// The only stream: what the query gives, all of it as text.
const STREAM: &str = "query";
/// The slot of the password.
const PASSWORD: &str = "password";

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Config {
    /// `HOST:PORT`.
    endpoint: String,
    #[serde(default)]
    user: String,
    #[serde(default)]
    database: String,
    #[serde(default)]
    query: String,
    #[serde(default)]
    tls: Tls,
    /// In PEM.
    authorities: Option<String>,
    /// What `check` does, one after the other.
    #[serde(default)]
    steps: Vec<Step>,
}

/// How a connection is opened, or encrypted later.
#[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Tls {
    Off,
    Require,
    #[default]
    VerifyFull,
}

impl From<Tls> for tidegate_sdk::Tls {
    fn from(tls: Tls) -> Self {
        match tls {
            Tls::Off => Self::Off,
            Tls::Require => Self::Require,
            Tls::VerifyFull => Self::VerifyFull,
        }
    }
}

#[derive(Default)]
struct Wire;

impl Wire {
    fn connected(cx: &Context<Config>) -> Result<Connection> {
        let Config { endpoint, user, database, tls, authorities, .. } = &cx.config;
        let plain = TcpOptions { tls: tidegate_sdk::Tls::Off, ..TcpOptions::default() };
        let mut connection = cx.tcp().connect(endpoint, &plain)?;
        if !matches!(tls, Tls::Off) {
            protocol::ask_for_tls(&mut connection)?;
            connection.start_tls((*tls).into(), authorities.as_deref())?;
        }
        protocol::startup(&mut connection, user, database)?;
        connection.authenticate(PASSWORD)?;
        protocol::until_ready(&mut connection)?;
        Ok(connection)
    }

    fn table(cx: &Context<Config>) -> Result<Table> {
        let mut connection = Self::connected(cx)?;
        protocol::query(&mut connection, &cx.config.query)
    }
}

fn schema(table: &Table) -> Arc<Schema> {
    let fields = table.columns.iter().map(|name| Field::new(name, DataType::Utf8, true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

impl Extractor for Wire {
    type Config = Config;

    fn check(&self, cx: &Context<Config>) -> Result<()> {
        script::play(cx, &cx.config.steps);
        Ok(())
    }

    fn discover(&self, cx: &Context<Config>) -> Result<Vec<Stream>> {
        Ok(vec![Stream::new(STREAM, schema(&Self::table(cx)?))])
    }

    fn read(&self, cx: &Context<Config>, split: Split, out: &mut Output) -> Result<()> {
        if split.request.stream != STREAM {
            return Err(split.request.unknown_stream());
        }
        let table = Self::table(cx)?;
        let column = |index: usize| -> ArrayRef {
            Arc::new(table.rows.iter().map(|row| row.get(index).cloned().flatten()).collect::<StringArray>())
        };
        let columns = (0..table.columns.len()).map(column).collect();
        out.write(&RecordBatch::try_new(schema(&table), columns)?)
    }
}

export_extractor!(Wire, {
    name: "wire",
    title: "Wire",
    capabilities: [
        { id: "server", kind: tcp, target: "{config.endpoint}", reason: "speaks to the server you name" },
        {
            id: "password",
            kind: credential,
            target: "{config.endpoint}",
            place: "postgres {config.user}",
            required: false,
            reason: "signs in as the user you name",
        },
        {
            id: "certificate",
            kind: credential,
            target: "{config.endpoint}",
            place: "tls-client",
            required: false,
            reason: "shows the server who it is",
        },
    ],
});
