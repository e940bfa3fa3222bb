//! Files below a granted location: CSV, NDJSON, JSON and Parquet, also compressed.
//!
//! Every file belongs to a stream (`listing`), a stream has one schema found from samples of its files
//! (`describe`), and a generation of it is cut into splits by file, by byte range and by row group (`plan`).
//! The bytes are decoded by the host's kernels, or on request in the component itself (`lane`).
//!
//! Never: writes, asks for more than its location, or drops a record without setting it aside.

mod config;
mod describe;
mod identity;
mod lane;
mod listing;
mod plan;
mod read;
mod schema;

use tidegate_sdk::prelude::*;

pub use config::Config;

#[derive(Debug, Default)]
pub struct Files;

impl Extractor for Files {
    type Config = Config;

    fn check(&self, cx: &Context<Config>) -> Result<()> {
        listing::streams(cx).map(|_| ())
    }

    fn discover(&self, cx: &Context<Config>) -> Result<Vec<Stream>> {
        describe::all(cx)
    }

    fn plan(&self, cx: &Context<Config>, request: &StreamRequest) -> Result<Plan> {
        plan::plan(cx, request)
    }

    fn reopen(&self, cx: &Context<Config>, request: &StreamRequest, token: &[u8]) -> Result<Reopened> {
        plan::reopen(cx, request, token)
    }

    fn read(&self, cx: &Context<Config>, split: Split, out: &mut Output) -> Result<()> {
        read::read(cx, &split, out)
    }
}

tidegate_sdk::export_extractor!(Files, {
    name: "files",
    title: "Files",
    publisher: "Tidegate",
    capabilities: [
        { id: "source", kind: files, target: "{config.location}", reason: "reads the files you point it at" },
        { id: "kernels", kind: decode, reason: "decodes them natively: the bytes never enter the connector" },
    ],
});
