//! Looks for texts in all of the component's memory.

use std::hint::black_box;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A text that is looked for, told by its length and a number made from it: so the search does not bring it here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    pub length: usize,
    pub number: u64,
}

/// A polynomial over the bytes, modulo 2 to the 64: it can be moved on by one byte.
const BASE: u64 = 1_099_511_628_211;

impl Wanted {
    pub fn of(text: &[u8]) -> Self {
        Self { length: text.len(), number: text.iter().fold(0, |number, byte| next(number, *byte)) }
    }

    /// How often it stands in these bytes.
    pub fn count_in(&self, size: usize, byte: impl Fn(usize) -> u8) -> usize {
        if self.length == 0 || size < self.length {
            return 0;
        }
        let first = (1..self.length).fold(1_u64, |power, _| power.wrapping_mul(BASE));
        let mut number = (0..self.length).fold(0, |number, at| next(number, byte(at)));
        let mut found = usize::from(number == self.number);
        for at in self.length..size {
            let gone = u64::from(byte(at - self.length)) + 1;
            number = next(number.wrapping_sub(gone.wrapping_mul(first)), byte(at));
            found += usize::from(number == self.number);
        }
        found
    }
}

fn next(number: u64, byte: u8) -> u64 {
    number.wrapping_mul(BASE).wrapping_add(u64::from(byte) + 1)
}

/// Bytes that are made only where a component runs, and stand in no file: memory that has them is a component's.
pub fn marker() -> Vec<u8> {
    let mut state = black_box(0x5EED_0F7D_u64);
    let bytes = (0..64).map(|_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()[0]
    });
    bytes.collect()
}

/// How often each of them stands in the linear memory, its stack and what was freed included.
#[cfg(target_arch = "wasm32")]
#[expect(unsafe_code, reason = "a memory has no other name than its addresses")]
pub(crate) fn in_memory(wanted: &[Wanted]) -> Vec<usize> {
    let size = std::arch::wasm32::memory_size(0) << 16;
    // Address 0 is no place for a pointer; nothing lies there.
    let byte = |at: usize| {
        // SAFETY: below the memory's size, and a byte has no alignment. Volatile, as the stack changes meanwhile.
        unsafe { std::ptr::with_exposed_provenance::<u8>(at + 1).read_volatile() }
    };
    wanted.iter().map(|wanted| wanted.count_in(size - 1, byte)).collect()
}

/// Only a component has a memory of its own.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn in_memory(wanted: &[Wanted]) -> Vec<usize> {
    vec![0; wanted.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_somewhere_is_counted() {
        let text = b"a needle, another needle and a nedle";
        for (wanted, expected) in
            [("needle", 2), ("n", 5), ("nothing", 0), ("a needle, another needle and a nedle", 1)]
        {
            let wanted = Wanted::of(wanted.as_bytes());
            assert_eq!(wanted.count_in(text.len(), |at| text[at]), expected, "{wanted:?}");
        }
    }
}
