//! The contract as Rust types, generated from `wit/`.
//!
//! `output` is linked by hand (see `output.rs`), so that batches are read from the guest's memory in place.

#![allow(missing_docs, clippy::all, reason = "generated from wit/, which documents it")]

wasmtime::component::bindgen!({
    path: "../../wit",
    world: "tidegate:connector/extractor",
    imports: { default: async | trappable },
    exports: { default: async },
    with: {
        "tidegate:connector/bytes.byte-stream": crate::bytes::ByteStream,
        "tidegate:connector/batches.batch-handle": crate::batches::BatchHandle,
        "tidegate:connector/http.pending": crate::http::Pending,
        "tidegate:connector/tcp.connection": crate::tcp::Connection,
        "tidegate:connector/decode.decoder": crate::kernel::Decoder,
        "tidegate:connector/output.writer": crate::output::Writer,
    },
    trappable_error_type: { "tidegate:connector/types.fault" => crate::refusal::Refusal },
    require_store_data_send: true,
});

pub use self::exports::tidegate::connector::extraction;
pub use self::tidegate::connector::{batches, bytes, credentials, decode, files, http, log, tcp, types};
