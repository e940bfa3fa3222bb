//! What every store does. An implementation runs it in its tests.

use std::thread;

use super::limits::{MAX_BATCH, MAX_KEY, MAX_VALUE};
use super::{Store, Table, Write};

const USERS: Table = Table::new("users");
const USER: Table = Table::new("user");

/// Stops with a panic at the first promise of [`Store`] that is not kept. `fresh` makes an empty store.
pub fn store_conformance<S: Store>(fresh: impl Fn() -> S) {
    values(&fresh());
    tables(&fresh());
    order(&fresh());
    swaps(&fresh());
    batches(&fresh());
    limits(&fresh());
    sizes(&fresh());
    counting_together(&fresh());
    whole_batches(&fresh());
}

fn set(table: Table, key: &[u8], value: &[u8]) -> Write {
    Write { table, key: key.to_owned(), value: Some(value.to_owned()) }
}

fn unset(table: Table, key: &[u8]) -> Write {
    Write { table, key: key.to_owned(), value: None }
}

fn values(store: &impl Store) {
    assert_eq!(store.get(USERS, b"ada"), Ok(None), "there is nothing yet");
    assert_eq!(store.put(USERS, b"ada", b"1"), Ok(()));
    assert_eq!(store.put(USERS, b"ada", b"2"), Ok(()));
    assert_eq!(store.get(USERS, b"ada"), Ok(Some(b"2".to_vec())), "the last value counts");
    assert_eq!(store.put(USERS, b"bob", b""), Ok(()));
    assert_eq!(store.get(USERS, b"bob"), Ok(Some(Vec::new())), "an empty value is one");
    assert_eq!(store.remove(USERS, b"ada"), Ok(()));
    assert_eq!(store.remove(USERS, b"ada"), Ok(()), "that it is not there is no error");
    assert_eq!(store.get(USERS, b"ada"), Ok(None));
}

fn tables(store: &impl Store) {
    assert_eq!(store.put(USER, b"s", b"1"), Ok(()));
    assert_eq!(store.put(USERS, b"\0", b"2"), Ok(()));
    assert_eq!(store.get(USERS, b"s"), Ok(None), "tables are apart, also where one's name begins another's");
    assert_eq!(store.scan(USER, b"", None, 9), Ok(vec![(b"s".to_vec(), b"1".to_vec())]));
    assert_eq!(store.scan(USERS, b"", None, 9), Ok(vec![(b"\0".to_vec(), b"2".to_vec())]));
}

fn order(store: &impl Store) {
    let keys: [&[u8]; 9] =
        [b"\0", b"\0\0", b"a", b"a\0", b"a\0\xff", b"aa", b"b", b"\xff", b"\xff\xff\xff\xff\xff"];
    for key in keys.iter().rev() {
        assert_eq!(store.put(USERS, key, key), Ok(()));
    }
    let scan = |prefix: &[u8], after: Option<&[u8]>, most| {
        store.scan(USERS, prefix, after, most).map(|found| {
            assert!(found.iter().all(|(key, value)| key == value), "each key comes with its own value");
            found.into_iter().map(|(key, _)| key).collect::<Vec<_>>()
        })
    };
    let expect = |wanted: &[&[u8]]| Ok(wanted.iter().map(|key| key.to_vec()).collect::<Vec<_>>());
    assert_eq!(scan(b"", None, 100), expect(&keys), "in order of their bytes");
    assert_eq!(scan(b"", None, 3), expect(&keys[..3]));
    assert_eq!(scan(b"", None, 0), expect(&[]));
    assert_eq!(scan(b"a", None, 100), expect(&keys[2..6]));
    assert_eq!(scan(b"a", Some(b"a\0"), 100), expect(&keys[4..6]), "after a key, without it");
    assert_eq!(scan(b"a", Some(b"a\0\0"), 100), expect(&keys[4..6]), "after a key that is not there");
    assert_eq!(scan(b"a", Some(b"\0"), 100), expect(&keys[2..6]), "after one before all of them");
    assert_eq!(scan(b"a", Some(b"b"), 100), expect(&[]), "after one behind all of them");
    assert_eq!(scan(b"\xff", None, 100), expect(&keys[7..]), "the last prefix there is");
    assert_eq!(scan(b"c", None, 100), expect(&[]));
    let mut pages = Vec::new();
    while let Ok(page) = scan(b"", pages.last().map(Vec::as_slice), 2)
        && !page.is_empty()
    {
        pages.extend(page);
    }
    assert_eq!(Ok(pages), expect(&keys), "page by page it is the same");
}

fn swaps(store: &impl Store) {
    let swap =
        |expected: Option<&[u8]>, new: Option<&[u8]>| store.compare_and_swap(USERS, b"k", expected, new);
    type Bytes = Option<&'static [u8]>;
    let table: [(Bytes, Bytes, bool, Bytes); 10] = [
        (Some(b"1"), Some(b"2"), false, None),
        (None, None, true, None),
        (None, Some(b"1"), true, Some(b"1")),
        (None, Some(b"2"), false, Some(b"1")),
        (Some(b"2"), Some(b"3"), false, Some(b"1")),
        (Some(b"1"), Some(b"1"), true, Some(b"1")),
        (Some(b"1"), Some(b""), true, Some(b"")),
        (None, Some(b"2"), false, Some(b"")),
        (Some(b"1"), None, false, Some(b"")),
        (Some(b""), None, true, None),
    ];
    for (expected, new, done, then) in table {
        assert_eq!(swap(expected, new), Ok(done), "{expected:?} to {new:?}");
        assert_eq!(store.get(USERS, b"k"), Ok(then.map(<[u8]>::to_vec)), "{expected:?} to {new:?}");
    }
}

fn batches(store: &impl Store) {
    assert_eq!(store.batch(&[]), Ok(()));
    let writes = [
        set(USERS, b"a", b"1"),
        set(USER, b"a", b"2"),
        unset(USERS, b"none"),
        set(USERS, b"b", b"3"),
        unset(USERS, b"b"),
        unset(USERS, b"c"),
        set(USERS, b"c", b"4"),
        set(USERS, b"c", b"5"),
    ];
    assert_eq!(store.batch(&writes), Ok(()));
    let found = store.scan(USERS, b"", None, 9);
    let expected = vec![(b"a".to_vec(), b"1".to_vec()), (b"c".to_vec(), b"5".to_vec())];
    assert_eq!(found, Ok(expected), "of several writes of one key the last one counts");
    assert_eq!(store.get(USER, b"a"), Ok(Some(b"2".to_vec())), "over tables");
}

fn limits(store: &impl Store) {
    let long = vec![b'k'; MAX_KEY + 1];
    let large = vec![0; MAX_VALUE + 1];
    let many: Vec<Write> =
        (0..=MAX_BATCH / MAX_VALUE).map(|number| set(USERS, &[number as u8], &large[1..])).collect();
    for (what, writes) in [
        ("an empty key", vec![set(USERS, b"fine", b"1"), set(USERS, b"", b"1")]),
        ("a long key", vec![set(USERS, b"fine", b"1"), set(USERS, &long, b"1")]),
        ("a long key to remove", vec![set(USERS, b"fine", b"1"), unset(USERS, &long)]),
        ("a large value", vec![set(USERS, b"fine", b"1"), set(USERS, b"large", &large)]),
        ("a large batch", many),
    ] {
        assert!(store.batch(&writes).is_err(), "{what} is refused");
        assert_eq!(
            store.scan(USERS, b"", None, 9),
            Ok(Vec::new()),
            "{what}: nothing of the batch is written"
        );
    }
    assert!(store.compare_and_swap(USERS, &long, None, Some(b"1")).is_err());
    assert_eq!(store.put(USERS, &long[1..], &large[1..]), Ok(()), "the longest key and the largest value");
    assert_eq!(store.get(USERS, &long[1..]), Ok(Some(large[1..].to_vec())));
}

/// Values of many sizes follow one another at the same keys, and leave nothing of the one before.
fn sizes(store: &impl Store) {
    const SIZES: [usize; 8] = [100_000, 1, 4095, 4096, 4097, 0, 300_000, 8192];
    for turn in 0..SIZES.len() {
        for (place, size) in SIZES.iter().cycle().skip(turn).take(SIZES.len()).enumerate() {
            // Keys that have much in common, and one of which begins the other.
            let key = vec![b'k'; 1 + place * 100];
            let value = vec![turn as u8; *size];
            assert_eq!(store.put(USERS, &key, &value), Ok(()));
            assert_eq!(store.get(USERS, &key), Ok(Some(value)), "{size} bytes");
        }
        let found = store
            .scan(USERS, b"k", None, 99)
            .map(|found| found.iter().map(|(key, value)| (key.len(), value.len())).collect::<Vec<_>>());
        let expected: Vec<(usize, usize)> =
            (0..SIZES.len()).map(|place| (1 + place * 100, SIZES[(turn + place) % SIZES.len()])).collect();
        assert_eq!(found, Ok(expected));
    }
}

fn counting_together(store: &impl Store) {
    const EACH: u64 = 25;
    let number =
        |bytes: Option<Vec<u8>>| bytes.and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_le_bytes);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut done = 0;
                while done < EACH {
                    let Ok(now) = store.get(USERS, b"count") else { break };
                    let next = (number(now.clone()) + 1).to_le_bytes();
                    if store.compare_and_swap(USERS, b"count", now.as_deref(), Some(&next)) == Ok(true) {
                        done += 1;
                    }
                }
            });
        }
    });
    assert_eq!(store.get(USERS, b"count").map(number), Ok(4 * EACH), "no two swaps found the same value");
}

fn whole_batches(store: &impl Store) {
    let write = |round: u8| -> Vec<Write> { (0..20).map(|key| set(USERS, &[key], &[round])).collect() };
    assert_eq!(store.batch(&write(0)), Ok(()));
    thread::scope(|scope| {
        let writer = scope.spawn(|| (1..30).all(|round| store.batch(&write(round)).is_ok()));
        while !writer.is_finished() {
            let rounds = store.scan(USERS, b"", None, 99).map(|found| {
                let mut rounds: Vec<_> = found.into_iter().map(|(_, value)| value).collect();
                rounds.dedup();
                rounds.len()
            });
            assert_eq!(rounds, Ok(1), "nobody sees a part of a batch");
        }
        assert_eq!(writer.join().ok(), Some(true));
    });
}
