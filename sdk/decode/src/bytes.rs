//! Many bytes at a time, with the vector instructions that every host and every component has.

/// Bytes looked at in one go.
pub const LANES: usize = 16;

/// One bit for each of 16 bytes: is it this one? The first byte is the lowest bit.
#[inline(always)]
pub fn equal(bytes: &[u8; LANES], byte: u8) -> u32 {
    arch::equal(bytes, byte)
}

/// One bit for each of 16 bytes: is it at most `most` more than `least`?
#[inline(always)]
pub fn within(bytes: &[u8; LANES], least: u8, most: u8) -> u32 {
    arch::within(bytes, least, most)
}

#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod arch {
    use std::arch::wasm32::{u8x16_bitmask, u8x16_eq, u8x16_le, u8x16_splat, u8x16_sub, u64x2, v128};

    #[inline(always)]
    fn load(bytes: &[u8; 16]) -> v128 {
        let word = u128::from_le_bytes(*bytes);
        u64x2(word as u64, (word >> 64) as u64)
    }

    #[inline(always)]
    pub fn equal(bytes: &[u8; 16], byte: u8) -> u32 {
        u32::from(u8x16_bitmask(u8x16_eq(load(bytes), u8x16_splat(byte))))
    }

    #[inline(always)]
    pub fn within(bytes: &[u8; 16], least: u8, most: u8) -> u32 {
        let above = u8x16_sub(load(bytes), u8x16_splat(least));
        u32::from(u8x16_bitmask(u8x16_le(above, u8x16_splat(most))))
    }
}

#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "asks for SSE2, which every x86-64 has; nothing else here is unsafe")]
mod arch {
    use std::arch::x86_64::{
        __m128i, _mm_cmpeq_epi8, _mm_min_epu8, _mm_movemask_epi8, _mm_set_epi64x, _mm_set1_epi8, _mm_sub_epi8,
    };

    #[inline(always)]
    pub fn equal(bytes: &[u8; 16], byte: u8) -> u32 {
        // SAFETY: SSE2 is part of x86-64.
        unsafe { equal_sse2(bytes, byte) }
    }

    #[inline(always)]
    pub fn within(bytes: &[u8; 16], least: u8, most: u8) -> u32 {
        // SAFETY: SSE2 is part of x86-64.
        unsafe { within_sse2(bytes, least, most) }
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    fn load(bytes: &[u8; 16]) -> __m128i {
        let word = u128::from_le_bytes(*bytes);
        _mm_set_epi64x((word >> 64) as i64, word as i64)
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    fn equal_sse2(bytes: &[u8; 16], byte: u8) -> u32 {
        _mm_movemask_epi8(_mm_cmpeq_epi8(load(bytes), _mm_set1_epi8(byte as i8))) as u32
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    fn within_sse2(bytes: &[u8; 16], least: u8, most: u8) -> u32 {
        let above = _mm_sub_epi8(load(bytes), _mm_set1_epi8(least as i8));
        _mm_movemask_epi8(_mm_cmpeq_epi8(_mm_min_epu8(above, _mm_set1_epi8(most as i8)), above)) as u32
    }
}

#[cfg(not(any(all(target_arch = "wasm32", target_feature = "simd128"), target_arch = "x86_64")))]
mod arch {
    /// The comparison becomes vector instructions. A multiplication then gathers one bit from each of eight
    /// bytes: byte `i` keeps bit `i` only, so the top byte of the product, their sum, is their union.
    #[inline(always)]
    fn gathered(hits: [u8; 16]) -> u32 {
        let half = |lane: &[u8; 8]| {
            let kept = u64::from_le_bytes(*lane) & 0x8040_2010_0804_0201;
            (kept.wrapping_mul(0x0101_0101_0101_0101) >> 56) as u32
        };
        hits.as_chunks().0.iter().rev().fold(0, |bits, lane| bits << 8 | half(lane))
    }

    #[inline(always)]
    pub fn equal(bytes: &[u8; 16], byte: u8) -> u32 {
        gathered(bytes.map(|b| if b == byte { 0xFF } else { 0 }))
    }

    #[inline(always)]
    pub fn within(bytes: &[u8; 16], least: u8, most: u8) -> u32 {
        gathered(bytes.map(|b| if b.wrapping_sub(least) <= most { 0xFF } else { 0 }))
    }
}

/// Sixteen bytes of `text` from `at`, with zeros for those that are not there.
#[inline(always)]
pub fn chunk(text: &[u8], at: usize) -> [u8; LANES] {
    match text.get(at..).and_then(|rest| rest.first_chunk()) {
        Some(chunk) => *chunk,
        None => padded(text.get(at..).unwrap_or_default()),
    }
}

/// Eight bytes of `text` from `at`, the first one lowest, with zeros for those that are not there.
#[inline(always)]
pub fn word(text: &[u8], at: usize) -> u64 {
    match text.get(at..).and_then(|rest| rest.first_chunk()) {
        Some(chunk) => u64::from_le_bytes(*chunk),
        None => u64::from_le_bytes(padded(text.get(at..).unwrap_or_default())),
    }
}

#[cold]
fn padded<const N: usize>(rest: &[u8]) -> [u8; N] {
    let mut padded = [0; N];
    padded[..rest.len()].copy_from_slice(rest);
    padded
}

/// Where `byte` is first.
#[inline]
pub fn find(text: &[u8], byte: u8) -> Option<usize> {
    let (chunks, rest) = text.as_chunks::<LANES>();
    for (index, chunk) in chunks.iter().enumerate() {
        let hits = equal(chunk, byte);
        if hits != 0 {
            return Some(index * LANES + hits.trailing_zeros() as usize);
        }
    }
    let at = rest.iter().position(|other| *other == byte)?;
    Some(chunks.len() * LANES + at)
}

/// Appends these bytes of `text`. Short ones go sixteen at a time, the last too many and then cut off: in a
/// component a copy of any length is a call to the host.
#[inline(always)]
pub fn append(to: &mut Vec<u8>, text: &[u8], start: usize, end: usize) {
    const SHORT: usize = 64;
    let length = end - start;
    if length > SHORT || end + LANES > text.len() {
        to.extend_from_slice(&text[start..end]);
        return;
    }
    let wanted = to.len() + length;
    to.reserve(SHORT + LANES);
    let mut at = start;
    while at < end {
        to.extend_from_slice(&chunk(text, at));
        at += LANES;
    }
    to.truncate(wanted);
}

/// Whether all of it is ASCII. Looks at all of it: that takes vectors, where a stop at the first hit does not.
pub fn is_ascii(text: &[u8]) -> bool {
    text.chunks(1 << 12).all(|piece| piece.iter().fold(0, |all, byte| all | byte) < 0x80)
}

/// Counts in bytes first, and so in pieces that a byte can count: with a wider sum, code for Wasm takes two
/// bytes at a time and not sixteen, which was a quarter of all decoding there.
pub fn line_breaks(text: &[u8]) -> u64 {
    let count = |piece: &[u8]| piece.iter().map(|byte| u8::from(*byte == b'\n')).sum::<u8>();
    text.chunks(u8::MAX.into()).map(|piece| u64::from(count(piece))).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_its_bit() {
        for at in 0..LANES {
            let mut bytes = [b'x'; LANES];
            bytes[at] = b'7';
            assert_eq!(equal(&bytes, b'7'), 1 << at);
            assert_eq!(within(&bytes, b'0', 9), 1 << at);
        }
        assert_eq!(within(&[b'/'; LANES], b'0', 9), 0);
        assert_eq!(within(&[b':'; LANES], b'0', 9), 0);
        assert_eq!(within(&[0xFF; LANES], b'0', 9), 0);
    }

    #[test]
    fn bytes_are_found_and_appended_wherever_they_are() {
        for length in 0..100 {
            let mut text = vec![b'.'; length];
            assert_eq!(find(&text, b'x'), None);
            for at in 0..length {
                text[at] = b'x';
                assert_eq!(find(&text, b'x'), Some(at));
                let mut to = b"before".to_vec();
                append(&mut to, &text, at, length);
                assert_eq!(to, [b"before", &text[at..]].concat());
                append(&mut to, &text, 0, at);
                assert_eq!(to[6 + length - at..], text[..at]);
                text[at] = b'.';
            }
        }
    }

    #[test]
    fn what_is_not_there_is_zero() {
        assert_eq!(word(b"ab", 1), u64::from(b'b'));
        assert_eq!(word(b"ab", 7), 0);
        assert_eq!(chunk(b"", 0), [0; LANES]);
        assert_eq!(chunk(b"0123456789abcdefg", 1), *b"123456789abcdefg");
    }

    #[test]
    fn one_letter_is_enough_not_to_be_ascii() {
        let mut text = vec![b'a'; 10_000];
        assert!(is_ascii(&text));
        text[9_999] = 0x80;
        assert!(!is_ascii(&text));
    }
}
