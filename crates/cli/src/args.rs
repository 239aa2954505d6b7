//! What may be typed.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Carries a site's routes and packets to its clouds over route-based IPsec.
#[derive(Debug, Parser)]
#[command(name = "causeway", version, propagate_version = true, disable_help_subcommand = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Run the daemon in the foreground.
    Run {
        /// The configuration file.
        #[arg(long, value_name = "F", default_value = "/etc/causeway/causeway.toml")]
        config: PathBuf,
    },
    /// Read the configuration as `run` would and print every error, or the resolved plan.
    Check {
        /// The configuration file.
        #[arg(long, value_name = "F", default_value = "/etc/causeway/causeway.toml")]
        config: PathBuf,
        /// Look at the file alone, not at this host.
        #[arg(long)]
        no_host: bool,
    },
    /// Show the whole gateway at work between network namespaces of this machine (needs root).
    Demo {
        /// Leave the namespaces and both gateways up to explore.
        #[arg(long)]
        keep: bool,
    },
    /// Show what the daemon knows.
    #[command(subcommand)]
    Show(Show),
    /// Start a tunnel.
    Up {
        /// The tunnel's name.
        tunnel: String,
        #[command(flatten)]
        #[allow(missing_docs)]
        client: ClientOptions,
    },
    /// Stop a tunnel until it is started again.
    Down {
        /// The tunnel's name.
        tunnel: String,
        #[command(flatten)]
        #[allow(missing_docs)]
        client: ClientOptions,
    },
    /// Rekey a tunnel now: its CHILD SA unless told otherwise.
    Rekey {
        /// The tunnel's name.
        tunnel: String,
        /// The IKE SA.
        #[arg(long)]
        ike: bool,
        /// The CHILD SA.
        #[arg(long)]
        child: bool,
        #[command(flatten)]
        #[allow(missing_docs)]
        client: ClientOptions,
    },
    /// Reset an SA or a session.
    #[command(subcommand)]
    Clear(ClearWhat),
    /// Apply the changed configuration file; what did not change is not touched.
    Reload {
        #[command(flatten)]
        #[allow(missing_docs)]
        client: ClientOptions,
    },
    /// Write a tunnel's inner packets as pcapng, live, until interrupted.
    Capture {
        /// The tunnel's name.
        tunnel: String,
        /// Where to write; standard output when left out.
        #[arg(short = 'w', value_name = "F")]
        write: Option<PathBuf>,
        /// Stop after so many packets.
        #[arg(short = 'c', value_name = "N")]
        count: Option<u64>,
        #[command(flatten)]
        #[allow(missing_docs)]
        daemon: Daemon,
    },
    /// Print the man page (for packagers).
    #[command(hide = true)]
    Man,
    /// Print shell completions (for packagers).
    #[command(hide = true)]
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// Which daemon is asked.
#[derive(Clone, Debug, Args)]
pub struct Daemon {
    /// The daemon's control socket.
    #[arg(long, value_name = "PATH", env = "CAUSEWAY_SOCKET", default_value = control::DEFAULT_SOCKET)]
    pub socket: PathBuf,
}

/// What client verbs take whose answer is text.
#[derive(Clone, Debug, Args)]
pub struct ClientOptions {
    /// Where it is asked.
    #[command(flatten)]
    pub daemon: Daemon,
    /// Print JSON instead of a table.
    #[arg(long)]
    pub json: bool,
}

/// The pages.
#[derive(Debug, Subcommand)]
pub enum Show {
    /// One line a tunnel: IKE, CHILD SA, BGP, and when something is down, why.
    Status(ClientOptions),
    /// The IKE SAs.
    Ike(ClientOptions),
    /// The CHILD SAs.
    Ipsec(ClientOptions),
    /// The tunnel interfaces, their counters and offloads.
    Interfaces(ClientOptions),
    /// Routes wanted and installed.
    Routes(ClientOptions),
    /// The BGP table, `summary`, `neighbors`, or one PREFIX.
    Bgp(ShowBgp),
    /// The last log lines.
    Log {
        /// At most so many.
        #[arg(short = 'n', default_value_t = 100)]
        lines: usize,
        #[command(flatten)]
        #[allow(missing_docs)]
        client: ClientOptions,
    },
}

/// `show bgp …`
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct ShowBgp {
    /// One page of it.
    #[command(subcommand)]
    pub page: Option<ShowBgpPage>,
    /// A prefix, or an address for its longest match.
    pub prefix: Option<String>,
    /// Where and how.
    #[command(flatten)]
    pub client: ClientOptions,
}

/// The pages of `show bgp`.
#[derive(Debug, Subcommand)]
pub enum ShowBgpPage {
    /// One line a neighbour.
    Summary(ClientOptions),
    /// Neighbours in full, or one neighbour's routes.
    Neighbors(ShowNeighbors),
}

/// `show bgp neighbors [A [received-routes|routes|advertised-routes]]`
#[derive(Debug, Args)]
pub struct ShowNeighbors {
    /// Name or address.
    pub neighbor: Option<String>,
    /// Its routes: before policy, after it, or what we announce to it.
    #[arg(value_parser = ["received-routes", "routes", "advertised-routes"])]
    pub routes: Option<String>,
    /// Where and how.
    #[command(flatten)]
    pub client: ClientOptions,
}

/// What can be cleared.
#[derive(Debug, Subcommand)]
pub enum ClearWhat {
    /// Delete IKE SAs; tunnels that initiate dial again at once.
    Ike {
        /// A tunnel's name; all when left out.
        tunnel: Option<String>,
        #[command(flatten)]
        #[allow(missing_docs)]
        client: ClientOptions,
    },
    /// Delete CHILD SAs and make them again.
    Ipsec {
        /// A tunnel's name; all when left out.
        tunnel: Option<String>,
        #[command(flatten)]
        #[allow(missing_docs)]
        client: ClientOptions,
    },
    /// Reset a BGP session: hard, or `soft in` / `soft out`.
    Bgp {
        /// Name or address; all when left out (`all` means all too).
        neighbor: Option<String>,
        /// `soft in` or `soft out`; the whole session when left out.
        #[arg(num_args = 0..=2, value_parser = ["soft", "in", "out"])]
        how: Vec<String>,
        #[command(flatten)]
        #[allow(missing_docs)]
        client: ClientOptions,
    },
}

impl ClearWhat {
    pub(crate) fn client(&self) -> &ClientOptions {
        match self {
            Self::Ike { client, .. } | Self::Ipsec { client, .. } | Self::Bgp { client, .. } => client,
        }
    }
}
