//! The listeners beside RPC: the operator's, behind a token, and the one for Prometheus.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, ToSocketAddrs, lookup_host};
use tracing::warn;
use vibecoin_config::{Config, Paths};
use vibecoin_keystore::{KeyError, private};
use vibecoin_rpc_server::prometheus::MetricsServer;
use vibecoin_rpc_server::{AdminToken, Config as ServerConfig, RpcServer};
use zeroize::Zeroizing;

use crate::backend::NodeBackend;
use crate::error::{Listener, NodeError};
use crate::open::make_folder;
use crate::settings::rpc_address;

/// Maximum number of admin connections; most of the capacity absorbs bursts of unauthorised clients.
const ADMIN_CONNECTIONS_MAX: u32 = 64;
/// Maximum size of an admin request in bytes; all of them are short.
const ADMIN_REQUEST_BYTES_MAX: u32 = 64 * 1024;

/// The sockets of all HTTP listeners, bound before anything runs: an address in use fails the start with no side
/// effects.
pub struct Sockets {
    rpc: (SocketAddr, TcpListener),
    others: Listeners,
}

impl Sockets {
    /// Binds them.
    ///
    /// # Errors
    /// As [`Listeners::bind`].
    pub async fn bind(config: &Config, paths: &Paths) -> Result<Self, NodeError> {
        let address = rpc_address(config);
        let listener = listen(address)
            .await
            .map_err(Listener::Rpc.refused(address.to_string()))?;
        Ok(Self {
            rpc: (address, listener),
            others: Listeners::bind(config, paths).await?,
        })
    }

    /// Starts the servers. `render` produces a scrape.
    ///
    /// # Errors
    /// [`NodeError::Listen`] when a listener is unusable.
    pub fn serve(
        self,
        backend: &Arc<NodeBackend>,
        config: ServerConfig,
        render: Arc<dyn Fn() -> String + Send + Sync>,
    ) -> Result<(RpcServer, Running), NodeError> {
        let running = self.others.start(backend, &config, render)?;
        let (address, listener) = self.rpc;
        let server = RpcServer::start(listener, backend.clone(), config)
            .map_err(Listener::Rpc.refused(address.to_string()))?;
        Ok((server, running))
    }
}

/// Bound addresses, before anything runs.
pub struct Listeners {
    admin: Option<(TcpListener, AdminToken)>,
    metrics: Option<TcpListener>,
    endpoint: PathBuf,
}

/// Maximum number of connections waiting to be accepted. Beyond it they are half open: the kernel drops the
/// last step of the handshake, and the client considers itself connected for half a minute.
const BACKLOG: u32 = 4_096;

/// Binds the first of these addresses that is free.
pub async fn listen(address: impl ToSocketAddrs) -> io::Result<TcpListener> {
    let mut refused = None;
    for address in lookup_host(address).await? {
        let bound = (|| {
            let socket = match address {
                SocketAddr::V4(_) => TcpSocket::new_v4()?,
                SocketAddr::V6(_) => TcpSocket::new_v6()?,
            };
            // After a restart, connections of the previous process may still be closing.
            #[cfg(unix)]
            socket.set_reuseaddr(true)?;
            socket.bind(address)?;
            socket.listen(BACKLOG)
        })();
        match bound {
            Ok(listener) => return Ok(listener),
            Err(error) => refused = Some(error),
        }
    }
    Err(refused.unwrap_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the name has no address")))
}

async fn bind(listener: Listener, address: &str) -> Result<Option<TcpListener>, NodeError> {
    if address.is_empty() {
        return Ok(None);
    }
    let bound = listen(address).await;
    bound.map(Some).map_err(listener.refused(address))
}

impl Listeners {
    /// Binds the configured addresses, and reads or creates the token.
    ///
    /// # Errors
    /// [`NodeError::Listen`] when an address is in use, [`NodeError::Key`] when other users can read the
    /// token.
    pub async fn bind(config: &Config, paths: &Paths) -> Result<Self, NodeError> {
        let admin = match bind(Listener::Admin, &config.admin.listen).await? {
            None => None,
            Some(listener) => Some((listener, token(&paths.admin_token)?)),
        };
        Ok(Self {
            admin,
            metrics: bind(Listener::Metrics, &config.metrics.listen).await?,
            endpoint: paths.admin_endpoint.clone(),
        })
    }

    /// Returns true, for each, if the admin listener and the one for Prometheus are bound.
    #[cfg(test)]
    pub fn bound(&self) -> (bool, bool) {
        (self.admin.is_some(), self.metrics.is_some())
    }

    /// Starts serving. `common` is the configuration of the public server; `render` produces a scrape.
    ///
    /// # Errors
    /// [`NodeError::Listen`] when a listener is unusable.
    pub fn start(
        self,
        backend: &Arc<NodeBackend>,
        common: &ServerConfig,
        render: Arc<dyn Fn() -> String + Send + Sync>,
    ) -> Result<Running, NodeError> {
        let admin = self.admin.map(|(listener, token)| {
            let address = listener.local_addr()?;
            if !address.ip().is_loopback() {
                warn!(target: "node", %address, "the operator's listener can be reached from other machines");
            }
            let config = admin_config(common);
            RpcServer::start_admin(listener, backend.clone(), config, token)
        });
        let admin = admin.transpose().map_err(Listener::Admin.refused("its socket"))?;
        let metrics = self
            .metrics
            .map(|listener| MetricsServer::start(listener, common, render));
        let metrics = metrics
            .transpose()
            .map_err(Listener::Metrics.refused("its socket"))?;
        if let Some(admin) = &admin
            && let Err(error) = write_whole(&self.endpoint, &format!("http://{}\n", admin.endpoint()))
        {
            warn!(target: "node", path = %self.endpoint.display(), %error, "commands will not find the operator's listener");
        }
        Ok(Running {
            admin,
            metrics,
            endpoint: self.endpoint,
        })
    }
}

/// Atomically replaces a file of this home, which is locked: readers see the old file or the new one.
fn write_whole(path: &Path, text: &str) -> std::io::Result<()> {
    let new = path.with_extension("endpoint.new");
    let written = std::fs::write(&new, text).and_then(|()| std::fs::rename(&new, path));
    if written.is_err() {
        let _not_there = std::fs::remove_file(&new);
    }
    written
}

/// The configuration of the public server, but smaller and without a budget.
fn admin_config(common: &ServerConfig) -> ServerConfig {
    ServerConfig {
        request_bytes_max: ADMIN_REQUEST_BYTES_MAX,
        connections_max: ADMIN_CONNECTIONS_MAX,
        rate: None,
        metrics: common.metrics.clone(),
        ..ServerConfig::default()
    }
}

/// The listeners while they serve.
pub struct Running {
    admin: Option<RpcServer>,
    metrics: Option<MetricsServer>,
    endpoint: PathBuf,
}

impl Running {
    /// Local address of the admin methods.
    pub fn admin(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(RpcServer::endpoint)
    }

    /// Local address of the metrics.
    pub fn metrics(&self) -> Option<SocketAddr> {
        self.metrics.as_ref().map(MetricsServer::endpoint)
    }

    /// Stops them; running calls have `grace` to finish.
    pub async fn stop(self, grace: Duration) {
        if let Some(metrics) = self.metrics {
            metrics.stop();
        }
        if let Some(admin) = self.admin {
            let _already_gone = std::fs::remove_file(&self.endpoint);
            admin.stop(grace).await;
        }
    }
}

/// Reads the admin token, or creates one that only this user can read.
fn token(path: &Path) -> Result<AdminToken, NodeError> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        make_folder("admin.token_file", folder)?;
    }
    let fault = |error: KeyError| {
        if matches!(error, KeyError::Io { .. }) {
            return NodeError::from(error);
        }
        let remedy = error
            .remedy()
            .map(|remedy| format!("; run `{remedy}`, or remove it to get a new one"));
        NodeError::Key(format!(
            "the operator's token: {error}{}",
            remedy.unwrap_or_default()
        ))
    };
    let mut bytes = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *bytes)
        .map_err(|error| NodeError::Key(format!("no randomness for the operator's token: {error}")))?;
    let made = AdminToken::new(*bytes);
    let text = Zeroizing::new(format!("{}\n", made.to_text()));
    match private::create_secret_text(path, &text) {
        Ok(()) => Ok(made),
        Err(KeyError::Exists { .. }) => {
            let text = private::read_secret_text(path).map_err(fault)?;
            AdminToken::parse(text.trim()).ok_or_else(|| {
                let path = path.display();
                NodeError::Key(format!("{path}: not 64 hex digits; remove it to get a new one"))
            })
        }
        Err(error) => Err(fault(error)),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn a_token_is_made_once_for_this_user_alone() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("admin.token");
        let first = token(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(first.to_text(), token(&path).unwrap().to_text());
        let other = token(&home.path().join("other.token")).unwrap();
        assert_ne!(first.to_text(), other.to_text());
    }

    #[test]
    fn a_place_where_no_token_can_be_is_a_fault_of_the_configuration() {
        let home = tempfile::tempdir().unwrap();
        assert!(token(&home.path().join("a/b/token")).is_ok());
        let error = token(Path::new("/dev/null/token")).unwrap_err();
        assert_eq!(error.exit_code(), 10, "{error}");
    }

    #[test]
    fn a_token_behind_a_link_is_neither_read_nor_made() {
        let home = tempfile::tempdir().unwrap();
        let (target, link) = (home.path().join("elsewhere"), home.path().join("admin.token"));
        symlink(&target, &link).unwrap();
        assert_eq!(token(&link).unwrap_err().exit_code(), 40);
        assert!(!target.exists(), "nothing was written through the link");
        token(&target).unwrap();
        let error = token(&link).unwrap_err();
        assert!(error.to_string().contains("a symbolic link"), "{error}");
    }

    #[test]
    fn a_token_that_others_can_read_or_that_is_none_is_refused() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("admin.token");
        token(&path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        let error = token(&path).unwrap_err();
        assert_eq!(error.exit_code(), 40);
        assert!(error.to_string().contains("admin.token"), "{error}");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        for text in ["", "12", "zz"] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(token(&path).unwrap_err().exit_code(), 40, "{text}");
        }
    }
}
