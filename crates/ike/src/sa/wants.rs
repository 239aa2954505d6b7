//! What an IKE SA is to do next, and what it is doing.

use crypto::KeyPair;

use crate::event::ChildId;
use crate::exchange::child::ChildTask;
use crate::exchange::rekey_ike::IkeTask;
use crate::work::WorkId;

/// Something to do once the window is free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Want {
    /// Tell the peer that the IKE SA is over.
    DeleteIke,
    /// Tell the peer that a CHILD SA is over.
    DeleteChild(ChildId),
    /// Make a CHILD SA from scratch.
    CreateChild,
    /// Make one beside the first, with the same selectors (RFC 9611).
    AddChild,
    /// Replace a CHILD SA.
    RekeyChild(ChildId),
    /// Replace the IKE SA.
    RekeyIke,
    /// Ask for a sign of life.
    Liveness,
}

/// Our request under way, from the first computation for it to its answer.
pub(crate) enum Task {
    /// CREATE_CHILD_SA for a CHILD SA, new or rekeyed.
    Child(Box<ChildTask>),
    /// CREATE_CHILD_SA for the IKE SA itself.
    Ike(Box<IkeTask>),
    /// INFORMATIONAL with a Delete of a CHILD SA.
    DeleteChild(ChildId),
    /// INFORMATIONAL with a Delete of the IKE SA.
    DeleteIke,
    /// INFORMATIONAL with nothing.
    Liveness,
}

/// How far a request with a key exchange has come.
pub(crate) enum Stage {
    /// Our pair is being made.
    Generating(WorkId),
    /// The request is out.
    Sent(Option<Box<KeyPair>>),
    /// The answer is here, the shared secret being made.
    Agreeing(WorkId),
}
