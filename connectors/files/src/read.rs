//! One split: its pieces in order, batch by batch.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tidegate_sdk::{Changes, Context, Output, Result, Split};

use crate::config::Config;
use crate::lane::{Part, Reader};
use crate::listing;
use crate::schema::{self, Column};

/// What a split's bytes say.
#[derive(Debug, Serialize, Deserialize)]
pub struct SplitData {
    /// The stream's, so that every split has the same.
    pub columns: Vec<Column>,
    pub pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    pub path: String,
    /// The file's, in bytes.
    pub size: u64,
    /// First and one past the last byte, when it is not the whole file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<(u64, u64)>,
    /// Parquet: row groups, all when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub row_groups: Vec<u32>,
}

/// Where to go on.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Checkpoint {
    piece: usize,
    /// Plain text: a byte of the file. Otherwise what the decoder calls a position, counted from the piece's
    /// beginning.
    position: u64,
}

pub fn read(cx: &Context<Config>, split: &Split, out: &mut Output) -> Result<()> {
    let data: SplitData = split.data()?;
    let from: Checkpoint = split.from()?.unwrap_or_default();
    let schema = Arc::new(schema::schema(&data.columns)?);
    out.open(&schema, &Changes::Append)?;
    for (index, piece) in data.pieces.iter().enumerate().skip(from.piece) {
        let file = listing::known(&cx.config, &piece.path, piece.size)?;
        let reached = if index == from.piece { from.position } else { 0 };
        let mut part = Part { file: &file, range: piece.range, row_groups: &piece.row_groups };
        // What is before this position in what is opened was read by an earlier attempt.
        let mut skip = reached;
        if file.is_plain_text() && reached > 0 {
            let end = piece.range.map_or(piece.size, |(_, end)| end);
            if reached >= end {
                continue;
            }
            part.range = Some((reached, end));
            skip = 0;
        }
        let opened = part.range.map_or(0, |(start, _)| start);
        let mut reader = Reader::open(cx, &part, &schema)?;
        while let Some((batch, position)) = reader.next()? {
            if position <= skip {
                continue;
            }
            batch.write(out)?;
            out.checkpoint(&Checkpoint { piece: index, position: opened + position })?;
        }
        if index + 1 < data.pieces.len() {
            out.checkpoint(&Checkpoint { piece: index + 1, position: 0 })?;
        }
    }
    Ok(())
}
