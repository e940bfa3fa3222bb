//! Invariant 9: of the receipts only one unbroken chain per split counts.

use std::collections::{BTreeMap, HashSet};

use uuid::Uuid;

use crate::document::{Head, Receipt};

/// All receipts of a generation that are known, by name.
pub(crate) type Receipts = BTreeMap<String, Receipt>;

/// By split, the names of its chain after the committed head (none: from the split's beginning), in order.
/// Splits that have nothing to take are left out.
///
/// An attempt begins at a named receipt, so receipts form a tree. Its leaves are weighed, and the way back
/// from the best one to the head is the chain: what hangs behind a hole has no way back and does not count.
/// Better is the one of `attempt` (its stagers are alive), then the one that ends the split, then the longer
/// way.
pub(crate) fn chains(
    receipts: &Receipts,
    heads: &BTreeMap<usize, Head>,
    attempt: Uuid,
) -> BTreeMap<usize, Vec<String>> {
    let followed: HashSet<&str> =
        receipts.values().filter_map(|receipt| receipt.follows.as_deref()).collect();
    let mut best: BTreeMap<usize, (Weight, Vec<&str>)> = BTreeMap::new();
    for (name, receipt) in receipts.iter().filter(|(name, _)| !followed.contains(name.as_str())) {
        let head = heads.get(&receipt.split).map(|head| head.receipt.as_str());
        let Some(way) = way_back(receipts, name, head) else { continue };
        let weight = (receipt.attempt == attempt, receipt.end, way.len());
        match best.get(&receipt.split) {
            Some((other, _)) if *other > weight => {}
            _ => {
                best.insert(receipt.split, (weight, way));
            }
        }
    }
    let in_order = |way: Vec<&str>| way.into_iter().rev().map(str::to_owned).collect();
    best.into_iter().map(|(split, (_, way))| (split, in_order(way))).collect()
}

/// Is it ours, does it end the split, how long is it.
type Weight = (bool, bool, usize);

/// From a receipt back to the one that follows `head`. None: it does not hang on the head.
fn way_back<'a>(receipts: &'a Receipts, from: &'a str, head: Option<&str>) -> Option<Vec<&'a str>> {
    let mut way = Vec::new();
    let mut next = Some(from);
    while next != head {
        let (name, receipt) = receipts.get_key_value(next?)?;
        way.push(name.as_str());
        // A ring can only be forged, and must not hold us.
        if way.len() > receipts.len() {
            return None;
        }
        next = receipt.follows.as_deref();
    }
    (!way.is_empty()).then_some(way)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: Uuid = Uuid::from_u128(1);
    const THEIRS: Uuid = Uuid::from_u128(2);

    fn receipts(list: &[(&str, Option<&str>, Uuid, bool)]) -> Receipts {
        let receipt = |follows: Option<&str>, attempt, end| Receipt {
            format: 2,
            generation: Uuid::nil(),
            split: 0,
            attempt,
            follows: follows.map(str::to_owned),
            checkpoint: None,
            end,
            file: None,
            rejects: None,
            skipped: 0,
            recognised: 0,
            cursor: None,
            seen: None,
        };
        list.iter()
            .map(|(name, follows, attempt, end)| ((*name).to_owned(), receipt(*follows, *attempt, *end)))
            .collect()
    }

    #[test]
    fn one_unbroken_chain_is_taken() {
        let (a, b, c) = (Some("a"), Some("b"), Some("c"));
        for (story, list, at, expected) in [
            ("nothing staged", vec![], None, ""),
            ("from the beginning", vec![("a", None, OURS, false), ("b", a, OURS, true)], None, "a b"),
            ("after the head", vec![("a", None, OURS, false), ("b", a, OURS, true)], a, "b"),
            ("all committed", vec![("a", None, OURS, false)], a, ""),
            ("a hole voids what follows", vec![("a", None, OURS, false), ("c", b, OURS, true)], None, "a"),
            ("only a hole", vec![("c", b, OURS, true)], None, ""),
            (
                "an old attempt that woke up does not win over ours",
                vec![
                    ("a", None, THEIRS, false),
                    ("b", a, THEIRS, false),
                    ("c", b, THEIRS, false),
                    ("d", a, OURS, false),
                ],
                None,
                "a d",
            ),
            (
                "of two old attempts the one that ended",
                vec![("a", None, THEIRS, true), ("b", None, THEIRS, false), ("c", b, THEIRS, false)],
                None,
                "a",
            ),
            ("another head's receipts", vec![("a", c, OURS, true)], Some("x"), ""),
            ("a ring", vec![("a", b, OURS, true), ("b", a, OURS, true)], None, ""),
        ] {
            let head = |receipt: &str| Head { receipt: receipt.into(), end: false, checkpoint: None };
            let heads = at.into_iter().map(|receipt| (0, head(receipt))).collect();
            let chains = chains(&receipts(&list), &heads, OURS);
            assert_eq!(chains.get(&0).map(|chain| chain.join(" ")).unwrap_or_default(), expected, "{story}");
        }
    }
}
