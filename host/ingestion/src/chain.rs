//! Invariant 9: of the receipts only one unbroken chain per split counts.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::document::Receipt;

/// All receipts of a generation that are known, by name.
pub(crate) type Receipts = BTreeMap<String, Receipt>;

/// The names of a split's chain after `head` (none: from the split's beginning), in order.
///
/// An attempt begins at a named receipt, so receipts form a tree. Its leaves are weighed, and the way back
/// from the best one to the head is the chain: what hangs behind a hole has no way back and does not count.
/// Better is the one of `attempt` (its stagers are alive), then the one that ends the split, then the longer
/// way.
pub(crate) fn chain(receipts: &Receipts, split: usize, head: Option<&str>, attempt: Uuid) -> Vec<String> {
    let of_split = receipts.iter().filter(|(_, receipt)| receipt.split == split);
    let ways = of_split.filter_map(|(name, receipt)| {
        let way = way_back(receipts, name, head)?;
        Some(((receipt.attempt == attempt, receipt.end, way.len()), way))
    });
    let best = ways.max_by(|(a, _), (b, _)| a.cmp(b)).map(|(_, way)| way).unwrap_or_default();
    best.into_iter().rev().map(str::to_owned).collect()
}

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
            format: 1,
            generation: Uuid::nil(),
            split: 0,
            attempt,
            follows: follows.map(str::to_owned),
            checkpoint: None,
            end,
            file: None,
            rejects: None,
            skipped: 0,
            cursor: None,
        };
        list.iter()
            .map(|(name, follows, attempt, end)| ((*name).to_owned(), receipt(*follows, *attempt, *end)))
            .collect()
    }

    #[test]
    fn one_unbroken_chain_is_taken() {
        let (a, b, c) = (Some("a"), Some("b"), Some("c"));
        for (story, list, head, expected) in [
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
            assert_eq!(chain(&receipts(&list), 0, head, OURS).join(" "), expected, "{story}");
        }
    }

    #[test]
    fn splits_do_not_mix() {
        assert!(chain(&receipts(&[("a", None, OURS, true)]), 1, None, OURS).is_empty());
    }
}
