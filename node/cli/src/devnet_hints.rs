//! Remedies for the home of a node of a devnet.

use std::io::ErrorKind;
use std::path::Path;

use vibecoin_devnet::Devnet;
use vibecoin_devnet::plan::is_node_name;
use vibecoin_primitives::text::quoted_path;

/// The command that restarts the devnet of the node with this home; `None` for a home outside of any devnet.
/// `url` is the address that was tried, if the caller gave one.
pub fn restart_hint(home: &Path, url: Option<&str>) -> Option<String> {
    let home = home.canonicalize().ok()?;
    let dir = home.parent()?;
    let net = Devnet::look(dir).ok()?;
    let node = net.existing().ok()?.nodes.iter().find(|node| node.home == home)?;
    if url.is_some_and(|url| url != node.url()) {
        return None;
    }
    let dir = quoted_path(dir);
    Some(format!(
        "the home is of a devnet: `vibecoin devnet --dir {dir} up` starts what does not run of it"
    ))
}

/// The command that creates the devnet of this home again, which does not exist; `None` for the home of another node.
/// After `destroy` there is the path alone: the name is one that a devnet gives, and nothing else is beside it.
pub fn gone_hint(home: &Path) -> Option<String> {
    let dir = match home.parent()? {
        here if here.as_os_str().is_empty() => Path::new("."),
        dir => dir,
    };
    if !is_node_name(home.file_name()?) || !is_empty(dir) {
        return None;
    }
    let dir = quoted_path(dir);
    Some(format!(
        "the home would be of a devnet, and there is none: `vibecoin devnet --dir {dir} up` makes it"
    ))
}

/// Returns true for a folder without contents, or none.
fn is_empty(dir: &Path) -> bool {
    match std::fs::read_dir(dir) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) => error.kind() == ErrorKind::NotFound,
    }
}
