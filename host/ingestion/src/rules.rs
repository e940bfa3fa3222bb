//! The protocol's rules by name. Each stands at the line that enforces it, and the simulation breaks each
//! one and must notice: a check that cannot fail proves nothing.

/// What must hold so that a row is visible if and only if the state that says it was extracted is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// Of a split's receipts one unbroken chain counts, from the committed one onwards.
    OneChain,
    /// Of other attempts' receipts only those count that were there when this attempt began.
    ReceiptsFromBefore,
    /// Where rows are to be recognised, receipts of attempts that did not know of each other are not mixed:
    /// each told equal rows apart in its own way.
    OneLineage,
    /// Every file is looked at before a commit names it.
    FileIsThere,
    /// A number is taken by put-if-absent, so that no two intents share one.
    NumberOfItsOwn,
    /// A commit is built on the very snapshot whose `txn` is the predecessor. Fences a writer that slept.
    BuiltOnPredecessor,
    /// A version of the table's log is written by put-if-absent.
    VersionOnce,
    /// When no answer came, `txn` tells what happened.
    AskAfterSilence,
    /// After a conflict, what a commit says is made anew from the new snapshot.
    RebuiltAfterConflict,
    /// A table that is replaced, or whose splits cannot be read again alike, changes in one commit.
    SingleCommit,
    /// `replace` needs a table that nobody else loads.
    SoleOwner,
    /// A state of another source is not gone on with.
    SameSource,
    /// A table that was restored to an older version is not gone on with.
    NotRestored,
    /// The mark moves when a generation is complete, not before.
    MarkAtTheEnd,
    /// The mark never moves beyond the bound that was fixed when the generation was planned.
    MarkWithinBound,
    /// Rows in the window that is read again are recognised, each as often as it is in the table.
    Recognition,
    /// An empty number is committed before the work of a generation that may still be alive is deleted.
    FenceBeforeGarbage,
    /// What a committed intent names is never garbage.
    CommittedIsKept,
}

/// Which rules hold: all of them, outside of tests.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Rules {
    #[cfg(test)]
    pub broken: Option<Rule>,
}

impl Rules {
    #[cfg(not(test))]
    pub(crate) const fn hold(self, _: Rule) -> bool {
        true
    }

    #[cfg(test)]
    pub(crate) fn hold(self, rule: Rule) -> bool {
        self.broken != Some(rule)
    }
}
