//! `vibecoin peers`: the peers of this node.

use clap::Subcommand;
use serde_json::json;
use vibecoin_rpc_api::U64;
use vibecoin_rpc_api::limits::PAGE_MAX;
use vibecoin_rpc_api::methods::{NetAdminApiClient as _, NetApiClient as _};
use vibecoin_rpc_api::views::{PeerView, PeersOptions};

use crate::admin::Admin;
use crate::context::Context;
use crate::error::CliError;
use crate::numbers::whole;
use crate::output::{Answer, cell};
use crate::table::Column::{Left, Right};
use crate::table::Table;

const AFTER: &str = "\
add, remove, ban and unban need the operator's listener of the node of --home: start it with \
--admin.listen 127.0.0.1:0.";

/// Maximum duration of a temporary ban, a century; without `--seconds` it is permanent.
const BAN_SECONDS_MAX: u64 = 100 * 365 * 86_400;

/// The commands of `peers`.
#[derive(Debug, Subcommand)]
#[command(after_help = AFTER)]
pub enum PeersCommand {
    /// Connected peers
    List {
        /// Most peers, 1 to 1000
        #[arg(long, allow_negative_numbers = true, value_parser = whole::<u32>(1..=u64::from(PAGE_MAX)))]
        limit: Option<u32>,
    },
    /// This node's identity and addresses
    Id,
    /// Connect to a peer and stay connected
    Add {
        /// Multiaddress that ends in /p2p/ID
        address: String,
    },
    /// Drop the connection and do not dial again
    Remove {
        /// Identity of the peer
        id: String,
    },
    /// Drop a peer and refuse it
    Ban {
        /// Identity of the peer
        id: String,
        /// Why, for others who look
        #[arg(long)]
        reason: Option<String>,
        /// For how long, 1 to 3153600000; without it until `peers unban`
        #[arg(long, allow_negative_numbers = true, value_parser = whole::<u64>(1..=BAN_SECONDS_MAX))]
        seconds: Option<u64>,
    },
    /// Let a peer in again
    Unban {
        /// Identity of the peer
        id: String,
    },
    /// Who is refused
    Bans,
}

impl PeersCommand {
    /// Runs the command.
    ///
    /// # Errors
    /// The errors of the node.
    pub fn run(self, context: &Context) -> Result<Answer, CliError> {
        match self {
            Self::List { limit } => {
                let client = context.client()?;
                let options = Some(PeersOptions { limit });
                let peers = context.wait(async { Ok(client.get_peers(options).await?) })?;
                let text = table(&peers);
                Ok(Answer::new(peers).text(text))
            }
            Self::Id => {
                let client = context.client()?;
                let info = context.wait(async { Ok(client.get_info().await?) })?;
                Ok(Answer::new(info))
            }
            Self::Add { address } => {
                let admin = Admin::of(context)?;
                admin.wait(context, admin.client.add_peer(address.clone()))?;
                done(json!({ "added": address }), format!("connecting to {address}"))
            }
            Self::Remove { id } => {
                let admin = Admin::of(context)?;
                admin.wait(context, admin.client.remove_peer(id.clone()))?;
                done(json!({ "removed": id }), format!("removed {id}"))
            }
            Self::Ban { id, reason, seconds } => {
                let admin = Admin::of(context)?;
                let call = admin.client.ban_peer(id.clone(), reason, seconds.map(U64));
                admin.wait(context, call)?;
                done(json!({ "banned": id }), format!("banned {id}"))
            }
            Self::Unban { id } => {
                let admin = Admin::of(context)?;
                admin.wait(context, admin.client.unban_peer(id.clone()))?;
                done(json!({ "unbanned": id }), format!("{id} may connect again"))
            }
            Self::Bans => {
                let admin = Admin::of(context)?;
                Ok(Answer::new(admin.wait(context, admin.client.get_bans())?))
            }
        }
    }
}

#[expect(clippy::unnecessary_wraps, reason = "the arms around it can fail")]
fn done(json: serde_json::Value, text: String) -> Result<Answer, CliError> {
    Ok(Answer::new(json).text(text))
}

/// One line per peer; the identity is last because it is long.
fn table(peers: &[PeerView]) -> String {
    if peers.is_empty() {
        return "no peers\n".to_owned();
    }
    let mut table = Table::new([
        Left("direction"),
        Right("height"),
        Right("score"),
        Right("rtt"),
        Right("bytes"),
        Left("validator"),
        Left("address"),
        Left("id"),
    ]);
    for peer in peers {
        let rtt = peer
            .rtt_ms
            .map_or_else(|| "-".to_owned(), |ms| format!("{ms} ms"));
        let bytes = peer.bytes_in.0.saturating_add(peer.bytes_out.0);
        let validator = peer.validator.map_or_else(
            || "-".to_owned(),
            |key| key.0.to_string().chars().take(10).collect(),
        );
        table.row([
            cell(&peer.direction).into_owned(),
            peer.height.to_string(),
            peer.score.to_string(),
            rtt,
            bytes.to_string(),
            validator,
            cell(&peer.address).into_owned(),
            cell(&peer.id).into_owned(),
        ]);
    }
    table.text()
}
