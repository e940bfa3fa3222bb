//! How entries lie in the database's one ordered map.
//!
//! The first byte of a key says what it is: the tally, an entry, or a piece of an entry's value. Values are cut
//! into pieces because sled writes what is larger than an eighth of a megabyte to files of its own, which it
//! does not bring to the disk.

use sha2::{Digest, Sha256};

pub(super) const TALLY: &[u8] = &[0];
const ENTRY: u8 = 1;
const PIECE: u8 = 2;

/// Bytes of a value in one key. Sixteen keys lie together in what sled writes as one.
const MAX_PIECE: usize = 4096;

const INLINE: u8 = 0;
const PIECES: u8 = 1;

/// `<table> 0 <key>`, behind the byte that says what it is.
pub(super) fn entry_key(table: &str, key: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(2 + table.len() + key.len());
    bytes.push(ENTRY);
    bytes.extend_from_slice(table.as_bytes());
    bytes.push(0);
    bytes.extend_from_slice(key);
    bytes
}

/// Below which all entries lie.
pub(super) const ENTRIES: &[u8] = &[ENTRY];

/// The table's name and the key in it.
pub(super) fn split(entry_key: &[u8]) -> Option<(&str, &[u8])> {
    let rest = entry_key.strip_prefix(ENTRIES)?;
    let end = rest.iter().position(|byte| *byte == 0)?;
    Some((std::str::from_utf8(&rest[..end]).ok()?, &rest[end + 1..]))
}

/// Where a piece of an entry's value lies. The number has always four bytes, so no two keys' pieces meet.
pub(super) fn piece_key(entry_key: &[u8], number: u32) -> Vec<u8> {
    let mut bytes = entry_key.to_owned();
    bytes[0] = PIECE;
    bytes.extend_from_slice(&number.to_be_bytes());
    bytes
}

/// What lies at an entry's key.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Head<'a> {
    Inline(&'a [u8]),
    /// The value has so many bytes.
    Pieces(u32),
}

impl<'a> Head<'a> {
    pub(super) fn of(bytes: &'a [u8]) -> Option<Self> {
        match bytes.split_first()? {
            (&INLINE, value) => Some(Self::Inline(value)),
            (&PIECES, length) => Some(Self::Pieces(u32::from_le_bytes(length.try_into().ok()?))),
            _ => None,
        }
    }

    /// How many pieces there are.
    pub(super) fn pieces(&self) -> u32 {
        match self {
            Self::Inline(_) => 0,
            Self::Pieces(length) => length.div_ceil(MAX_PIECE as u32),
        }
    }
}

/// What is to lie at an entry's key, and at its pieces' keys.
pub(super) fn cut(value: &[u8]) -> (Vec<u8>, impl Iterator<Item = &[u8]>) {
    let mut head = Vec::with_capacity(1 + value.len().min(MAX_PIECE));
    let mut pieces: &[u8] = &[];
    if value.len() <= MAX_PIECE {
        head.push(INLINE);
        head.extend_from_slice(value);
    } else {
        head.push(PIECES);
        // Values are far below four gigabytes.
        head.extend_from_slice(&u32::try_from(value.len()).unwrap_or(u32::MAX).to_le_bytes());
        pieces = value;
    }
    (head, pieces.chunks(MAX_PIECE))
}

/// What a database says of itself, so that one that lost something can be told from one that did not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Batches that were written.
    pub(super) writes: u64,
    pub(super) entries: u64,
    /// The sum of all entries' hashes, lane by lane: the same in whatever order they came.
    sum: [u64; 4],
}

impl Tally {
    pub(super) fn add(&mut self, entry_key: &[u8], value: &[u8]) {
        self.entries = self.entries.wrapping_add(1);
        self.mix(entry_key, value, u64::wrapping_add);
    }

    pub(super) fn take(&mut self, entry_key: &[u8], value: &[u8]) {
        self.entries = self.entries.wrapping_sub(1);
        self.mix(entry_key, value, u64::wrapping_sub);
    }

    /// Whether both tell of the same entries.
    pub(super) fn agrees(&self, other: &Self) -> bool {
        (self.entries, self.sum) == (other.entries, other.sum)
    }

    fn mix(&mut self, entry_key: &[u8], value: &[u8], with: fn(u64, u64) -> u64) {
        let mut hasher = Sha256::new();
        hasher.update((entry_key.len() as u64).to_le_bytes());
        hasher.update(entry_key);
        hasher.update(value);
        let hash = hasher.finalize();
        for (lane, part) in self.sum.iter_mut().zip(hash.chunks_exact(8)) {
            *lane = with(*lane, word(part));
        }
    }

    pub(super) fn to_bytes(self) -> Vec<u8> {
        let [a, b, c, d] = self.sum;
        [self.writes, self.entries, a, b, c, d].iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    pub(super) fn of(bytes: &[u8]) -> Option<Self> {
        let words: Vec<u64> = bytes.chunks_exact(8).map(word).collect();
        match (bytes.len(), words.as_slice()) {
            (48, &[writes, entries, a, b, c, d]) => Some(Self { writes, entries, sum: [a, b, c, d] }),
            _ => None,
        }
    }
}

fn word(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(std::array::from_fn(|place| bytes[place]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_cut_so_that_they_can_be_put_together() {
        for length in [0, 1, MAX_PIECE, MAX_PIECE + 1, 3 * MAX_PIECE, 3 * MAX_PIECE + 7] {
            let value = vec![7; length];
            let (bytes, pieces) = cut(&value);
            let pieces: Vec<_> = pieces.collect();
            let head = Head::of(&bytes).unwrap();
            assert_eq!(head.pieces() as usize, pieces.len(), "{length}");
            match head {
                Head::Inline(inline) => assert_eq!(inline, value),
                Head::Pieces(told) => assert_eq!((told as usize, pieces.concat()), (length, value)),
            }
        }
        for nonsense in [&[][..], &[2, 0], &[PIECES, 1, 2]] {
            assert_eq!(Head::of(nonsense), None);
        }
    }

    #[test]
    fn a_tally_is_of_what_is_there_however_it_came() {
        let (mut one, mut other) = (Tally::default(), Tally::default());
        one.add(b"a", b"1");
        one.add(b"b", b"2");
        other.add(b"b", b"x");
        other.add(b"a", b"1");
        assert!(!one.agrees(&other));
        other.take(b"b", b"x");
        other.add(b"b", b"2");
        assert!(one.agrees(&other));
        assert_eq!(Tally::of(&one.to_bytes()), Some(one));
        assert_eq!(Tally::of(b"short"), None);
    }
}
