//! Where in 64 bytes the bytes are that give a CSV file its structure.

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
    pub fn at(text: &[u8], at: usize, delimiter: u8) -> Self {
        let rest = &text[at..];
        if let Some(block) = rest.first_chunk::<BLOCK>() {
            return Self::of(block, delimiter);
        }
        let mut block = [0; BLOCK];
        block[..rest.len()].copy_from_slice(rest);
        let masks = Self::of(&block, delimiter);
        // The padding is zero, and so may be the delimiter.
        Self { delimiter: masks.delimiter & ((1 << rest.len()) - 1), ..masks }
    }

    fn of(block: &[u8; BLOCK], delimiter: u8) -> Self {
        Self { delimiter: equal(block, delimiter), newline: equal(block, b'\n'), quote: equal(block, b'"') }
    }

    pub fn any(self) -> u64 {
        self.delimiter | self.newline | self.quote
    }
}

/// The comparison becomes vector instructions. A multiplication then gathers one bit from each of eight
/// bytes: byte `i` keeps bit `i` only, so the top byte of the product, their sum, is their union.
#[inline]
fn equal(block: &[u8; BLOCK], byte: u8) -> u64 {
    let hits = block.map(|b| if b == byte { 0xFF_u8 } else { 0 });
    let mut mask = 0;
    for (index, lane) in hits.as_chunks::<8>().0.iter().enumerate() {
        let kept = u64::from_le_bytes(*lane) & 0x8040_2010_0804_0201;
        mask |= (kept.wrapping_mul(0x0101_0101_0101_0101) >> 56) << (8 * index);
    }
    mask
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
