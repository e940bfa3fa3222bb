//! Where in 64 bytes the bytes are that give a CSV file its structure.

use crate::bytes::{LANES, equal};

/// One bit for each of 64 bytes; the first byte is the lowest bit.
#[derive(Clone, Copy)]
pub struct Masks {
    pub delimiter: u64,
    pub newline: u64,
    pub quote: u64,
}

pub const BLOCK: usize = 64;

impl Masks {
    /// Looks at 64 bytes of `text` from `at`, or at those that are left. Bits beyond the end are zero.
    #[inline(always)]
    pub fn at(text: &[u8], at: usize, delimiter: u8) -> Self {
        let rest = &text[at..];
        match rest.first_chunk() {
            Some(block) => Self::of(block, delimiter),
            None => Self::of_rest(rest, delimiter),
        }
    }

    #[cold]
    fn of_rest(rest: &[u8], delimiter: u8) -> Self {
        let mut block = [0; BLOCK];
        block[..rest.len()].copy_from_slice(rest);
        let masks = Self::of(&block, delimiter);
        // The padding is zero, and so may be the delimiter.
        Self { delimiter: masks.delimiter & ((1 << rest.len()) - 1), ..masks }
    }

    #[inline(always)]
    fn of(block: &[u8; BLOCK], delimiter: u8) -> Self {
        let mut masks = Self { delimiter: 0, newline: 0, quote: 0 };
        for (index, lanes) in block.as_chunks::<LANES>().0.iter().enumerate() {
            let place = |bits: u32| u64::from(bits) << (LANES * index);
            masks.delimiter |= place(equal(lanes, delimiter));
            masks.newline |= place(equal(lanes, b'\n'));
            masks.quote |= place(equal(lanes, b'"'));
        }
        masks
    }

    #[inline(always)]
    pub fn any(self) -> u64 {
        self.delimiter | self.newline | self.quote
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_its_bit() {
        for at in 0..BLOCK {
            let mut text = vec![b'x'; 70];
            text[at] = b'\n';
            assert_eq!(Masks::at(&text, 0, b',').newline, 1 << at);
        }
        let short = Masks::at(b"a,\"\n", 0, b',');
        assert_eq!((short.delimiter, short.quote, short.newline), (0b10, 0b100, 0b1000));
        assert_eq!(Masks::at(b"a", 0, 0).any(), 0, "padding is not text");
    }
}
