//! What the model is asked to check: the mechanisms that the code has, and the sizes.

/// The mechanisms. Each can be left out, to see that the model notices.
#[derive(Clone, Debug)]
pub struct Design {
    /// `WHERE c.epoch = … AND c.owner_node = …` of a commit.
    pub commit_checks_epoch: bool,
    /// `WHERE c.seq = prev_seq` of a commit.
    pub commit_checks_seq: bool,
    /// `command_results` takes a command id once.
    pub command_ids_are_unique: bool,
    /// A commit counts as done earlier only if the record is of this very commit: its `seq`, by this owner and epoch.
    /// Else: if its command id is on record at all.
    pub record_must_be_of_this_commit: bool,
    /// `may_own` is asked before anything is decided or answered.
    pub fences_itself: bool,
    /// The lease is counted from before the renewal was asked for. Else: from its answer.
    pub lease_from_the_question: bool,
    /// `claim` wants the owner's lease to have run out, or the owner to be the claimer.
    pub claim_checks_lease: bool,
    /// A node that enters anew after its lease ran out goes on with what nobody has taken. Else: it lets go of all.
    pub keeps_what_nobody_took: bool,
    /// A lost lease also ends what is about to become an actor.
    pub let_go_reaches_who_is_placed: bool,
    /// The answer follows the commit.
    pub answers_after_commit: bool,
    /// A draining owner waits for the commit under way before it hands over.
    pub handoff_waits_for_commit: bool,
    /// Who hears of a newer epoch drops deliveries and signals of older ones.
    pub receivers_drop_older: bool,
    /// An actor that stopped because it is behind the store, or may be, is looked at again by its node's sweeper.
    pub sweeper_revives_the_stopped: bool,
    /// The users of a call whose owner is gone compare, also if the call has ended.
    pub users_compare_when_owner_is_gone: bool,
    /// A node looks for calls that are handed to it, though it was not told.
    pub sweeper_finds_what_was_handed_over: bool,
}

impl Design {
    pub const BUILT: Self = Self {
        commit_checks_epoch: true,
        commit_checks_seq: true,
        command_ids_are_unique: true,
        record_must_be_of_this_commit: true,
        fences_itself: true,
        lease_from_the_question: true,
        claim_checks_lease: true,
        keeps_what_nobody_took: false,
        let_go_reaches_who_is_placed: true,
        answers_after_commit: true,
        handoff_waits_for_commit: true,
        receivers_drop_older: true,
        sweeper_revives_the_stopped: true,
        users_compare_when_owner_is_gone: true,
        sweeper_finds_what_was_handed_over: true,
    };
}

/// How much may happen.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Runs of a process; one that crashed comes back as another.
    pub nodes: u8,
    /// The last one ends the call.
    pub commands: u8,
    /// The highest epoch: how often the call may change hands.
    pub epochs: u8,
    pub crashes: u8,
    /// Commits whose answer is lost: tried again, or given up.
    pub doubts: u8,
    pub handovers: u8,
    pub signals: bool,
    /// How often the client comes back at another node.
    pub moves: u8,
    /// In steps of time. With 2 a renewal's answer can come in time, late, and too late.
    pub lease: u8,
    /// Question and answer of a renewal take no time, so that there are fewer states.
    pub prompt_renewals: bool,
    /// Where the client is at first; node 0 owns the call.
    pub client_at: u8,
}
