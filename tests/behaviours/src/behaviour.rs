//! The behaviours and their names.

/// Declares the behaviours in the order of [`Behaviour::ALL`].
macro_rules! behaviours {
    ($($(#[$doc:meta])+ $behaviour:ident = $name:literal,)+) => {
        /// Behaviour of a validator.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Behaviour {
            $($(#[$doc])+ $behaviour,)+
        }

        impl Behaviour {
            /// Every behaviour, the honest one included.
            pub const ALL: [Self; [$($name),+].len()] = [$(Self::$behaviour),+];

            /// Its name on the command line.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$behaviour => $name,)+
                }
            }
        }
    };
}

// The simulator draws by position: a new behaviour goes to the end of its group, and changes the runs of many seeds.
behaviours! {
    /// Honest.
    None = "none",
    /// Prevotes two blocks in each round and sends one to each half, or both to every node.
    EquivocatingPrevotes = "equivocating-prevotes",
    /// The same with precommits.
    EquivocatingPrecommits = "equivocating-precommits",
    /// Makes two blocks for each of its rounds and shows a different one to each half, or both to every node.
    EquivocatingProposals = "equivocating-proposals",
    /// Votes for the newest proposal, whatever its lock.
    Amnesia = "amnesia",
    /// Always precommits nil.
    NilPrecommits = "nil-precommits",
    /// Withholds its blocks' bodies from a random half.
    WithheldBodies = "withheld-bodies",
    /// Never proposes.
    WithheldProposals = "withheld-proposals",
    /// Writes a wrong state root into its headers.
    WrongStateRoot = "wrong-state-root",
    /// Writes a wrong transaction root into its headers.
    WrongTxRoot = "wrong-tx-root",
    /// Builds on another block than the parent.
    WrongParent = "wrong-parent",
    /// Dates its blocks before their ticks could have been made.
    WrongTime = "wrong-time",
    /// Dates its blocks an hour ahead of all clocks.
    FutureTime = "future-time",
    /// One hash of the Proof of History is wrong, or all are; sometimes everything after it follows from it.
    WrongPoh = "wrong-poh",
    /// No ticks, or more than allowed.
    WrongTicks = "wrong-ticks",
    /// A transaction twice, in one block or again in a later one; the Proof of History is correct.
    TransactionTwice = "transaction-twice",
    /// A transaction in another account's name.
    ForgedTransaction = "forged-transaction",
    /// Evidence against an innocent validator.
    ForgedEvidence = "forged-evidence",
    /// Valid evidence, repeated in each of its blocks.
    RepeatedEvidence = "repeated-evidence",
    /// A certificate of the parent that proves nothing: a signer twice, too few, another height.
    ForgedLastCommit = "forged-last-commit",
    /// A valid header with the bytes of another body.
    SwappedBody = "swapped-body",
    /// Votes in the names of all other validators.
    ForgedVotes = "forged-votes",
    /// Certificates of rounds and of blocks that prove nothing, also in answers to nodes that catch up.
    ForgedCertificates = "forged-certificates",
    /// Votes for distant heights and rounds.
    FarVotes = "far-votes",
    /// Delays its parts and proposals to the end of the others' timeouts, and sometimes beyond.
    Stretches = "stretches",
    /// A different one of these at each height.
    Mixed = "mixed",
    /// Two correct nodes that share one key.
    Twins = "twins",
    /// Every vote for a block is followed by a vote for nil or for another block, and vice versa.
    EquivocatingVotes = "equivocating-votes",
    /// Every part of a block is followed by a different one with the same number.
    EquivocatingParts = "equivocating-parts",
    /// Every second part of a block is never sent.
    WithheldParts = "withheld-parts",
}

/// Number of behaviours in the first group of the list above.
const SIMULATED: usize = 27;

impl Behaviour {
    /// Behaviours of the simulator: the first group.
    pub const SIMULATED: [Self; SIMULATED] = {
        let mut simulated = [Self::None; SIMULATED];
        let mut index = 0;
        while index < SIMULATED {
            simulated[index] = Self::ALL[index];
            index += 1;
        }
        simulated
    };

    /// Behaviours of the node that is built with the feature `byzantine`.
    pub const DISTORTING: [Self; 14] = [
        Self::None,
        Self::EquivocatingVotes,
        Self::EquivocatingProposals,
        Self::EquivocatingParts,
        Self::NilPrecommits,
        Self::WithheldProposals,
        Self::WithheldParts,
        Self::WrongStateRoot,
        Self::WrongParent,
        Self::WrongTxRoot,
        Self::FutureTime,
        Self::TransactionTwice,
        Self::WrongPoh,
        Self::WrongTicks,
    ];

    /// Behaviours that produce a pair of signatures, which must be included in a block as evidence.
    #[must_use]
    pub const fn is_evident(self) -> bool {
        matches!(
            self,
            Self::EquivocatingPrevotes | Self::EquivocatingPrecommits | Self::EquivocatingProposals
        )
    }

    /// Behaviours that replace a block of the node.
    pub(crate) const fn is_about_blocks(self) -> bool {
        matches!(
            self,
            Self::EquivocatingProposals
                | Self::WrongStateRoot
                | Self::WrongTxRoot
                | Self::WrongParent
                | Self::WrongTime
                | Self::FutureTime
                | Self::WrongPoh
                | Self::WrongTicks
                | Self::TransactionTwice
                | Self::ForgedTransaction
                | Self::ForgedEvidence
                | Self::RepeatedEvidence
                | Self::ForgedLastCommit
                | Self::SwappedBody
        )
    }
}
