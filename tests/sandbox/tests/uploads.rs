//! Files that somebody hands over and that are not what they should be: thousands of them. Each is refused with a
//! reason, or was good after all; nothing crashes, and what it takes is told.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "for tests")]

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::{Duration, Instant};

use tidegate_model::Code;
use tidegate_sandbox::{LARGEST_COMPONENT, inspect};
use tidegate_sandbox_tests::{CONTRADICTION, OFFTHESHELF};

/// Files of each kind.
const EACH: u64 = 1_500;

/// Numbers that come again from the same beginning (Steele, Lea and Flood's SplitMix64).
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end.max(1) as u64).unwrap()
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.next().to_le_bytes()[0]).collect()
    }

    /// A part of something, not longer than that.
    fn part(&mut self, of: usize, longest: usize) -> std::ops::Range<usize> {
        let start = self.below(of);
        start..(start + 1 + self.below(longest)).min(of)
    }
}

/// How a component begins, and what its sections are called.
const HEADER: &[u8] = b"\0asm\x0d\0\x01\0";
const CUSTOM: u8 = 0;
const CORE_MODULE: u8 = 1;
const COMPONENT: u8 = 4;

fn section(id: u8, body: &[u8]) -> Vec<u8> {
    [&[id], &leb(body.len())[..], body].concat()
}

/// A number as WebAssembly writes it (LEB128).
fn leb(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = (number & 0x7f) as u8;
        number >>= 7;
        bytes.push(if number > 0 { low | 0x80 } else { low });
        if number == 0 {
            return bytes;
        }
    }
}

type Make = fn(&mut Dice, &[u8], &[u8]) -> Vec<u8>;

/// What can be done to a file, and what a generator of WebAssembly comes up with.
const KINDS: [(&str, Make); 8] = [
    ("bits flipped", |dice, good, _| {
        let mut bytes = good.to_vec();
        for _ in 0..=dice.below(8) {
            let at = dice.below(bytes.len());
            bytes[at] ^= 1 << dice.below(8);
        }
        bytes
    }),
    // Where sections begin and say how much there is.
    ("bits flipped at the beginning", |dice, good, _| {
        let mut bytes = good.to_vec();
        for _ in 0..=dice.below(8) {
            let at = dice.below(4096);
            bytes[at] ^= 1 << dice.below(8);
        }
        bytes
    }),
    ("numbers made huge", |dice, good, _| {
        let mut bytes = good.to_vec();
        let at = dice.below(bytes.len() - 5);
        bytes[at..at + 5].copy_from_slice(&[0xff, 0xff, 0xff, 0xff, 0x0f]);
        bytes
    }),
    ("cut off", |dice, good, _| good[..dice.below(good.len())].to_vec()),
    ("a part taken out", |dice, good, _| {
        let mut bytes = good.to_vec();
        bytes.drain(dice.part(good.len(), 4096));
        bytes
    }),
    ("a part of another put in", |dice, good, other| {
        let mut bytes = good.to_vec();
        let (part, at) = (dice.part(other.len(), 65_536), dice.below(good.len()));
        bytes.splice(at..at, other[part].iter().copied());
        bytes
    }),
    ("sections of nothing", |dice, _, _| {
        let mut bytes = HEADER.to_vec();
        for _ in 0..=dice.below(6) {
            let (id, length) = (dice.below(14), dice.below(300));
            bytes.extend(section(u8::try_from(id).unwrap(), &dice.bytes(length)));
        }
        bytes
    }),
    ("modules that a generator made up", |dice, _, _| {
        let seed = dice.bytes(2048);
        let mut seed = arbitrary::Unstructured::new(&seed);
        let module = wasm_smith::Module::new(wasm_smith::Config::default(), &mut seed);
        let module = module.map(|module| module.to_bytes()).unwrap_or_default();
        // Alone, and as the core of a component.
        if dice.below(2) == 0 { module } else { [HEADER, &section(CORE_MODULE, &module)].concat() }
    }),
];

/// What came of files of one kind.
#[derive(Default)]
struct Tally {
    tried: u64,
    by_code: BTreeMap<String, u64>,
    longest: Duration,
    words: usize,
}

impl Tally {
    fn add(&mut self, bytes: &[u8]) {
        let began = Instant::now();
        let told = match inspect(bytes) {
            Ok(_) => "good after all".to_owned(),
            Err(fault) => {
                // Nobody is to blame but whoever made the file: never us, never the machine.
                let known =
                    [Code::NotAComponent, Code::BadRequest, Code::ForbiddenImport, Code::WrongContract];
                assert!(known.contains(&fault.code), "{fault}");
                assert!(!fault.message.is_empty() && fault.message.len() < 4096, "{}", fault.message.len());
                assert!(!fault.message.contains('\u{1b}'), "{fault}");
                self.words = self.words.max(fault.message.len());
                fault.code.to_string()
            }
        };
        self.longest = self.longest.max(began.elapsed());
        self.tried += 1;
        *self.by_code.entry(told).or_default() += 1;
    }
}

/// The most memory that this process ever had, in MiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()).unwrap_or_default() >> 10
}

#[test]
fn thousands_of_broken_files_are_refused_with_a_reason() {
    let good = std::fs::read(CONTRADICTION).unwrap();
    let other = std::fs::read(OFFTHESHELF).unwrap();
    let before = peak();
    let tallies: Vec<(&str, Tally)> = std::thread::scope(|scope| {
        let work = KINDS.iter().enumerate().map(|(number, (kind, make))| {
            let (good, other) = (&good, &other);
            scope.spawn(move || {
                let mut dice = Dice(number as u64);
                let mut tally = Tally::default();
                (0..EACH).for_each(|_| tally.add(&make(&mut dice, good, other)));
                (*kind, tally)
            })
        });
        let work: Vec<_> = work.collect();
        work.into_iter().map(|thread| thread.join().expect("a file brought the host down")).collect()
    });
    let mut told = String::new();
    for (kind, tally) in &tallies {
        let _ = writeln!(
            told,
            "{kind:34}{:6} files, longest {:4} ms, longest reason {:4} bytes: {:?}",
            tally.tried,
            tally.longest.as_millis(),
            tally.words,
            tally.by_code
        );
    }
    let (tried, peak) = (tallies.iter().map(|(_, tally)| tally.tried).sum::<u64>(), peak());
    println!("{told}{tried} files in all; memory {before} MiB before, {peak} MiB at most");
    assert!(tried >= 10_000);
    // Several at once, each with a copy of its file.
    assert!(peak - before < 512, "{before} MiB before, {peak} MiB at most");
    // A good one among them shows that not everything is refused; a bad one, that not everything is let in.
    assert!(inspect(&good).is_ok());
}

/// A component in a component in a component.
fn nested(levels: usize) -> Vec<u8> {
    (0..levels).fold(HEADER.to_vec(), |inner, _| [HEADER, &section(COMPONENT, &inner)].concat())
}

#[test]
fn what_is_meant_to_be_too_much_is_refused_or_harmless() {
    let named = |name: &[u8], body: &[u8]| {
        [HEADER, &section(CUSTOM, &[&leb(name.len()), name, body].concat())].concat()
    };
    let request = b"tidegate:request";
    // Behind a component that is in order, so that what follows is all there is to look at.
    let good = std::fs::read(CONTRADICTION).unwrap();
    let behind = |sections: &[u8]| [&good, sections].concat();
    let (mut told, mut wrong) = (Vec::new(), 0);
    for (what, bytes, expected) in [
        ("nested a thousand times", behind(&section(COMPONENT, &nested(1000))), None),
        ("nested ninety times", behind(&section(COMPONENT, &nested(90))), None),
        ("a million empty sections", behind(&section(CUSTOM, b"\0").repeat(1_000_000)), None),
        ("a section longer than the file", behind(b"\0\xff\xff\xff\xff\x0f"), Some(Code::NotAComponent)),
        ("a request that is no text", named(request, b"\xff\xfe"), Some(Code::BadRequest)),
        ("a request of a megabyte", named(request, &vec![b' '; 1 << 20]), Some(Code::BadRequest)),
        ("a request nested without end", named(request, &b"[".repeat(60_000)), Some(Code::BadRequest)),
        (
            "a name that paints",
            named(request, br#"{"contract":"0.3","name":"\u001b[2J"}"#),
            Some(Code::BadRequest),
        ),
        (
            "a name that climbs",
            named(request, br#"{"contract":"0.3","name":"../../etc"}"#),
            Some(Code::BadRequest),
        ),
        ("a section with a name of 64 KiB", behind(&named(&[b'x'; 65_536], b"")[HEADER.len()..]), None),
        (
            "two requests",
            [named(request, b"{}"), section(CUSTOM, b"\x10tidegate:request{}")].concat(),
            Some(Code::BadRequest),
        ),
        (
            "larger than any",
            vec![0; usize::try_from(LARGEST_COMPONENT).unwrap() + 1],
            Some(Code::NotAComponent),
        ),
    ] {
        let code = match inspect(&bytes) {
            Ok(_) => None,
            Err(fault) => {
                assert!(fault.message.len() < 4096, "{what}: {} bytes", fault.message.len());
                assert!(!fault.to_string().contains('\u{1b}'), "{what}: {fault:?}");
                told.push(format!("{what}: {fault}"));
                Some(fault.code)
            }
        };
        wrong += u32::from(code != expected);
    }
    assert_eq!(wrong, 0, "{told:#?}");
}
