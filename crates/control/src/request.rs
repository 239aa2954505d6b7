//! Requests and answers.

use serde::{Deserialize, Serialize};

use crate::view;

/// One thing asked of the daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "op")]
pub enum Request {
    /// One line a tunnel: IKE, CHILD SA, BGP, since when, and why not.
    Status,
    /// The IKE SAs, and what was counted.
    Ike,
    /// The CHILD SAs.
    Ipsec,
    /// The tunnel interfaces and the offloads of each.
    Interfaces,
    /// Routes wanted and installed.
    Routes,
    /// The whole BGP table.
    Bgp,
    /// One line a neighbour.
    BgpSummary,
    /// Neighbours in full; one when named.
    BgpNeighbors {
        /// Name or address of the neighbour.
        neighbor: Option<String>,
    },
    /// What a neighbour sent, before policy, with each route's verdict.
    BgpReceived {
        /// Name or address of the neighbour.
        neighbor: String,
    },
    /// What of it was accepted.
    BgpAccepted {
        /// Name or address of the neighbour.
        neighbor: String,
    },
    /// What is announced to a neighbour.
    BgpAdvertised {
        /// Name or address of the neighbour.
        neighbor: String,
    },
    /// All paths of one prefix.
    BgpPrefix {
        /// The prefix, or an address for its longest match.
        prefix: String,
    },
    /// The last log lines.
    Log {
        /// At most so many.
        lines: usize,
    },
    /// Start a tunnel.
    Up {
        /// Its name.
        tunnel: String,
    },
    /// Stop a tunnel until it is started again.
    Down {
        /// Its name.
        tunnel: String,
    },
    /// Rekey a tunnel now.
    Rekey {
        /// Its name.
        tunnel: String,
        /// The IKE SA.
        ike: bool,
        /// The CHILD SA.
        child: bool,
    },
    /// Delete IKE SAs, one tunnel's or all; those that initiate dial again.
    ClearIke {
        /// A tunnel's name, or all.
        tunnel: Option<String>,
    },
    /// Delete CHILD SAs, one tunnel's or all; they are made again.
    ClearIpsec {
        /// A tunnel's name, or all.
        tunnel: Option<String>,
    },
    /// Reset a session, one neighbour's or all.
    ClearBgp {
        /// Name or address, or all.
        neighbor: Option<String>,
        /// How.
        how: BgpClear,
    },
    /// Read the file again and apply what changed.
    Reload,
    /// Send the tunnel's inner packets until the client goes.
    Capture {
        /// Its name.
        tunnel: String,
    },
}

/// How a BGP session is reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BgpClear {
    /// End the session and start again.
    Hard,
    /// Apply the import policy again to what is held.
    SoftIn,
    /// Announce everything again.
    SoftOut,
}

impl Request {
    /// Does it only read? A reader needs membership of the group; a writer needs root or that group too.
    #[must_use]
    pub fn only_reads(&self) -> bool {
        match self {
            Self::Status
            | Self::Ike
            | Self::Ipsec
            | Self::Interfaces
            | Self::Routes
            | Self::Bgp
            | Self::BgpSummary
            | Self::BgpNeighbors { .. }
            | Self::BgpReceived { .. }
            | Self::BgpAccepted { .. }
            | Self::BgpAdvertised { .. }
            | Self::BgpPrefix { .. }
            | Self::Log { .. } => true,
            Self::Up { .. }
            | Self::Down { .. }
            | Self::Rekey { .. }
            | Self::ClearIke { .. }
            | Self::ClearIpsec { .. }
            | Self::ClearBgp { .. }
            | Self::Reload
            | Self::Capture { .. } => false,
        }
    }
}

/// What the daemon says to a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "answer", content = "body")]
pub enum Answer {
    /// To [`Request::Status`].
    Status(view::Status),
    /// To [`Request::Ike`].
    Ike(view::Ike),
    /// To [`Request::Ipsec`].
    Ipsec(Vec<view::ChildSa>),
    /// To [`Request::Interfaces`].
    Interfaces(view::Interfaces),
    /// To [`Request::Routes`].
    Routes(view::Routes),
    /// To [`Request::Bgp`] and [`Request::BgpPrefix`].
    Bgp(view::BgpTable),
    /// To [`Request::BgpSummary`].
    BgpSummary(view::BgpSummary),
    /// To [`Request::BgpNeighbors`].
    BgpNeighbors(Vec<view::BgpNeighbor>),
    /// To [`Request::BgpReceived`], [`Request::BgpAccepted`] and [`Request::BgpAdvertised`].
    BgpRoutes(view::BgpRoutes),
    /// To [`Request::Log`].
    Log(Vec<String>),
    /// A command was taken; the lines say what it did.
    Done(Vec<String>),
    /// It was not; why, and what would be right.
    Refused(String),
    /// Packets follow.
    Capturing {
        /// The interface they are of.
        interface: String,
    },
}
